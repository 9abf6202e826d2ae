"""The Speed page beside its experiments: free sweeps, and the limits of the machine."""

from experiment_makers import measured, put_experiment, put_limits, put_result
from fake_engine import GPU, FakeEngine, eventually
from streamlit.testing.v1 import AppTest

from eurosat_core.analysis.sweep import plan_free
from eurosat_core.lab.lab import Lab
from eurosat_core.speed.plan import LimitsDone, SweepStarted
from tests.pages.conftest import ME, App, checked, choose, click, keys, says, unescaped
from tests.pages.test_speed_page import PAGE


def test_a_free_sweep(lab: Lab, app: App, engine: FakeEngine) -> None:
    test = choose(app(PAGE), "speed_more", "free")
    assert test.button(key="speed_free_start").label == "Run the sweep on CPU · about 30 s"
    box = test.multiselect(key="speed_free_values_batch_size")
    assert box.proto.accept_new_options, "numbers of one's own can be typed"
    test.selectbox(key="speed_free_setting").select("precision").run()
    assert not test.multiselect(key="speed_free_values_precision").proto.accept_new_options
    assert test.button(key="speed_free_start").label == "Run the sweep on CPU · about 20 s"
    click(test, "speed_free_start")
    job = eventually(lambda: next(iter(engine.jobs.values()), None))
    assert job.plan["name"] == "free" and job.plan["setting"] == "precision"
    again = app(PAGE, run=job.run_id)
    assert again.session_state["speed_more"] == "free" and "speed_stop" in keys(again)


def test_values_that_cannot_be_measured_get_a_sentence(lab: Lab, app: App) -> None:
    test = choose(app(PAGE), "speed_more", "free")
    test.multiselect(key="speed_free_values_batch_size").set_value(["40"]).run()
    assert "Choose at least two values" in says(test) and test.button(key="speed_free_start").disabled
    test.selectbox(key="speed_free_setting").select("pin_memory").run()
    assert "Pinned memory is for copies to a CUDA GPU" in says(test)


def test_limits(lab: Lab, app: App) -> None:
    test = choose(app(PAGE), "speed_more", "limits")
    assert "Not measured yet." in says(test)
    put_limits(lab, ME)
    test = choose(app(PAGE), "speed_more", "limits")
    words = says(test)
    assert "at most 1.2 times too long or too short" in words
    assert "Most of these steps are spent on arithmetic." in words
    assert "no GPU was measured" in words
    cells = unescaped(" ".join(str(each) for table in test.table for each in table.value.to_numpy().flatten()))
    assert "200 billion operations/s" in cells and "12.0 GB/s" in cells and "+20.0" in cells
    assert "Copy to the GPU" not in str([table.value.index.tolist() for table in test.table])


def test_limits_of_a_gpu_tell_where_it_overtakes(gpu_lab: Lab, app: App) -> None:
    put_limits(gpu_lab, ME, ("cpu", GPU.id))
    put_experiment(gpu_lab, ME, devices=("cpu", GPU.id))
    words = says(choose(app(PAGE), "speed_more", "limits"))
    assert "Measured: the GPU is faster with all batches that we tried (8 tiles to 1,024 tiles)." in words
    assert "no GPU was measured" not in words


def test_limits_while_they_are_measured(lab: Lab, app: App, engine: FakeEngine) -> None:
    test = choose(app(PAGE), "speed_more", "limits")
    click(test, "speed_limits_start")
    job = eventually(lambda: next(iter(engine.jobs.values()), None))
    engine.tell(job.run_id, SweepStarted(8, 6, 40.0, "cpu", 2))  # type: ignore[arg-type]
    eventually(lambda: lab.results.history(job.run_id).sweep.started)
    test.run()
    assert _stage(test).startswith("Measuring the limits of CPU: this is counted below")
    engine.tell(job.run_id, LimitsDone("cpu", 8.0))  # type: ignore[arg-type]
    eventually(lambda: lab.results.history(job.run_id).sweep.limits)
    checked(test.run())
    assert _stage(test).startswith("Warming up 1 of 8")


def test_limits_of_two_devices_are_measured_one_after_the_other(gpu_lab: Lab, app: App) -> None:
    record = put_limits(gpu_lab, ME, ("cpu", GPU.id), state="running")
    gpu_lab.store.append(record.id, [SweepStarted(6, 8, 40.0, "cpu", 2)])
    assert _stage(app(PAGE, run=record.id)).startswith("Measuring the limits of CPU")
    gpu_lab.store.append(record.id, [LimitsDone("cpu", 8.0)])
    assert _stage(app(PAGE, run=record.id)).startswith("Measuring the limits of GPU 0")
    gpu_lab.store.append(record.id, [LimitsDone(GPU.id, 8.0)])
    assert _stage(app(PAGE, run=record.id)).startswith("Warming up 1 of 6")


def _stage(test: AppTest) -> str:
    """What the measurement under way is doing, in words."""
    (bar,) = test.get("progress")
    text: str = bar.proto.text
    return text


def test_a_free_sweeps_result_is_opened_again_after_something_else_was(lab: Lab, app: App) -> None:
    config, plan = plan_free("batch_size", ["16", "64"], "baseline", ["cpu"])
    record = put_result(lab, ME, config, plan, measured(config, plan, {"64": 1500.0}))
    test = app(PAGE, run=record.id)
    result = "Batches of 64 against batches of 16: 1.50 times as fast"
    assert test.session_state["speed_more"] == "free"
    assert "Batch size" in says(test) and result in says(test)
    test = choose(test, "speed_more", "limits")
    test.query_params["run"] = record.id  # the sidebar's link
    test.run()
    assert test.session_state["speed_more"] == "free" and result in says(test)
