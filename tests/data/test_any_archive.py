"""Whatever zip is made up: what comes out of it lies in its folder, and nothing is written elsewhere."""

import stat
import tempfile
from pathlib import Path

import pytest
from bad_archives import GOOD
from hypothesis import example, given, settings
from hypothesis import strategies as st
from unpacking_place import snapshot
from zip_makers import DEFLATED, FILE, FOLDER, LINK, PIPE, STORED, UTF8, Entry, jpeg, zip_bytes

from eurosat_core.data.archive import unpack_pictures
from eurosat_core.errors import DataError

Patch = pytest.MonkeyPatch

TAME = st.sampled_from(
    [
        "Forest",
        "River",
        "outside",
        "target",
        "a.jpg",
        "b.PNG",
        "secret.jpg",
        "nul.jpg",
        "x" * 300,
        "é",
        "e\u0301",
        "🌲.jpg",
    ]
) | st.sampled_from(
    [".", "", " ", "~", "$HOME", "|", "*?.jpg", "... ", "a.jpg ", ".jpg", ".hidden", "__MACOSX", "a:b.jpg"]
)
WILD = st.sampled_from(["..", "C:", "c:", "\0", "\n", "\u202egpj.exe"]) | st.text(max_size=6)
SEPARATORS = st.sampled_from(["/", "/", "/", "\\", "//", "/./", "\\\\", ""])


@st.composite
def names(draw: st.DrawFn) -> str:
    """Words in folders; one in eight with something in it that should never be written."""
    wild = draw(st.integers(0, 7)) == 7
    name = draw(st.sampled_from(["", "/", "\\", "../", "//"])) if wild else ""
    for _ in range(draw(st.integers(1, 5))):
        name += draw(TAME | WILD if wild else TAME) + draw(SEPARATORS)
    name = name if draw(st.integers(0, 4)) == 0 else name.rstrip("/\\")
    return name if wild else name.lstrip("/\\")


PLAIN = st.builds("{}/{}.jpg".format, st.sampled_from(["Forest", "River"]), st.integers(0, 3))
ENTRIES = st.builds(
    Entry,
    name=PLAIN | names(),
    content=st.sampled_from([b"", b"../../outside", jpeg(1)]) | st.binary(max_size=50),
    method=st.sampled_from([STORED, STORED, DEFLATED, DEFLATED, 12, 14, 99]),
    flags=st.sampled_from([0, UTF8, UTF8, UTF8, UTF8 | 8, UTF8 | 0x20]),
    attributes=st.sampled_from([FILE] * 20 + [FOLDER, LINK, PIPE, 0, 0x10, 0xFFFFFFFF]),
    crc=st.sampled_from([None, None, None, 1]),
    packed=st.none() | st.none() | st.binary(max_size=50),
    packed_size=st.none() | st.none() | st.integers(0, 300),
    file_size=st.none() | st.none() | st.integers(0, 3000),
    offset=st.none() | st.none() | st.integers(0, 2**32 - 1),
)


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """An archive of odd entries, often beside sound ones; one in three damaged in a few bytes, cut, or continued."""
    entries = draw(st.lists(ENTRIES, max_size=4))
    if draw(st.integers(0, 3)) == 0:  # a name in bytes that are no text, or in the old coding of zips
        name = draw(names()).encode("utf-16") if draw(st.booleans()) else draw(st.binary(max_size=8)) + b"/a/b.jpg"
        entries.append(Entry(name, jpeg(), flags=draw(st.sampled_from([0, 0, 0, UTF8]))))
    content = bytearray(zip_bytes([*GOOD, *entries] if draw(st.booleans()) else entries))
    if draw(st.integers(0, 2)) == 0:
        start = draw(st.sampled_from([0, 0, bytes(content).find(b"PK\1\2"), -1])) % len(content)
        for _ in range(draw(st.integers(0, 4))):
            content[draw(st.integers(start, len(content) - 1))] = draw(st.integers(0, 255))
        content = content[: draw(st.just(len(content)) | st.just(len(content)) | st.integers(0, len(content)))]
        content += draw(st.sampled_from([b"", b"more"]))
    return bytes(content)


@settings(max_examples=300)
@example(content=zip_bytes([*GOOD, Entry("../outside/evil.jpg", jpeg())]))
@example(content=zip_bytes([Entry("Forest", b"../../outside", attributes=LINK), Entry("Forest/evil.jpg", jpeg())]))
@example(content=zip_bytes([Entry("../outside/secret.jpg", jpeg()), Entry("..\\outside\\secret.jpg", jpeg())]))
@example(content=zip_bytes([Entry("outside/Forest/../../../outside/secret.jpg", jpeg())]))
@given(content=archives())
def test_nothing_appears_outside_whatever_the_archive(content: bytes, tmp_path: Path, monkeypatch: Patch) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path) as made:
        root = Path(made)
        work = root / "work"
        for path in (root / "outside" / "secret.jpg", work / "outside" / "secret.jpg"):
            path.parent.mkdir(parents=True)
            path.write_text("as it was")
        (work / "a.zip").write_bytes(content)
        target = work / "target"
        monkeypatch.chdir(work)  # so that what is written relative to the process is seen too
        before = snapshot(root, target)
        try:
            unpacked = unpack_pictures(work / "a.zip", target)
        except DataError as error:
            assert len(str(error).splitlines()) == 1
        else:
            found = [path.relative_to(target) for path in target.rglob("*") if not path.is_dir()]
            assert len(found) == unpacked.pictures > 0
            assert all(len(path.parts) in (2, 3) for path in found)
            assert all(len(str(each).splitlines()) == 1 for each in unpacked.left_out)
        # Whether it went well or not: only plain files and folders, and all as it was elsewhere.
        kinds = {stat.S_IFMT(path.lstat().st_mode) for path in target.rglob("*")} if target.exists() else set()
        assert kinds <= {stat.S_IFREG, stat.S_IFDIR}
        assert snapshot(root, target) == before
        monkeypatch.chdir(tmp_path)
