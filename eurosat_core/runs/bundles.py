"""Runs as one file, to take from one lab to another: written, checked, and read from an archive nobody vouches for.

A bundle is a zip with `bundle.json` (format, and for every run its files with size and SHA-256) and
`runs/<id>/<file>`. It comes from somebody else's machine, so nothing in it is taken for granted: whatever is not named
here is refused, names of entries are compared with the manifest's and never used as paths, and each file is read with a
bound before anything else of the lab opens it. An import is checked in a hidden folder of the store, and only then
takes its place there: as a whole, or not at all.
"""

import gzip
import hashlib
import io
import json
import math
import os
import pickle
import re
import secrets
import shutil
import stat
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, BinaryIO, NoReturn

import torch
from msgspec import Meta, Struct

from eurosat_core import __version__
from eurosat_core.data.safe_zip import DAMAGE, METHODS, ZipLimits, check_contents
from eurosat_core.errors import RunError
from eurosat_core.records import decoded, texts
from eurosat_core.runs.history import read_event
from eurosat_core.runs.record import RunRecord, record_in
from eurosat_core.runs.store import RunStore
from eurosat_core.speed.result import SweepResult
from eurosat_core.training.evaluation import predictions_from_bytes
from eurosat_core.training.transfer import TransferResult
from eurosat_core.wording import bytes_text, count, printable

_RUN_FILE = "run.json"
_MB = 1024**2
_MOST_TILES = 1_000_000  # as many as a training may be asked to use
_Plain = str | int | float | bool | None


@dataclass(frozen=True)
class _FileKind:
    """One kind of file in a bundle: its name (a pattern), its size at most, whether it is weights, and its check.

    check: called with the content and the run's record; raises `RunError` with what is wrong, as half a sentence.
    """

    name: re.Pattern[str]
    most_bytes: int
    check: Callable[[bytes, RunRecord], None]
    is_weights: bool = False
    is_packed: bool = False


def _kind_of(name: str) -> _FileKind | None:
    """What kind of file bears this name; None for one that has no business in a bundle."""
    return next((each for each in _KINDS if each.name.fullmatch(name)), None)


def _check_file(name: str, content: bytes, record: RunRecord) -> None:
    """Raises `RunError` with a sentence when a file of a run is not what its name says."""
    kind = _kind_of(name)
    assert kind is not None, "such files are left out or refused before"
    try:
        kind.check(content, record)
    except RunError as error:
        raise RunError(f"The {name} of run {record.id} {error}, so it was left alone.") from error


def _strict_json(content: bytes, problem: str = "is not JSON that can be read") -> Any:
    """JSON values whose figures are finite and of a size that figures have. Raises `RunError` with `problem`."""
    try:
        return json.loads(content, parse_constant=_refuse, parse_int=_whole_number, parse_float=_real_number)
    except (ValueError, RecursionError) as error:
        raise RunError(problem) from error


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"a figure that is {word[:20]}")


def _whole_number(text: str) -> int:
    value = int(text)
    return value if abs(value) < 2**63 else _refuse(text)


def _real_number(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def _whole_events(content: bytes) -> bytes:
    """The lines that are events of a run: a torn last one, and what else a crash left, stay behind."""
    events = []
    for line in content.splitlines():
        with suppress(RunError):
            read_event(line)
            events.append(line + b"\n")
    return b"".join(events)


def _check_run(content: bytes, record: RunRecord) -> None:
    """What the store's own parser leaves open, which trusts what this lab has written."""
    if record.is_active:
        raise RunError("says that it is still under way; only a run that has ended can be taken over")
    odd = "holds figures of another kind than a run has"
    decoded(dict[str, _Plain | dict[str, _Plain]], record.machine, odd)
    told = list(texts({**record.machine, **record.summary}))
    if len(told) > 400:
        raise RunError(odd)
    told += [record.owner, record.recorded_on, record.kind, *record.concurrent_runs, *record.tiles.class_names]
    if any(len(each) > 200 or not each.isprintable() for each in told) or len(record.message) > 2000:
        raise RunError("holds texts that no lab has written")
    names = record.tiles.class_names
    if not 1 <= record.tiles.count <= 10 * _MOST_TILES or not len(set(names)) == len(names) <= 1000:
        raise RunError("does not say which tiles it used")


def _check_events(content: bytes, record: RunRecord) -> None:
    if _whole_events(content).splitlines() != content.splitlines():
        raise RunError("holds a line that is no event of a run")


def _check_predictions(content: bytes, record: RunRecord) -> None:
    _check_inner_zip(content, most_bytes=4 * (256 + 8 * _MOST_TILES))
    try:
        said = predictions_from_bytes(content)
    except RunError as error:
        raise RunError("is damaged") from error
    columns = (said.tiles, said.true, said.predicted, said.confidence)
    if any(each.ndim != 1 or len(each) != len(said) for each in columns) or not len(said):
        raise RunError("has columns of different lengths")
    if any(each.dtype.is_floating_point or each.dtype == torch.bool for each in columns[:3]):
        raise RunError("has labels that are no whole numbers")
    for each, most in zip(columns[:3], (record.tiles.count, *2 * [len(record.tiles.class_names)]), strict=True):
        if int(each.min()) < 0 or int(each.max()) >= most:
            raise RunError("names tiles or classes that the run does not have")
    if len(said.tiles.unique()) != len(said):
        raise RunError("names a tile twice")
    sure = said.confidence
    if not sure.dtype.is_floating_point or not bool(((sure >= 0) & (sure <= 1.001)).all()):
        raise RunError("has confidences above 1, or none at all")


def _check_split(content: bytes, record: RunRecord) -> None:
    parts = decoded(dict[str, list[int]], _strict_json(content), "holds something else than numbers of tiles")
    if not set(parts) <= {"train", "validation", "test"}:
        raise RunError("does not hold the parts of a split")
    for numbers in parts.values():
        if numbers and not 0 <= min(numbers) <= max(numbers) < record.tiles.count:
            raise RunError("names tiles that the run does not have")


def _check_weights(content: bytes, record: RunRecord) -> None:
    _check_inner_zip(content, most_bytes=2 * len(content))
    try:
        weights = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise RunError("holds no weights, or code beside them") from error
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(each, torch.Tensor) for name, each in weights.items()
    ):
        raise RunError("holds something else than weights")


def _check_inner_zip(content: bytes, most_bytes: int) -> None:
    """NumPy's and PyTorch's files are zips themselves, which could swell while they are read."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as inner:
            unpacked = sum(each.file_size for each in inner.infolist())
    except (*DAMAGE, OSError) as error:
        raise RunError("is damaged") from error
    if unpacked > most_bytes:
        raise RunError(f"would swell to {bytes_text(unpacked)}")


def _check_trace(content: bytes, record: RunRecord) -> None:
    done, start = 0, b""
    try:
        with gzip.open(io.BytesIO(content)) as unpacked:
            while piece := unpacked.read(_MB):
                start, done = start or piece.lstrip()[:1], done + len(piece)
                if done > _LARGEST_TRACE:
                    raise RunError(f"would swell to more than {bytes_text(_LARGEST_TRACE)}")
    except (OSError, EOFError, zlib.error) as error:
        raise RunError("is damaged") from error
    if start not in (b"{", b"["):
        raise RunError("is no trace of a profiler")


def _check_sweep(content: bytes, record: RunRecord) -> None:
    _strict_json(content)
    try:
        SweepResult.from_json(content)
    except RunError as error:
        raise RunError("is damaged") from error


def _check_transfer(content: bytes, record: RunRecord) -> None:
    _strict_json(content)
    try:
        TransferResult.from_json(content)
    except RunError as error:
        raise RunError("is damaged") from error


def _check_json(content: bytes, record: RunRecord) -> None:
    decoded(dict[str, Any], _strict_json(content), "holds something else than figures by their names")


_LARGEST_TRACE = 1024 * _MB  # unpacked
_KINDS = (
    _FileKind(re.compile(r"run\.json"), 256 * 1024, _check_run),
    _FileKind(re.compile(r"events\.jsonl"), 64 * _MB, _check_events),
    _FileKind(re.compile(r"(predictions|test)\.npz"), 32 * _MB, _check_predictions, is_packed=True),
    _FileKind(re.compile(r"split\.json"), 32 * _MB, _check_split),
    _FileKind(re.compile(r"trace_[1-9][0-9]{0,3}\.json\.gz"), 256 * _MB, _check_trace, is_packed=True),
    _FileKind(re.compile(r"operators\.json"), 32 * _MB, _check_json),  # of earlier versions
    _FileKind(re.compile(r"sweep\.json"), 8 * _MB, _check_sweep),
    _FileKind(re.compile(r"transfer\.json"), 8 * _MB, _check_transfer),
    _FileKind(re.compile(r"model(_epoch_[0-9]{3})?\.pt"), 600 * _MB, _check_weights, is_weights=True, is_packed=True),
)


_MANIFEST = "bundle.json"
_FORMAT = 1
_MOST_RUNS = 100
_LIMITS = ZipLimits(entries=4000, harmless_bytes=20 * _MB, most_bytes=2048 * _MB)
_MANIFEST_BYTES = 2 * _MB


class _ListedFile(Struct):
    """One file of a run in `bundle.json`."""

    bytes: int
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class _ListedRun(Struct):
    """One run in `bundle.json`, its files by name."""

    id: str
    files: dict[str, _ListedFile]


def _entry(run_id: str, name: str) -> str:
    """Where a file of a run lies in the archive."""
    return f"runs/{run_id}/{name}"


@contextmanager
def _opened(source: Path | BinaryIO) -> Iterator[tuple[zipfile.ZipFile, list[_ListedRun]]]:
    """The archive and its runs, once its table of contents can be trusted.

    Raises `RunError` with a sentence when it cannot, also for damage that shows while the archive is read.
    """
    try:
        size = _size(source)
        with zipfile.ZipFile(source) as archive:
            entries = _trusted(archive.infolist(), size)
            yield archive, _listed(archive, entries)
    except FileNotFoundError as error:
        raise RunError(f"There is no file {source}. Check the path for a typo.") from error
    except (PermissionError, IsADirectoryError) as error:
        raise RunError(f"{source} cannot be read. Name a file that you may read.") from error
    except zipfile.BadZipFile as error:
        raise RunError("This is no bundle of runs, or it is cut short or damaged. Export or copy it again.") from error
    except DAMAGE as error:
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
    if infos and min(each.header_offset for each in infos) != 0:
        raise zipfile.BadZipFile("cut short after one of the zips that lie inside it")
    check_contents(infos, size, "The bundle", _LIMITS, RunError)
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
        if info.compress_type not in METHODS:
            raise RunError(f"The bundle packs '{shown}' in another way than bundles do. Export it again.")
        entries[name] = info
    return entries


def _listed(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo]) -> list[_ListedRun]:
    """The runs of the manifest, once it names exactly the entries that are there, with their sizes."""
    info = entries.pop(_MANIFEST, None)
    if info is None:
        raise RunError(f"This zip is no bundle of runs: it has no {_MANIFEST}. Name a file that the lab exported.")
    if info.file_size > _MANIFEST_BYTES:
        raise RunError(f"The bundle's {_MANIFEST} is too large to be one. It was left alone.")
    damaged = f"The bundle's {_MANIFEST} is damaged. Export it again."
    values = decoded(dict[str, Any], _strict_json(archive.read(info), damaged), damaged)
    if values.get("format") != _FORMAT:
        raise RunError("The bundle was made by another version of the lab. Export it again with this version.")
    runs = decoded(list[_ListedRun], values.get("runs"), damaged)
    for each in runs:
        _check_listed(each)
    if not 1 <= len(runs) <= _MOST_RUNS or len({each.id for each in runs}) != len(runs):
        raise RunError(f"The bundle holds no runs, one twice, or more than {_MOST_RUNS}. Export fewer at a time.")
    listed = {_entry(run.id, name): file for run in runs for name, file in run.files.items()}
    for name in sorted(listed.keys() ^ entries.keys()):
        state = "lacks" if name in listed else "holds"
        raise RunError(f"The bundle {state} a file against its own {_MANIFEST} ('{name[:60]}'). It was left alone.")
    for name, file in listed.items():
        if entries[name].file_size != file.bytes:
            raise RunError(f"The bundle's '{name[:60]}' is not as large as {_MANIFEST} says. Export or copy it again.")
    return runs


def _check_listed(run: _ListedRun) -> None:
    """Raises `RunError` for names and sizes that a run's files do not have."""
    RunStore(Path()).folder_of(run.id)  # refuses what is no run id
    for name, file in run.files.items():
        kind = _kind_of(name)
        if kind is None:
            raise RunError(f"The bundle holds a file that does not belong there ('{name[:60]}'). It was left alone.")
        if not 0 <= file.bytes <= kind.most_bytes:
            raise RunError(
                f"The bundle's {name} would take {bytes_text(file.bytes)}; at most {bytes_text(kind.most_bytes)} are "
                "taken."
            )
    if _RUN_FILE not in run.files:
        raise RunError(f"The bundle has no {_RUN_FILE} for run {run.id}. Export it again.")


def _content_of(archive: zipfile.ZipFile, run: _ListedRun, name: str) -> bytes:
    """One file, no more than its size. Raises `RunError` when it is not what the manifest says."""
    entry, file = _entry(run.id, name), run.files[name]
    with archive.open(entry) as opened:
        content = opened.read(file.bytes + 1)
    if len(content) != file.bytes or hashlib.sha256(content).hexdigest() != file.sha256:
        raise RunError(
            f"The bundle's '{entry[:60]}' is not what was exported: its checksum differs. Export or copy it again."
        )
    return content


_STAGING = ".import-"
_STALE_SECONDS = 3600.0  # what a killed import left is swept up by a later one
_LONGEST_OWNER = 60


@dataclass(frozen=True)
class Imported:
    """What came of an import: runs that are new here, and those that were here already."""

    added: tuple[RunRecord, ...]
    known: tuple[RunRecord, ...]

    @property
    def text(self) -> str:
        """What happened, as a sentence."""
        were = "was" if len(self.known) == 1 else "were"
        here = f"{count(len(self.known), 'run')} of this bundle {were} here already."
        if not self.added:
            return f"Nothing to import: {here}"
        return f"{count(len(self.added), 'run')} imported." + (f" {here}" if self.known else "")


# -- export


def export_bundle(store: RunStore, run_ids: Iterable[str], target: Path | BinaryIO, *, weights: bool = False) -> None:
    """Write runs that have ended into one file. weights: the trained networks too.

    Raises `RunError` for a run that is missing, damaged or under way, and when the file cannot be written.
    """
    records = [store.get(run_id) for run_id in dict.fromkeys(run_ids)]
    if not records:
        raise RunError("Name at least one run to export.")
    for record in records:
        if record.is_active:
            raise RunError(f"The run {record.id} has not ended yet. Export it when it has, or stop it first.")
    if not isinstance(target, Path):
        _write(store, records, target, weights)
        return
    partial = target.with_name(f"{target.name}.{secrets.token_hex(4)}")
    try:
        try:
            with partial.open("xb") as file:
                _write(store, records, file, weights)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(
            f"The bundle could not be written to {target}: {error.strerror or error}. Name a file in a folder that "
            "exists and has room."
        ) from error


def _write(store: RunStore, records: Sequence[RunRecord], target: BinaryIO, weights: bool) -> None:
    listed = []
    with zipfile.ZipFile(target, "w") as archive:
        for record in records:
            files = {}
            for name in sorted(each.name for each in store.folder_of(record.id).iterdir()):
                kind = _kind_of(name)
                if kind is None or (kind.is_weights and not weights):
                    continue
                content = _exported(store, record, name)
                _check_file(name, content, record)
                if len(content) > kind.most_bytes:
                    raise RunError(f"The {name} of run {record.id} is too large for a bundle. Leave this run out.")
                _add(archive, _entry(record.id, name), content, is_packed=kind.is_packed)
                files[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            listed.append({"id": record.id, "files": files})
        values = {"format": _FORMAT, "made": time.time(), "eurosat_lab": __version__, "runs": listed}
        _add(archive, _MANIFEST, json.dumps(values, indent=1).encode())


def _add(archive: zipfile.ZipFile, name: str, content: bytes, *, is_packed: bool = False) -> None:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o100644 << 16
    archive.writestr(entry, content, zipfile.ZIP_STORED if is_packed else zipfile.ZIP_DEFLATED)


def _exported(store: RunStore, record: RunRecord, name: str) -> bytes:
    """A file of a run as others get it."""
    content = store.load(record.id, name)
    if name == _RUN_FILE:
        values = json.loads(content)
        values["recorded_on"] = recorded_mark(record)
        values["tiles"]["place"] = ""  # a folder of this machine, which is nobody else's business
        return json.dumps(values, indent=1).encode()
    return _whole_events(content) if name == "events.jsonl" else content


def recorded_mark(record: RunRecord) -> str:
    """On which machine a run was computed, and when: `NVIDIA H100, 3 May 2026`."""
    if record.recorded_on:
        return record.recorded_on
    day = time.gmtime(record.ended or record.started or record.created)
    machine = str(record.machine.get("device_name") or "another machine")[:100]
    return f"{machine}, {day.tm_mday} {time.strftime('%B %Y', day)}"


# -- import


def import_bundle(store: RunStore, source: Path | BinaryIO, *, owner: str | None = None) -> Imported:
    """Take the runs of a bundle into the store; under a fresh id where theirs is taken by another run.

    owner: to whom they belong from now on, and who may delete them; by default whom they belonged to. A run that is
    here already is recognised and left out. Raises `RunError` with a sentence when the bundle cannot be used or
    trusted; the store is then as it was.
    """
    with store.storing("The runs"):
        store.folder.mkdir(parents=True, exist_ok=True)
        _sweep(store.folder)
        staging = store.folder / f"{_STAGING}{secrets.token_hex(6)}"
        staging.mkdir()
        try:
            return _take_in(store, RunStore(staging), source, owner)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _sweep(folder: Path) -> None:
    for left in folder.glob(f"{_STAGING}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


def _take_in(store: RunStore, staged: RunStore, source: Path | BinaryIO, owner: str | None) -> Imported:
    here = {_identity(each): each for each in store.all()[0]}
    added: list[RunRecord] = []
    known: list[RunRecord] = []
    with _opened(source) as (archive, runs):
        needed = sum(each.bytes for run in runs for each in run.files.values())
        free = shutil.disk_usage(staged.folder).free
        if needed > free:
            raise RunError(
                f"The runs need {bytes_text(needed)}, and {bytes_text(free)} are free. Free some disk space."
            )
        for run in runs:
            record = _stage(staged, archive, run)
            if (same := here.get(_identity(record))) is not None:
                known.append(same)
                continue
            record = _settled(store, staged, record, owner)
            here[_identity(record)] = record
            added.append(record)
    _move(store, staged, added)
    return Imported(tuple(added), tuple(known))


def _stage(staged: RunStore, archive: zipfile.ZipFile, run: _ListedRun) -> RunRecord:
    """Unpack one run into the hidden folder and believe it, or raise `RunError`."""
    folder = staged.folder_of(run.id)
    folder.mkdir()
    content = _content_of(archive, run, _RUN_FILE)
    (folder / _RUN_FILE).write_bytes(content)
    unusable = f"The bundle's run {run.id} cannot be used: its {_RUN_FILE} {{problem}}. Export it again."
    _strict_json(content, unusable.replace("{problem}", "is not JSON that can be read"))
    record = record_in(content, run.id, unusable)
    _check_file(_RUN_FILE, content, record)
    for name in run.files.keys() - {_RUN_FILE}:
        content = _content_of(archive, run, name)
        _check_file(name, content, record)
        (folder / name).write_bytes(content)
    return record


def _identity(record: RunRecord) -> tuple[object, ...]:
    """What stays the same of a run wherever it goes; no two runs share all of it."""
    return record.created, record.started, record.ended, record.kind, record.config, record.tiles.fingerprint


def _settled(store: RunStore, staged: RunStore, record: RunRecord, owner: str | None) -> RunRecord:
    """The staged run as it will be in the store: marked as recorded, with its owner, under an id that is free."""
    run_id = record.id
    while store.folder_of(run_id).exists() or (run_id != record.id and staged.folder_of(run_id).exists()):
        run_id = f"{record.id[:-4]}{secrets.token_hex(2)}"
    if run_id != record.id:
        staged.folder_of(record.id).rename(staged.folder_of(run_id))
    settled = replace(
        record,
        id=run_id,
        owner=owner or record.owner[:_LONGEST_OWNER].strip() or "recorded",
        recorded_on=recorded_mark(record),
    )
    staged.write(settled)
    return settled


def _move(store: RunStore, staged: RunStore, records: Sequence[RunRecord]) -> None:
    """All of them into the store, or none: should one not go, those that went come out again."""
    moved: list[RunRecord] = []
    try:
        for record in records:
            os.rename(staged.folder_of(record.id), store.folder_of(record.id))  # noqa: PTH104 (fails where one is)
            moved.append(record)
    except OSError:
        for record in moved:
            with suppress(RunError):
                store.delete(record.id)
        raise
