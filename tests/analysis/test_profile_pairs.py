"""Two profiles side by side: the verdict follows the figures, and says when they cannot be compared."""

from dataclasses import replace

import pytest
from profile_makers import cpu_trace, gpu_trace, reading

from eurosat_core.analysis import profile_pairs as pairs
from eurosat_core.analysis.profile_pairs import Side
from eurosat_core.charts import profile
from eurosat_core.profiling.plan import ProfilePlan, profile_config
from eurosat_core.runs.profiles import Profile

CONFIG = profile_config("baseline")
USUAL = (cpu_trace(),)
MACHINE = {"device_name": "A CPU", "threads": 2, "torch": "2.14"}


def side(name="one", contents=USUAL, config=CONFIG, **changes) -> Side:
    profile = Profile(name, "run", name, (1,), config, ProfilePlan() if config else None, MACHINE, tiles="tiles")
    return Side(name, replace(profile, **changes), tuple(reading(each) for each in contents))


TWICE = cpu_trace(times=(400, 20, 600, 800, 100))


def test_faster_and_slower_by_the_median_of_all_steps():
    fast, slow = side("new", (cpu_trace(), cpu_trace())), side("old", (TWICE,))
    found = pairs.verdict(fast, slow)
    assert (found.kind, found.figures["ratio"], found.figures["medians"].variant) == ("faster", 1.96, "step")
    assert found.figures["medians"].figures == {"now": 1.0, "before": 1.96, "steps": 6, "steps_before": 3}
    assert pairs.verdict(slow, fast).kind == "slower"


def test_what_overlaps_is_no_difference():
    nearly = cpu_trace(times=(205, 10, 300, 405, 50))
    assert pairs.verdict(side(), side("other", (nearly,))).kind == "same"
    mixed = (cpu_trace(), TWICE)
    assert pairs.verdict(side("a", mixed), side("b", (TWICE, cpu_trace()))).kind == "same"


def test_other_batches_are_compared_per_tile():
    larger = side("large", (TWICE,), replace(CONFIG, batch_size=80))
    assert pairs.per_tile(larger, side()) and not pairs.per_tile(side(), side())
    found = pairs.verdict(larger, side())
    assert (found.kind, found.figures["medians"].variant) == ("same", "tile")
    frame = profile.pair_frame(larger, side("small"), "parts")
    assert frame[frame["row"] == "large"]["end"].max() == pytest.approx(1.96 / 80)


def test_other_networks_get_no_ratio():
    vgg = side("vgg", (TWICE,), profile_config("vgg11_bn"))
    assert pairs.verdict(vgg, side()).kind == "other_work"
    assert cautions(vgg, side()) == ["pairs.work.network"]
    usual, closer = (side(config=profile_config("tilenet", stem_pool=pool)) for pool in (True, False))
    assert cautions(usual, closer) == ["pairs.work.network"]


def cautions(one: Side, other: Side) -> list[str]:
    return [each.name for each in pairs.cautions(one, other)]


def test_cautions():
    assert cautions(side(), side()) == []
    assert cautions(side(), side(tiles="others")) == ["pairs.work.tiles"]
    assert cautions(side(), side(config=None)) == ["pairs.work.unknown"]
    other = replace(CONFIG, batch_size=80, workers=1)
    assert cautions(side(), side(config=other)) == ["pairs.several"]
    assert cautions(side(), side(company=("a training",))) == ["pairs.company"]


def test_what_differs():
    other = replace(CONFIG, batch_size=80, epochs=3)
    found = pairs.differences(
        side(), side(config=other, tiles="others", machine={**MACHINE, "threads": 8}, company=("a training",))
    )
    assert list(found.values()) == [("40", "80"), ("tiles", "others"), ("2", "8"), ("nothing", "a training")]
    assert pairs.differences(side(), side()) == {}
    without = side(plan=ProfilePlan(memory=False, active=2))
    assert sorted(pairs.differences(side(), without).values()) == [("3", "2"), ("yes", "no")]
    assert pairs.differences(side(), side(config=None, machine={}, tiles="")) == {}


def test_operators_that_differ_most_stand_first_and_are_marked():
    frame = pairs.operator_pairs(side("now", (TWICE,)), side("before"), "CPU total")
    assert frame["Operator"][0] == "ProfilerStep*"
    assert frame["Difference"].abs().is_monotonic_decreasing
    rows = frame.set_index("Operator")
    assert rows.loc["eurosat.backward", ["now", "before", "Ratio", "Change"]].to_list() == [800, 400, 2.0, "longer"]
    other = pairs.operator_pairs(side("gpu", (gpu_trace(),)), side("cpu"), "CPU self").set_index("Operator")
    assert other.loc["aten::mm", "Change"] == "only here" and other.loc["aten::mm", "Ratio"] == float("inf")
    assert other.loc["aten::convolution", "Change"] == "gone"


def test_times_of_the_gpu_only_where_there_is_one():
    gpu, on_cpu = side("gpu", (gpu_trace(),)), pairs.times_told(side(), side())
    assert len(on_cpu) == 2 and pairs.times_told(side(), gpu)[:-1] == on_cpu
    frame = pairs.operator_pairs(gpu, side(), "GPU self").set_index("Operator")
    assert frame.loc["aten::mm", "gpu"] == pytest.approx(90, rel=0.01)


def test_names_tell_them_apart():
    first, second = side("run-aaaa").profile, side("run-bbbb").profile
    one, other = pairs.names(first, second)
    assert "aaaa" in one and "bbbb" in other and "40" in one
    uploaded = replace(first, config=None, origin="upload")
    assert len({*pairs.names(uploaded, replace(second, origin="recorded")), one, other}) == 4
