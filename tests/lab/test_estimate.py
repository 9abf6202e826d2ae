"""How long a training takes, from what was measured, and the rate of multiplications that the calculator rests on."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from fake_engine import SPEEDS

from eurosat_core.lab import train as rooms
from eurosat_core.lab.kind import Estimate, Known, Pace, network_summary
from eurosat_core.lab.speeds import Rate, Speed, measured_rate, short_time, tutorials_slip
from eurosat_core.lab.train import estimate_seconds
from eurosat_core.models.catalog import PRESETS, build_model
from eurosat_core.models.convolution import LayerWork
from eurosat_core.models.summary import summarize
from eurosat_core.runs.record import RunRecord, TilesUsed
from eurosat_core.speed.plan import COMPILE_SECONDS
from eurosat_core.training.config import Architecture, TrainConfig, recipe_config
from tests.run_makers import make_record

MACS = {
    TrainConfig(model=name).architecture: macs
    for name, macs in (
        ("baseline", 1_000_000),
        ("tilenet", 4_000_000),
        ("efficientnet_lite0", 4_500_000),
        ("large", 5_000_000),
    )
}
MEMORY = TrainConfig(source="memory", epochs=3)
MACHINE = {"threads": 2, "device_name": "Some CPU"}


def used(tiles: int = 1000, source: str = "folder") -> TilesUsed:
    return TilesUsed("f", source, "/x", tiles, ("a", "b"))


def finished_run(config: TrainConfig = MEMORY, tiles: int = 1000, **changes: Any) -> RunRecord:
    """Three epochs on 1,000 tiles, in 6 seconds."""
    values: dict[str, Any] = {"summary": {"epochs": 3, "seconds": 6.0}, "machine": MACHINE, **changes}
    return RunRecord("the-run", "ada", "finished", config, used(tiles), created=0.0, **values)


def known(config: TrainConfig, *runs: RunRecord, speeds: Sequence[Speed] = SPEEDS, **more: Any) -> Known:
    """more: other fields of `Known`; `tiles` as a number."""
    tiles = used(more.pop("tiles", 1000))
    return Known(
        config, tiles, runs, speeds, **{"macs": lambda network: MACS.get(network, 1), "machine": MACHINE, **more}
    )


def estimate(config: TrainConfig, *runs: RunRecord, **more: Any) -> Estimate:
    found = estimate_seconds(known(config, *runs, **more))
    assert found is not None
    return found


@pytest.fixture(autouse=True)
def nothing_beside_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "_BESIDE_STEPS", 0.0)


def test_what_a_tile_takes_beside_its_steps_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, loader = estimate(MEMORY).seconds, estimate(TrainConfig(epochs=3)).seconds
    monkeypatch.setattr(rooms, "_BESIDE_STEPS", 0.001)
    assert estimate(MEMORY).seconds == pytest.approx(steps + 3 * 1000 * 0.001)
    assert estimate(TrainConfig(epochs=3)).seconds == loader, "opening the picture takes longer and is counted there"


def test_nothing_was_measured() -> None:
    assert estimate_seconds(known(MEMORY, speeds=())) is None
    assert estimate_seconds(known(replace(MEMORY, device="cuda:0"))) is None


def test_a_run_that_did_the_same_work_is_the_best_basis() -> None:
    found = estimate(MEMORY, finished_run(), finished_run(summary={"epochs": 3, "seconds": 60.0}))
    assert found.seconds == pytest.approx(6.0)
    assert "the-run" in found.basis and "3 epochs, 1,000 tiles" in found.basis


def test_of_several_runs_the_one_of_nearest_size_counts() -> None:
    short = finished_run(replace(MEMORY, tiles=200), summary={"epochs": 3, "seconds": 4.0})
    assert estimate(MEMORY, short, finished_run()).seconds == pytest.approx(6.0)


def test_real_and_synthetic_tiles_are_told_apart() -> None:
    run = replace(finished_run(), tiles=used(source="synthetic"))
    assert "measurement" in estimate(MEMORY, run).basis


@pytest.mark.parametrize(
    ("changes", "tiles", "factor"), [({"epochs": 6}, 1000, 2), ({"tiles": 500}, 1000, 0.5), ({}, 4000, 4)]
)
def test_a_run_is_scaled_to_the_work(changes: dict[str, Any], tiles: int, factor: float) -> None:
    found = estimate(replace(MEMORY, **changes), finished_run(), tiles=tiles)
    assert found.seconds == pytest.approx(6.0 * factor, rel=0.01)


@pytest.mark.parametrize(
    "run",
    [
        finished_run(replace(MEMORY, batch_size=80)),
        finished_run(replace(MEMORY, precision="bfloat16")),
        finished_run(replace(MEMORY, model="custom", network="flatten linear:10")),
        finished_run(machine={**MACHINE, "threads": 8}),
        finished_run(machine={**MACHINE, "device_name": "Another CPU"}),
        finished_run(concurrent_runs=("another-run",)),
        finished_run(tiles=20),  # a fiftieth of the work: mostly its start
        finished_run(machine={}),
        finished_run(summary={}),
        finished_run(summary={"epochs": 0, "seconds": 1.0}),
    ],
)
def test_a_run_of_another_kind_is_no_basis(run: RunRecord) -> None:
    assert "measurement" in estimate(MEMORY, run).basis


def test_compiling_is_counted_once_however_long_the_training() -> None:
    compiled = replace(MEMORY, execution="compiled")
    assert estimate(compiled).seconds == pytest.approx(estimate(MEMORY).seconds + COMPILE_SECONDS)
    growing = replace(MEMORY, model="tilenet", progressive_resizing=True)
    each = estimate(replace(growing, execution="compiled")).seconds - estimate(growing).seconds
    assert each == pytest.approx(3 * COMPILE_SECONDS), "for every size of tiles"
    run = finished_run(compiled)
    run = replace(run, summary={**run.summary, "seconds": run.summary["seconds"] + 21.0, "compile_seconds": 21.0})
    steps = estimate(MEMORY, finished_run()).seconds
    assert estimate(compiled, run).seconds == pytest.approx(steps + COMPILE_SECONDS)


def test_a_run_that_took_its_frozen_part_from_an_earlier_one_is_no_basis() -> None:
    config = TrainConfig(model="efficientnet_lite0", source="features", epochs=3)
    noted = {"epochs": 3, "train_tiles": 750, "val_tiles": 250}
    taken = finished_run(config, summary={**noted, "seconds": 1.0, "feature_tiles": 0})
    whole = replace(finished_run(config, summary={**noted, "seconds": 40.0, "feature_tiles": 1000}), id="whole")
    before = replace(finished_run(config, summary={"epochs": 3, "seconds": 50.0}), id="before")  # it was noted
    assert estimate(config, taken).is_rough
    assert estimate(config, taken, whole).seconds == pytest.approx(40.0)
    assert estimate(config, taken, before).seconds == pytest.approx(50.0)


SLOW_MODELS = (
    Speed("cpu", "tilenet", 128, "bfloat16", True, 0.001, 0.0006, cores=2.0),
    Speed("cpu", "tilenet", 40, "float32", False, 0.002, 0.0006, cores=2.0),
    Speed("cpu", "efficientnet_lite0", 40, "float32", False, 0.009, 0.0006, cores=2.0),
)


EACH_MODEL = (*SPEEDS, *SLOW_MODELS)
FAST_FORM = {"precision": "bfloat16", "channels_last": True}
WORK = 3 * (750 + 250 / 3)


@pytest.mark.parametrize(
    ("changes", "speeds", "seconds"),
    [
        pytest.param({}, SPEEDS, WORK * 0.0004, id="the speed that fits best"),
        ({**FAST_FORM, "batch_size": 128}, SPEEDS, WORK * 0.0002),
        pytest.param({"model": "large"}, SPEEDS, 5 * WORK * 0.0004, id="a larger model takes longer"),
        pytest.param({"model": "tilenet"}, EACH_MODEL, WORK * 0.002, id="each model has its own"),
        ({"model": "tilenet", **FAST_FORM}, EACH_MODEL, WORK * 0.001),
        ({"model": "efficientnet_lite0"}, EACH_MODEL, 3 * 1000 / 3 * 0.009),
        # EfficientNet-Lite0 is nearer, but its filters of one channel tell nothing of other networks.
        pytest.param({"model": "large"}, EACH_MODEL, WORK * 0.002 * 5 / 4, id="else the trained one of nearest size"),
    ],
)
def test_the_short_measurement_that_fits_best(changes: dict[str, Any], speeds: Sequence[Speed], seconds: float) -> None:
    assert estimate(replace(MEMORY, **changes), speeds=speeds).seconds == pytest.approx(seconds)


def test_timed_steps_of_the_same_settings_tell_better_than_the_short_measurement() -> None:
    paces = [
        Pace(replace(MEMORY, batch_size=80), 1.0, 1.0, "other"),
        Pace(MEMORY, 0.003, 0.0005, "timed"),
        Pace(MEMORY, 1.0, 1.0, "older"),
    ]
    found = estimate(MEMORY, paces=paces)
    assert found.seconds == pytest.approx(3 * (750 * 0.003 + 250 * 0.0005))
    assert "run timed" in found.basis
    run = estimate(MEMORY, finished_run(), paces=paces)
    assert "the-run" in run.basis


def test_validation_steps_that_were_not_timed_are_a_third_from_memory_and_unknown_from_files() -> None:
    paces = [Pace(MEMORY, 0.003, None, "timed"), Pace(replace(MEMORY, source="loader"), 9.0, None, "timed")]
    found = estimate(MEMORY, paces=paces)
    assert found.seconds == pytest.approx(3 * (750 + 250 / 3) * 0.003)
    loaded = estimate(replace(MEMORY, source="loader"), paces=paces)
    assert "measurement" in loaded.basis


LOADER = replace(MEMORY, source="loader")
START = 1.5  # until loader workers have delivered their first batch


def test_without_loader_workers_opening_pictures_comes_on_top() -> None:
    alone = estimate(replace(LOADER, workers=0))
    assert alone.seconds == pytest.approx(estimate(MEMORY).seconds + 3 * 1000 * SPEEDS[0].picture_seconds)


def test_loader_workers_take_cores_from_the_training() -> None:
    # 0.4 ms of two cores are 0.8 ms of work, a third of that when judging; opening a picture takes 1.5 × 0.6 ms more.
    # All of that takes 1.5 times as long where training and workers hold each other up.
    learned, judged = 1.5 * (0.8e-3 + 0.9e-3) / 2, 1.5 * (0.8e-3 / 3 + 0.9e-3) / 2
    assert estimate(LOADER).seconds == pytest.approx(3 * (750 * learned + 250 * judged) + START)
    # With pictures that are hard to open, all that the two cores have to do counts: 0.8 ms and 1.5 × 2 ms.
    hard = tuple(replace(each, picture_seconds=0.002) for each in SPEEDS)
    slow = 3 * 1.5 * (750 * (0.8e-3 + 3e-3) / 2 + 250 * (0.8e-3 / 3 + 3e-3) / 2) + START
    assert estimate(LOADER, speeds=hard).seconds == pytest.approx(slow)
    many = estimate(LOADER, machine={**MACHINE, "threads": 16})
    # Then nothing but the two workers' opening counts: 1.5 × 0.6 ms / 2.
    assert many.seconds == pytest.approx(3 * 1000 * 0.45e-3 + START)


def test_beside_a_gpu_the_slower_side_counts() -> None:
    gpu = (Speed("cuda:0", "baseline", 40, "float32", False, 0.00001, 0.001),)
    config = replace(LOADER, device="cuda:0")
    opening = 1.5 * 0.001
    assert estimate(replace(config, workers=2), speeds=gpu).seconds == pytest.approx(3 * 1000 * opening / 2 + START)
    assert estimate(replace(config, workers=4), speeds=gpu).seconds == pytest.approx(3 * 1000 * opening / 4 + START)
    assert estimate(replace(config, workers=0), speeds=gpu).seconds > 3.0


@pytest.mark.parametrize(("cores", "factor"), [(2.0, 1.0), (1.0, 2.0), (2 / 3, 3.0), (8.0, 1.0)])
def test_fewer_cores_than_then_take_longer(cores: float, factor: float) -> None:
    for runs in ([], [finished_run()]):
        found = estimate(MEMORY, *runs, cores=cores)
        assert found.seconds == pytest.approx(factor * estimate(MEMORY, *runs).seconds)


def test_a_basis_from_beside_other_work_is_scaled_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "usable_cores", lambda: {0, 1})
    beside = finished_run(machine={**MACHINE, "busy_elsewhere": 1.0})
    assert estimate(MEMORY, beside).seconds == pytest.approx(3.0)
    slow = tuple(replace(each, cores=1.0) for each in SPEEDS)
    assert estimate(MEMORY, speeds=slow).seconds == pytest.approx(estimate(MEMORY).seconds / 2)


def test_other_programs_do_not_slow_a_gpu_down() -> None:
    gpu = (Speed("cuda:0", "baseline", 40, "float32", False, 0.0001, 0.001, cores=0.5),)
    config = replace(MEMORY, device="cuda:0")
    found = [estimate(config, speeds=gpu, cores=each) for each in (2.0, 0.5)]
    assert found[0] == found[1]


def test_another_network_of_the_same_model_is_estimated_by_its_own_work() -> None:
    coarse = TrainConfig(model="tilenet", source="memory", epochs=3)
    fine = replace(coarse, stem_pool=False)
    measured = Speed("cpu", "tilenet", 128, "bfloat16", True, 0.001, 0.0006, cores=2.0)
    macs = {**MACS, fine.architecture: 4 * MACS[coarse.architecture]}
    one, other = (estimate(each, speeds=[measured], macs=macs.__getitem__) for each in (coarse, fine))
    assert other.seconds == pytest.approx(4 * one.seconds)
    runs = [finished_run(coarse)]  # which tells nothing of another network
    assert estimate(fine, *runs, speeds=[measured], macs=macs.__getitem__) == other
    itself = replace(measured, tile_seconds=0.0027, stem_pool=False)
    best = estimate(fine, speeds=[measured, itself], macs=macs.__getitem__)
    assert best.seconds == pytest.approx(2.7 * one.seconds)


@pytest.mark.parametrize(("device", "saved"), [("cpu", 0.4), ("cuda:0", 0.05)])
def test_smaller_pictures_first_save_time_on_a_cpu_and_hardly_any_on_a_gpu(device: str, saved: float) -> None:
    whole = TrainConfig(model="tilenet", source="memory", epochs=3, device=device)
    measured = Speed(device, "tilenet", 128, "bfloat16", True, 0.001, 0.0006, cores=2.0)
    one, other = (
        estimate(replace(whole, progressive_resizing=growing), speeds=[measured]) for growing in (False, True)
    )
    assert other is not None
    assert one.seconds - other.seconds == pytest.approx(3 * 750 * 0.001 * saved)


HERE = {"threads": 2, "device_name": "Test CPU"}
FAST = recipe_config("baseline", "fast", precision="bfloat16", channels_last=True)


BASELINE = Architecture("baseline")


def run(rate: float = 9000.0, **changes: Any) -> RunRecord:
    figures = {"tiles_per_second": rate}
    return make_record(**{"config": FAST, "summary": figures, "machine": {**HERE, "torch": "2"}, **changes})


def rate_of(
    *runs: RunRecord, speeds: Sequence[Speed] = (), device: str = "cpu", costs: Any = network_summary
) -> Rate | None:
    return measured_rate(device, speeds, runs, costs, HERE)


DEEPER = Architecture("custom", PRESETS["deeper"].text)
WHOLE = recipe_config("tilenet", "sprint", progressive_resizing=False)
SMALLER = run(900.0, config=replace(WHOLE, progressive_resizing=True))  # less work than the layers say


@pytest.mark.parametrize(
    ("speeds", "runs", "network", "tiles_per_second", "basis"),
    [
        (SPEEDS, [], BASELINE, 1 / 0.0002, "128, bfloat16"),
        (SPEEDS, [run()], BASELINE, 9000, "run run (batches of 64"),
        ([], [run(config=replace(FAST, model="custom", network=DEEPER.network))], DEEPER, 9000, "run run ("),
        ([], [SMALLER, run(500.0, config=WHOLE, id="whole")], Architecture("tilenet"), 500, "run whole ("),
    ],
    ids=["the fastest short measurement", "a faster run", "a network's own layers", "whole pictures"],
)
def test_the_fastest_that_was_measured_is_taken_and_named(
    speeds: Sequence[Speed], runs: list[RunRecord], network: Architecture, tiles_per_second: float, basis: str
) -> None:
    rate = rate_of(*runs, speeds=speeds)
    assert rate is not None and basis in rate.basis
    assert rate.per_second == pytest.approx(3 * network_summary(network).macs * tiles_per_second)


@pytest.mark.parametrize("model", ["baseline", "tilenet", "efficientnet_lite0"])
def test_costs_are_those_of_a_network_that_was_really_made(model: str) -> None:
    assert network_summary(Architecture(model)) == summarize(build_model(model, 10))


@pytest.mark.parametrize("model", ["vgg11_bn", "efficientnet_lite0"])
def test_twice_the_side_is_four_times_the_convolutions_work(model: str) -> None:
    def convolutions(side: int) -> int:
        layers = network_summary(Architecture(model, input_side=side)).layers
        return sum(each.macs for each in layers if each.name.startswith("Conv2d"))

    assert convolutions(128) == 4 * convolutions(64) == pytest.approx(4 / 2.25 * convolutions(96), rel=0.02)
    small, large = (TrainConfig(model=model, source="memory", input_side=side) for side in (64, 128))
    measured = Speed("cpu", model, 64, "float32", True, 0.001, 0.0006, cores=2.0)
    one, other = (
        estimate(each, speeds=[measured], macs=lambda network: network_summary(network).macs) for each in (small, large)
    )
    assert other.is_rough and not one.is_rough and 3 < other.seconds / one.seconds < 4.01


def test_a_high_rate_is_written_out() -> None:
    rate = rate_of(run(5.7e12 / (3 * network_summary(BASELINE).macs)))
    assert rate is not None and rate.basis.startswith("5,700 billion ")


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "cancelled"},
        {"concurrent_runs": ("other",)},
        {"machine": {**HERE, "device_name": "another"}},
        {"summary": {}},
        {"config": replace(FAST, source="loader")},
        {"config": replace(FAST, device="cuda:0")},
        {"config": SMALLER.config},
    ],
)
def test_runs_that_say_nothing_about_this_device(changes: dict[str, Any]) -> None:
    assert rate_of(run(**changes)) is None


def test_nothing_measured_gives_no_figure() -> None:
    assert rate_of() is None
    assert rate_of(run(), speeds=SPEEDS, device="cuda:0") is None
    frozen = replace(network_summary(BASELINE), trainable_params=850)  # did less than its layers say
    assert rate_of(run(), costs=lambda _network: frozen) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25e-6, "0.25 µs"),
        (12.3e-6, "12 µs"),
        (344e-6, "340 µs"),
        (994e-6, "990 µs"),
        (996e-6, "0.996 ms"),
        (4.234e-3, "4.23 ms"),
        (0.5, "500 ms"),
        (1.0, "1 s"),
        (125, "2 min 05 s"),
    ],
)
def test_short_times(seconds: float, text: str) -> None:
    assert short_time(seconds) == text


def test_the_slip_is_mentioned_beside_its_own_values_only() -> None:
    assert "1,746,696" in tutorials_slip(LayerWork())
    assert tutorials_slip(LayerWork(stride=2)) == ""
