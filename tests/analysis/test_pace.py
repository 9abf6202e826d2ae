"""Speed against an earlier run."""

from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs
from run_makers import USED, begun, epoch, make_record, told

from eurosat_core.analysis import pace
from eurosat_core.finding import Finding
from eurosat_core.runs.history import History
from eurosat_core.training.config import workshop_config
from eurosat_core.training.events import ThreadsChanged


def paced(*rates: float, threads: int = 2) -> History:
    epochs = tuple(epoch(at, 0.4, rate=rate) for at, rate in enumerate(rates, 1))
    return History(started=structs.replace(begun(), threads=threads), epochs=epochs)


def changes(found: Finding | None) -> dict[str, tuple[str, str]]:
    """What differed, as it is said: setting → (now, then)."""
    assert found is not None
    (about,) = (each for each in found.then if each.kind == "changed")
    return {each.figures["title"]: (each.figures["now"], each.figures["was"]) for each in about.figures["changed"]}


GPU = replace(workshop_config(), device="cuda:0")


@pytest.mark.parametrize(
    ("rates", "kind", "ratio"),
    [
        ((500, 3000, 3200), "faster", 3.1),
        ((500, 1000, 1010), "same", None),
        ((500, 900, 2000), "same", None),
        ((500, 250, 260), "slower", 1000 / 255),
    ],
)
def test_speed_for_each_outcome(rates: tuple[float, ...], kind: str, ratio: float | None) -> None:
    found = pace.compare_speed(make_record(config=GPU), paced(*rates), make_record(), paced(400, 990, 1010))
    assert told(found) == [kind, "basis.several", "changed"]
    assert found is not None and found.figures.get("ratio") == (ratio and pytest.approx(ratio))
    assert changes(found) == {"device": ("GPU 0", "CPU")}


@pytest.mark.parametrize(
    ("rates", "kind"), [((1250.0,), "same"), ((1350.0,), "faster"), ((800.0,), "same"), ((700.0,), "slower")]
)
def test_one_epoch_each_says_little(rates: tuple[float, ...], kind: str) -> None:
    found = pace.compare_speed(make_record(config=GPU), paced(*rates), make_record(), paced(1000))
    assert told(found) == [kind, "basis.one_each", "changed", "warm_up"]


def test_one_epoch_against_several_has_no_spread() -> None:
    found = pace.compare_speed(make_record(config=GPU), paced(10, 1250), make_record(), paced(10, 1000, 1010, 1020))
    assert told(found) == ["same", "basis.one", "changed"]
    assert found is not None and (found.then[0].figures["epochs"], found.then[0].figures["before"]) == (1, 3)


@pytest.mark.parametrize(("gpu", "ratio"), [(5000, 5.0), (500, 0.5), (1040, 1.0)])
def test_two_runs_tell_how_fast_the_gpu_is(gpu: float, ratio: float) -> None:
    on_gpu, on_cpu = (make_record(config=GPU), paced(1, gpu, gpu)), (make_record(), paced(1, 1000, 1000))
    for runs in ((*on_gpu, *on_cpu), (*on_cpu, *on_gpu)):  # whichever came first
        assert pace.device_ratio(*runs) == pytest.approx(ratio)


def test_runs_that_differ_in_more_than_their_device_tell_no_ratio() -> None:
    cpu, gpu, rates = make_record(), make_record(config=GPU), paced(1, 1000, 1000)
    larger = make_record(config=replace(GPU, batch_size=256))
    elsewhere = make_record(config=GPU, tiles=replace(USED, fingerprint="another"))
    for one, other in ((cpu, cpu), (gpu, gpu), (larger, cpu), (elsewhere, cpu)):
        assert pace.device_ratio(one, rates, other, rates) is None
    assert pace.device_ratio(gpu, History(), cpu, rates) is None
    vgg = [replace(each, config=replace(each.config, model="vgg11_bn")) for each in (gpu, cpu)]
    assert pace.device_ratio(vgg[0], rates, vgg[1], rates) is None


def test_several_differences_and_company_are_said() -> None:
    other = make_record(
        config=workshop_config("baseline", "tutorial"), machine={"threads": 4}, concurrent_runs=("another",)
    )
    found = pace.compare_speed(make_record(machine={"threads": 2}), paced(1, 900), other, paced(1, 300, threads=4))
    assert told(found)[2:] == ["changed", "several", "company"]
    assert ("2", "4") in changes(found).values()


def test_other_work_is_not_compared() -> None:
    other = make_record(tiles=replace(USED, fingerprint="another"))
    found = pace.compare_speed(make_record(), paced(1, 900), other, paced(1, 300, threads=4))
    assert told(found) == ["other_work.tiles"]
    assert pace.compare_speed(make_record(), paced(), make_record(config=GPU), paced(1)) is None


def test_the_first_epoch_is_warm_up() -> None:
    measured = pace.pace(paced(10, 100, 120, 140))
    assert measured == pace.Pace((100, 120, 140))
    assert measured is not None
    assert measured.spread == pytest.approx(1 / 3)
    assert pace.pace(paced(10)) == pace.Pace((10,))
    assert pace.pace(History()) is None


def test_the_earlier_run_with_the_fewest_differences_is_compared() -> None:
    now = make_record(id="now", config=GPU)
    cpu = make_record(id="cpu", created=10.0)
    tutorial = make_record(id="tutorial", config=workshop_config("baseline", "tutorial"), created=50.0)
    same = make_record(id="same", config=GPU, created=60.0)
    others = make_record(id="others", owner="bob", created=70.0)
    later = make_record(id="later", created=200.0)
    failed = make_record(id="failed", state="failed", created=20.0)
    moved = make_record(id="moved", tiles=replace(USED, fingerprint="x"), created=80.0)
    assert pace.comparable_run(now, [now, later, moved, others, same, tutorial, failed, cpu]) == cpu
    assert pace.comparable_run(now, [now, same, moved]) == moved
    assert pace.comparable_run(now, [now, same, failed]) is None


def test_the_rate_of_the_last_layer_alone_is_not_compared() -> None:
    whole = workshop_config("efficientnet_lite0", source="memory")
    kept = replace(whole, source="features")
    for mine, other in ((kept, whole), (whole, kept), (replace(kept, device="cuda:0"), kept)):
        found = pace.compare_speed(make_record(config=mine), paced(1, 90000), make_record(config=other), paced(1, 300))
        assert told(found) == ["other_work.last_layer"]


def test_an_earlier_run_that_computed_the_whole_network_is_compared_first() -> None:
    now = make_record(id="now", config=workshop_config("efficientnet_lite0", source="memory", device="cuda:0"))
    whole = make_record(id="whole", config=replace(now.config, device="cpu", precision="float32"), created=10.0)
    kept = make_record(id="kept", config=replace(now.config, source="features"), created=50.0)
    assert pace.comparable_run(now, [now, kept, whole]) == whole
    assert pace.comparable_run(now, [now, kept]) == kept


@pytest.mark.parametrize("other", [{"model": "tilenet"}, {"model": "tilenet", "stem_pool": False}])
def test_another_network_is_other_work(other: dict[str, Any]) -> None:
    usual = workshop_config("tilenet", "sprint") if "stem_pool" in other else workshop_config()
    record, earlier = make_record(config=replace(usual, **other)), make_record(config=usual)
    found = pace.compare_speed(record, paced(10, 900), earlier, paced(10, 300))
    assert told(found) == ["other_work.network"]


def test_threads_that_changed_are_told_with_the_speed() -> None:
    beside = replace(paced(1, 900), threads=(ThreadsChanged(1, 0.9, 0.5), ThreadsChanged(2, 0.0, 0.9)))
    assert pace.changing_threads(beside) == "1 to 2" and pace.changing_threads(paced(1, 900)) == ""
    other = make_record(config=workshop_config("baseline", "tutorial"), machine={"threads": 2})
    found = pace.compare_speed(make_record(machine={"threads": 2}), beside, other, paced(1, 300))
    assert ("1 to 2", "2") in changes(found).values()


def test_threads_between_two_moments() -> None:
    history = replace(paced(1, 900), threads=(ThreadsChanged(1, 0.9, 5.0), ThreadsChanged(2, 0.0, 9.0)))
    assert history.threads_between(0.0, 4.0) == (2, 2)
    assert history.threads_between(0.0, 6.0) == (1, 2) and history.threads_between(6.0, 8.0) == (1, 1)
    assert history.threads_between(9.0, 20.0) == (2, 2) and History().threads_between(0.0, 1.0) is None
