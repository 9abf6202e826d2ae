"""Uploaded files: every mode and form of a good picture, and a sentence for everything else."""

import io
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eurosat_core.data.deep_tiff import FIRST_THREE
from eurosat_core.data.uploads import MOST_BYTES, MOST_PIXELS, read_picture
from eurosat_core.errors import DataError
from tests.png_makers import png_that_claims
from tests.tiff_makers import make_tiff

PIXELS = np.random.default_rng(4).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def saved(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_lossless_pictures_come_as_they_are(kind: str) -> None:
    picture = read_picture(saved(Image.fromarray(PIXELS), kind))
    np.testing.assert_array_equal(picture.values, PIXELS)
    assert (picture.height, picture.width, picture.notes, picture.bands) == (20, 30, (), 3)


def four_bands(alpha: np.ndarray, extra: int = 2) -> bytes:
    """A TIFF of red, green, blue and a fourth band. extra: what it is declared as; 2: transparency, 0: nothing."""
    return make_tiff(np.dstack([PIXELS, alpha]).astype(np.uint8), tag_338=(extra,))


def test_a_fourth_band_taken_as_transparency_can_be_ignored() -> None:
    infrared = np.random.default_rng(5).integers(20, 240, (20, 30))
    as_declared = read_picture(four_bands(infrared))
    assert as_declared.has_alpha
    assert as_declared.values.mean() < 0.7 * PIXELS.mean()
    assert any("infrared" in note for note in as_declared.notes)
    ignored = read_picture(four_bands(infrared), FIRST_THREE)
    np.testing.assert_array_equal(ignored.values, PIXELS)
    assert (ignored.bands, ignored.has_alpha, ignored.valid) == (4, False, None)
    np.testing.assert_array_equal(read_picture(four_bands(infrared), "3, 2 and 1").values, PIXELS[..., ::-1])
    buffer = saved(Image.fromarray(np.dstack([PIXELS, infrared]).astype(np.uint8)))
    np.testing.assert_array_equal(read_picture(buffer, FIRST_THREE).values, PIXELS)


def test_a_mask_of_what_is_transparent_is_believed() -> None:
    alpha = np.full((20, 30), 255)
    alpha[:5] = 0
    picture = read_picture(four_bands(alpha))
    assert picture.has_alpha
    assert "transparent" in picture.notes[0]
    np.testing.assert_array_equal(picture.valid, alpha > 0)
    opaque = read_picture(four_bands(np.full((20, 30), 255)))
    assert (opaque.has_alpha, opaque.valid) == (False, None)


def test_a_fourth_band_declared_as_nothing_is_ignored_and_it_says_so() -> None:
    picture = read_picture(four_bands(PIXELS[..., 0], extra=0))
    np.testing.assert_array_equal(picture.values, PIXELS)
    assert picture.bands == 4
    assert "ignored" in picture.notes[0]


@pytest.mark.parametrize("text", [b"nan\0", b"-inf\0", b"none\0", b"\0", b"1e400\0", b"-32768\0"])
def test_marks_that_no_pixel_can_have(text: bytes) -> None:
    picture = read_picture(make_tiff(PIXELS.astype(np.uint16), tag_42113=text))
    np.testing.assert_array_equal(picture.values, PIXELS)
    assert picture.valid is None


def test_a_transparent_colour_of_a_palette() -> None:
    few = Image.fromarray(PIXELS).quantize(4)
    values = read_picture(saved(few, transparency=0)).values
    assert (values[np.asarray(few) == 0] == 0).all()


HALF_EMPTY = make_tiff(np.where(np.arange(30)[:, None] < 6, 0, PIXELS + 1).astype(np.uint16), tag_42113=b"0\0")
NOTES = {
    "grey": (saved(Image.fromarray(PIXELS).convert("L")), "colours"),
    "1 bit": (saved(Image.fromarray(PIXELS).convert("1")), "colours"),
    "grey and alpha": (saved(Image.fromarray(PIXELS).convert("LA")), "colours"),
    "for print": (saved(Image.fromarray(PIXELS).convert("CMYK"), "JPEG"), "CMYK"),
    "without data": (HALF_EMPTY, "20.0"),
}


@pytest.mark.parametrize("name", NOTES)
def test_what_was_changed_is_said(name: str) -> None:
    content, words = NOTES[name]
    assert any(words in note for note in read_picture(content).notes)


BAD = {
    "text with another name": (b"Dear all, this is a picture. Really.", "picture"),
    "random bytes": (np.random.default_rng(1).bytes(3000), "picture"),
    "PDF": (b"%PDF-1.7\n...", "a PDF"),
    "SVG": (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG"),
    "HEIC": (b"\0\0\0\x18ftypheic" + b"\0" * 100, "HEIC"),
    "zip": (b"PK\x03\x04" + b"\0" * 100, "zip archive"),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    "only the start of a JPEG": (b"\xff\xd8\xff\xe0", "damaged"),
    "PNG bomb below Pillow's limit": (png_that_claims(8_000, 8_000), "8,000 × 8,000 pixels"),
    "no height": (png_that_claims(64, 0), "damaged"),
    "too small": (saved(Image.new("RGB", (7, 100))), "8 × 8"),
}


@pytest.mark.hostile
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", BAD)
def test_everything_else_gets_a_sentence(name: str) -> None:
    content, words = BAD[name]
    with pytest.raises(DataError) as caught:
        read_picture(content)
    assert words in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.hostile
def test_too_many_bytes_are_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "open", lambda *_args, **_options: pytest.fail("was opened"))
    with pytest.raises(DataError, match="20 MB"):
        read_picture(b"\x89PNG" + b"\0" * MOST_BYTES)


@pytest.mark.hostile
def test_a_large_picture_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda *_args: pytest.fail("was decoded"))
    side = int(MOST_PIXELS**0.5) + 1
    with pytest.raises(DataError, match="24 million"):
        read_picture(png_that_claims(side, side))


def test_nothing_of_it_is_written_or_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    read_picture(saved(Image.fromarray(PIXELS), "JPEG"))
    for content, _ in BAD.values():
        with pytest.raises(DataError):
            read_picture(content)
    assert not caplog.records
    assert not list(tmp_path.iterdir())
