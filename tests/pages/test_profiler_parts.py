"""The parts of the Profiler page: what they show of which trace, and what their buttons do."""

from dataclasses import replace

import pytest
from fake_engine import FakeEngine, eventually
from profile_makers import cpu_trace, gpu_trace, put_profile
from trace_makers import host, kernel, step, text

from eurosat_core.lab.lab import Lab
from eurosat_core.profiling.plan import ProfilePlan, profile_config
from pages.parts import lesson
from tests.pages.conftest import ME, App, address, charts, checked, choose, click, keys, says
from tests.pages.test_profiler_page import PAGE, opened, upload


@pytest.fixture
def on_cpu(lab: Lab, app: App):
    record = put_profile(lab, ME, [cpu_trace()], plan=ProfilePlan(repeat=1))
    return app(PAGE, run=record.id)


@pytest.fixture
def on_gpu(lab: Lab, app: App):
    config = replace(profile_config("baseline"), device="cuda:0")
    return app(PAGE, run=put_profile(lab, ME, [gpu_trace()], config=config, plan=ProfilePlan(repeat=1)).id)


def table(test, at: int = 0):
    return test.dataframe[at].value


def test_the_overview_names_what_is_missing(on_cpu, on_gpu):
    words = says(opened(on_cpu, "overview"))
    assert "anything about a GPU" in words and "Utilization" not in [each.label for each in on_cpu.metric]
    assert "No time went into: GPU kernel, Memcpy, Memset, Communication and Runtime." in words
    figures = {each.label: each.value for each in opened(on_gpu, "overview").metric}
    assert figures["Step time"] == "1\N{NO-BREAK SPACE}ms" and figures["Utilization"].startswith("9.")
    assert figures["Occupancy"].startswith("25.0") and figures["Peak memory, GPU 0"] == "60 MB"


def test_figures_that_a_trace_does_not_tell_are_not_drawn_as_zero(lab: Lab, app: App):
    events = [step(0, 0, 100), host("aten::mm", 0, 90), kernel(1, 20, 30)]
    test = opened(upload(app(PAGE), "x.json", text(events)), "overview")
    assert "Not in this trace: SM efficiency, Occupancy and memory (it was not recorded)." in says(test)
    assert "SM efficiency" not in [each.label for each in test.metric]
    assert "Memory was not recorded" in says(opened(test, "memory"))


def test_ten_rows_first_then_all_of_more(lab: Lab, app: App):
    events = [step(0, 0, 1000), *(host(f"aten::op{each}", 20.0 * each, 10) for each in range(30))]
    test = opened(upload(app(PAGE), "x.json", text(events)), "operators")
    assert len(table(test)) == 10 and "10 of 31 rows" in says(test)
    test.toggle(key="profiler_all").set_value(True).run()
    assert len(table(test)) == 31
    test.text_input(key="profiler_filter").set_value("OP2").run()
    assert set(table(test)["Name"]) == {"aten::op2", *(f"aten::op{each}" for each in range(20, 30))}
    assert "11 of 11 found of 31 rows" in says(test)
    test.text_input(key="profiler_filter").set_value("nothing").run()
    assert "No name contains that." in says(test)


def test_the_table_is_sorted_by_its_figures(on_gpu):
    test = opened(on_gpu, "operators")
    assert table(test)["CPU total"].is_monotonic_decreasing and "Self CUDA" in table(test)
    test.selectbox(key="profiler_sort").set_value("Self CUDA").run()
    assert table(test)["Name"][0] == "aten::mm" and table(test)["Self CUDA"].is_monotonic_decreasing


def test_self_time_leaves_the_totals_out(on_cpu):
    test = opened(on_cpu, "operators")
    assert table(test)["Name"].to_list()[0] == "ProfilerStep*"
    assert len(table(test)) == 9 and "CPU Mem" in table(test)
    assert "9 of 9 rows. Self CPU time total: 3.000 ms, over 3 steps." in says(test)
    assert "2 rows of the table, one piece of work" in says(test)
    test.toggle(key="profiler_self").set_value(True).run()
    assert "CPU total" not in table(test) and "Self CPU" in table(test)
    assert "add these columns up" in says(test)
    assert table(test)["Self CPU"].is_monotonic_decreasing


def test_a_trace_of_the_gpu_alone_has_no_operators(lab: Lab, app: App):
    test = upload(app(PAGE), "x.json", text([kernel(1, 0, 50), kernel(2, 100, 50)]))
    assert "only the GPU’s work" in says(test)
    assert "only the GPU’s work" in says(opened(test, "operators"))
    assert charts(opened(test, "timeline")) and charts(opened(test, "kernels"))
    assert "one of the two tells none" in says(opened(test, "compare"))


def test_kernels_short_and_in_full_and_the_peak_of_memory(on_gpu, on_cpu):
    test = opened(on_gpu, "kernels")
    assert len(table(test)) == 10 and table(test)["GPU kernel"][0].startswith("gemm_")
    assert "10 of 12 GPU kernels, 120 launches" in says(test)
    test.toggle(key="profiler_full_names").set_value(True).run()
    test.toggle(key="profiler_all_kernels").set_value(True).run()
    assert len(table(test)) == 12 and table(test)["GPU kernel"][0].startswith("void at::native")
    assert len(test.code) >= 12
    assert "**GPU 0**: at most 60 MB, after" in says(opened(test, "memory"))
    assert "There is no GPU kernel in this trace" in says(opened(on_cpu, "kernels"))


def test_the_timeline_of_another_step_and_of_a_stretch(on_gpu):
    test = opened(on_gpu, "timeline")
    assert "Time runs to the right" in says(test)
    test.session_state["profiler_step"] = 8
    test.run()
    checked(test.slider(key="profiler_stretch_8").set_range(40, 60).run())
    checked(test.slider(key="profiler_stretch_8").set_range(100, 100).run())


def test_a_reading_is_not_repeated_for_a_click(lab: Lab, on_cpu, monkeypatch: pytest.MonkeyPatch):
    from eurosat_core.runs import profiles

    monkeypatch.setattr(profiles, "read_trace", None)
    for part in ("operators", "timeline", "advice"):
        opened(on_cpu, part)


# -- side by side


def test_side_by_side(lab: Lab, app: App):
    before = put_profile(lab, ME, [cpu_trace(times=(400, 20, 600, 800, 100))])
    now = put_profile(lab, ME, [cpu_trace()], config=replace(profile_config("baseline"), source="memory"))
    test = app(PAGE, run=now.id)
    test.session_state["profiler_other"] = before.id
    opened(test, "compare")
    words = says(test)
    assert "2.0 times as fast as" in words
    differing = test.table[0].value
    assert "picture files" in str(differing.to_numpy()) and len(differing) == 1
    assert charts(test) == 4
    assert set(table(test)["Change"]) >= {"shorter"}
    choose(test, "profiler_pair_all", True)


def test_side_by_side_with_nothing_known_of_the_other(lab: Lab, app: App, on_cpu):
    test = opened(upload(on_cpu, "x.json", gpu_trace()), "compare")
    assert "The settings of an uploaded trace are not known" in says(test)
    test.session_state["profiler_pair_time"] = "GPU self"
    test.run()
    assert "aten::mm" in table(test)["Operator"].to_list()


def test_the_other_one_without_a_readable_trace(lab: Lab, app: App):
    broken, now = put_profile(lab, ME, [b"{"]), put_profile(lab, ME, [cpu_trace()])
    test = app(PAGE, run=now.id)
    test.session_state["profiler_other"] = broken.id
    assert "has no trace that can be read" in says(opened(test, "compare"))


# -- advice


def test_advice_fills_the_form_and_records(on_gpu, lab: Lab, engine: FakeEngine):
    test = opened(on_gpu, "advice")
    name = next(key for key in keys(test) if key.startswith("profiler_advice_data_loading"))
    click(test, name)
    assert test.session_state["profiler_source"] == "memory"
    first = address(test, "run")
    click(test, "profiler_start_advised")
    job = eventually(lambda: next(iter(engine.jobs.values()), None))
    assert job.config.source == "memory" and job.config.device == "cpu", "the GPU of the profile is not here"
    assert test.session_state["profiler_other"] == first and test.session_state["profiler_part"] == "compare"


def test_advice_opens_the_train_page_with_the_change(on_gpu):
    test = opened(on_gpu, "advice")
    click(test, "profiler_train_data_loading")
    assert test.session_state["train_source"] == "memory" and test.session_state["train_epochs"] == 3


def test_no_advice_is_said_honestly(lab: Lab, app: App):
    config = replace(profile_config("baseline"), source="memory", channels_last=True, precision="bfloat16")
    record = put_profile(lab, ME, [cpu_trace(times=(1, 1, 300, 300, 5))], config=config)
    test = opened(app(PAGE, run=record.id), "advice")
    assert [each.value for each in test.success] == [lesson.text("profiler")["no advice"]]


def test_advice_for_an_upload_changes_the_form(lab: Lab, app: App):
    test = opened(upload(app(PAGE), "x.json", gpu_trace()), "advice")
    click(test, "profiler_advice_low_utilization")
    assert test.number_input(key="profiler_batch_size").value == 256


# -- the tutorial's figures


def test_the_tutorials_figures_stand_beside_ones_own(on_cpu, on_gpu):
    figures = opened(on_cpu, "tutorial").table[0].value
    assert {"11.7\N{NO-BREAK SPACE}ms", "1\N{NO-BREAK SPACE}ms"} <= set(figures.to_numpy().flatten())
    words = says(on_cpu)
    assert "recorded there, not here" in words and "totals over three recorded steps" in words
    assert "14.0" in words and "8.5" in words and "94 GPU kernel launches" in words and "1.5 times" in words
    frame = table(on_cpu)
    assert len(frame) == 10 and "Self CUDA" not in frame
    assert "was not recorded on a GPU" in says(choose(on_cpu, "profiler_tutorial", "gpu"))
    frame = table(opened(on_gpu, "tutorial"))
    assert "Self CUDA Mem" in frame and frame["Self CPU"][0] == 10_902


# -- words from outside


def test_names_from_a_trace_are_never_markup(lab: Lab, app: App):
    from tests.pages.test_markup import EVIL, raw

    events = [step(0, 0, 100), host(f"aten::{EVIL}", 0, 90), host(f"in {EVIL}", 1, 88), kernel(1, 20, 30, EVIL)]
    device = {"id": 0, "name": f"GPU {EVIL}"}
    test = upload(app(PAGE), f"{EVIL}.json", text(events, deviceProperties=[device]))
    for part in ("overview", "operators", "memory", "timeline", "compare", "advice", "tutorial"):
        opened(test, part)
        assert [each for each in raw(test) if EVIL in each] == [], part
