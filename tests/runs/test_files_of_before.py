"""Files as earlier versions of the lab wrote them, word by word: runs, events, measurements, guesses still open."""

import io
import json
import math
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from eurosat_core.profiling.plan import ProfileDone, ProfilePlan, ProfileStarted, ProfileStep, TraceDone
from eurosat_core.runs.bundles import import_bundle
from eurosat_core.runs.guesses import GameGuesses, Guess, LessonGuesses
from eurosat_core.runs.history import HistoryReader
from eurosat_core.runs.record import TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.speed.plan import Learned, LimitsDone, SweepDone, SweepPlan, SweepStarted, TurnDone
from eurosat_core.speed.result import Limits, Portion, Prediction, SweepResult
from eurosat_core.speed.verdict import Learning, Turn
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.events import (
    Compiled,
    EpochDone,
    FeaturesDone,
    Finished,
    FormChosen,
    Started,
    StepDone,
    ThreadsChanged,
)

EVENTS: dict[str, Any] = {
    '{"at": 12.5, "kind": "started", "epochs": 2, "steps_per_epoch": 8, "validation_steps": 1, "train_tiles": 150, '
    '"validation_tiles": 50, "parameters": 338486, "trainable_parameters": 338486, "device": "cpu", '
    '"threads": 2}': Started(2, 8, 1, 150, 50, 338486, 338486, "cpu", 2),
    '{"at": 12.5, "kind": "features", "done": 50, "total": 200, "seconds": 0.5}': FeaturesDone(50, 200, 0.5),
    '{"at": 12.5, "kind": "step", "phase": "train", "epoch": 1, "step": 1, "seconds": 0.1, "loss": 2.3, '
    '"accuracy": 0.5, "tiles_per_second": 2000.0, "memory_bytes": 500000000}': StepDone(
        "train", 1, 1, 0.1, 2.3, 0.5, 2000.0, 500000000
    ),
    '{"at": 12.5, "kind": "step", "phase": "validation", "epoch": 1, "step": 1, "seconds": 1}': StepDone(
        "validation", 1, 1, 1.0
    ),
    '{"at": 12.5, "kind": "epoch", "epoch": 1, "train_loss": 2.0, "train_accuracy": 0.5, "val_loss": 1.9, '
    '"val_accuracy": 0.6, "seconds": 1.0, "train_seconds": 0.8, "val_seconds": 0.2, "tiles_per_second": 2000.0, '
    '"elapsed_seconds": 1.0}': EpochDone(1, 2.0, 0.5, 1.9, 0.6, 1.0, 0.8, 0.2, 2000.0, 1.0),
    '{"at": 12.5, "kind": "threads", "threads": 1, "busy_cores": 1.5, "seconds": 2.0}': ThreadsChanged(1, 1.5, 2.0),
    '{"at": 12.5, "kind": "finished", "epochs": 2, "seconds": 2.0, "val_loss": 1.9, "val_accuracy": 0.6}': Finished(
        2, 2.0, 1.9, 0.6
    ),
    '{"at": 12.5, "kind": "form", "precision": "bfloat16", "channels_last": true, "why": "measured", '
    '"ratio": 1.8}': FormChosen("bfloat16", True, "measured", 1.8),
    '{"at": 12.5, "kind": "profile_started", "steps": 28, "cycles": 4, "parameters": 338486, '
    '"trainable_parameters": 338486, "device": "cpu", "threads": 2}': ProfileStarted(28, 4, 338486, 338486, "cpu", 2),
    '{"at": 12.5, "kind": "profile_step", "phase": "wait", "step": 1, "cycle": 1, "seconds": 0.1}': ProfileStep(
        "wait", 1, 1, 0.1
    ),
    '{"at": 12.5, "kind": "trace", "cycle": 1, "file": "trace_1.json.gz", "size_bytes": 1000, '
    '"seconds": 2.0}': TraceDone(1, "trace_1.json.gz", 1000, 2.0),
    '{"at": 12.5, "kind": "profile_done", "steps": 28, "cycles": 4, "seconds": 3.0}': ProfileDone(28, 4, 3.0),
    '{"at": 12.5, "kind": "sweep_started", "cells": 2, "rounds": 8, "planned_seconds": 20.0, "device": "cpu", '
    '"threads": 2}': SweepStarted(2, 8, 20.0, "cpu", 2),
    '{"at": 12.5, "kind": "limits", "device": "cpu", "seconds": 8.0}': LimitsDone("cpu", 8.0),
    '{"at": 12.5, "kind": "turn", "phase": "prepare", "cell": 0, "round": 0, "seconds": 0.5}': TurnDone(
        "prepare", 0, 0, 0.5
    ),
    '{"at": 12.5, "kind": "learned", "cell": 0, "seconds": 3.0, "accuracy": 0.4, "train_seconds": 2.5}': Learned(
        0, 3.0, 0.4, 2.5
    ),
    '{"at": 12.5, "kind": "sweep_done", "rounds": 8, "seconds": 20.0}': SweepDone(8, 20.0),
    '{"at": 12.5, "kind": "compiled", "compile_seconds": 20.5, "seconds": 21.0}': Compiled(20.5, 21.0),
}

CONFIG = (
    '{"model": "baseline", "recipe": "tutorial", "device": "cpu", "epochs": 10, "batch_size": 40, "optimizer": "sgd", '
    '"learning_rate": 0.01, "momentum": 0.9, "weight_decay": 0.0, "seed": 42, "split": "random", "stratified": false, '
    '"train_fraction": 0.75, "sealed_test": false, "tiles": null, "source": "memory", "workers": 2, "prefetch": 2, '
    '"pin_memory": false, "channels_last": false, "precision": "float32", "pretrained": true, "frozen_norms": true, '
    '"schedule": "constant", "nesterov": false, "label_smoothing": 0.0, "symmetries": false, "shift": 0, '
    '"colour_jitter": 0.0, "growing_sizes": false, "stem_pool": true, "network": "", "keep_epochs": false}'
)
# A setting that was renamed since is written under its new name, and what is new as all runs had it before.
CONFIG_NOW = CONFIG.replace("growing_sizes", "progressive_resizing").replace(
    "}", ', "deterministic": false, "execution": "eager", "input_side": 64}'
)
ID = "20260503-101112-baseline-f7b9"
PROFILE_PLAN = '{"wait": 2, "warmup": 2, "active": 3, "repeat": 4, "memory": true, "steps": null}'
SWEEP_PLAN = (
    '{"cells": [{"label": "8", "changes": {"batch_size": 8, "device": "cpu"}, "learns": true}, {"label": "40", '
    '"changes": {"batch_size": 40}, "learns": true}], "name": "free", "setting": "batch_size", "reference": "8", '
    '"focus": "40", "seconds": 30.0, "rounds": 8, "steps": 3, "validation": false, "target_accuracy": null, '
    '"accuracy_seconds": 10.0, "limits": false}'
)
SWEEP = (
    '{"format": 1, "name": "free", "setting": "batch_size", "reference": "40", "focus": "8", "seconds": 12.0, '
    '"complete": true, "cells": [{"label": "40", "config": ' + CONFIG + ', "start_seconds": 1.0, "operations": '
    '1000000000.0, "turns": [[10, 40, 0.1, [0.02, 0.02, 0.02, 0.02, 0.02]], [10, 40, 0.1, null]], "validation": '
    '[[10, 40, 0.05, null]], "learning": {"target": 0.5, "reached": true, "seconds": 3.5, "tiles": 4000, '
    '"validation_tiles": 1000, "points": [[1.5, 0.3], [3.5, 0.52]]}, "prediction": {"seconds": 0.02, "bottleneck": '
    '"compute", "by": {"compute": 0.02}, "parts": {"forward": 0.02}, "portions": [["linear", 0.02, 1000000000.0, '
    '2000000.0, 3]]}, "problem": ""}, {"label": "8", "config": ' + CONFIG + ', "start_seconds": 0.0, "operations": '
    '0.0, "turns": [], "validation": [], "learning": null, "prediction": null, "problem": "It failed."}], "limits": '
    '{"cpu": {"device": "cpu", "threads": 2, "matmul": {"float32": 100000000000.0}, "bandwidth": [[1000000.0, '
    '20000000000.0]], "host_to_device": {}, "launch_seconds": 2e-06, "fresh_seconds": 1e-10, "load_seconds": 1e-05, '
    '"rates": {"linear": [[8.0, 10000000000.0]]}, "seconds": 9.0}}}'
)


def run_json(**entries: str) -> str:
    """A finished training's; entries: their text in place of what stands here, empty for none."""
    texts = {
        "format": "1",
        "id": f'"{ID}"',
        "owner": '"ada"',
        "state": '"finished"',
        "config": CONFIG,
        "tiles": '{"fingerprint": "f00d", "source": "eurosat", "place": "/x", "count": 200, "class_names": ["a", "b"]}',
        "created": "1777803072.25",
        "kind": '"train"',
        "started": "1777803073",
        "ended": "1777803090.5",
        "message": '""',
        "machine": '{"device_name": "Some CPU", "threads": 2, "busy_elsewhere": 0.1, "form": {"why": "asked"}}',
        "summary": '{"epochs": 2, "val_accuracy": 0.5, "train_loss": NaN, "val_loss": Infinity}',
        "plan": "{}",
        "beside": '["20260503-101110-baseline-0001"]',
        "test_opened": "null",
        "recorded_on": '""',
        **entries,
    }
    return "{" + ", ".join(f'"{name}": {text}' for name, text in texts.items() if text) + "}"


def stored(folder: Path, content: str) -> RunStore:
    (folder / ID).mkdir(parents=True)
    (folder / ID / "run.json").write_text(content)
    return RunStore(folder)


@pytest.mark.parametrize("line", EVENTS, ids=[json.loads(each)["kind"] for each in EVENTS])
def test_an_event_is_read_and_written_as_before(tmp_path: Path, line: str) -> None:
    store = stored(tmp_path, run_json())
    path = tmp_path / ID / "events.jsonl"
    path.write_text(line + "\n")
    before = HistoryReader(path).read()
    assert (before.events, before.updated) == (1, 12.5)
    path.write_text("")
    store.append(ID, [EVENTS[line]], at=12.5)
    assert json.loads(path.read_text()) == json.loads(line)
    assert HistoryReader(path).read() == before


def test_a_history_is_read_as_before(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("".join(f"{line}\n" for line in EVENTS) + '{"at": 13, "kind": "step", "loss": NaN}\n')
    history = HistoryReader(path).read()
    told = list(EVENTS.values())
    assert (history.started, history.features, history.finished) == (told[0], told[1], told[6])
    assert history.compile_seconds == 20.5
    assert history.steps == (told[2], told[3]) and history.epochs == (told[4],) and history.threads == (told[5],)
    assert (history.profile.started, history.profile.latest, history.profile.traces) == (told[8], told[9], (told[10],))
    assert (history.sweep.started, history.sweep.limits, history.sweep.turns) == (told[12], (told[13],), (told[14],))
    assert (history.sweep.learned, history.sweep.done, history.profile.done) == ((told[15],), told[16], told[11])


def test_a_run_is_read_and_written_as_before(tmp_path: Path) -> None:
    store = stored(tmp_path, run_json())
    record = store.get(ID)
    assert record.config == TrainConfig(source="memory")
    assert record.tiles == TilesUsed("f00d", "eurosat", "/x", 200, ("a", "b"))
    assert (record.created, record.started, record.ended) == (1777803072.25, 1777803073, 1777803090.5)
    assert type(record.summary["epochs"]) is int and record.summary["val_loss"] == math.inf
    assert record.busy_elsewhere == 0.1 and record.company == ("20260503-101110-baseline-0001",)
    store.write(record)
    text = (tmp_path / ID / "run.json").read_text()
    assert '"train_loss": NaN' in text and '"val_loss": Infinity' in text
    before = json.loads(run_json(config=CONFIG_NOW), parse_constant=str)
    before |= {"concurrent_runs": before.pop("beside"), "cluster": "", "host": ""}
    assert json.loads(text, parse_constant=str) == before


def test_a_run_of_few_entries_is_read_as_before(tmp_path: Path) -> None:
    optional = ("kind", "started", "ended", "message", "machine", "summary", "plan", "beside", "test_opened")
    record = stored(tmp_path, run_json(**dict.fromkeys((*optional, "recorded_on"), ""), config='{"epochs": 3}')).get(ID)
    assert (record.kind, record.started, record.plan, record.concurrent_runs) == ("train", None, {}, ())
    assert record.config == TrainConfig(epochs=3)


@pytest.mark.parametrize(
    ("kind", "plan"),
    [
        ("train", "{}"),
        ("train", '{"alone": true, "group": "a"}'),
        ("profile", PROFILE_PLAN),
        ("profile", "{}"),
        ("sweep", SWEEP_PLAN),
        ("sweep", '{"cells": [{"label": "a"}]}'),
        ("another", '{"whatever": 1}'),
    ],
)
def test_plans_are_read_as_before(tmp_path: Path, kind: str, plan: str) -> None:
    record = stored(tmp_path, run_json(kind=f'"{kind}"', plan=plan)).get(ID)
    assert record.plan == json.loads(plan)
    if kind == "profile":
        assert ProfilePlan.from_dict(record.plan) == ProfilePlan()
        assert ProfilePlan().to_dict() == {**json.loads(PROFILE_PLAN), "details": False}
    if plan == SWEEP_PLAN:
        made = SweepPlan.from_dict(record.plan)
        assert [each.changes.get("device") for each in made.cells] == ["cpu", None]
        assert json.loads(json.dumps(made.to_dict())) == json.loads(plan)


def test_a_measurement_is_read_and_written_as_before() -> None:
    result = SweepResult.from_json(SWEEP.encode())
    first, other = result.cells
    assert first.turns == (Turn(10, 40, 0.1, (0.02,) * 5), Turn(10, 40, 0.1)) and first.validation[0].seconds == 0.05
    assert first.learning == Learning(0.5, True, 3.5, 4000, 1000, ((1.5, 0.3), (3.5, 0.52)))
    assert first.prediction == Prediction(
        0.02, "compute", {"compute": 0.02}, {"forward": 0.02}, (Portion("linear", 0.02, 1e9, 2e6, 3),)
    )
    assert (other.problem, other.learning, other.turns) == ("It failed.", None, ())
    assert result.limits["cpu"] == Limits(
        "cpu", 2, {"float32": 1e11}, ((1e6, 2e10),), {}, 2e-6, 1e-10, 1e-5, {"linear": ((8.0, 1e10),)}, 9.0
    )
    now = json.loads(SWEEP.replace(CONFIG, CONFIG_NOW))
    for cell in now["cells"]:  # with what was added since
        for turn in (*cell["turns"], *cell["validation"]):
            turn.append(None)
    now["limits"]["cpu"]["step_launch_seconds"] = Limits("cpu", 2).step_launch_seconds
    assert json.loads(result.to_json()) == now


def test_a_bundle_opens_as_before(tmp_path: Path) -> None:
    files = {"run.json": run_json(summary='{"epochs": 2}'), "events.jsonl": "\n".join(EVENTS) + "\n"}
    listed = ", ".join(
        f'"{name}": {{"bytes": {len(text)}, "sha256": "{sha256(text.encode()).hexdigest()}"}}'
        for name, text in files.items()
    )
    manifest = f'{{"format": 1, "made": 1.5, "eurosat_lab": "0", "runs": [{{"id": "{ID}", "files": {{{listed}}}}}]}}'
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("bundle.json", manifest)
        for name, text in files.items():
            archive.writestr(f"runs/{ID}/{name}", text)
    store = RunStore(tmp_path)
    (added,) = import_bundle(store, content).added
    assert (added.id, added.summary, added.recorded_on) == (ID, {"epochs": 2}, "Some CPU, 3 May 2026")
    assert (tmp_path / ID / "events.jsonl").read_text() == files["events.jsonl"]


def test_guesses_are_read_as_before(tmp_path: Path) -> None:
    path = tmp_path / "guesses.jsonl"
    line = '{"owner": "ada \\ud83c", "fingerprint": "f", "tile": 7, "true": 0, "guessed": 1, "seconds": 1, "at": 2.5}\n'
    path.write_text(line)
    assert GameGuesses(path).of("ada \ud83c", "f") == (Guess("ada \ud83c", "f", 7, 0, 1, 1.0, 2.5),)
    path.write_text('\n{"owner": "ada", "key": "gpu", "guess": "10", "at": 2.5}\n\n{"owner": "ada", "key": 1}\n')
    assert LessonGuesses(path).of("ada") == {"gpu": "10"}
