"""The Profiler page in every state: no tiles, no run, queued, running, ended in every way, uploads, GPUs."""

import io
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_engine import SPEEDS, FakeEngine, eventually
from profile_makers import cpu_trace, gpu_trace, put_profile
from streamlit.testing.v1 import AppTest
from trace_makers import host, kernel, step, text

from eurosat_core.lab.lab import Lab
from eurosat_core.profiling.plan import ProfilePlan, ProfileStarted, ProfileStep, TraceDone, profile_config
from eurosat_core.runs import profiles
from eurosat_core.runs.profiles import RECORDED
from tests.pages.conftest import (
    ME,
    THREE,
    App,
    address,
    alts,
    charts,
    checked,
    choose,
    click,
    keys,
    metrics,
    put,
    says,
    tells,
)

PAGE = "profiler.py"
PARTS = ("overview", "operators", "kernels", "memory", "timeline", "compare", "advice", "tutorial")
EXAMPLE = "profiler/recorded example"
UPLOADED = "profiler/uploaded"
STEP = "profile.step"
GPU_USE = "Utilization of GPU 0"
CPU_MS = 1.0  # a step of `cpu_trace`


def opened(test: AppTest, part: str) -> AppTest:
    test.session_state["profiler_part"] = part
    return checked(test.run())


def upload(test: AppTest, name: str, content: bytes) -> AppTest:
    return checked(test.file_uploader(key="profiler_file").upload(name, content, "application/octet-stream").run())


# -- before the first profile


def test_the_recorded_example_is_there_at_first_in_every_part_without_a_verdict(lab: Lab, app: App) -> None:
    test = app(PAGE)
    assert tells(test, EXAMPLE, STEP, "profiler/misconception") and tells(test, "plan.cycles", steps=28, cycles=4)
    assert charts(test) == 2  # the plan, the parts
    assert not test.button(key="profiler_start").disabled and "profiler_both" not in keys(test)
    test.session_state["guess_profile_part"] = "Forward"
    for part in PARTS:
        assert not opened(test, part).error
        assert not tells(test, "guesses.right") and not tells(test, "guesses.off")


@pytest.fixture
def no_example(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    profiles.recorded_profile.cache_clear()
    monkeypatch.setattr(profiles, "_RECORDED_FILE", tmp_path / "gone")
    yield
    profiles.recorded_profile.cache_clear()


def test_a_damaged_example_gets_a_sentence(lab: Lab, app: App, no_example: None) -> None:
    assert app(PAGE).warning and not tells(app(PAGE), STEP)
    record = put_profile(lab, ME, [cpu_trace()])
    assert tells(opened(app(PAGE, run=record.id), "compare"), STEP, "profiler/compare none")


# -- asking for one


def test_record_puts_the_tutorials_way_into_the_queue(lab: Lab, app: App, engine: FakeEngine) -> None:
    test = click(app(PAGE), "profiler_start")
    job = eventually(lambda: next(iter(engine.jobs.values()), None))
    assert (job.kind, job.config, job.plan) == ("profile", profile_config("baseline"), ProfilePlan().to_dict())
    assert address(test, "run") == job.run_id
    assert "profiler_stop" in keys(test)


def test_the_button_tells_how_long_it_takes(make_lab: Callable[..., Lab], app: App) -> None:
    lab = make_lab(FakeEngine(speeds=SPEEDS))
    eventually(lambda: lab.estimates.profile(profile_config("baseline"), ProfilePlan()))
    assert "· about " in app(PAGE).button(key="profiler_start").label


@pytest.mark.parametrize(("setting", "value"), [("active", 20), ("batch_size", 0)])
def test_what_cannot_be_recorded_gets_its_sentence(lab: Lab, app: App, setting: str, value: int) -> None:
    test = choose(app(PAGE), f"profiler_{setting}", value)
    assert len(test.error) == 1 and str(value) in test.error[0].value and test.button(key="profiler_start").disabled


def test_the_form_decides_what_is_recorded_and_a_recipe_fills_it(lab: Lab, app: App, engine: FakeEngine) -> None:
    test = app(PAGE)
    choose(test, "profiler_model", "efficientnet_lite0")
    test.session_state["profiler_recipe"] = "fast"
    choose(test, "profiler_model", "baseline")
    assert test.number_input(key="profiler_batch_size").value == profile_config("baseline", "fast").batch_size
    assert test.number_input(key="profiler_workers").disabled
    test = app(PAGE)
    for name, value in {"batch_size": 256, "active": 1, "memory": False}.items():
        choose(test, f"profiler_{name}", value)
    assert tells(test, "plan.cycles", steps=20, cycles=4)
    click(test, "profiler_start")
    job = eventually(lambda: next(iter(engine.jobs.values()), None))
    assert job.config.batch_size == 256 and job.plan["active"] == 1 and job.plan["memory"] is False


def test_with_a_gpu_one_click_records_both(gpu_lab: Lab, app: App) -> None:
    test = click(app(PAGE), "profiler_both")
    records = [each for each in gpu_lab.store.all()[0] if each.kind == "profile"]
    assert [each.config.device for each in records] == ["cuda:0", "cpu"]
    assert address(test, "run") == records[0].id
    assert [each.value for each in test.caption if "hourglass" in each.value]  # the other one


# -- while it waits and is recorded


def started(lab: Lab, state: str, *events: ProfileStarted | ProfileStep | TraceDone) -> str:
    record = put_profile(lab, ME, [], state=state)
    lab.store.append(record.id, events)
    return record.id


def test_a_running_profile_shows_how_far_it_is_and_can_be_stopped(
    lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [ProfileStarted(28, 4, 338_486, 338_486, "cpu", 2), TraceDone(1, "trace_1.json.gz", 33_000, 1.0)]
    run = started(lab, "running", *told, ProfileStep("warmup", 11, 2, 1.5))
    test = app(PAGE, run=run)
    assert test.progress[0].text.startswith("Step 12 of 28 · 1 trace ") and test.progress[0].value > 0
    assert "profiler_stop" in keys(test) and "run_pause" not in keys(test)
    assert not test.header, "nothing to look closer at yet"
    assert app(PAGE, run=started(lab, "running")).progress[0].value == 0
    asked = []
    monkeypatch.setattr(lab, "control", lambda *arguments: asked.append(arguments))
    run = started(lab, "running")
    test = click(app(PAGE, run=run), "profiler_stop")
    assert asked == [(run, ME, "stop")] and "Stopping…" in says(test)


# -- when it has ended


def test_a_finished_profile_judges_the_guess_and_others_can_only_look(lab: Lab, app: App) -> None:
    beside = ("20260101-000000-baseline-abcd",)
    record = put_profile(lab, ME, [cpu_trace(first=4), cpu_trace(first=25)], concurrent_runs=beside)
    test = app(PAGE, run=record.id)
    before = len(test.warning)
    test.session_state["guess_profile_part"] = "Load (fetch a batch)"
    test.run()
    assert tells(test, "guesses.off", guess="Load (fetch a batch)", answer="Backward")
    assert "step 25 is number 26" in says(test), "the last cycle is shown first"
    assert not tells(test, EXAMPLE)
    lab.store.update(record.id, concurrent_runs=())
    assert len(app(PAGE, run=record.id).warning) == before - 1, "something ran beside it"
    record = put_profile(lab, "ada", [cpu_trace()])
    test = app(PAGE, run=record.id)
    assert tells(test, STEP, mean=CPU_MS) and "profiler_delete_sure" not in keys(test)
    lab.store.update(record.id, state="running")
    assert "profiler_stop" not in keys(app(PAGE, run=record.id))


def test_every_cycle_can_be_chosen(lab: Lab, app: App) -> None:
    record = put_profile(lab, ME, [cpu_trace(first=4), cpu_trace(first=11), cpu_trace(first=18), cpu_trace(first=25)])
    test = opened(app(PAGE, run=record.id), "operators")
    assert tells(test, "profile.phrase.steps", cycle=4, cycles=4, first=26, last=28, steps=28)
    test.session_state[f"profiler_cycle_{record.id}"] = 2
    test.run()
    assert tells(test, "profile.phrase.steps", cycle=2, cycles=4, first=12, last=14, steps=28)
    assert "step 11 is number 12" in says(test)


@pytest.mark.parametrize("state", ["failed", "cancelled", "interrupted"])
@pytest.mark.parametrize("traces", [0, 1])
def test_one_that_broke_off_says_what_happened_and_keeps_its_complete_cycles(
    lab: Lab, app: App, state: str, traces: int
) -> None:
    record = put_profile(lab, ME, [cpu_trace()] * traces, state, message="Full")
    test = app(PAGE, run=record.id)
    assert "Full" in [each.value for each in (*test.error, *test.warning)]
    assert tells(test, STEP) == bool(test.header) == bool(traces)


def test_a_profile_that_is_gone_or_lost_its_trace(lab: Lab, app: App) -> None:
    gone = "20260101-000000-baseline-abcd"
    test = app(PAGE, run=gone)
    assert gone in says(test)
    click(test, "profiler_example")
    assert address(test, "trace") == RECORDED and tells(test, STEP)
    record = put_profile(lab, ME, [b"{"])
    assert len(app(PAGE, run=record.id).error) == 1


def test_a_training_is_not_shown_as_a_profile_and_both_are_found_again(lab: Lab, app: App) -> None:
    training, profile = put(lab, "finished", THREE), put_profile(lab, ME, [cpu_trace()])
    test = app(PAGE, run=training.id)
    assert address(test, "run") == profile.id and tells(test, STEP, mean=CPU_MS)
    test.switch_page("train.py").run()
    assert address(test, "run") == training.id
    test.switch_page("profiler.py").run()
    assert address(test, "run") == profile.id


def test_the_newest_of_ones_own_is_opened_without_being_asked_for_and_deleting_leads_back(lab: Lab, app: App) -> None:
    record = put_profile(lab, ME, [cpu_trace()])
    test = click(app(PAGE, run=record.id), "profiler_delete_sure")
    assert tells(test, EXAMPLE) and "run" not in test.query_params
    put_profile(lab, ME, [cpu_trace()])
    time.sleep(0.01)
    newest = put_profile(lab, ME, [gpu_trace()])
    put_profile(lab, "ada", [cpu_trace()])
    test = app(PAGE)
    assert address(test, "run") == newest.id
    assert GPU_USE in metrics(test)


# -- uploads


def test_an_uploaded_trace_is_shown_and_found_again(lab: Lab, app: App) -> None:
    test = upload(app(PAGE), "theirs.pt.trace.json", gpu_trace())
    assert tells(test, UPLOADED) and GPU_USE in metrics(test)
    assert GPU_USE in metrics(app(PAGE, trace=address(test, "trace")))
    gone = app(PAGE, trace="0123456789abcdef")
    assert GPU_USE not in metrics(gone) and "profiler_example" in keys(gone)
    for part in PARTS:
        opened(test, part)


def packed(**traces: bytes) -> bytes:
    """A zip of traces."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in traces.items():
            archive.writestr(f"{name}.json", content)
    return file.getvalue()


def test_a_packed_trace_is_shown_as_if_it_were_not_but_of_several_one_must_be_chosen(lab: Lab, app: App) -> None:
    test = upload(app(PAGE), "mailed.json.zip", packed(trace=gpu_trace()))
    assert GPU_USE in metrics(test)
    assert any(box.value and "Uploaded: mailed" in box.options for box in test.selectbox)
    upload(test, "both.zip", packed(one=gpu_trace(), two=cpu_trace()))
    assert len(test.error) == 1 and "2 traces" in test.error[0].value


def test_a_device_that_is_not_read_leaves_no_claim_about_the_cpu(lab: Lab, app: App) -> None:
    work = {**kernel(1, 40, 500, cat="blackbox_op"), "args": {"stream": 1}}
    test = upload(app(PAGE), "theirs.json", text([step(1, 0, 1000), host("aten::conv2d", 20, 960), work]))
    assert "blackbox_op" in says(test) and tells(test, "profile.unseen_device", "profile.unseen_work")
    for part in PARTS:
        opened(test, part)
        assert not tells(test, "profile.computing") and not tells(test, "advice.cpu_arithmetic")
        assert not tells(test, "profiler/no advice") and "none worked" not in says(test)
    assert tells(opened(test, "advice"), "profiler/no advice unseen")


def test_steps_of_one_number_each_have_their_own_timeline(lab: Lab, app: App) -> None:
    events = [step(0, at, 100) for at in (0, 200, 400)] + [host("aten::mm", 210, 50)]
    test = opened(upload(app(PAGE), "twice.json", text(events)), "timeline")
    options = test.segmented_control(key="profiler_step").options
    assert len(options) == len(set(options)) == 3
    test.session_state["profiler_step"] = int(options[1])
    assert not checked(test.run()).error and charts(test) == 3  # the plan, the parts, the timeline


def test_what_is_no_trace_gets_a_sentence_and_leaves_the_page_as_it_was(
    lab: Lab, app: App, real: Callable[[str], bytes]
) -> None:
    test = app(PAGE)
    for content in (b"", b"{", b"GIF89a", b"\x1f\x8b\x00", b'{"traceEvents": []}'):
        assert len(upload(test, "bad.json", content).error) == 1
        assert tells(test, EXAMPLE)
    assert len(upload(app(PAGE), "10.json", real("10")).error) == 1


# -- real traces


@pytest.fixture
def real() -> Callable[[str], bytes]:
    folder = os.environ.get("EUROSAT_TRACES")
    if not folder:
        pytest.skip("EUROSAT_TRACES is not set: no real traces")
    return lambda start: next(Path(folder).glob(f"{start}*")).read_bytes()


@pytest.mark.parametrize(("start", "seen"), [("01", GPU_USE), ("03", "Forward"), ("07", "")])
def test_every_part_of_real_traces(lab: Lab, app: App, real: Callable[[str], bytes], start: str, seen: str) -> None:
    test = upload(app(PAGE), f"{start}.json", real(start))
    assert tells(test, UPLOADED, STEP) and (not seen or seen in metrics(test)) and all(alts(test))
    for part in PARTS:
        assert not opened(test, part).error


# -- which profile the Profiler page looks at: that in its address, also when it is gone, and what was chosen before


def test_record_works_where_the_profile_in_the_address_is_gone(lab: Lab, app: App, engine: FakeEngine) -> None:
    record = put_profile(lab, ME, [cpu_trace()])
    test = app(PAGE, run=record.id)
    lab.delete(record.id, ME)  # in another tab
    click(test, "profiler_start")
    job = eventually(lambda: next(iter(engine.jobs.values()), None))
    assert address(test, "run") == job.run_id and record.id not in says(test)


def after_train(test: AppTest) -> AppTest:
    """The page as it is when one comes back from the Train page: the navigation's links drop what the address held."""
    for page in ("train.py", "profiler.py"):
        for name in {"trace", "run"} & set(test.query_params):
            del test.query_params[name]
        checked(test.switch_page(page).run())
    return test


def test_an_uploaded_trace_is_still_there_after_a_visit_to_train(lab: Lab, app: App) -> None:
    training = put(lab, "finished", THREE)
    test = app("train.py", run=training.id)
    test.switch_page("profiler.py").run()
    upload(test, "theirs.json", gpu_trace())
    assert tells(test, UPLOADED)
    key = address(test, "trace")
    after_train(test)
    assert tells(test, UPLOADED) and address(test, "trace") == key
    assert tells(test.run(), UPLOADED)
    test.switch_page("train.py").run()
    assert address(test, "run") == training.id


def test_what_was_chosen_last_is_still_there_after_a_visit_to_train(lab: Lab, app: App) -> None:
    profile = put_profile(lab, ME, [cpu_trace()])
    training = put(lab, "finished", THREE)
    test = app("train.py", run=training.id)
    test.switch_page("profiler.py").run()
    upload(test, "theirs.json", gpu_trace())
    assert tells(after_train(test), UPLOADED)
    test.query_params["run"] = profile.id  # the sidebar's link
    del test.query_params["trace"]
    test.run()
    assert tells(test, STEP, mean=CPU_MS) and not tells(test, UPLOADED)
    after_train(test)
    assert address(test, "run") == profile.id and "trace" not in test.query_params
