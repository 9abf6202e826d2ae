"""The Profiler page in every state: no tiles, no run, queued, running, ended in every way, uploads, GPUs."""

import io
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_engine import SPEEDS, FakeEngine, eventually, raising
from profile_makers import cpu_trace, gpu_trace, put_profile
from streamlit.testing.v1 import AppTest
from trace_makers import host, kernel, step, text

from eurosat_core.errors import RunError
from eurosat_core.lab.doctor import TilesState
from eurosat_core.lab.lab import Lab
from eurosat_core.lab.queue import Place
from eurosat_core.profiling.plan import ProfilePlan, ProfileStarted, ProfileStep, TraceDone, profile_config
from eurosat_core.runs.profiles import RECORDED
from tests.pages.conftest import ME, THREE, App, address, charts, checked, choose, click, keys, put, says

PAGE = "profiler.py"
PARTS = ("overview", "operators", "kernels", "memory", "timeline", "compare", "advice", "tutorial")


def opened(test: AppTest, part: str) -> AppTest:
    test.session_state["profiler_part"] = part
    checked(test.run())
    return test


def upload(test: AppTest, name: str, content: bytes) -> AppTest:
    checked(test.file_uploader(key="profiler_file").upload(name, content, "application/octet-stream").run())
    return test


# -- before the first profile


def test_before_the_first_profile_the_recorded_example_is_there(lab: Lab, app: App):
    test = app(PAGE)
    words = says(test)
    assert "an example to read, not your machine" in words and "A step took" in words
    assert "28 steps. 4 times: skip 2, warm up for 2 and record 3." in words
    assert charts(test) == 2  # the plan, the parts
    assert "Often believed: “100 % utilization means the GPU is used well”" in words or "utilization" in words
    assert test.button(key="profiler_start").label.startswith("Record on CPU")
    assert "profiler_both" not in keys(test)


def test_every_part_of_the_example_without_a_verdict_on_somebody_elses_profile(lab: Lab, app: App):
    test = app(PAGE)
    test.session_state["guess_profile_part"] = "Forward"
    for part in PARTS:
        assert not opened(test, part).error
        assert "You guessed" not in says(test)


def test_without_tiles_there_is_the_reason(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lab, "tiles", lambda: TilesState(None, problem="The disk is full."))
    test = app(PAGE)
    assert "The disk is full." in says(test)
    assert test.button(key="profiler_start").disabled
    assert "A step took" in says(test)
    monkeypatch.setattr(lab, "tiles", lambda: TilesState(None))
    assert "still being opened" in says(app(PAGE))


def test_a_damaged_example_gets_a_sentence(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from eurosat_core.runs import profiles as module

    module.recorded_profile.cache_clear()
    monkeypatch.setattr(module, "_RECORDED_FILE", tmp_path / "gone")
    test = app(PAGE)
    assert "its file is missing" in says(test)
    record = put_profile(lab, ME, [cpu_trace()])
    assert "A step took" in says(opened(app(PAGE, run=record.id), "compare"))
    module.recorded_profile.cache_clear()


# -- asking for one


def test_record_puts_the_tutorials_way_into_the_queue(lab: Lab, app: App, engine: FakeEngine):
    test = app(PAGE)
    click(test, "profiler_start")
    job = eventually(lambda: next(iter(engine.jobs.values()), None))
    assert (job.kind, job.config, job.plan) == ("profile", profile_config("baseline"), ProfilePlan().to_dict())
    assert address(test, "run") == job.run_id
    assert "profiler_stop" in keys(test)


def test_the_form_decides_what_is_recorded(lab: Lab, app: App, engine: FakeEngine):
    test = app(PAGE)
    test.number_input(key="profiler_batch_size").set_value(256).run()
    test.number_input(key="profiler_active").set_value(1).run()
    test.toggle(key="profiler_memory").set_value(False).run()
    assert "4 times: skip 2, warm up for 2 and record 1" in says(test)
    click(test, "profiler_start")
    job = eventually(lambda: next(iter(engine.jobs.values()), None))
    assert job.config.batch_size == 256 and job.plan["active"] == 1 and job.plan["memory"] is False


def test_the_button_tells_how_long_it_takes(make_lab: Callable[..., Lab], app: App):
    lab = make_lab(FakeEngine(speeds=SPEEDS))
    eventually(lambda: lab.estimates.profile(profile_config("baseline"), ProfilePlan()))
    assert "· about " in app(PAGE).button(key="profiler_start").label


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [("active", 20, "a profile has at most 60"), ("batch_size", 0, "Batch size is 0")],
)
def test_what_cannot_be_recorded_gets_its_sentence(lab: Lab, app: App, setting: str, value: int, sentence: str):
    test = choose(app(PAGE), f"profiler_{setting}", value)
    assert sentence in says(test) and test.button(key="profiler_start").disabled


def test_a_recipe_fills_the_form(lab: Lab, app: App):
    test = app(PAGE)
    choose(test, "profiler_model", "efficientnet_lite0")
    test.session_state["profiler_recipe"] = "fast"
    test.selectbox(key="profiler_model").set_value("baseline").run()
    assert test.number_input(key="profiler_batch_size").value == profile_config("baseline", "fast").batch_size
    assert test.number_input(key="profiler_workers").disabled


def test_a_full_queue_says_so(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lab, "submit_profile", raising(RunError("You have four runs waiting.")))
    test = app(PAGE)
    click(test, "profiler_start")
    assert "You have four runs waiting." in says(test)


def test_with_a_gpu_one_click_records_both(gpu_lab: Lab, app: App):
    test = app(PAGE)
    assert test.button(key="profiler_both").label.startswith("CPU, then GPU 0")
    click(test, "profiler_both")
    records = [each for each in gpu_lab.store.all()[0] if each.kind == "profile"]
    assert [each.config.device for each in records] == ["cuda:0", "cpu"]
    assert address(test, "run") == records[0].id
    assert "Also yours" in says(test)


# -- while it waits and is recorded


def started(lab: Lab, state: str, *events: ProfileStarted | ProfileStep | TraceDone) -> str:
    record = put_profile(lab, ME, [], state=state)
    lab.store.append(record.id, events)
    return record.id


def test_a_waiting_profile_tells_its_place(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lab, "place", lambda _run: Place(2, 3, 41.0))
    test = app(PAGE, run=started(lab, "queued"))
    assert "Yours starts in about 41 s." in says(test)
    assert test.button(key="profiler_stop").label == "Leave the queue"


def test_a_running_profile_shows_how_far_it_is(lab: Lab, app: App):
    told = [ProfileStarted(28, 4, 338_486, 338_486, "cpu", 2), TraceDone(1, "trace_1.json.gz", 33_000, 1.0)]
    run = started(lab, "running", *told, ProfileStep("warmup", 11, 2, 1.5))
    test = app(PAGE, run=run)
    assert test.progress[0].text.startswith("Step 12 of 28 · 1 trace written")
    assert "Recording" in says(test) and "profiler_stop" in keys(test) and "run_pause" not in keys(test)
    assert "Look closer" not in says(test)
    assert app(PAGE, run=started(lab, "running")).progress[0].text.startswith("Getting ready")


def test_stop_asks_the_lab(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch):
    asked = []
    monkeypatch.setattr(lab, "control", lambda *arguments: asked.append(arguments))
    run = started(lab, "running")
    test = app(PAGE, run=run)
    click(test, "profiler_stop")
    assert asked == [(run, ME, "stop")] and "Stopping…" in says(test)


def test_others_profiles_cannot_be_stopped_or_deleted(lab: Lab, app: App):
    record = put_profile(lab, "ada", [cpu_trace()])
    test = app(PAGE, run=record.id)
    assert "A step took 1 ms" in says(test) and "profiler_delete_sure" not in keys(test)
    lab.store.update(record.id, state="running")
    assert "profiler_stop" not in keys(app(PAGE, run=record.id))


# -- when it has ended


def test_a_finished_profile_judges_the_guess(lab: Lab, app: App):
    beside = ("20260101-000000-baseline-abcd",)
    record = put_profile(lab, ME, [cpu_trace(first=4), cpu_trace(first=25)], concurrent_runs=beside)
    test = app(PAGE, run=record.id)
    test.session_state["guess_profile_part"] = "Load (fetch a batch)"
    test.run()
    words = says(test)
    assert "You guessed “Load (fetch a batch)”, but the answer is “Backward”" in words
    assert "its step 25 is number 26 of the plan" in words, "the last cycle is shown first"
    assert "So the times say little" in words, "something ran beside it"
    assert "an example to read" not in words


def test_every_cycle_can_be_chosen(lab: Lab, app: App):
    record = put_profile(lab, ME, [cpu_trace(first=4), cpu_trace(first=11), cpu_trace(first=18), cpu_trace(first=25)])
    test = opened(app(PAGE, run=record.id), "operators")
    assert "cycle 4 of 4: steps 26 to 28 of 28" in says(test)
    test.session_state[f"profiler_cycle_{record.id}"] = 2
    test.run()
    assert "cycle 2 of 4: steps 12 to 14 of 28" in says(test)
    assert "its step 11 is number 12" in says(test)


def test_a_stopped_profile_keeps_its_complete_cycles(lab: Lab, app: App):
    record = put_profile(lab, ME, [cpu_trace()], "cancelled", message="It was stopped after step 9 of 28.")
    words = says(app(PAGE, run=record.id))
    assert "It was stopped after step 9 of 28." in words and "A step took" in words


@pytest.mark.parametrize("state", ["failed", "cancelled", "interrupted"])
def test_one_without_a_trace_says_what_happened(lab: Lab, app: App, state: str):
    record = put_profile(lab, ME, [], state, message="The memory was full.")
    test = app(PAGE, run=record.id)
    assert "The memory was full." in says(test) and "It left no trace to look at" in says(test)
    assert "Look closer" not in says(test)


def test_a_profile_that_is_gone(lab: Lab, app: App):
    test = app(PAGE, run="20260101-000000-baseline-abcd")
    assert "There is no run 20260101-000000-baseline-abcd" in says(test)
    click(test, "profiler_example")
    assert address(test, "trace") == RECORDED and "A step took" in says(test)


def test_a_lost_trace_file(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch):
    record = put_profile(lab, ME, [b"{"])
    assert "This trace cannot be used" in says(app(PAGE, run=record.id))


def test_deleting_leads_back_to_the_example(lab: Lab, app: App):
    record = put_profile(lab, ME, [cpu_trace()])
    test = app(PAGE, run=record.id)
    click(test, "profiler_delete_sure")
    assert "an example to read" in says(test) and "run" not in test.query_params


def test_a_training_is_not_shown_as_a_profile_and_both_are_found_again(lab: Lab, app: App):
    training, profile = put(lab, "finished", THREE), put_profile(lab, ME, [cpu_trace()])
    test = app(PAGE, run=training.id)
    assert address(test, "run") == profile.id and "A step took 1 ms" in says(test)
    test.switch_page("train.py").run()
    assert address(test, "run") == training.id and "What you just saw" in says(test)
    test.switch_page("profiler.py").run()
    assert address(test, "run") == profile.id


def test_the_newest_of_ones_own_is_opened_without_being_asked_for(lab: Lab, app: App):
    put_profile(lab, ME, [cpu_trace()])
    time.sleep(0.01)
    newest = put_profile(lab, ME, [gpu_trace()])
    put_profile(lab, "ada", [cpu_trace()])
    test = app(PAGE)
    assert address(test, "run") == newest.id
    assert "Utilization of GPU 0" in says(test)


# -- uploads


def test_an_uploaded_trace_is_shown_and_found_again(lab: Lab, app: App):
    test = upload(app(PAGE), "theirs.pt.trace.json", gpu_trace())
    words = says(test)
    assert "This trace was uploaded" in words and "Utilization of GPU 0" in words
    assert "Utilization of GPU 0" in says(app(PAGE, trace=address(test, "trace")))
    assert "no longer in the lab’s memory" in says(app(PAGE, trace="0123456789abcdef"))
    for part in PARTS:
        opened(test, part)


def packed(**traces: bytes) -> bytes:
    """A zip of traces."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in traces.items():
            archive.writestr(f"{name}.json", content)
    return file.getvalue()


def test_a_packed_trace_is_shown_as_if_it_were_not_but_of_several_one_must_be_chosen(lab: Lab, app: App):
    test = upload(app(PAGE), "mailed.json.zip", packed(trace=gpu_trace()))
    assert "Utilization of GPU 0" in says(test)
    assert any(box.value and "Uploaded: mailed" in box.options for box in test.selectbox)
    assert "2 traces" in says(upload(app(PAGE), "both.zip", packed(one=gpu_trace(), two=cpu_trace())))


def test_a_device_that_is_not_read_leaves_no_claim_about_the_cpu(lab: Lab, app: App):
    work = {**kernel(1, 40, 500, cat="blackbox_op"), "args": {"stream": 1}}
    test = upload(app(PAGE), "theirs.json", text([step(1, 0, 1000), host("aten::conv2d", 20, 960), work]))
    assert "1 device event" in says(test) and "blackbox_op" in says(test)
    for part in PARTS:
        words = says(opened(test, part))
        assert "arithmetic" not in words and "none worked" not in words and "none of the known problems" not in words


def test_steps_of_one_number_each_have_their_own_timeline(lab: Lab, app: App):
    events = [step(0, at, 100) for at in (0, 200, 400)] + [host("aten::mm", 210, 50)]
    test = opened(upload(app(PAGE), "twice.json", text(events)), "timeline")
    assert not test.error
    options = test.segmented_control(key="profiler_step").options
    assert len(options) == len(set(options)) == 3
    test.session_state["profiler_step"] = int(options[1])
    test.run()
    assert not test.exception and not test.error and "Nothing was recorded" not in says(test)


def test_what_is_no_trace_gets_a_sentence_and_leaves_the_page_as_it_was(lab: Lab, app: App):
    test = app(PAGE)
    for content in (b"", b"{", b"GIF89a", b"\x1f\x8b\x00", b'{"traceEvents": []}'):
        upload(test, "bad.json", content)
        assert [each.title for each in test.error] == ["This trace cannot be used"]
        assert "an example to read" in says(test)


# -- real traces


@pytest.fixture
def real() -> Callable[[str], bytes]:
    folder = os.environ.get("EUROSAT_TRACES")
    if not folder:
        pytest.skip("EUROSAT_TRACES is not set: no real traces")
    return lambda start: next(Path(folder).glob(f"{start}*")).read_bytes()


@pytest.mark.parametrize(
    ("start", "words"),
    [("01", "Utilization of GPU 0"), ("03", "forward"), ("07", "all of it is shown as one")],
)
def test_every_part_of_real_traces(lab: Lab, app: App, real: Callable[[str], bytes], start: str, words: str):
    test = upload(app(PAGE), f"{start}.json", real(start))
    assert words in says(test)
    for part in PARTS:
        assert not opened(test, part).error


def test_the_damaged_one_gets_its_sentence(lab: Lab, app: App, real: Callable[[str], bytes]):
    test = upload(app(PAGE), "10.json", real("10"))
    assert "This trace cannot be used" in says(test)
