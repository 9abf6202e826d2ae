"""Which files a bundle of runs may hold, how large each may be, and what it is checked for before it is believed.

A bundle comes from somebody else's machine, so nothing in it is taken for granted: whatever is not named here is
refused, and each file is read with a bound before anything else of the lab opens it.
"""

import gzip
import io
import json
import math
import pickle
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import torch

from eurosat_core import wording
from eurosat_core.errors import RunError
from eurosat_core.lab.events import event_from_dict
from eurosat_core.lab.run_record import RunRecord
from eurosat_core.lab.train_job import predictions_from_bytes
from eurosat_core.speed.result import SweepResult

__all__ = ["RUN_FILE", "FileKind", "check_file", "file_kind", "strict_json", "whole_events"]

RUN_FILE = "run.json"
_MB = 1024**2
_MOST_TILES = 1_000_000  # as many as a training may be asked to use


@dataclass(frozen=True)
class FileKind:
    """One kind of file in a bundle: its name (a pattern), its size at most, whether it is weights, and its check.

    check: called with the content and the run's record; raises `RunError` with what is wrong, as half a sentence.
    """

    name: re.Pattern[str]
    most_bytes: int
    check: Callable[[bytes, RunRecord], None]
    is_weights: bool = False
    is_packed: bool = False


def file_kind(name: str) -> FileKind | None:
    """What kind of file bears this name; None for one that has no business in a bundle."""
    return next((each for each in _KINDS if each.name.fullmatch(name)), None)


def check_file(name: str, content: bytes, record: RunRecord) -> None:
    """Raises `RunError` with a sentence when a file of a run is not what its name says."""
    kind = file_kind(name)
    if kind is None:
        raise RunError(f"The bundle holds a file that does not belong there ('{name[:60]}').")
    try:
        kind.check(content, record)
    except RunError as error:
        raise RunError(f"The {name} of run {record.id} {error}, so it was left alone.") from error


def strict_json(content: bytes) -> Any:
    """JSON values whose figures are finite and of a size that figures have. Raises `RunError` with half a sentence."""
    try:
        return json.loads(content, parse_constant=_refuse, parse_int=_whole_number, parse_float=_real_number)
    except (ValueError, RecursionError) as error:
        raise RunError("is not JSON that can be read") from error


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"a figure that is {word[:20]}")


def _whole_number(text: str) -> int:
    value = int(text)
    return value if abs(value) < 2**63 else _refuse(text)


def _real_number(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def whole_events(content: bytes) -> bytes:
    """The lines that are events of a run: a torn last one, and what else a crash left, stay behind."""
    return b"".join(line + b"\n" for line in content.splitlines() if _is_event(line))


def _is_event(line: bytes) -> bool:
    try:
        values = strict_json(line)
        at = values.pop("at", None)
        event_from_dict(values)
    except (RunError, AttributeError, TypeError):
        return False
    return at is None or (isinstance(at, int | float) and not isinstance(at, bool) and math.isfinite(at))


def _check_run(content: bytes, record: RunRecord) -> None:
    """What the store's own parser leaves open, which trusts what this lab has written."""
    if record.is_active:
        raise RunError("says that it is still under way; only a run that has ended can be taken over")
    values = (*record.machine.values(), *record.summary.values())
    texts = [record.owner, record.recorded_on, record.kind, *record.beside, *record.tiles.class_names, *record.machine]
    texts += [each for each in values if isinstance(each, str)]
    if not all(isinstance(each, str | int | float | None) for each in values) or len(values) > 200:
        raise RunError("holds figures of another kind than a run has")
    if any(len(each) > 200 or not each.isprintable() for each in texts) or len(record.message) > 2000:
        raise RunError("holds texts that no lab has written")
    names = record.tiles.class_names
    if not 1 <= record.tiles.count <= 10 * _MOST_TILES or not len(set(names)) == len(names) <= 1000:
        raise RunError("does not say which tiles it used")


def _check_events(content: bytes, record: RunRecord) -> None:
    if whole_events(content) != b"".join(line + b"\n" for line in content.splitlines()):
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
        raise RunError("is surer than sure")


def _check_split(content: bytes, record: RunRecord) -> None:
    parts = strict_json(content)
    if not isinstance(parts, dict) or not set(parts) <= {"train", "validation", "test"}:
        raise RunError("does not hold the parts of a split")
    for numbers in parts.values():
        if not isinstance(numbers, list) or not all(type(each) is int for each in numbers):
            raise RunError("holds something else than numbers of tiles")
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
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, EOFError) as error:
        raise RunError("is damaged") from error
    if unpacked > most_bytes:
        raise RunError(f"would swell to {wording.bytes_text(unpacked)}")


def _check_trace(content: bytes, record: RunRecord) -> None:
    done, start = 0, b""
    try:
        with gzip.open(io.BytesIO(content)) as unpacked:
            while piece := unpacked.read(_MB):
                start, done = start or piece.lstrip()[:1], done + len(piece)
                if done > _LARGEST_TRACE:
                    raise RunError(f"would swell to more than {wording.bytes_text(_LARGEST_TRACE)}")
    except (OSError, EOFError, zlib.error) as error:
        raise RunError("is damaged") from error
    if start not in (b"{", b"["):
        raise RunError("is no trace of a profiler")


def _check_sweep(content: bytes, record: RunRecord) -> None:
    strict_json(content)
    try:
        SweepResult.from_json(content)
    except RunError as error:
        raise RunError("is damaged") from error


def _check_json(content: bytes, record: RunRecord) -> None:
    if not isinstance(strict_json(content), dict):
        raise RunError("holds something else than figures by their names")


_LARGEST_TRACE = 1024 * _MB  # unpacked
_KINDS = (
    FileKind(re.compile(r"run\.json"), 256 * 1024, _check_run),
    FileKind(re.compile(r"events\.jsonl"), 64 * _MB, _check_events),
    FileKind(re.compile(r"(predictions|test)\.npz"), 32 * _MB, _check_predictions, is_packed=True),
    FileKind(re.compile(r"split\.json"), 32 * _MB, _check_split),
    FileKind(re.compile(r"trace_[1-9][0-9]{0,3}\.json\.gz"), 256 * _MB, _check_trace, is_packed=True),
    FileKind(re.compile(r"operators\.json"), 32 * _MB, _check_json),
    FileKind(re.compile(r"sweep\.json"), 8 * _MB, _check_sweep),
    FileKind(re.compile(r"model(_epoch_[0-9]{3})?\.pt"), 600 * _MB, _check_weights, is_weights=True, is_packed=True),
)
