"""TensorBoard's log folder, read back with TensorBoard's own reader."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_engine import epoch_done, finished, started, step
from trace_makers import host, text

from eurosat_core.profiling.plan import ProfilePlan, profile_config
from eurosat_core.runs.record import RunRecord, TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.tensorboard import logs as tensorboard_logs
from eurosat_core.training.config import TrainConfig

reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
TensorBoardLogs, RECORDED_RUN = tensorboard_logs.TensorBoardLogs, tensorboard_logs.RECORDED_RUN

# The pattern by which torch-tb-profiler finds traces, and tells worker and cycle apart.
TRACE_NAME = re.compile(r"^(.*?)(\.\d+)?\.pt\.trace\.json(?:\.gz)?$")
Make = Callable[..., RunRecord]
USED = TilesUsed("print", "synthetic", "", 200, ("a", "b"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def logs(store: RunStore, folder: Path) -> Any:
    return TensorBoardLogs(store, folder)


@pytest.fixture
def training(store: RunStore) -> Make:
    """Function: a training with events, still running unless a state is given."""

    def make(*events: Any, state: Any = "running") -> RunRecord:
        record = store.create(TrainConfig(source="memory"), "ada", USED)
        store.append(record.id, events, at=1_700_000_000.5)
        return store.update(record.id, state=state)

    return make


@pytest.fixture
def profile(store: RunStore) -> Make:
    """Function: a profile that ended with two traces, or with these."""

    def make(traces: tuple[bytes, ...] | None = None, device: str = "cpu") -> RunRecord:
        plan = ProfilePlan(repeat=2).to_dict()
        record = store.create(profile_config("baseline", device=device), "ada", USED, "profile", plan)
        found = (gzip.compress(text([host("aten::mm", 1, 2)])),) * 2 if traces is None else traces
        store.save(record.id, {f"trace_{cycle}.json.gz": each for cycle, each in enumerate(found, 1)})
        return store.update(record.id, state="finished")

    return make


def scalars(place: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of every tag, as TensorBoard's own reader finds them."""
    found = reader.EventAccumulator(str(place), size_guidance={"scalars": 0, "tensors": 0})
    found.Reload()
    return {tag: [(each.step, each.value) for each in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_scalars_of_a_training(store: RunStore, logs: Any, folder: Path, training: Make) -> None:
    run = training(
        started(), step(5, seconds=1.0), step(1, 1, 1.5, "validation"), epoch_done(1), step(4, 2, 2.0), epoch_done(2)
    )
    logs.sync()
    train, validation = scalars(folder / run.id / "train"), scalars(folder / run.id / "validation")
    assert set(train) == {
        *("step/loss", "step/accuracy", "step/tiles_per_second", "step/memory_mb"),
        *("epoch/loss", "epoch/accuracy", "epoch/tiles_per_second", "epoch/seconds"),
    }
    assert set(validation) == {"epoch/loss", "epoch/accuracy"}
    assert train["step/loss"] == [(5, pytest.approx(2.3 / 1.5)), (8 + 4, pytest.approx(2.3 / 1.4))], "8 steps an epoch"
    assert train["step/memory_mb"][0] == (5, pytest.approx(500_000_000 / 2**20))
    assert train["epoch/accuracy"] == validation["epoch/accuracy"] == [(1, 0.5), (2, 0.75)]
    assert train["epoch/tiles_per_second"] == [(1, 2000.0), (2, 2000.0)]
    times = reader.EventAccumulator(str(folder / run.id / "train"))
    times.Reload()
    assert times.Scalars("step/loss")[0].wall_time == 1_700_000_000.5


def test_scalars_grow_with_the_run(store: RunStore, logs: Any, folder: Path, training: Make) -> None:
    assert not logs.sync()
    run = training()
    logs.sync()
    assert not (folder / run.id).exists(), "it has told nothing yet"
    store.append(run.id, [started(), epoch_done(1)])
    logs.sync()
    logs.sync()
    place = folder / run.id / "train"
    assert scalars(place)["epoch/loss"] == [(1, 1.0)]
    events = store.folder_of(run.id) / "events.jsonl"
    whole = events.read_bytes()
    store.append(run.id, [epoch_done(2)])
    torn = events.read_bytes()
    events.write_bytes(torn[: len(whole) + 20])
    logs.sync()
    assert len(scalars(place)["epoch/loss"]) == 1, "half a line is none"
    events.write_bytes(torn)
    store.append(run.id, [finished()])
    store.update(run.id, state="finished")
    logs.sync()
    assert [at for at, _ in scalars(place)["epoch/loss"]] == [1, 2]
    assert len(list(place.iterdir())) == 1
    store.append(run.id, [epoch_done(3)])
    logs.sync()
    assert [at for at, _ in scalars(place)["epoch/loss"]] == [1, 2], "what has ended is not looked at again"


def test_odd_lines_are_passed_over(store: RunStore, logs: Any, folder: Path, training: Make) -> None:
    run = training(started())
    with (store.folder_of(run.id) / "events.jsonl").open("ab") as file:
        file.write(b"not JSON\n[1]\n" + json.dumps({"kind": "epoch", "epoch": 1}).encode() + b"\n\xff\n")
        file.write(b"x" * 3_000_000 + b"\n")
    store.append(run.id, [epoch_done(1)])
    logs.sync()
    assert [at for at, _ in scalars(folder / run.id / "train")["epoch/loss"]] == [1]


def test_a_long_run_stays_small(store: RunStore, logs: Any, folder: Path, training: Make) -> None:
    run = training(started())
    store.append(run.id, [step(number, seconds=0.1 * number) for number in range(1, 40_001)])  # 67 minutes
    logs.sync()
    points = scalars(folder / run.id / "train")["step/loss"]
    assert 600 < len(points) < 1000
    assert points[0][0] == 1 and points[-1][0] > 39_800
    assert sum(each.stat().st_size for each in (folder / run.id).rglob("*")) < 1_000_000


def test_copies_of_a_profile_are_named_as_the_plugin_wants(logs: Any, folder: Path, profile: Make) -> None:
    run = profile(device="cuda:0")
    logs.sync()
    names = sorted(each.name for each in (folder / run.id).iterdir())
    assert [match.groups() for name in names if (match := TRACE_NAME.match(name))] == [
        ("cuda0", ".001"),
        ("cuda0", ".002"),
    ]
    written = json.loads(gzip.decompress((folder / run.id / names[0]).read_bytes()))
    assert [each["name"] for each in written["traceEvents"]] == ["aten::mm"]
    assert (folder / RECORDED_RUN).is_dir(), "its tab is there before the first own profile"


def test_without_the_profiler_tab_no_trace_is_copied(
    store: RunStore, folder: Path, training: Make, profile: Make
) -> None:
    run = training(started(), epoch_done(1))
    profile()
    assert not TensorBoardLogs(store, folder, with_profiles=False).sync()
    assert [each.name for each in folder.iterdir()] == [run.id]


def test_profiles_come_one_at_a_time_the_newest_first(store: RunStore, logs: Any, folder: Path, profile: Make) -> None:
    runs = [profile() for _ in range(3)]
    for at, run in enumerate(runs):
        store.update(run.id, created=run.created + at)
    assert logs.sync() and (folder / runs[2].id).is_dir() and not (folder / runs[1].id).exists()
    assert logs.sync() and not logs.sync()
    assert {each.name for each in folder.iterdir()} == {RECORDED_RUN, *(each.id for each in runs)}
    assert not logs.is_stale


def test_traces_that_cannot_be_shown_are_left_out(
    logs: Any, folder: Path, profile: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = gzip.compress(text([host("aten::mm", 1, 2)]))
    half, none = profile((good[:-9], good)), profile((b"", b""))
    while logs.sync():
        pass
    assert [each.name for each in (folder / half.id).iterdir()] == ["cpu.002.pt.trace.json.gz"]
    assert not (folder / none.id).exists()
    monkeypatch.setattr(tensorboard_logs, "MAX_TRACE_MB", 0)
    large = profile()
    logs.sync()
    assert not (folder / large.id).exists()


def test_deleted_runs_disappear_and_tensorboard_starts_anew(
    store: RunStore, logs: Any, folder: Path, training: Make, profile: Make
) -> None:
    kept, gone, traced = training(started(), epoch_done(1)), training(started(), epoch_done(1)), profile()
    logs.sync()
    assert not logs.is_stale
    store.delete(gone.id)
    store.delete(traced.id)
    logs.sync()
    assert {each.name for each in folder.iterdir()} == {RECORDED_RUN, kept.id}
    assert logs.is_stale


def test_a_store_that_cannot_be_reached_has_lost_nothing(
    store: RunStore, logs: Any, folder: Path, training: Make
) -> None:
    run = training(started(), epoch_done(1))
    logs.sync()
    store.folder.rename(store.folder.with_name("elsewhere"))
    logs.sync()
    assert (folder / run.id).is_dir() and not logs.is_stale


def test_only_the_newest_are_shown(
    store: RunStore, logs: Any, folder: Path, training: Make, profile: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, limit in (("SHOWN_TRAININGS", 2), ("SHOWN_PROFILES", 1), ("KEPT_TRAININGS", 3), ("KEPT_PROFILES", 2)):
        monkeypatch.setattr(tensorboard_logs, name, limit)
    runs = [make() for make in (lambda: training(started(), epoch_done(1)), profile) for _ in range(3)]
    for at, run in enumerate(runs):
        store.update(run.id, created=run.created + at)
    while logs.sync():
        pass
    assert {each.name for each in folder.iterdir()} == {RECORDED_RUN, runs[1].id, runs[2].id, runs[5].id}
    for _ in range(2):
        assert not logs.is_stale
        later = profile()
        logs.sync()
        assert (folder / later.id).is_dir()
    assert logs.is_stale, "too many by now: it starts anew with the newest ones"
    again = TensorBoardLogs(store, folder.with_name("again"))
    for _ in range(2):
        again.sync()
        assert not again.is_stale
        training(started(), epoch_done(1))
    again.sync()
    assert again.is_stale, "trainings, too"
