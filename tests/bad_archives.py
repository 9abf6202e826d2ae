"""Archives that cannot be used, each with the words of its sentence: `BAD`. How each is made is its function."""

import errno
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from zip_makers import DEFLATED, FOLDER, LINK, STORED, UTF8, Entry, jpeg, tree_entries, write_zip, zip_bytes

from eurosat_core.data import archive

__all__ = ["BAD", "GOOD"]

Patch = pytest.MonkeyPatch

GOOD = tree_entries(("Forest", "River"), each=3)


def _missing(path: Path, patch: Patch) -> None:
    pass


def _empty(path: Path, patch: Patch) -> None:
    path.write_bytes(b"")


def _text(path: Path, patch: Patch) -> None:
    path.write_text("no archive")


def _web_page(path: Path, patch: Patch) -> None:
    path.write_text("<!DOCTYPE html><html>Please log in</html>")


def _tar(path: Path, patch: Patch) -> None:
    path.write_bytes(b"\x1f\x8b\x08" + bytes(100))


def _cut(share: float) -> Callable[[Path, Patch], None]:
    def make(path: Path, patch: Patch) -> None:
        whole = zip_bytes(GOOD)
        path.write_bytes(whole[: max(4, int(len(whole) * share))])

    make.__name__ = f"_cut_after_{share}"
    return make


def _last_byte_missing(path: Path, patch: Patch) -> None:
    path.write_bytes(zip_bytes(GOOD)[:-1])


def _no_table_of_contents(path: Path, patch: Patch) -> None:
    whole = zip_bytes(GOOD)
    path.write_bytes(whole[: whole.index(b"PK\1\2")])


def _table_overwritten(path: Path, patch: Patch) -> None:
    whole = zip_bytes(GOOD)
    start, end = whole.index(b"PK\1\2"), whole.index(b"PK\5\6")
    path.write_bytes(whole[:start] + bytes(end - start) + whole[end:])


def _table_larger_than_the_file(path: Path, patch: Patch) -> None:
    whole = zip_bytes(GOOD)
    path.write_bytes(whole[:-10] + b"\xff\xff\xff\x7f" + whole[-6:])


def _name_that_is_no_text(path: Path, patch: Patch) -> None:
    write_zip(path, [*GOOD, Entry(b"Forest/\xff\xfe.jpg", jpeg())])


def _of_the_future(path: Path, patch: Patch) -> None:
    write_zip(path, [*GOOD, Entry("Forest/x.jpg", jpeg(), version=99)])


def _no_entries(path: Path, patch: Patch) -> None:
    write_zip(path, [])


def _encrypted(path: Path, patch: Patch) -> None:
    write_zip(path, [Entry(each.name, each.content, flags=UTF8 | 1) for each in GOOD])


def _one_encrypted(path: Path, patch: Patch) -> None:
    write_zip(path, [*GOOD, Entry("River/secret.jpg", jpeg(), flags=UTF8 | 1)])


def _nested(path: Path, patch: Patch) -> None:
    write_zip(path, [Entry("EuroSAT/EuroSAT.zip", zip_bytes(GOOD))])


def _no_pictures(path: Path, patch: Patch) -> None:
    write_zip(path, [Entry("Forest/notes.txt", b"none"), Entry("River/notes.txt", b"none")])


def _only_folders(path: Path, patch: Patch) -> None:
    write_zip(path, [Entry("Forest/", attributes=FOLDER), Entry("River.jpg/", attributes=FOLDER), Entry("", b"")])


def _loose_pictures(path: Path, patch: Patch) -> None:
    write_zip(path, [Entry("a.jpg", jpeg(1)), Entry("b.jpg", jpeg(2))])


def _only_copies_of_a_mac(path: Path, patch: Patch) -> None:
    write_zip(path, [Entry("__MACOSX/Forest/a.jpg", jpeg(1)), Entry("__MACOSX/River/b.jpg", jpeg(2))])


def _only_hidden(path: Path, patch: Patch) -> None:
    write_zip(path, [Entry("Forest/.a.jpg", jpeg(1)), Entry(".River/b.jpg", jpeg(2)), Entry(".tree/c.jpg", jpeg(3))])


def _named(name: str, title: str) -> Callable[[Path, Patch], None]:
    def make(path: Path, patch: Patch) -> None:
        write_zip(path, [*GOOD, Entry(name, jpeg())])

    make.__name__ = title
    return make


def _with_evil_folder(path: Path, patch: Patch) -> None:
    write_zip(path, [Entry("../evil/", attributes=FOLDER), *GOOD])


def _link(path: Path, patch: Patch) -> None:
    write_zip(path, [Entry("Forest", b"/etc", attributes=LINK), *GOOD])


def _link_among_the_pictures(path: Path, patch: Patch) -> None:
    write_zip(path, [*GOOD, Entry("Forest/x.jpg", b"../../../secret.jpg", attributes=LINK)])


def _both_folder_and_link(path: Path, patch: Patch) -> None:
    write_zip(path, [*GOOD, Entry("Forest/", b"/etc", attributes=LINK)])


def _both_folder_and_file(path: Path, patch: Patch) -> None:
    write_zip(path, [*GOOD, Entry("Forest/x.jpg/", jpeg())])


def _swells(path: Path, patch: Patch) -> None:
    write_zip(path, [*GOOD, Entry("Forest/zeros.bmp", bytes(51 * 1024**2), DEFLATED)])


def _claims_to_swell(path: Path, patch: Patch) -> None:
    write_zip(path, [*GOOD, Entry("Forest/x.jpg", jpeg(), file_size=3 * 1024**3)])


def _swells_beside_the_pictures(path: Path, patch: Patch) -> None:
    write_zip(path, [*GOOD, Entry("notes.txt", b"", file_size=3 * 1024**3)])


def _too_many_entries(path: Path, patch: Patch) -> None:
    patch.setattr(archive, "_LIMITS", replace(archive._LIMITS, entries=5))
    write_zip(path, GOOD)


def _overlapping(path: Path, patch: Patch) -> None:
    big = Entry("Forest/0.jpg", jpeg() * 100)
    write_zip(path, [big, *(Entry(f"River/{n}.jpg", big.content, same_bytes_as=0) for n in range(1, 100))])


def _all_by_an_unknown_method(path: Path, patch: Patch) -> None:
    write_zip(path, [Entry(each.name, each.content, method=97, packed=b"?" * 50) for each in GOOD])


def _all_damaged(path: Path, patch: Patch) -> None:
    write_zip(path, [Entry(each.name, each.content, STORED, crc=1) for each in GOOD])


def _all_elsewhere(path: Path, patch: Patch) -> None:
    """The table of contents says that they begin before the file does."""
    path.write_bytes(zip_bytes(GOOD, shift=100))


def _all_names_too_long(path: Path, patch: Patch) -> None:
    write_zip(path, [Entry(f"{name}/{'x' * 300}.jpg", jpeg()) for name in ("Forest", "River")])


def _all_too_large(path: Path, patch: Patch) -> None:
    patch.setattr(archive, "_MAX_PICTURE_BYTES", 100)
    write_zip(path, GOOD)


def _refuse(patch: Patch, target: object, name: str, error: OSError, when: Callable[[Path], bool]) -> None:
    """Let a method of Path fail, as if the disk did."""
    honest = getattr(target, name)

    def fail(path: Path, *args: object, **options: object) -> object:
        if when(path):
            raise error
        return honest(path, *args, **options)

    patch.setattr(target, name, fail)


def _forbidden(path: Path, patch: Patch) -> None:
    write_zip(path, GOOD)
    refusal = PermissionError(errno.EACCES, "Permission denied", str(path))  # root may read it all: it is played
    _refuse(patch, Path, "open", refusal, lambda each: each == path)


def _on_a_broken_disk(path: Path, patch: Patch) -> None:
    write_zip(path, GOOD)
    _refuse(patch, Path, "open", OSError(errno.EIO, "Input/output error"), lambda each: each == path)


def _may_not_be_written(path: Path, patch: Patch) -> None:
    write_zip(path, GOOD)
    refusal = PermissionError(errno.EACCES, "Permission denied", "/cache/Forest/Forest_1.jpg")
    _refuse(patch, Path, "open", refusal, lambda each: each.suffix == ".jpg")


def _disk_full_midway(path: Path, patch: Patch) -> None:
    write_zip(path, GOOD)
    full = OSError(errno.ENOSPC, "No space left on device")
    _refuse(patch, Path, "open", full, lambda each: each.name == "River_2.jpg")


def _disk_full_before(path: Path, patch: Patch) -> None:
    write_zip(path, GOOD)
    usage = shutil.disk_usage(path.parent)._replace(free=sum(len(each.content) for each in GOOD) - 1)
    patch.setattr(shutil, "disk_usage", lambda _place: usage)


def _read_error_midway(path: Path, patch: Patch) -> None:
    write_zip(path, GOOD)

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    patch.setattr(zipfile.ZipFile, "open", fail)


LEADS_OUT = ["wants to write outside of its folder", "It was left alone"]
CUT = ["is cut short or damaged", "Download or copy it again"]
NO_PICTURES = ["holds no pictures in class folders", "one folder per class", "2750/Forest/Forest_1.jpg"]
NO_ZIP = ["is not a zip archive", "Name an EuroSAT.zip, or a folder"]
BAD: list[tuple[Callable[[Path, Patch], None], list[str]]] = [
    (_empty, ["is an empty file", "Download or copy it again"]),
    (_text, NO_ZIP),
    (_web_page, NO_ZIP),
    (_tar, NO_ZIP),
    *((_cut(share), CUT) for share in (0, 0.1, 0.5, 0.8, 0.95)),
    (_last_byte_missing, CUT),
    (_no_table_of_contents, CUT),
    (_table_overwritten, CUT),
    (_table_larger_than_the_file, CUT),
    (_name_that_is_no_text, CUT),
    (_of_the_future, CUT),
    (_no_entries, NO_PICTURES),
    (_encrypted, ["is encrypted", "Unpack it with its password and name the folder"]),
    (_one_encrypted, ["is encrypted"]),
    (_nested, [*NO_PICTURES, "It holds another archive: unpack that first"]),
    (_no_pictures, NO_PICTURES),
    (_only_folders, NO_PICTURES),
    (_loose_pictures, NO_PICTURES),
    (_only_copies_of_a_mac, NO_PICTURES),
    (_only_hidden, NO_PICTURES),
    (_named("../evil.jpg", "_one_up"), [*LEADS_OUT, "'../evil.jpg'"]),
    (_named("Forest/../../../evil.jpg", "_up_within"), LEADS_OUT),
    (_named("Forest/..", "_up_at_the_end"), LEADS_OUT),
    (_named("/etc/x.jpg", "_absolute"), [*LEADS_OUT, "'/etc/x.jpg'"]),
    (_named("//server/share/x.jpg", "_absolute_twice"), LEADS_OUT),
    (_named("C:\\x.jpg", "_drive"), [*LEADS_OUT, "'C:\\x.jpg'"]),
    (_named("c:/Windows/x.jpg", "_drive_with_slash"), LEADS_OUT),
    (_named("c:x.jpg", "_drive_without_slash"), LEADS_OUT),
    (_named("Forest/C:/x.jpg", "_drive_within"), LEADS_OUT),
    (_named("Forest/C:x.jpg", "_drive_at_the_end"), LEADS_OUT),
    (_named("..\\evil.jpg", "_backslash_up"), LEADS_OUT),
    (_named("Forest\\..\\..\\evil.jpg", "_backslash_up_within"), LEADS_OUT),
    (_named("\\\\server\\share\\x.jpg", "_share"), LEADS_OUT),
    (_with_evil_folder, LEADS_OUT),
    (_link, ["holds a link ('Forest')", "Links can lead anywhere, so it was left alone"]),
    (_link_among_the_pictures, ["holds a link ('Forest/x.jpg')"]),
    (_both_folder_and_link, ["holds a link ('Forest/')"]),
    (_both_folder_and_file, ["contradicts itself about 'Forest/x.jpg/'"]),
    (_named("Forest/a\nb.jpg", "_line_break_in_a_name"), ["a name with control characters ('Forest/a?b.jpg')"]),
    (_named("Forest/a.jpg\0.txt", "_nul_in_a_name"), ["a name with control characters"]),
    (_named("\0", "_nul_alone"), ["a name with control characters"]),
    (_swells, ["would swell from 0.1 MB to 51 MB"]),
    (_claims_to_swell, ["would swell from 0.0 MB to 3.0 GB"]),
    (_swells_beside_the_pictures, ["would swell"]),
    (_too_many_entries, ["holds 6 files; at most 5 are unpacked"]),
    (_overlapping, ["no honest archive: its entries overlap"]),
    (_all_by_an_unknown_method, ["None of the pictures", "6 × packed by another method", "Forest/Forest_1.jpg", "97"]),
    (
        _all_damaged,
        ["None of the pictures", "6 × damaged in the archive", "Forest/Forest_1.jpg", "Download or copy it again"],
    ),
    (_all_elsewhere, ["None of the pictures", "Forest/Forest_1.jpg"]),
    (_all_names_too_long, ["None of the pictures", "its name is too long"]),
    (_all_too_large, ["None of the pictures", "too large to be a tile"]),
    (_missing, ["There is no ", "Check the path"]),
    (_forbidden, ["may not be read", "Give yourself read permission"]),
    (_on_a_broken_disk, ["cannot be read: Input/output error", "Copy it to a local disk"]),
    (_may_not_be_written, ["Forest_1.jpg may not be written. Give yourself permission", "EUROSAT_CACHE"]),
    (_disk_full_midway, ["could not be unpacked into", "No space left on device. Free some disk space"]),
    (_disk_full_before, ["the pictures need 0.0 MB, and 0.0 MB are free. Free some disk space", "EUROSAT_CACHE"]),
    (_read_error_midway, ["could not be unpacked", "Input/output error"]),
]
