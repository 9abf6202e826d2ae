"""Traces as they are packed for mail and downloads: opened where one trace is in it, else named."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import time
import zipfile

import pytest
from trace_makers import assert_refused, host, kernel, launch, step, text

from eurosat_core.errors import TraceError
from eurosat_core.profiling import stream
from eurosat_core.profiling.plugin_copy import plugin_copy
from eurosat_core.profiling.trace import read_trace

WHOLE = text([step(1, 0, 100), host("aten::mm", 10, 50, external=1), launch(5, 20, external=1), kernel(5, 30, 60)])


def zipped(files, method=zipfile.ZIP_DEFLATED):
    """A zip of {name: content}; None makes a folder."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in files.items():
            if content is None:
                archive.mkdir(name)
            else:
                archive.writestr(name, content)
    return packed.getvalue()


def tarred(files, packing="", form=tarfile.PAX_FORMAT):
    """A tar of {name: content}; packing: `gz` for one inside gzip."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=f"w:{packing}", format=form) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


TWICE = gzip.compress(gzip.compress(WHOLE))
OPENED = {
    "zip": zipped({"trace.json": WHOLE}),
    "zip, stored": zipped({"trace.json": WHOLE}, zipfile.ZIP_STORED),
    "zip with a folder": zipped({"run/": None, "run/trace.json": WHOLE}),
    "zip of a Mac": zipped({"trace.json": WHOLE, "__MACOSX/._trace.json": b"\0\5\x16\7", ".DS_Store": b"\0"}),
    "zip of a gzip": zipped({"worker.pt.trace.json.gz": gzip.compress(WHOLE)}),
    "zip with a text": zipped({"README.md": b"read me", "trace.json": WHOLE}),
    "zip with settings": zipped({"config.json": b"{}", "worker0.17.pt.trace.json": WHOLE}),
    "zip, file without an ending": zipped({"trace": WHOLE}),
    "zip, capital letters": zipped({"TRACE.JSON": WHOLE}),
    "zip, a name that leads out": zipped({"../../trace.json": WHOLE}),
    "tar": tarred({"trace.json": WHOLE}),
    "tar.gz": tarred({"./trace.json": WHOLE}, "gz"),
    "tar.gz with a long name": tarred({"run/" * 60 + "trace.json": WHOLE, "notes.txt": b"-" * 9000}, "gz"),
    "tar of GNU": tarred({"run/" * 60 + "trace.json.gz": gzip.compress(WHOLE)}, "gz", tarfile.GNU_FORMAT),
    "tar.gz in a gzip": gzip.compress(tarred({"trace.json": WHOLE}, "gz")),
    "gzip in gzip": TWICE,
    "gzip in gzip in gzip": gzip.compress(TWICE),
}


@pytest.mark.parametrize("case", OPENED)
def test_one_trace_is_opened_however_it_is_packed(case, tmp_path):
    content = OPENED[case]
    assert len(read_trace(content)) == 4
    (tmp_path / "upload").write_bytes(content)
    assert len(read_trace(tmp_path / "upload")) == 4
    upload = io.BytesIO(content)
    assert len(read_trace(upload)) == 4
    assert not upload.closed
    assert gzip.decompress(b"".join(plugin_copy(content))).startswith(b'{"schemaVersion"')


@pytest.mark.parametrize("size", [7, 600, 1 << 20])
def test_pieces_of_any_size_give_the_same(size, monkeypatch):
    monkeypatch.setattr(stream, "PIECE", size)
    for content in OPENED.values():
        assert len(read_trace(content)) == 4


# A zip whose entry says that it is encrypted, here and in the table of contents.
ENCRYPTED = bytearray(zipped({"trace.json": WHOLE}))
ENCRYPTED[6] |= 1
ENCRYPTED[ENCRYPTED.index(b"PK\x01\x02") + 8] |= 1
BLANKS = b" " * 100 * 1024**2
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
NAMED = {
    "two traces": (zipped({"a.json": WHOLE, "b.json": WHOLE}), r"2 traces \(a\.json and b\.json\)"),
    "four traces": (tarred({f"{n}.pt.trace.json": WHOLE for n in range(4)}, "gz"), "4 traces .* and more"),
    "no trace": (zipped({"a.png": b"1", "b.png": b"2"}), "2 files"),
    "empty zip": (zipped({}), "no file"),
    "empty tar": (tarred({}, "gz"), "not a profiler"),
    "zip in zip": (zipped({"inner.zip": OPENED["zip"]}), "another archive"),
    "tar in zip": (zipped({"inner.tar": OPENED["tar"]}), "another archive"),
    "zip in gzip": (gzip.compress(OPENED["zip"]), "another archive"),
    "packed for ever": (gzip.compress(gzip.compress(TWICE)), "several times"),
    "encrypted": (bytes(ENCRYPTED), "encrypted"),
    "bzip2 in zip": (zipped({"trace.json": WHOLE}, zipfile.ZIP_BZIP2), "another method"),
    "picture in zip": (zipped({"trace.json": b"\x89PNG\r\n"}), "not a profiler"),
    "zip cut off": (OPENED["zip"][:-30], "cut short"),
    "zip with a broken sum": (OPENED["zip, stored"].replace(b"aten::mm", b"aten::mn", 1), "cut short"),
    "tar cut off": (OPENED["tar"][:700], "cut short"),
    "tar.gz cut off": (OPENED["tar.gz"][:200], "gzip .*middle"),
    "Git LFS": (POINTER, "Git LFS"),
    "Git LFS in zip": (zipped({"trace.json": POINTER}), "Git LFS"),
    "git-annex": (b"/annex/objects/SHA256E-s1--a.json\n", "git-annex"),
    "web page": (b"<!DOCTYPE html><html></html>", "web page"),
    "bzip2": (bz2.compress(WHOLE), "bzip2"),
    "xz": (lzma.compress(WHOLE), " xz"),
    "Zstandard": (b"\x28\xb5\x2f\xfd" + bytes(20), "Zstandard"),
    "7-Zip": (b"7z\xbc\xaf\x27\x1c" + bytes(20), "7-Zip"),
}


@pytest.mark.hostile
@pytest.mark.parametrize("case", NAMED)
def test_anything_else_is_named_with_what_to_do(case):
    assert_refused(*NAMED[case])


@pytest.mark.hostile
@pytest.mark.parametrize(
    "content",
    [
        zipped({"trace.json": BLANKS}),
        gzip.compress(gzip.compress(BLANKS)),
        tarred({"trace.json": BLANKS}, "gz"),
        tarred({"notes.txt": BLANKS, "trace.json": WHOLE}, "gz"),
    ],
    ids=["zip", "gzip in gzip", "tar", "beside the trace"],
)
def test_bombs_are_given_up_early(content, monkeypatch):
    monkeypatch.setattr(stream, "MAX_BYTES", 8 * 1024**2)
    assert len(content) < 1024**2
    began = time.perf_counter()
    with pytest.raises(TraceError, match="larger than"):
        read_trace(content)
    assert time.perf_counter() - began < 10


@pytest.mark.hostile
def test_archives_of_very_many_files_are_left_alone(monkeypatch):
    monkeypatch.setattr(stream, "_MAX_ENTRIES", 20)
    with pytest.raises(TraceError, match="20 files"):
        read_trace(tarred({f"{number}.txt": b"" for number in range(30)}, "gz"))
    monkeypatch.setattr(stream, "_MAX_READ", 1000)
    with pytest.raises(TraceError, match="cut short"):
        read_trace(zipped({f"{number}.txt": b"" for number in range(30)}))


@pytest.mark.hostile
@pytest.mark.parametrize("kind", [b"x", b"L", b"g"])
def test_a_header_that_wants_gigabytes_is_not_read(kind):
    """Tar's headers may have texts of any length, and `tarfile` takes each of them into memory."""
    header = bytearray(tarfile.TarInfo("long").tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = b"%011o\0" % (2 * 1024**3)
    header[156:157] = kind
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with pytest.raises(TraceError, match="cut short"):
        read_trace(bytes(header) + bytes(1 << 20))


@pytest.mark.hostile
def test_headers_without_end_are_no_crash():
    """Each says that the next one's name is longer: `tarfile` goes one call deeper for every one."""
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 5
    one = header.tobuf(tarfile.GNU_FORMAT) + b"name\0".ljust(512, b"\0")
    with pytest.raises(TraceError, match="cut short"):
        read_trace(gzip.compress(one * 20_000))


@pytest.mark.hostile
def test_a_table_of_contents_that_lies_is_no_crash():
    packed = bytearray(OPENED["zip"])
    end = packed.rindex(b"PK\x05\x06")
    for size, offset in ((0xFFFFFFF0, 0), (0, 0xFFFFFFF0), (0xFFFFFFF0, 0xFFFFFFF0)):
        packed[end + 12 : end + 20] = struct.pack("<II", size, offset)
        with pytest.raises(TraceError):
            read_trace(bytes(packed))


@pytest.mark.parametrize("packed", [False, True])
def test_how_much_was_read_is_told_as_it_goes(packed):
    content = text([host("aten::mm", 10.0 * each, 5) for each in range(60_000)])
    told = []
    trace = read_trace(gzip.compress(content, 1) if packed else content, told.append)
    assert len(trace) == 60_000
    assert told == sorted(set(told)) and told[-1] == 1.0
    assert len(told) >= (1 if packed else 3)  # packed, it is read in one piece
