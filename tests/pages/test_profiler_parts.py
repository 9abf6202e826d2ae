"""The parts behind the pills of the Profiler page: figures against the trace they were made from."""

from dataclasses import replace
from typing import Any

import pytest
import streamlit as st
from fake_engine import FakeEngine, eventually
from profile_makers import cpu_trace, gpu_trace, put_profile
from streamlit.testing.v1 import AppTest
from trace_makers import host, kernel, memory, step, text

from eurosat_core.analysis.tutorial import tutorial_profile
from eurosat_core.lab.lab import Lab
from eurosat_core.profiling.plan import ProfilePlan, profile_config
from eurosat_core.profiling.trace import HELD
from eurosat_core.runs import profiles
from eurosat_core.tensorboard import process
from eurosat_core.tensorboard.process import TensorBoardState
from pages.parts.profiler import advice
from tests.pages.conftest import (
    ME,
    THREE,
    App,
    address,
    charts,
    checked,
    choose,
    click,
    keys,
    metrics,
    put,
    says,
    shown,
    tells,
)
from tests.pages.test_markup import EVIL, raw
from tests.pages.test_profiler_page import PAGE, opened, upload


@pytest.fixture
def on_cpu(lab: Lab, app: App) -> AppTest:
    record = put_profile(lab, ME, [cpu_trace()], plan=ProfilePlan(repeat=1))
    return app(PAGE, run=record.id)


@pytest.fixture
def on_gpu(lab: Lab, app: App) -> AppTest:
    config = replace(profile_config("baseline"), device="cuda:0")
    return app(PAGE, run=put_profile(lab, ME, [gpu_trace()], config=config, plan=ProfilePlan(repeat=1)).id)


def table(test: AppTest, at: int = 0) -> Any:
    return test.dataframe[at].value


def test_the_overview_names_what_is_missing(on_cpu: AppTest, on_gpu: AppTest) -> None:
    opened(on_cpu, "overview")
    assert "Utilization" not in metrics(on_cpu)
    assert "GPU kernel, Memcpy, Memset, Communication and Runtime." in says(on_cpu)
    figures = metrics(opened(on_gpu, "overview"))
    assert "1\N{NO-BREAK SPACE}ms" in figures.values() and figures["Utilization"].startswith("9.")
    assert figures["Occupancy"].startswith("25.0") and figures["Peak memory, GPU 0"] == "60 MB"


def test_figures_that_a_trace_does_not_tell_are_not_drawn_as_zero(lab: Lab, app: App) -> None:
    events = [step(0, 0, 100), host("aten::mm", 0, 90), kernel(1, 20, 30)]
    test = opened(upload(app(PAGE), "x.json", text(events)), "overview")
    assert "SM efficiency, Occupancy and memory" in says(test) and "SM efficiency" not in metrics(test)
    assert tells(opened(test, "memory"), "profiler/no memory")


def test_ten_rows_first_then_all_of_more(lab: Lab, app: App) -> None:
    events = [step(0, 0, 1000), *(host(f"aten::op{each}", 20.0 * each, 10) for each in range(30))]
    test = opened(upload(app(PAGE), "x.json", text(events)), "operators")
    assert len(table(test)) == 10 and "10 of 31" in says(test)
    choose(test, "profiler_all", True)
    assert len(table(test)) == 31
    choose(test, "profiler_filter", "OP2")
    assert set(table(test)["Name"]) == {"aten::op2", *(f"aten::op{each}" for each in range(20, 30))}
    assert "11 of 11" in says(test)
    assert not choose(test, "profiler_filter", "nothing").dataframe


def test_tables_are_sorted_and_self_time_leaves_the_totals_out(on_gpu: AppTest, on_cpu: AppTest) -> None:
    test = opened(on_gpu, "operators")
    assert table(test)["CPU total"].is_monotonic_decreasing and "Self CUDA" in table(test)
    choose(test, "profiler_sort", "Self CUDA")
    assert table(test)["Name"][0] == "aten::mm" and table(test)["Self CUDA"].is_monotonic_decreasing
    test = opened(on_cpu, "operators")
    assert table(test)["Name"].to_list()[0] == "ProfilerStep*"
    assert len(table(test)) == 9 and "CPU Mem" in table(test)
    assert "3.000 ms" in says(test) and tells(test, "profiler/nesting", rows=2)
    choose(test, "profiler_self", True)
    assert "CPU total" not in table(test) and tells(test, "profiler/self time")
    assert table(test)["Self CPU"].is_monotonic_decreasing


def test_a_trace_of_the_gpu_alone_has_no_operators(lab: Lab, app: App) -> None:
    test = upload(app(PAGE), "x.json", text([kernel(1, 0, 50), kernel(2, 100, 50)]))
    assert tells(test, "profiler/device only", "profile.device_only")
    assert tells(opened(test, "operators"), "profiler/device only") and not test.dataframe
    before = charts(test)
    for part in ("timeline", "kernels", "compare"):  # side by side, one of the two tells no parts
        assert charts(opened(test, part)) == before + 1


def test_kernels_short_and_in_full_and_the_peak_of_memory(on_gpu: AppTest, on_cpu: AppTest) -> None:
    test = opened(on_gpu, "kernels")
    assert len(table(test)) == 10 and table(test)["GPU kernel"][0].startswith("gemm_")
    assert "10 of 12" in says(test) and "120 launches" in says(test)
    choose(test, "profiler_full_names", True)
    choose(test, "profiler_all_kernels", True)
    assert len(table(test)) == 12 and table(test)["GPU kernel"][0].startswith("void at::native")
    assert len(test.code) >= 12
    assert "60 MB" in says(opened(test, "memory"))
    assert tells(opened(on_cpu, "kernels"), "profiler/no GPU kernels")


def test_the_timeline_of_another_step_and_of_a_stretch(on_gpu: AppTest) -> None:
    test = opened(on_gpu, "timeline")
    assert tells(test, "profiler/timeline")
    test.session_state["profiler_step"] = 8
    test.run()
    for stretch in ((40, 60), (100, 100)):
        checked(test.slider(key="profiler_stretch_8").set_range(*stretch).run())


def test_a_reading_is_not_repeated_for_a_click(lab: Lab, on_cpu: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "read_trace", None)
    for part in ("operators", "timeline", "advice"):
        opened(on_cpu, part)


# -- side by side


def test_side_by_side(lab: Lab, app: App) -> None:
    before = put_profile(lab, ME, [cpu_trace(times=(400, 20, 600, 800, 100))])
    now = put_profile(lab, ME, [cpu_trace()], config=replace(profile_config("baseline"), source="memory"))
    test = app(PAGE, run=now.id)
    test.session_state["profiler_other"] = before.id
    opened(test, "compare")
    assert tells(test, "pairs.faster", ratio=1.96)
    assert test.table[0].value.shape == (1, 2)  # what differs in their settings
    assert charts(test) == 4
    assert set(table(test)["Change"]) >= {"shorter"}
    choose(test, "profiler_pair_all", True)


def test_side_by_side_with_a_trace_of_nothing_known_or_an_unreadable_one(lab: Lab, app: App, on_cpu: AppTest) -> None:
    test = opened(upload(on_cpu, "x.json", gpu_trace()), "compare")
    assert tells(test, "pairs.work.unknown")
    test.session_state["profiler_pair_time"] = "GPU self"
    test.run()
    assert "aten::mm" in table(test)["Operator"].to_list()
    broken, now = put_profile(lab, ME, [b"{"]), put_profile(lab, ME, [cpu_trace()])
    test = app(PAGE, run=now.id)
    test.session_state["profiler_other"] = broken.id
    assert len(opened(test, "compare").error) == 1


# -- advice


def test_advice_fills_the_form_and_records(on_gpu: AppTest, lab: Lab, engine: FakeEngine) -> None:
    test = opened(on_gpu, "advice")
    click(test, next(key for key in keys(test) if key.startswith("profiler_advice_data_loading")))
    assert test.session_state["profiler_source"] == "memory"
    first = address(test, "run")
    click(test, "profiler_start_advised")
    job = eventually(lambda: next(iter(engine.jobs.values()), None))
    assert job.config.source == "memory" and job.config.device == "cpu", "the GPU of the profile is not here"
    assert test.session_state["profiler_other"] == first and test.session_state["profiler_part"] == "compare"


def test_advice_opens_the_train_page_with_the_change(on_gpu: AppTest) -> None:
    test = click(opened(on_gpu, "advice"), "profiler_train_data_loading")
    assert test.session_state["train_source"] == "memory" and test.session_state["train_epochs"] == 3


def test_advice_changes_the_form_of_an_upload_and_there_may_be_none(lab: Lab, app: App) -> None:
    config = replace(profile_config("baseline"), source="memory", channels_last=True, precision="bfloat16")
    record = put_profile(lab, ME, [cpu_trace(times=(1, 1, 300, 300, 5))], config=config)
    test = opened(app(PAGE, run=record.id), "advice")
    assert tells(test, "profiler/no advice") and len(test.success) == 1
    test = opened(upload(app(PAGE), "x.json", gpu_trace()), "advice")
    click(test, "profiler_advice_low_utilization")
    assert test.number_input(key="profiler_batch_size").value == 256


# -- the tutorial's figures


def test_the_tutorials_figures_stand_beside_ones_own(on_cpu: AppTest, on_gpu: AppTest) -> None:
    figures = opened(on_cpu, "tutorial").table[0].value
    assert {"11.7\N{NO-BREAK SPACE}ms", "1\N{NO-BREAK SPACE}ms"} <= set(figures.to_numpy().flatten())
    told = tutorial_profile()
    assert tells(on_cpu, "profiler/tutorial")
    assert tells(on_cpu, "profiler/tutorial conclusion", launches="94") and "14.0" in says(on_cpu)
    assert tells(on_cpu, "profiler/tutorial faster", ratio=f"{told['cpu'].step_us / told['gpu'].step_us:.1f} times")
    frame = table(on_cpu)
    assert len(frame) == 10 and "Self CUDA" not in frame
    beside = choose(on_cpu, "profiler_tutorial", "gpu").table[0].value
    assert "1\N{NO-BREAK SPACE}ms" not in set(beside.to_numpy().flatten()), "a CPU's figures are not a GPU's"
    frame = table(opened(on_gpu, "tutorial"))
    assert "Self CUDA Mem" in frame and frame["Self CPU"][0] == 10_902


# -- words from outside


def test_names_from_a_trace_are_never_markup(lab: Lab, app: App) -> None:
    events = [step(0, 0, 100), host(f"aten::{EVIL}", 0, 90), host(f"in {EVIL}", 1, 88), kernel(1, 20, 30, EVIL)]
    device = {"id": 0, "name": f"GPU {EVIL}"}
    test = upload(app(PAGE), f"{EVIL}.json", text(events, deviceProperties=[device]))
    for part in ("overview", "operators", "memory", "timeline", "compare", "advice", "tutorial"):
        opened(test, part)
        assert [each for each in raw(test) if EVIL in each] == [], part


# -- the way to TensorBoard on the Profiler page


def link(test: AppTest) -> Any:
    return next(each.proto for each in test.get("link_button") if "TensorBoard" in each.proto.label)


def test_what_is_in_it_and_the_way_there(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "plugin_installed", lambda: True)
    put(lab, "finished", THREE)
    test = app("profiler.py")
    assert link(test).url == "/tensorboard/"
    assert "1 training" in shown(test) and "0 profiles" in shown(test)
    assert tells(test, *(f"profiler/tensorboard{each}" for each in ("", " profiles", " internet")))
    assert lab.tensorboard.state().phase == "stopped", "drawing the page starts nothing"


def test_without_the_plugin_the_place_of_its_tab_says_why(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "plugin_installed", lambda: False)
    put(lab, "finished", THREE)
    test = app("profiler.py")
    assert link(test).url == "/tensorboard/", "the curves are there all the same"
    assert process.plugin_problem() in shown(test) and "1 training" in shown(test) and "0 profiles" not in shown(test)
    assert not any(tells(test, f"profiler/tensorboard {each}") for each in ("profiles", "internet"))


def test_how_it_stands(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    told = set()
    for phase in ("stopped", "starting", "running"):
        monkeypatch.setattr(lab.tensorboard, "state", lambda phase=phase: TensorBoardState(phase, 6006))
        told.add(shown(app("profiler.py")))
    assert len(told) == 3
    state = TensorBoardState("failed", problem="![x](//y)")
    monkeypatch.setattr(lab.tensorboard, "state", lambda: state)
    assert r"\!\[x\]\(//y\)" in [each.value for each in app("profiler.py").warning]


def test_the_base_path_of_the_app_stands_in_front(monkeypatch: pytest.MonkeyPatch) -> None:
    for base in ("lab", "/lab/"):
        monkeypatch.setattr(st, "get_option", lambda _, base=base: base)
        assert advice.address() == "/lab/tensorboard/"


def test_why_a_gpu_was_idle_and_how_far_the_host_was_ahead(on_gpu: AppTest, on_cpu: AppTest) -> None:
    test = opened(on_gpu, "idle")
    assert tells(test, "idle.launch") and tells(test, "idle.queue.launch_bound")
    assert {"data", "launch", "device copy"} <= set(test.table[-1].value.index)
    assert len(table(test)) == 5 and charts(test) == charts(opened(on_gpu, "advice")) + 2
    assert tells(opened(on_cpu, "idle"), "profiler/no idle")


def test_modules_or_how_to_record_them(lab: Lab, app: App, on_cpu: AppTest) -> None:
    assert tells(opened(on_cpu, "modules"), "profiler/no modules")
    mark = "nn.Module: "
    events = [
        step(0, 0, 100),
        host(f"{mark}Net", 0, 90, "user_annotation"),
        *(host(f"{mark}conv{each} (Conv2d)", 4.0 * each, 3, "user_annotation") for each in range(12)),
    ]
    test = opened(upload(app(PAGE), "x.json", text(events)), "modules")
    assert tells(test, "modules.longest", module="Net") and len(table(test)) == 10
    choose(test, "profiler_all_modules", True)
    choose(test, "profiler_modules_sorted", True)
    assert len(table(test)) == 13 and next(iter(table(test)["Module"])) == "Net"


def test_whose_the_memory_was_or_how_to_record_it(lab: Lab, app: App, on_gpu: AppTest) -> None:
    assert tells(opened(on_gpu, "memory"), "profiler/no owners")
    taken = memory(5, 4096, 4096)
    taken["args"]["Addr"] = 9
    lying = {"parameters": [["cpu", 1, 1 << 20]], "optimizer": [], "gradients": []}
    test = upload(app(PAGE), "x.json", text([step(0, 0, 100), taken], **{HELD: [lying, lying]}))
    assert tells(opened(test, "memory"), "owners.parameters", share=(1 << 20) / ((1 << 20) + 4096))
