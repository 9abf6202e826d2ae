"""The zip around a bundle of runs: opened only when every entry is expected, bounded in size, and no link.

Names of entries are compared with those of the manifest and never used as paths.
"""

import hashlib
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from eurosat_core.errors import RunError
from eurosat_core.lab.bundle_files import RUN_FILE, file_kind, strict_json
from eurosat_core.lab.runs import RunStore
from eurosat_core.wording import bytes_text, printable

__all__ = ["MANIFEST", "BundleFile", "Manifest", "open_bundle", "read_file"]

MANIFEST = "bundle.json"
_MB = 1024**2
_MOST_BYTES = 2048 * _MB  # unpacked, all together
_MOST_RUNS = 100
_MOST_ENTRIES = 4000
_MOST_RATIO = 200  # unpacked to packed: events are text that packs to a tenth
_SMALL_BYTES = 20 * _MB  # bundles that unpack to less are harmless, whatever their ratio
_MANIFEST_BYTES = 2 * _MB
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})  # others can swell without bounds while they are read
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError)


@dataclass(frozen=True)
class BundleFile:
    """One file of a run as the manifest has it: the entry in the archive, its bytes, its SHA-256."""

    entry: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a bundle says it holds: for each run its files by name."""

    FORMAT: ClassVar[int] = 1
    runs: dict[str, dict[str, BundleFile]]

    @property
    def total_bytes(self) -> int:
        """Of all files, unpacked."""
        return sum(each.size for files in self.runs.values() for each in files.values())


@contextmanager
def open_bundle(source: Path | BinaryIO) -> Iterator[tuple[zipfile.ZipFile, Manifest]]:
    """The archive and its manifest, once its table of contents can be trusted.

    Raises `RunError` with a sentence when it cannot, also for damage that shows while the archive is read.
    """
    try:
        size = _size(source)
        with zipfile.ZipFile(source) as archive:
            entries = _trusted(archive.infolist(), size)
            yield archive, _manifest(archive, entries)
    except FileNotFoundError as error:
        raise RunError(f"There is no file {source}. Check the path for a slip of the pen.") from error
    except (PermissionError, IsADirectoryError) as error:
        raise RunError(f"{source} cannot be read. Name a file that you may read.") from error
    except zipfile.BadZipFile as error:
        raise RunError("This is no bundle of runs, or it is cut short or damaged. Export or copy it again.") from error
    except _DAMAGE as error:
        raise RunError("The bundle is damaged: it cannot be unpacked. Export or copy it again.") from error


def _size(source: Path | BinaryIO) -> int:
    if isinstance(source, Path):
        status = source.stat()
        if not stat.S_ISREG(status.st_mode):
            raise RunError(f"{source} is not a file. Name a bundle of runs.")
        return status.st_size
    return source.seek(0, 2)


def _trusted(infos: list[zipfile.ZipInfo], size: int) -> dict[str, zipfile.ZipInfo]:
    """The entries by name. Raises `RunError` for links, odd names, bombs and what else a bundle does not have."""
    if len(infos) > _MOST_ENTRIES:
        raise RunError(f"The bundle holds {len(infos):,} files, more than any bundle of runs. It was left alone.")
    if infos and min(each.header_offset for each in infos) != 0:
        raise zipfile.BadZipFile("cut short after one of the zips that lie inside it")
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = info.orig_filename
        shown = printable(name, 60)
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise RunError(f"The bundle holds a link or something else that is no file ('{shown}'). It was left alone.")
        if not re.fullmatch(r"bundle\.json|runs/[a-z0-9_-]+/[A-Za-z0-9_.-]+", name) or ".." in name:
            raise RunError(f"The bundle holds a file that does not belong there ('{shown}'). It was left alone.")
        if name in entries:
            raise RunError(f"The bundle holds '{shown}' twice. It was left alone.")
        if info.flag_bits & 0x1:
            raise RunError("The bundle is encrypted. Bundles of runs are not: export it again.")
        if info.compress_type not in _METHODS:
            raise RunError(f"The bundle packs '{shown}' in another way than bundles do. Export it again.")
        entries[name] = info
    packed, unpacked = sum(each.compress_size for each in infos), sum(each.file_size for each in infos)
    if packed > size:
        raise RunError("The bundle is no honest archive: its entries overlap. It was left alone.")
    if unpacked > _MOST_BYTES or (unpacked > _SMALL_BYTES and unpacked > _MOST_RATIO * max(packed, 1)):
        raise RunError(
            f"The bundle would swell from {bytes_text(packed)} to {bytes_text(unpacked)}. At most "
            f"{bytes_text(_MOST_BYTES)} are unpacked; it was left alone."
        )
    return entries


def _manifest(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo]) -> Manifest:
    """The manifest, once it names exactly the entries that are there, with their sizes."""
    info = entries.get(MANIFEST)
    if info is None:
        raise RunError(f"This zip is no bundle of runs: it has no {MANIFEST}. Name a file that the lab exported.")
    if info.file_size > _MANIFEST_BYTES:
        raise RunError(f"The bundle's {MANIFEST} is too large to be one. It was left alone.")
    damaged = f"The bundle's {MANIFEST} is damaged. Export it again."
    try:
        values = strict_json(archive.read(info))
    except RunError as error:
        raise RunError(damaged) from error
    if not isinstance(values, dict):
        raise RunError(damaged)
    if values.get("format") != Manifest.FORMAT:
        raise RunError("The bundle was made by another version of the lab. Export it again with this version.")
    try:
        manifest = Manifest({each["id"]: _files(each["id"], each["files"]) for each in values["runs"]})
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(damaged) from error
    if not manifest.runs or len(manifest.runs) != len(values["runs"]) or len(manifest.runs) > _MOST_RUNS:
        raise RunError(f"The bundle holds no runs, one twice, or more than {_MOST_RUNS}. Export fewer at a time.")
    listed = {each.entry: each for files in manifest.runs.values() for each in files.values()}
    for name in sorted(listed.keys() ^ (entries.keys() - {MANIFEST})):
        state = "lacks" if name in listed else "holds"
        raise RunError(f"The bundle {state} a file against its own {MANIFEST} ('{name[:60]}'). It was left alone.")
    for name, each in listed.items():
        if entries[name].file_size != each.size:
            raise RunError(f"The bundle's '{name[:60]}' is not as large as {MANIFEST} says. Export or copy it again.")
    return manifest


def _files(run_id: Any, listed: dict[str, Any]) -> dict[str, BundleFile]:
    """The files of one run. Raises `RunError` for names and sizes that a run does not have."""
    RunStore(Path()).folder_of(str(run_id))  # refuses what is no run id
    files = {}
    for name, each in listed.items():
        kind, size, checksum = file_kind(name), each["bytes"], each["sha256"]
        if kind is None:
            raise RunError(f"The bundle holds a file that does not belong there ('{name[:60]}'). It was left alone.")
        if type(size) is not int or not re.fullmatch(r"[0-9a-f]{64}", checksum):
            raise TypeError("neither a size nor a checksum")
        if not 0 <= size <= kind.most_bytes:
            raise RunError(
                f"The bundle's {name} would take {bytes_text(size)}; at most {bytes_text(kind.most_bytes)} are taken."
            )
        files[name] = BundleFile(f"runs/{run_id}/{name}", size, checksum)
    if RUN_FILE not in files:
        raise RunError(f"The bundle has no {RUN_FILE} for run {run_id}. Export it again.")
    return files


def read_file(archive: zipfile.ZipFile, file: BundleFile) -> bytes:
    """The bytes of one file, no more than its size. Raises `RunError` when they are not those of the manifest."""
    with archive.open(file.entry) as opened:
        content = opened.read(file.size + 1)
    if len(content) != file.size or hashlib.sha256(content).hexdigest() != file.sha256:
        raise RunError(
            f"The bundle's '{file.entry[:60]}' is not what was exported: its checksum differs. Export or copy it again."
        )
    return content
