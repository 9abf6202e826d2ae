"""A profile as tables for charts: nothing is lost, nothing counted twice, never too many points."""

import pytest
from profile_makers import cpu_trace, gpu_trace, reading
from trace_makers import host, kernel, launch, memory, step, text

from eurosat_core.charts import profile as charts
from eurosat_core.charts.profile import timeline_bars
from eurosat_core.profiling.overview import PARTS, ROLES
from eurosat_core.profiling.plan import ProfilePlan


def test_every_step_of_a_plan_has_its_place():
    frame = charts.plan_frame(ProfilePlan())
    assert len(frame) == 28 and frame["phase"].value_counts().to_dict() == {"recorded": 12, "skipped": 8, "warm-up": 8}
    assert list(frame[frame["trace"] != ""]["step"]) == [7, 14, 21, 28] and frame["done"].all()
    assert list(frame["place"].head(8)) == [1, 2, 3, 4, 5, 6, 7, 1]
    assert charts.plan_frame(ProfilePlan(), 5)["done"].sum() == 5


def test_parts_of_a_step_stand_end_to_end():
    frame = charts.parts_frame(reading(cpu_trace()))
    assert list(frame["row"].unique()) == ["step 4", "step 5", "step 6", "mean"]
    for _, bar in frame.groupby("row"):
        assert bar["start"].iloc[0] == 0 and list(bar["start"])[1:] == list(bar["end"])[:-1]
        assert bar["end"].iloc[-1] == pytest.approx(1.0) and bar["share"].sum() == pytest.approx(1)
    assert charts.parts_in(frame) == PARTS
    assert "backward 0.4\N{NO-BREAK SPACE}ms" in set(frame["long"])
    assert frame.groupby("place")["row"].unique().explode().tolist() == list(dict.fromkeys(frame["row"]))


def test_the_breakdown_sums_to_the_step():
    seen = reading(gpu_trace())
    frame = charts.breakdown_frame(seen)
    ends = frame.groupby("row")["end"].max()
    assert ends["mean"] == pytest.approx(seen.overview.mean_step_us["Total"] / 1000)
    assert set(charts.parts_in(frame)) <= {*ROLES, "GPU kernel"} and "Memcpy" in charts.parts_in(frame)


def test_of_a_long_trace_the_first_steps_are_drawn():
    frame = charts.parts_frame(reading(cpu_trace(steps=50)))
    assert frame["row"].nunique() == charts.MOST_STEPS + 1 and len(frame) <= 500


def test_the_gpus_share_of_each_part():
    frame = charts.device_parts_frame(reading(gpu_trace()))
    on_gpu = frame[frame["row"] == "GPU"].set_index("part")["ms"]
    assert on_gpu.to_dict() == pytest.approx({"copy": 0.015, "forward": 0.09})


def test_kernels_have_short_names_and_full_ones():
    seen = reading(gpu_trace())
    short, full = charts.kernel_frame(seen, False), charts.kernel_frame(seen, True)
    assert short["GPU kernel"][0].startswith("gemm_") and full["GPU kernel"][0].startswith("void at::native::")
    assert short["Share"].sum() == pytest.approx(100) and short["Launches"].sum() == 120
    assert short["Occupancy"][0] == pytest.approx(25)


def test_columns_that_no_kernel_tells_are_left_out():
    seen = reading(text([step(0, 0, 100), host("aten::mm", 0, 50), launch(1, 5), kernel(1, 10, 20)]))
    assert not {"Occupancy", "Blocks per SM"} & set(charts.kernel_frame(seen, False).columns)


@pytest.mark.parametrize(("most", "unit"), [(16, "bytes"), (50_000, "KB"), (50 << 20, "MB"), (50 << 30, "GB")])
def test_memory_is_drawn_in_a_unit_that_suits_it(most, unit):
    events = [step(0, 0, 100), host("aten::empty", 0, 50), memory(1, most, most), memory(2, -most, 0)]
    curve = reading(text(events)).memory[0]
    assert charts.memory_unit(curve) == unit
    assert 1 <= charts.memory_frame(curve)["taken"].max() < 4096


def test_memory_never_has_too_many_points():
    events = [step(0, 0, 9000), host("aten::empty", 0, 50)]
    events += [memory(each, 8, 8 * each, kind=1, index=0, **{"Total Reserved": 1 << 20}) for each in range(1, 3000)]
    frame = charts.memory_frame(reading(text(events)).memory[0])
    assert frame["series"].nunique() == 2 and len(frame) <= 500


def test_a_timeline_has_a_row_for_each_level_of_each_line():
    seen = reading(gpu_trace())
    timeline = seen.timeline(7)
    (lanes, rows), frame = charts.timeline_rows(timeline), charts.timeline_frame(timeline)
    assert [title.split()[0] for title, _ in lanes] == ["thread", "GPU"]
    assert frame["row"].max() < rows and (frame["end"] >= frame["start"]).all() and len(frame) <= 500
    assert "DataLoader" in set(frame["short"]) and {"GPU kernel", "copy", "runtime"} <= set(frame["kind"])
    on_gpu = frame[frame["row"] >= lanes[1][1]]
    assert set(on_gpu["kind"]) <= {"GPU kernel", "copy", "fill"}


def test_several_events_in_one_bar_have_no_name():
    events = [step(0, 0, 100_000)] + [host(f"aten::op{each}", 10 * each, 5) for each in range(900)]
    frame = charts.timeline_frame(reading(text(events)).timeline(0))
    joined = frame[frame["events"] > 1]
    assert len(joined) and set(joined["short"]) == {""} and frame["events"].sum() == 901


def test_specs_hold_no_data():
    specs = [
        charts.plan_strip(4, 7),
        charts.plan_strip(1, 60),
        charts.stacked_bars(PARTS, 4, "ms"),
        charts.kernel_bars(10, 20.0),
        charts.memory_line(True, "MB"),
        timeline_bars((("thread 1", 0),), 5, ("GPU kernel", "operator"), 0.0, 1.0),
    ]
    for spec in specs:
        assert "data" not in spec and "datasets" not in spec and "config" not in spec
    assert charts.plan_strip(4, 7) is specs[0], "made once"
    assert len(specs[1]["layer"]) == 1, "no numbers in narrow cells"
