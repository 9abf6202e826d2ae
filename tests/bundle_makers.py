"""Bundles of runs for tests: runs that left everything a run can leave, and bundles with other files in them."""

import gzip
import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import torch
from run_makers import begun, epoch, said
from zip_makers import DEFLATED, Entry, zip_bytes

from eurosat_core.runs.bundles import export_bundle
from eurosat_core.runs.record import RunRecord, TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.evaluation import predictions_to_bytes
from eurosat_core.training.events import Finished

__all__ = ["BUNDLED", "RunFiles", "bundle_of", "entries_of", "rewritten", "stored_run", "unpacked"]

BUNDLED = TilesUsed("f00d", "eurosat", "/home/ada/tiles", 200, ("Forest", "River", "SeaLake"))
RunFiles = dict[str, dict[str, bytes]]  # by run, by file name
_CONFIG = TrainConfig(epochs=2, source="memory")
_ANSWERS = said([0, 0, 1, 2], [0, 1, 1, 0], [3, 50, 120, 199], [0.9, 0.8, 0.7, 0.6])


def stored_run(store: RunStore, owner: str = "ada", **changes: Any) -> RunRecord:
    """A finished run with everything a run can leave behind."""
    config = changes.pop("config", _CONFIG)
    run = store.create(config, owner, BUNDLED)
    history = [begun(epochs=2, train_tiles=196, validation_tiles=4), epoch(1, 0.25), epoch(2, 0.5)]
    store.append(run.id, [*history, Finished(2, 21.0, 1.9, 0.5)], at=1000.0)
    weights = io.BytesIO()
    torch.save({"conv1.weight": torch.arange(6.0)}, weights)
    store.save(
        run.id,
        {
            "predictions.npz": predictions_to_bytes(_ANSWERS),
            "test.npz": predictions_to_bytes(_ANSWERS),
            "split.json": json.dumps({"train": [0, 1], "validation": [3, 50, 120, 199], "test": []}).encode(),
            "model.pt": weights.getvalue(),
            "trace_1.json.gz": gzip.compress(b'{"traceEvents": []}'),
            "operators.json": b'{"rows": []}',
        },
    )
    form = {"precision": "bfloat16", "channels_last": True, "why": "faster", "ratio": 1.8}
    machine = {"device_name": "Test GPU", "threads": 2, "busy_elsewhere": 0.1, "form": form}
    figures = {"val_accuracy": 0.5, "seconds": 21.0, "epochs": 2}
    values = {"state": "finished", "started": 990.0, "ended": 1021.0, "machine": machine, "summary": figures}
    return store.update(run.id, **values | changes)


def bundle_of(store: RunStore, *run_ids: str, weights: bool = False) -> bytes:
    buffer = io.BytesIO()
    export_bundle(store, run_ids, buffer, weights=weights)
    return buffer.getvalue()


def unpacked(bundle: bytes) -> tuple[dict[str, Any], RunFiles]:
    """The manifest of a bundle, and its files."""
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        manifest = json.loads(archive.read("bundle.json"))
        runs = {
            each["id"]: {name: archive.read(f"runs/{each['id']}/{name}") for name in each["files"]}
            for each in manifest["runs"]
        }
    return manifest, runs


def entries_of(manifest: dict[str, Any], runs: RunFiles) -> list[Entry]:
    """A bundle's entries: the manifest says of every file what is true, unless it was told otherwise."""
    listed = [
        {
            "id": run_id,
            "files": {
                name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                for name, content in files.items()
            },
        }
        for run_id, files in runs.items()
    ]
    values = {**manifest, "runs": manifest.get("said", listed)}
    values.pop("said", None)
    entries = [Entry("bundle.json", json.dumps(values).encode(), DEFLATED)]
    return entries + [
        Entry(f"runs/{run_id}/{name}", content, DEFLATED)
        for run_id, files in runs.items()
        for name, content in files.items()
    ]


def rewritten(bundle: bytes, change: Callable[[dict[str, bytes]], Any]) -> bytes:
    """The bundle with other files in its first run, and a manifest that agrees with them."""
    manifest, runs = unpacked(bundle)
    change(next(iter(runs.values())))
    return zip_bytes(entries_of(manifest, runs))
