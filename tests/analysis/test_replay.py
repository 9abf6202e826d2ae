"""A replay shows at every moment what the runs had told by then, on clocks that stand still in pauses."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from run_makers import begun, epoch, step, told

from eurosat_core.analysis.race import frame_at, history_at, own_seconds, standing, total_seconds
from eurosat_core.charts.training import curve_frame
from eurosat_core.runs.history import History, HistoryReader
from eurosat_core.runs.record import TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.training.config import workshop_config
from eurosat_core.training.events import FeaturesDone, Finished


def history(pace: float = 1.0, done: bool = True) -> History:
    """Two epochs of ten seconds at pace 1: training for 8 s, validation for 2."""
    steps = tuple(
        structs.replace(step(number, at, phase, seconds), loss=2.0)
        for at in (1, 2)
        for number, phase, offset in ((50, "train", 4.0), (100, "train", 8.0), (40, "validation", 9.5))
        for seconds in [(10 * (at - 1) + offset) / pace]
    )
    epochs = tuple(structs.replace(epoch(at, at / 4), elapsed_seconds=10 * at / pace) for at in (1, 2))
    finished = Finished(2, 20.5 / pace, 1.0, 0.5) if done else None
    return History(begun(epochs=2), steps, epochs, finished, steps[-1], 1000.0, 10)


def test_true_speed_and_faster() -> None:
    both = {"CPU": history(), "GPU": history(10.0)}
    assert total_seconds(both) == 20.5
    now = frame_at(both, 1.5)
    assert now["CPU"].stage == "starting"
    assert (now["GPU"].stage, now["GPU"].epoch, now["GPU"].accuracy) == ("training", 2, 0.25)


@pytest.mark.parametrize(
    ("seconds", "stage", "epoch_now", "accuracy"),
    [
        (-5.0, "starting", 0, None),
        (0.0, "starting", 0, None),
        (4.0, "training", 1, None),
        (9.6, "validating", 1, None),
        (10.0, "training", 1, 0.25),
        (15.0, "training", 2, 0.25),
        (19.6, "validating", 2, 0.25),
        (20.2, "training", 2, 0.5),
        (20.5, "done", 2, 0.5),
        (999.0, "done", 2, 0.5),
    ],
)
def test_only_what_was_known_then(seconds: float, stage: str, epoch_now: int, accuracy: float | None) -> None:
    state = frame_at({"a": history()}, seconds)["a"]
    assert (state.stage, state.epoch, state.accuracy) == (stage, epoch_now, accuracy)
    assert state.seconds == min(max(seconds, 0.0), 20.5)
    assert (state.epochs, state.of_seconds) == (2, 20.5)
    assert (state.history.finished is not None) == state.is_over
    assert all(each.seconds <= max(seconds, 0.0) for each in state.history.steps)


def test_whatever_draws_a_living_run_draws_a_replayed_one() -> None:
    state = frame_at({"a": history()}, 12.0)["a"]
    frame = curve_frame(state.history, "accuracy", 10)
    assert frame.loc[frame["kind"] == "epoch", "epoch"].max() == 1
    assert curve_frame(history_at(history(), 999.0), "loss", 10).equals(curve_frame(history(), "loss", 10))


@given(st.floats(0, 30), st.floats(0, 30))
def test_time_only_adds(one: float, other: float) -> None:
    early, late = (frame_at({"a": history()}, at)["a"] for at in sorted((one, other)))
    assert early.progress <= late.progress
    assert early.history.steps == late.history.steps[: len(early.history.steps)]
    assert early.history.epochs == late.history.epochs[: len(early.history.epochs)]


def test_a_run_that_broke_off_ends_where_it_fell_silent() -> None:
    broken = history(done=False)
    assert own_seconds(broken) == 20.0
    assert frame_at({"a": broken}, 25.0)["a"].stage == "broke_off"
    assert frame_at({"a": History()}, 0.0)["a"].stage == "broke_off"
    assert total_seconds({}) == 0.0


def test_computing_the_frozen_part_is_known_once_it_is_done() -> None:
    cached = replace(history(), features=FeaturesDone(100, 100, 3.0))
    assert frame_at({"a": cached}, 2.0)["a"].history.features is None
    assert frame_at({"a": cached}, 3.0)["a"].history.features == FeaturesDone(100, 100, 3.0)


def test_pauses_are_not_replayed(store: RunStore, used: TilesUsed) -> None:
    run = store.create(workshop_config(), "ada", used)
    store.append(run.id, [begun(epochs=1), step(1, seconds=1.0)], at=100.0)
    store.append(run.id, [step(2, seconds=2.0)], at=5000.0)  # it had been paused for more than an hour
    store.append(run.id, [structs.replace(epoch(1, 0.5), elapsed_seconds=3.0), Finished(1, 3.0, 1.0, 0.5)], at=5001.0)
    assert own_seconds(HistoryReader(store.folder_of(run.id) / "events.jsonl").read()) == 3.0


@pytest.mark.parametrize(
    ("seconds", "names", "name"),
    [
        (0.0, ["starting"], None),
        (0.5, ["under_way"], "GPU"),
        (3.0, ["some_done", "others"], "GPU"),
        (30.0, ["over.done"], None),
    ],
)
def test_who_is_ahead(seconds: float, names: list[str], name: str | None) -> None:
    found = standing(frame_at({"CPU": history(), "GPU": history(10.0)}, seconds))
    assert (told(found), found.figures.get("name")) == (names, name)
    if names == ["over.done"]:  # the first to finish comes first
        assert [each.figures["name"] for each in found.figures["times"]] == ["GPU", "CPU"]


def test_standings_of_runs_that_never_finished() -> None:
    assert standing({}).kind == "starting"
    states = frame_at({"a": history(done=False), "b": history(done=False)}, 99.0)
    assert told(standing(states)) == ["over.none"]
