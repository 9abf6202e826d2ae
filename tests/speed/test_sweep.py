"""Measuring settings in turn: the order of the turns, the time it takes, what is kept; and the time to an accuracy."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from sweep_makers import MEMORY, Clock, PlayedSteps, plan_of

from eurosat_core.data.batches import Batch, MemorySource
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import TrainingError
from eurosat_core.speed import sweep as learning
from eurosat_core.speed import sweep as sweep_module
from eurosat_core.speed.plan import (
    LEAST_ROUNDS,
    Cell,
    Learned,
    LimitsDone,
    SweepDone,
    SweepPlan,
    SweepStarted,
    TurnDone,
)
from eurosat_core.speed.result import Limits, SweepResult
from eurosat_core.speed.sweep import Sweep, learn, steps_per_turn
from eurosat_core.speed.verdict import Learning
from eurosat_core.training.evaluation import Tally
from eurosat_core.training.problems import DeviceError
from eurosat_core.training.step import Trainer


class Played:
    """A sweep on a played clock: the paces of its cells, in seconds per step."""

    def __init__(
        self,
        tiles: TileSet,
        *paces: float,
        noise: float = 0.0,
        fails: dict[int, int] | None = None,
        compiling: dict[int, float] | None = None,
        **plan: Any,
    ):
        self.clock = Clock()
        labels = [chr(ord("a") + at) for at in range(len(paces))]
        self.plan: SweepPlan = plan_of(*labels, **plan)
        self.steppers: list[PlayedSteps] = []
        left = list(enumerate(paces))

        def make(_config: Any, _tiles: Any) -> PlayedSteps:
            at, pace = left.pop(0)
            fails_at = (fails or {}).get(at)
            took = (compiling or {}).get(at)
            self.steppers.append(
                PlayedSteps(self.clock, pace, noise=noise, seed=at, fails_at=fails_at, compile_seconds=took)
            )
            return self.steppers[-1]

        def limits(device: str) -> Limits:
            self.clock.now += 8.0
            return Limits(device, 2)

        self.sweep = Sweep(MEMORY, self.plan, tiles, make=make, limits=limits, clock=self.clock)

    def run(self) -> SweepResult:
        self.events = list(self.sweep.events())
        return self.sweep.result


def test_cells_take_turns_in_every_round(small_tiles: TileSet) -> None:
    played = Played(small_tiles, 0.01, 0.02, 0.04)
    result = played.run()
    turns = [(each.round, each.cell) for each in played.events if isinstance(each, TurnDone) and each.phase == "train"]
    assert turns[:6] == [(1, 0), (1, 1), (1, 2), (2, 2), (2, 1), (2, 0)], "every other round the other way round"
    assert {len(each.turns) for each in result.cells} == {result.rounds}
    assert [each.step_seconds.median for each in result.cells if each.step_seconds] == pytest.approx([0.01, 0.02, 0.04])
    assert result.verdict("b", "cpu").factor == pytest.approx(0.5)
    assert result.complete and all(each.closed for each in played.steppers)
    assert isinstance(played.events[0], SweepStarted) and isinstance(played.events[-1], SweepDone)
    assert [each.start_seconds for each in result.cells] == pytest.approx([0.05, 0.1, 0.2])


@settings(max_examples=15)
@given(
    paces=some.lists(some.floats(0.0005, 0.05), min_size=1, max_size=6),
    seconds=some.floats(10, 60),
    noise=some.sampled_from([0.0, 0.3]),
)
def test_it_takes_the_time_it_was_given(small_tiles: TileSet, paces: list[float], seconds: float, noise: float) -> None:
    played = Played(small_tiles, *paces, noise=noise, seconds=seconds)
    result = played.run()
    assert result.rounds >= LEAST_ROUNDS
    assert result.seconds <= 1.3 * seconds
    if max(paces) * 500 * 16 > seconds:  # else not even the most steps of the most rounds fill it
        assert result.seconds >= 0.6 * seconds


def test_a_slow_setting_gets_its_fewest_steps_and_no_more_time_than_that(small_tiles: TileSet) -> None:
    played = Played(small_tiles, 0.01, 0.5, seconds=20.0)
    result = played.run()
    assert [each.counts[0] for each in played.steppers][1] == 3
    assert result.rounds >= LEAST_ROUNDS and result.seconds < 26.0


def test_on_a_machine_far_too_slow_it_ends_all_the_same(small_tiles: TileSet) -> None:
    result = Played(small_tiles, 5.0, 5.0, seconds=10.0).run()
    assert result.rounds == 2 and result.verdict("b", "cpu").outcome == "unknown"


def test_validation_steps_are_timed_too(small_tiles: TileSet) -> None:
    result = Played(small_tiles, 0.01, 0.02, validation=True).run()
    assert [len(each.validation) for each in result.cells] == [result.rounds] * 2
    assert result.cells[1].validation_step_seconds and result.cells[1].validation_step_seconds.median == pytest.approx(
        0.01
    )


@pytest.mark.parametrize(("round_", "kept"), [(0, 0), (4, 3)])
def test_a_setting_that_fails_is_left_out_and_says_why(small_tiles: TileSet, round_: int, kept: int) -> None:
    played = Played(small_tiles, 0.01, 0.02, 0.03, fails={1: round_})
    result = played.run()
    assert "Try" in result.cells[1].problem and len(result.cells[1].turns) == kept
    assert result.cells[0].problem == "" and len(result.cells[2].turns) >= LEAST_ROUNDS
    assert result.complete and all(each.closed for each in played.steppers)
    assert SweepResult.from_json(result.to_json()) == result


def test_when_nothing_can_be_measured_the_run_fails(small_tiles: TileSet) -> None:
    with pytest.raises(TrainingError):
        Played(small_tiles, 0.01, 0.02, fails={0: 0, 1: 0}).run()


def test_a_device_that_fails_ends_it(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(small_tiles, 0.01, 0.02)

    def vanish(_self: Any, _number: int) -> None:
        raise DeviceError("The device vanished.")

    monkeypatch.setattr(PlayedSteps, "turn", vanish)
    with pytest.raises(DeviceError):
        played.run()
    assert all(each.closed for each in played.steppers)


def test_stopped_at_any_moment_it_keeps_what_was_measured(small_tiles: TileSet) -> None:
    whole = len(list(Played(small_tiles, 0.01, 0.02).sweep.events()))
    for after in range(whole):
        played = Played(small_tiles, 0.01, 0.02)
        events = played.sweep.events()
        seen = [next(events) for _ in range(after)]
        events.close()
        turns = sum(isinstance(each, TurnDone) and each.phase == "train" for each in seen)
        result = played.sweep.result
        assert sum(len(each.turns) for each in result.cells) == turns and not result.complete
        assert all(each.closed for each in played.steppers)


def test_limits_come_first_and_predict(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(sweep_module, "predict_step", lambda *arguments: asked.append(arguments))
    played = Played(small_tiles, 0.01, limits=True, seconds=10.0)
    result = played.run()
    assert isinstance(played.events[1], LimitsDone) and played.events[1].seconds == 8.0
    assert result.limits == {"cpu": Limits("cpu", 2)} and result.rounds >= LEAST_ROUNDS
    assert asked == [(MEMORY, Limits("cpu", 2), 4)]
    assert result.seconds <= 1.3 * played.plan.total_seconds(MEMORY)


@given(
    paces=some.dictionaries(some.integers(0, 9), some.floats(1e-4, 1.0), min_size=1, max_size=6),
    seconds=some.floats(0.1, 20),
    least=some.integers(1, 10),
)
def test_steps_fill_a_round_as_far_as_they_may(paces: dict[int, float], seconds: float, least: int) -> None:
    untimed = dict.fromkeys(paces, 2)
    steps = steps_per_turn(paces, untimed, seconds, dict.fromkeys(paces, least))
    spent = sum(paces[at] * (steps[at] + 2) for at in paces)
    fewest = sum(pace * (least + 2) for pace in paces.values())
    assert all(least <= each <= 500 for each in steps.values())
    assert spent <= max(seconds, fewest) * 1.0001 + 1e-9


def test_a_gpus_turns_fill_some_time_and_the_cpu_beside_it_is_at_its_best(small_tiles: TileSet) -> None:
    cells = tuple(Cell("a", {"device": device}) for device in ("cpu", "cuda:0"))
    played = Played(small_tiles, 0.01, 0.0001, cells=cells, reference="a", focus="a", seconds=2.0)
    result = played.run()
    assert [each.threads for each in result.cells] == [4, None]
    assert all(turn.seconds >= 0.299 for turn in result.cells[1].turns)
    assert [each.threads for each in Played(small_tiles, 0.01, 0.0001).run().cells] == [None, None]


CONFIG = replace(MEMORY, optimizer="adam", learning_rate=0.002, batch_size=16)


def learned(tiles: TileSet, target: float, seconds: float = 60.0) -> tuple[list[Learned], list[Learning]]:
    kept: list[Learning] = []
    return list(learn(CONFIG, tiles, 3, target, seconds, kept.append, lambda: 0.0)), kept


def test_easy_tiles_are_learned(small_tiles: TileSet) -> None:
    events, kept = learned(small_tiles, 0.9)
    last = kept[-1]
    assert last.reached and last.accuracy >= 0.9 and last.validation_tiles == 50
    assert not any(each.reached for each in kept[:-1]) and len(last.points) == len(events) == len(kept)
    assert last.seconds == last.points[-1][0] == events[-1].train_seconds and {each.cell for each in events} == {3}
    assert last.tiles >= 1000 * len(kept)
    again = learned(small_tiles, 0.9)[1][-1]
    assert (again.tiles, [share for _, share in again.points]) == (last.tiles, [share for _, share in last.points])


def test_the_time_is_bounded(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()  # three milliseconds for every look at the clock: a busy machine must not spend the time beforehand
    monkeypatch.setattr(learning, "time", SimpleNamespace(perf_counter=lambda: 3 * next(ticks) / 1000))
    kept = learned(small_tiles, 0.99, seconds=0.01)[1]
    assert len(kept) == 1 and not kept[0].reached and 0 < kept[0].tiles < 1000


@pytest.mark.parametrize(("batch_size", "sizes"), [(1, {1}), (149, {149, 1})])
def test_it_trains_on_the_batches_of_a_training(
    batch_size: int, sizes: set[int], small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 150 tiles; without norms that train, a tile left over alone counts like any other."""
    seen: list[int] = []
    step, epoch_of = Trainer.step, MemorySource.train

    def noted(self: Trainer, batches: Iterator[Batch], *, tally: Tally) -> int:
        seen.append(step(self, batches, tally=tally))
        return seen[-1]

    def bounded(self: MemorySource, epoch: int) -> Iterator[Batch]:
        assert epoch < 10, "it goes through the tiles without training on them"
        return epoch_of(self, epoch)

    monkeypatch.setattr(learning, "_EVERY_TILES", 400)
    monkeypatch.setattr(Trainer, "step", noted)
    monkeypatch.setattr(MemorySource, "train", bounded)
    kept: list[Learning] = []
    next(learn(replace(CONFIG, batch_size=batch_size), small_tiles, 3, 0.99, 60.0, kept.append, lambda: 0.0))
    assert set(seen) == sizes and sum(seen) == kept[0].tiles >= 400


def test_in_a_sweep_only_those_that_shall(small_tiles: TileSet) -> None:
    changes = {"optimizer": "adam", "learning_rate": 0.002, "batch_size": 16}
    cells = (Cell("a", changes), Cell("b", learns=False))
    plan = plan_of("a", "b", cells=cells, seconds=1.0, steps=1, target_accuracy=0.6, accuracy_seconds=60.0)
    sweep = Sweep(MEMORY, plan, small_tiles)
    events = list(sweep.events())
    assert any(isinstance(each, Learned) for each in events)
    assert sweep.result.cells[0].learning is not None and sweep.result.cells[0].learning.reached
    assert sweep.result.cells[1].learning is None


def test_what_compiling_takes_is_noted_and_taken_from_no_round(small_tiles: TileSet) -> None:
    played = Played(small_tiles, 0.01, 0.01, seconds=8.0, compiling={1: 40.0})
    played.sweep._configs = tuple(replace(each, execution="compiled") for each in played.sweep._configs)
    list(played.sweep.events())
    result = played.sweep.result
    assert [each.compile_seconds for each in result.cells] == [None, 40.0]
    assert result.epoch_tiles == 150
    unhurried = Played(small_tiles, 0.01, 0.01, seconds=8.0)
    list(unhurried.sweep.events())
    assert unhurried.sweep.result.epoch_tiles is None
    assert result.cells[0].turns[0].steps == unhurried.sweep.result.cells[0].turns[0].steps
