"""A table of strange pictures: what becomes of each as a tile of a set, and as a picture that somebody uploads.

Each is either taken, with these values, or refused, in a sentence of this kind.
"""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eurosat_core.data.acquire import import_pictures
from eurosat_core.data.tiles import open_tiles
from eurosat_core.data.uploads import STRETCHES, cut, read_picture
from eurosat_core.errors import DataError
from tests.png_makers import deep_png, png_that_claims
from tests.tiff_makers import DEFLATE, make_tiff

_DRAWN = np.random.default_rng(11)
RGB = _DRAWN.integers(0, 256, (64, 64, 3)).astype(np.uint8)
LAND = _DRAWN.integers(150, 2700, (64, 64, 3)).astype(np.uint16)  # Sentinel-2: reflectance × 10,000
BANDS = _DRAWN.integers(150, 2700, (64, 64, 13)).astype(np.uint16)
DEEP = _DRAWN.integers(0, 65_536, (64, 64, 3)).astype(np.uint16)
LEFT = np.arange(64) < 20  # columns
WHITE = 2750  # the reflectance that is full brightness in EuroSAT's own tiles


Becomes = np.ndarray | str


def both(content: bytes, ending: str, becomes: Becomes) -> tuple[bytes, str, Becomes, Becomes]:
    return content, ending, becomes, becomes


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()


def bright(values: np.ndarray, white: float = WHITE) -> np.ndarray:
    """Values in 8 bits: 0 is black, `white` and more is 255."""
    return np.clip(np.round(values * (255 / white)), 0, 255).astype(np.uint8)


def grey(plane: np.ndarray) -> np.ndarray:
    return np.repeat(plane.reshape(64, 64, 1), 3, axis=2)


def pillows(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def where_not(mask: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """The pixels, black where the mask [W] or [H, W] is set."""
    found = pixels.copy()
    found[np.broadcast_to(mask, (64, 64))] = 0
    return found


def marked(values: np.ndarray, mark: float) -> np.ndarray:
    found = values.copy()
    found[:, LEFT] = mark
    return found


def turned_jpeg() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(Image.fromarray(RGB), "JPEG", exif=exif)


def half_transparent() -> np.ndarray:
    return np.dstack([RGB, np.where(np.broadcast_to(LEFT, (64, 64)), 0, 255)]).astype(np.uint8)


JPEG, PNG, TIFF = (saved(Image.fromarray(RGB), kind) for kind in ("JPEG", "PNG", "TIFF"))
GREY = Image.fromarray(RGB).convert("L").convert("RGB")
PALETTE = Image.fromarray(RGB).quantize(16)
CMYK = saved(Image.fromarray(RGB).convert("CMYK"), "JPEG")
ONE_BIT = saved(Image.fromarray(RGB).convert("1"), "PNG")
JPEG_IN_TIFF = saved(Image.fromarray(RGB), "TIFF", compression="jpeg")
DECIMAL = (LAND / 10_000).astype(np.float32)
SIGNED = LAND.astype(np.int16) - 200  # dark pixels below zero, as level 2A has them

# The content of a file and its ending; as a tile of a set and as an upload, the pixels that come of it, or words of why
# none do.
STRANGE: dict[str, tuple[bytes, str, Becomes, Becomes]] = {
    # 16 bits
    "grey of 16 bits": both(make_tiff(LAND[..., :1]), "tif", grey(bright(LAND[..., 0]))),
    "grey of 16 bits, big-endian": both(make_tiff(LAND[..., :1], order=">"), "tif", grey(bright(LAND[..., 0]))),
    "grey of 16 bits, white is zero": both(
        make_tiff(65_535 - DEEP[..., :1], tag_262=(0,)), "tif", grey(bright(DEEP[..., 0], 65_535))
    ),
    "RGB of 16 bits": both(make_tiff(LAND), "tif", bright(LAND)),
    "RGB of 16 bits, band after band": both(make_tiff(LAND, planar=True), "tif", bright(LAND)),
    "RGB of 16 bits, tiled and packed": both(
        make_tiff(LAND, tile=16, compression=8, pack=DEFLATE, predictor=2), "tif", bright(LAND)
    ),
    "RGB of all 16 bits": both(make_tiff(DEEP), "tif", bright(DEEP, 65_535)),
    "8-bit values in 16 bits": both(make_tiff(RGB.astype(np.uint16)), "tif", RGB),
    "PNG of 16 bits, grey": both(deep_png(LAND[..., :1]), "png", grey(bright(LAND[..., 0]))),
    "PNG of 16 bits, RGB": both(deep_png(LAND), "png", bright(LAND)),
    "PNG of 16 bits, grey and alpha": both(
        deep_png(np.dstack([LAND[..., 0], np.where(LEFT, 0, 65_535) + LAND[..., 0] * 0])),
        "png",
        where_not(LEFT, grey(bright(LAND[..., 0]))),
    ),
    "PNG of 16 bits, RGB and alpha": both(
        deep_png(np.dstack([LAND, np.where(LEFT, 0, 65_535) + LAND[..., 0] * 0])), "png", where_not(LEFT, bright(LAND))
    ),
    # other numbers
    "decimal reflectances": both(make_tiff(DECIMAL, sample_format=3), "tif", bright(LAND)),
    "decimal numbers up to 1": both(
        make_tiff((DEEP / 65_535).astype(np.float32), sample_format=3), "tif", bright(DEEP, 65_535)
    ),
    "16 bits with a sign": both(make_tiff(SIGNED, sample_format=2), "tif", bright(SIGNED)),
    "32 bits with a sign": both(make_tiff(LAND.astype(np.int32), sample_format=2), "tif", bright(LAND)),
    "32 bits": both(make_tiff(LAND.astype(np.uint32)), "tif", bright(LAND)),
    "8 bits with a sign": both(make_tiff(RGB // 2, sample_format=2), "tif", "type"),
    "64 bits": both(make_tiff(LAND.astype(np.float64), sample_format=3), "tif", "64-bit"),
    "complex numbers": both(make_tiff(LAND.astype(np.uint32), tag_339=(6, 6, 6)), "tif", "type"),
    "bands of different sizes": both(make_tiff(LAND, tag_258=(16, 8, 16)), "tif", "sizes"),
    # bands
    "12 bands": both(make_tiff(BANDS[..., :12]), "tif", bright(BANDS[..., [3, 2, 1]])),
    "13 bands": both(make_tiff(BANDS), "tif", bright(BANDS[..., [3, 2, 1]])),
    "13 bands, one after another": both(make_tiff(BANDS, planar=True), "tif", bright(BANDS[..., [3, 2, 1]])),
    "13 bands of 8 bits": both(make_tiff((BANDS // 16).astype(np.uint8)), "tif", (BANDS // 16)[..., [3, 2, 1]]),
    "4 bands of 16 bits": both(make_tiff(BANDS[..., :4]), "tif", bright(BANDS[..., :3])),
    "2 bands": both(make_tiff(BANDS[..., :2]), "tif", grey(bright(BANDS[..., 0]))),
    "4 bands, the last one nothing": both(make_tiff(np.dstack([RGB, RGB[..., 0]])), "tif", RGB),
    # without data
    "no data where it is 0": both(make_tiff(marked(LAND, 0), tag_42113=b"0\0"), "tif", where_not(LEFT, bright(LAND))),
    "no data where it is white": both(
        make_tiff(marked(LAND, 65_535), tag_42113=b"65535\0"), "tif", where_not(LEFT, bright(LAND))
    ),
    "no data in 8 bits": both(make_tiff(marked(RGB, 255), tag_42113=b"255\0"), "tif", where_not(LEFT, RGB)),
    "no number": both(make_tiff(marked(DECIMAL, np.nan), sample_format=3), "tif", where_not(LEFT, bright(LAND))),
    "endless numbers": both(make_tiff(marked(DECIMAL, np.inf), sample_format=3), "tif", where_not(LEFT, bright(LAND))),
    "nothing but no data": both(make_tiff(LAND * 0 + 9, tag_42113=b"9\0"), "tif", "data"),
    "nothing but no numbers": both(make_tiff(DECIMAL * np.nan, sample_format=3), "tif", "data"),
    # modes of 8 bits
    "a palette": both(saved(PALETTE, "PNG"), "png", np.asarray(PALETTE.convert("RGB"))),
    "a palette in a TIFF": both(saved(PALETTE, "TIFF"), "tif", np.asarray(PALETTE.convert("RGB"))),
    "1 bit": both(ONE_BIT, "png", pillows(ONE_BIT)),
    "grey": both(saved(Image.fromarray(RGB).convert("L"), "PNG"), "png", np.asarray(GREY)),
    "grey and alpha": (
        saved(Image.fromarray(half_transparent()).convert("LA"), "PNG"),
        "png",
        np.asarray(GREY),
        where_not(LEFT, np.asarray(GREY)),
    ),
    "RGB and alpha": (saved(Image.fromarray(half_transparent()), "PNG"), "png", RGB, where_not(LEFT, RGB)),
    "print colours": both(CMYK, "jpg", pillows(CMYK)),
    "turned by the camera": (turned_jpeg(), "jpg", pillows(JPEG), np.rot90(pillows(JPEG), -1)),
    # files
    "BigTIFF": both(saved(Image.fromarray(RGB), "TIFF", big_tiff=True), "tif", RGB),
    "JPEG in a TIFF": both(JPEG_IN_TIFF, "tif", pillows(JPEG_IN_TIFF)),
    "WebP in a TIFF": both(make_tiff(RGB, tag_259=(50_001,)), "tif", "compressed"),
    "JPEG 2000 in a TIFF of 16 bits": both(make_tiff(LAND, tag_259=(34_712,)), "tif", "compressed"),
    "a JPEG called .jfif": both(JPEG, "jfif", pillows(JPEG)),
    "a PNG called .jpg": both(PNG, "jpg", RGB),
    "a TIFF of 16 bits called .jpg": both(make_tiff(LAND), "jpg", bright(LAND)),
    "a JPEG called .tif": both(JPEG, "tif", pillows(JPEG)),
    "a GIF called .jpg": (saved(PALETTE, "GIF"), "jpg", np.asarray(PALETTE.convert("RGB")), "GIF"),
    "WebP": (saved(Image.fromarray(RGB), "WEBP", lossless=True), "webp", RGB, "WebP"),
    "BMP": (saved(Image.fromarray(RGB), "BMP"), "bmp", RGB, "BMP"),
    "one pixel": (saved(Image.new("RGB", (1, 1), (9, 80, 7)), "PNG"), "png", RGB * 0 + np.uint8([9, 80, 7]), "8 × 8"),
    "nothing in it": both(b"", "jpg", "empty"),
    "a web page": (b"<!DOCTYPE html><html>Please log in</html>", "jpg", "picture", "web page"),
    "a program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n", "jpg", "picture", "no JPEG"),
    "a JPEG cut short": both(JPEG[:-300], "jpg", "cut short"),
    "a PNG cut short": both(PNG[:3000], "png", "cut short"),
    "a PNG of 16 bits cut short": both(deep_png(DEEP)[:3000], "png", "cut short"),
    "a TIFF cut short": both(make_tiff(LAND)[:3000], "tif", "cut short"),
    "a TIFF without its values": both(make_tiff(LAND, tag_273=(9_000_000,) * 4), "tif", "cut short"),
    "a PNG that claims too much": (png_that_claims(60_000, 60_000), "png", "large", "pixels"),
    "a TIFF that claims too much": both(make_tiff(LAND, tag_256=(60_000,), tag_257=(60_000,)), "tif", "60,000"),
    "a TIFF that claims many bands": both(
        make_tiff(LAND, tag_277=(60_000,), tag_258=(16,) * 60_000, tag_339=(1,) * 60_000), "tif", "60,000 bands"
    ),
}


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", STRANGE)
def test_as_a_tile(
    name: str, small_folder: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content, ending, becomes, _ = STRANGE[name]
    path = small_folder(tmp_path / "source") / "Forest" / f"strange.{ending}"
    path.write_bytes(content)
    tiles = open_tiles(import_pictures(tmp_path / "source", tmp_path / "cache"), tmp_path / "cache")
    if isinstance(becomes, str):
        assert len(tiles) == 7
        (problem,) = tiles.problems
        assert (problem.unreadable, problem.count) == (True, 1)
        assert becomes in str(problem)
        assert becomes in tiles.description
    else:
        assert tiles.problems == ()
        found = tiles.array[tiles.names.index(f"Forest/strange.{ending}")]
        assert np.abs(found.astype(int) - becomes).max() <= 1
    assert capfd.readouterr().err == "", "27,000 such pictures would say it 27,000 times"


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", STRANGE)
def test_as_an_upload(name: str) -> None:
    content, _, _, becomes = STRANGE[name]
    if isinstance(becomes, str):
        with pytest.raises(DataError) as caught:
            read_picture(content)
        assert becomes in str(caught.value)
        assert str(caught.value).endswith(".")
    else:
        found = cut(read_picture(content), STRETCHES[0])
        assert np.abs(found.pixels.astype(int) - becomes).max() <= 1


@pytest.mark.parametrize("name", ["RGB of 16 bits", "13 bands", "decimal reflectances", "PNG of 16 bits, grey"])
def test_it_is_said_how_deep_pictures_became_tiles(
    name: str, small_folder: Callable[..., Path], tmp_path: Path
) -> None:
    place = small_folder(tmp_path / "source")
    content, ending, _, _ = STRANGE[name]
    (place / "Forest" / f"strange.{ending}").write_bytes(content)
    assert "0 to 255" in open_tiles(place, tmp_path / "cache").description
    assert any("0 to 255" in note for note in cut(read_picture(content), STRETCHES[0]).notes)
