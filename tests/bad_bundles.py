"""Bundles of runs that are broken or hostile, each made of a good one, with words of the sentence that refuses it."""

import gzip
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundle_makers import entries_of, rewritten, unpacked
from zip_makers import DEFLATED, LINK, PIPE, UTF8, Entry, zip_bytes

__all__ = ["BAD"]

Make = Callable[[bytes], bytes]


def _with(**files: bytes | None) -> Make:
    """Other files in the run; `__` stands for a dot."""
    named = {name.replace("__", "."): content for name, content in files.items()}

    def change(run: dict[str, bytes]) -> None:
        for name, content in named.items():
            run.pop(name, None)
            if content is not None:
                run[name] = content

    return lambda bundle: rewritten(bundle, change)


def _record(**values: Any) -> Make:
    """Other entries in `run.json`; a value may be a function of what stood there."""

    def change(run: dict[str, bytes]) -> None:
        record = json.loads(run["run.json"])
        for name, value in values.items():
            record[name] = value(record.get(name)) if callable(value) else value
        run["run.json"] = json.dumps(record).encode()

    return lambda bundle: rewritten(bundle, change)


def _said(change: Callable[[list[dict[str, Any]]], Any]) -> Make:
    """A manifest that says something else about the runs than is there."""

    def make(bundle: bytes) -> bytes:
        manifest, runs = unpacked(bundle)
        change(manifest["runs"])
        return zip_bytes(entries_of({**manifest, "said": manifest["runs"]}, runs))

    return make


def _entries(change: Callable[[list[Entry]], list[Entry]]) -> Make:
    """Other entries of the archive than its manifest (the first one) names."""
    return lambda bundle: zip_bytes(change(entries_of(*unpacked(bundle))))


def _more(*entries: Entry) -> Make:
    return _entries(lambda there: [*there, *entries])


def _first(**changes: Any) -> Make:
    """The entry after the manifest, changed in how it lies in the archive."""
    return _entries(lambda there: [there[0], replace(there[1], **changes), *there[2:]])


def _predictions(**columns: Any) -> Make:
    arrays = {
        "tiles": np.array([3, 50]),
        "true": np.array([0, 1]),
        "predicted": np.array([0, 1]),
        "confidence": np.array([0.5, 0.5], np.float32),
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{**arrays, **columns})
    return _with(predictions__npz=buffer.getvalue())


def _overlapping(number: int) -> Entry:
    return Entry(f"runs/a/model_epoch_{number:03d}.pt", b"x" * 9000, same_bytes_as=0, packed=b"x" * 9000)


_SOME = {"bytes": 1, "sha256": "0" * 64}
_NONE = {"tiles": np.array([], int), "true": np.array([], int), "predicted": np.array([], int)}
_FOREIGN = "not have"
_BOMB = zip_bytes([Entry("tiles.npy", bytes(40 * 1024**2), DEFLATED)])


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("evil").mkdir, ())


def _pickled(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


BAD: dict[str, tuple[Make, str]] = {
    # the archive
    "empty": (lambda _: b"", "no bundle"),
    "text": (lambda _: b"hello", "no bundle"),
    "cut short": (lambda bundle: bundle[: len(bundle) // 2], "no bundle"),
    "another zip": (lambda _: zip_bytes([Entry("bundle.txt", b"x")]), "not belong"),
    "a zip of nothing": (lambda _: zip_bytes([]), "bundle.json"),
    "climbs out": (_more(Entry("../../evil", b"x")), "not belong"),
    "climbs out inside a run": (_more(Entry("runs/../evil", b"x")), "not belong"),
    "absolute path": (_more(Entry("/tmp/evil", b"x")), "not belong"),
    "path of Windows": (_more(Entry("runs\\..\\..\\evil", b"x")), "not belong"),
    "drive of Windows": (_more(Entry("C:evil", b"x")), "not belong"),
    "name with a zero byte": (_more(Entry("runs/a/run.json\0.txt", b"x")), "not belong"),
    "a folder": (_more(Entry("runs/", b"")), "not belong"),
    "a link": (_first(attributes=LINK), "a link"),
    "a pipe": (_first(attributes=PIPE), "no file"),
    "encrypted": (_first(flags=UTF8 | 1), "encrypted"),
    "packed by LZMA": (_first(method=14), "another way"),
    "an entry twice": (_entries(lambda there: [*there, there[1]]), "twice"),
    "entries that overlap": (_more(*map(_overlapping, range(9))), "overlap"),
    "swells": (lambda bundle: _with(events__jsonl=bytes(40 * 1024**2))(bundle), "would swell"),
    "damaged inside": (_first(packed=b"\xff" * 50), "damaged"),
    "another checksum in the zip": (_first(crc=1), "damaged"),
    "lies about its size": (_first(file_size=3), "as large"),
    # the manifest
    "no manifest": (_entries(lambda there: there[1:]), "bundle.json"),
    "manifest that is no JSON": (lambda bundle: zip_bytes([Entry("bundle.json", b"{")]), "damaged"),
    "manifest that is a list": (lambda bundle: zip_bytes([Entry("bundle.json", b"[1]")]), "damaged"),
    "manifest nested without end": (lambda bundle: zip_bytes([Entry("bundle.json", b"[" * 100_000)]), "damaged"),
    "manifest of megabytes": (lambda _: zip_bytes([Entry("bundle.json", b" " * 3 * 1024**2)]), "too large"),
    "a later version": (lambda _: zip_bytes([Entry("bundle.json", b'{"format": 2}')]), "another version"),
    "no runs": (_said(lambda runs: runs.clear()), "no runs"),
    "a run twice": (_said(lambda runs: runs.append(runs[0])), "one twice"),
    "a run that climbs out": (_said(lambda runs: runs[0].update(id="../../evil")), "evil"),
    "an id that is a number": (_said(lambda runs: runs[0].update(id=7)), "damaged"),
    "files that are a list": (_said(lambda runs: runs[0].update(files=[])), "damaged"),
    "another checksum": (_said(lambda runs: runs[0]["files"]["run.json"].update(sha256="0" * 64)), "checksum"),
    "a checksum that is none": (_said(lambda runs: runs[0]["files"]["run.json"].update(sha256=None)), "damaged"),
    "a negative size": (_said(lambda runs: runs[0]["files"]["run.json"].update(bytes=-1)), "would take"),
    "a size beyond measure": (_said(lambda runs: runs[0]["files"]["run.json"].update(bytes=10**12)), "at most"),
    "a size that is wrong": (_said(lambda runs: runs[0]["files"]["run.json"].update(bytes=5)), "as large"),
    "a file less": (_said(lambda runs: runs[0]["files"].pop("split.json")), "a file"),
    "a file too many": (_said(lambda runs: runs[0]["files"].update({"model.pt": _SOME})), "lacks"),
    "a run without run.json": (_with(run__json=None), "run.json"),
    "a file nobody knows": (_with(evil__sh=b"#!/bin/sh"), "not belong"),
    "a lock": (_with(lock=b""), "not belong"),
    # run.json: what a bundle asks of it beyond what every store does
    "run.json that is no JSON": (_with(run__json=b"{"), "not JSON"),
    "another run's run.json": (_record(id="20260102-030405-baseline-00ff"), "belongs to"),
    "still running": (_record(state="running", recorded_on=""), "under way"),
    "waiting, and recorded": (_record(state="queued"), "under way"),
    "a model that is none": (_record(config=lambda config: {**config, "model": "evil"}), "evil"),
    "no number for a figure": (_record(summary={"val_accuracy": float("nan")}), "not JSON"),
    "a figure beyond measure": (_record(summary={"seconds": 10**400}), "not JSON"),
    "a machine of lists": (_record(machine={"threads": [1]}), "figures"),
    "a machine that is nested": (_record(machine={"form": {"why": {"a": 1}}}), "figures"),
    "a machine without end": (_record(machine={str(each): 1 for each in range(500)}), "figures"),
    "a machine of odd texts": (_record(machine={"form": {"why": "\x1b[2J"}}), "texts"),
    "text that clears the screen": (_record(owner="\x1b[2J"), "texts"),
    "a mark without end": (_record(recorded_on="x" * 5000), "texts"),
    "no tiles": (_record(tiles=lambda tiles: {**tiles, "count": 0}), "which tiles"),
    "a class twice": (_record(tiles=lambda tiles: {**tiles, "class_names": ["a", "a", "b"]}), "which tiles"),
    # what a run leaves behind
    "events that are none": (_with(events__jsonl=b'{"kind": "evil"}\n'), "no event"),
    "events without end": (_with(events__jsonl=b'{"kind": "epoch", "epoch": 1e999}\n'), "no event"),
    "events that are no JSON": (_with(events__jsonl=b"\xff\xfe\n"), "no event"),
    "predictions that are none": (_with(predictions__npz=b"PK"), "damaged"),
    "predictions that swell": (_with(predictions__npz=_BOMB), "would swell"),
    "predictions of objects": (_predictions(tiles=np.array([{}, 1], dtype=object)), "damaged"),
    "classes that are not there": (_predictions(predicted=np.array([0, 3])), _FOREIGN),
    "tiles that are not there": (_predictions(tiles=np.array([3, 200])), _FOREIGN),
    "negative labels": (_predictions(true=np.array([0, -1])), _FOREIGN),
    "a tile twice": (_predictions(tiles=np.array([3, 3])), "a tile twice"),
    "columns of other lengths": (_predictions(true=np.array([0])), "different lengths"),
    "no predictions at all": (_predictions(**_NONE, confidence=np.array([], np.float32)), "different lengths"),
    "labels that are fractions": (_predictions(true=np.array([0.5, 1.0])), "whole numbers"),
    "confidences that are none": (_predictions(confidence=np.array([0.5, np.nan], np.float32)), "above 1"),
    "a split of words": (_with(split__json=b'{"train": ["evil"]}'), "numbers"),
    "a split of other parts": (_with(split__json=b'{"evil": []}'), "parts"),
    "a split of other tiles": (_with(split__json=b'{"train": [200]}'), "not have"),
    "a trace that is none": (_with(trace_1__json__gz=b"evil"), "damaged"),
    "a trace cut short": (_with(trace_1__json__gz=gzip.compress(b"{}" * 100)[:-9]), "damaged"),
    "a trace of something else": (_with(trace_1__json__gz=gzip.compress(b"evil")), "no trace"),
    "operators that are a list": (_with(operators__json=b"[]"), "names"),
    "weights with code": (_with(model__pt=_pickled(_Evil())), "code"),
    "weights that are none": (_with(model__pt=_pickled([1, 2])), "else than"),
    "weights that are no file of PyTorch": (_with(model__pt=b"evil"), "damaged"),
}  # fmt: skip
