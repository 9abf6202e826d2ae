"""The Speed page beside its experiments: free sweeps, and the limits of the machine."""

from experiment_makers import measured, put_experiment, put_limits, put_result
from fake_engine import GPU, FakeEngine, eventually
from streamlit.testing.v1 import AppTest

from eurosat_core.analysis.sweep import plan_free
from eurosat_core.lab.lab import Lab
from eurosat_core.speed.plan import LimitsDone, SweepStarted
from tests.pages.conftest import ME, App, checked, choose, click, keys, saw, tells, unescaped
from tests.pages.test_speed_page import PAGE


def test_a_free_sweep_and_values_that_cannot_be_measured(lab: Lab, app: App, engine: FakeEngine) -> None:
    test = choose(app(PAGE), "speed_more", "free")
    assert test.button(key="speed_free_start").label.endswith(" CPU · about 30 s")
    box = test.multiselect(key="speed_free_values_batch_size")
    assert box.proto.accept_new_options, "numbers of one's own can be typed"
    test.selectbox(key="speed_free_setting").select("precision").run()
    assert not test.multiselect(key="speed_free_values_precision").proto.accept_new_options
    assert test.button(key="speed_free_start").label.endswith(" CPU · about 20 s")
    click(test, "speed_free_start")
    job = eventually(lambda: next(iter(engine.jobs.values()), None))
    assert job.plan["name"] == "free" and job.plan["setting"] == "precision"
    again = app(PAGE, run=job.run_id)
    assert again.session_state["speed_more"] == "free" and "speed_stop" in keys(again)
    test = choose(app(PAGE), "speed_more", "free")
    test.multiselect(key="speed_free_values_batch_size").set_value(["40"]).run()
    assert test.button(key="speed_free_start").disabled
    test.selectbox(key="speed_free_setting").select("pin_memory").run()
    assert test.button(key="speed_free_start").disabled, "it is for copies to a GPU"


def test_limits(lab: Lab, app: App) -> None:
    test = choose(app(PAGE), "speed_more", "limits")
    assert tells(test, "speed/limits empty")
    put_limits(lab, ME)
    test = choose(app(PAGE), "speed_more", "limits")
    assert tells(test, "limits.close", median=1.2) and tells(test, "limits.spent", bottleneck="arithmetic")
    assert tells(test, "speed/break even none")
    cells = unescaped(" ".join(str(each) for table in test.table for each in table.value.to_numpy().flatten()))
    assert "200 billion" in cells and "12.0 GB/s" in cells and "+20.0" in cells
    assert not any("GPU" in str(each) for table in test.table for each in table.value.index)


def test_limits_of_a_gpu_tell_where_it_overtakes(gpu_lab: Lab, app: App) -> None:
    put_limits(gpu_lab, ME, ("cpu", GPU.id))
    put_experiment(gpu_lab, ME, devices=("cpu", GPU.id))
    test = choose(app(PAGE), "speed_more", "limits")
    assert tells(test, "overtaking.measured.always") and not tells(test, "speed/break even none")


def test_limits_while_they_are_measured(lab: Lab, app: App, engine: FakeEngine) -> None:
    test = choose(app(PAGE), "speed_more", "limits")
    click(test, "speed_limits_start")
    job = eventually(lambda: next(iter(engine.jobs.values()), None))
    engine.tell(job.run_id, SweepStarted(8, 6, 40.0, "cpu", 2))  # type: ignore[arg-type]
    eventually(lambda: lab.results.history(job.run_id).sweep.started)
    test.run()
    assert "limits of CPU" in _stage(test)
    engine.tell(job.run_id, LimitsDone("cpu", 8.0))  # type: ignore[arg-type]
    eventually(lambda: lab.results.history(job.run_id).sweep.limits)
    checked(test.run())
    assert "1 of 8" in _stage(test)


def test_limits_of_two_devices_are_measured_one_after_the_other(gpu_lab: Lab, app: App) -> None:
    record = put_limits(gpu_lab, ME, ("cpu", GPU.id), state="running")
    gpu_lab.store.append(record.id, [SweepStarted(6, 8, 40.0, "cpu", 2)])
    assert "limits of CPU" in _stage(app(PAGE, run=record.id))
    gpu_lab.store.append(record.id, [LimitsDone("cpu", 8.0)])
    assert "limits of GPU 0" in _stage(app(PAGE, run=record.id))
    gpu_lab.store.append(record.id, [LimitsDone(GPU.id, 8.0)])
    assert "1 of 6" in _stage(app(PAGE, run=record.id))


def _stage(test: AppTest) -> str:
    """What the measurement under way is doing, in words."""
    (bar,) = test.get("progress")
    text: str = bar.proto.text
    return text


def test_a_free_sweeps_result_is_opened_again_after_something_else_was(lab: Lab, app: App) -> None:
    config, plan = plan_free("batch_size", ["16", "64"], "baseline", ["cpu"])
    record = put_result(lab, ME, config, plan, measured(config, plan, {"64": 1500.0}))
    test = app(PAGE, run=record.id)
    assert test.session_state["speed_more"] == "free"
    assert "1.50 times" in saw(test)
    test = choose(test, "speed_more", "limits")
    test.query_params["run"] = record.id  # the sidebar's link
    test.run()
    assert test.session_state["speed_more"] == "free" and "1.50 times" in saw(test)
