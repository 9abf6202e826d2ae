"""Runs as one file: export them here, import them in another lab, where they are marked as recorded elsewhere.

A bundle is a zip with `bundle.json` (format, and for every run its files with size and SHA-256) and
`runs/<id>/<file>`. An import is believed file by file (`lab.bundle_files`) in a hidden folder of the store, and only
then takes its place there: as a whole, or not at all.
"""

import hashlib
import json
import os
import secrets
import shutil
import time
import zipfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from eurosat_core import __version__, wording
from eurosat_core.errors import RunError
from eurosat_core.lab.bundle_archive import MANIFEST, BundleFile, Manifest, open_bundle, read_file
from eurosat_core.lab.bundle_files import RUN_FILE, check_file, file_kind, strict_json, whole_events
from eurosat_core.lab.run_record import RunRecord
from eurosat_core.lab.runs import RunStore

__all__ = ["Imported", "export_bundle", "import_bundle", "recorded_mark"]

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
        here = f"{wording.count(len(self.known), 'run')} of this bundle {were} here already."
        if not self.added:
            return f"Nothing to import: {here}"
        return f"{wording.count(len(self.added), 'run')} imported." + (f" {here}" if self.known else "")


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
                kind = file_kind(name)
                if kind is None or (kind.is_weights and not weights):
                    continue
                content = _content(store, record, name)
                check_file(name, content, record)
                if len(content) > kind.most_bytes:
                    raise RunError(f"The {name} of run {record.id} is too large for a bundle. Leave this run out.")
                _add(archive, f"runs/{record.id}/{name}", content, is_packed=kind.is_packed)
                files[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            listed.append({"id": record.id, "files": files})
        values = {"format": Manifest.FORMAT, "made": time.time(), "eurosat_lab": __version__, "runs": listed}
        _add(archive, MANIFEST, json.dumps(values, indent=1).encode())


def _add(archive: zipfile.ZipFile, name: str, content: bytes, *, is_packed: bool = False) -> None:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o100644 << 16
    archive.writestr(entry, content, zipfile.ZIP_STORED if is_packed else zipfile.ZIP_DEFLATED)


def _content(store: RunStore, record: RunRecord, name: str) -> bytes:
    content = store.load(record.id, name)
    if name == RUN_FILE:
        values = json.loads(content)
        values["recorded_on"] = recorded_mark(record)
        values["tiles"]["place"] = ""  # a folder of this machine, which is nobody else's business
        return json.dumps(values, indent=1).encode()
    return whole_events(content) if name == "events.jsonl" else content


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
    try:
        store.folder.mkdir(parents=True, exist_ok=True)
        _sweep(store.folder)
        staging = store.folder / f"{_STAGING}{secrets.token_hex(6)}"
        staging.mkdir()
        try:
            return _take_in(store, RunStore(staging), source, owner)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise RunError(
            store.write_problem()
            or f"The runs could not be stored in {store.folder}: {error.strerror or error}. Free some disk space, or "
            "name another folder in EUROSAT_RUNS."
        ) from error


def _sweep(folder: Path) -> None:
    for left in folder.glob(f"{_STAGING}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


def _take_in(store: RunStore, staged: RunStore, source: Path | BinaryIO, owner: str | None) -> Imported:
    here = {_identity(each): each for each in store.all()[0]}
    added: list[RunRecord] = []
    known: list[RunRecord] = []
    with open_bundle(source) as (archive, manifest):
        free = shutil.disk_usage(staged.folder).free
        if manifest.total_bytes > free:
            raise RunError(
                f"The runs need {wording.bytes_text(manifest.total_bytes)}, and {wording.bytes_text(free)} are free. "
                "Free some disk space."
            )
        for run_id, files in manifest.runs.items():
            record = _stage(staged, archive, run_id, files)
            if (same := here.get(_identity(record))) is not None:
                known.append(same)
                continue
            record = _settled(store, staged, record, owner)
            here[_identity(record)] = record
            added.append(record)
    _move(store, staged, added)
    return Imported(tuple(added), tuple(known))


def _stage(staged: RunStore, archive: zipfile.ZipFile, run_id: str, files: dict[str, BundleFile]) -> RunRecord:
    """Unpack one run into the hidden folder and believe it, or raise `RunError`."""
    folder = staged.folder_of(run_id)
    folder.mkdir()
    content = read_file(archive, files[RUN_FILE])
    (folder / RUN_FILE).write_bytes(content)
    try:
        strict_json(content)
        record = staged.get(run_id)
    except RunError as error:
        reason = str(error).removeprefix(f"The run {run_id} is damaged: ").partition(" Delete its folder")[0]
        raise RunError(f"The bundle's run {run_id} cannot be used: {reason.rstrip('.')}. Export it again.") from error
    check_file(RUN_FILE, content, record)
    for name in files.keys() - {RUN_FILE}:
        content = read_file(archive, files[name])
        check_file(name, content, record)
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
