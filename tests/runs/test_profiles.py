"""Profiles that can be looked at: each trace is read once for everybody, and what is kept stays within a budget."""

import gzip
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from fake_engine import OpenFake, refused
from profile_makers import cpu_trace, gpu_trace, put_profile
from trace_makers import text

from eurosat_core.errors import TraceError
from eurosat_core.profiling.plan import ProfilePlan, profile_config
from eurosat_core.profiling.trace import read_trace
from eurosat_core.runs import profiles as profiles_module
from eurosat_core.runs.profiles import (
    RECORDED,
    Profiles,
    keep_as_recorded,
    recorded_profile,
    recorded_trace,
)


@pytest.fixture
def lab(open_fake: OpenFake):
    return open_fake()[0]


@pytest.fixture
def no_example_kept() -> Iterator[None]:
    recorded_profile.cache_clear()
    yield
    recorded_profile.cache_clear()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often a trace was read."""
    seen: list[int] = []

    def counted(content, told):
        seen.append(len(content))
        return read_trace(content, told)

    monkeypatch.setattr(profiles_module, "read_trace", counted)
    return seen


def test_a_run_tells_its_cycles_settings_and_tiles(lab):
    config = profile_config("baseline", source="memory", batch_size=256, precision="bfloat16", channels_last=True)
    record = put_profile(lab, "ada", [cpu_trace(), cpu_trace()], config=config)
    profile = lab.profiles.of_run(record)
    assert profile.cycles == (1, 2) and profile.config == config and profile.plan == ProfilePlan()
    assert all(each in profile.title for each in ("Baseline CNN", "CPU", "256", "bfloat16", record.id[-4:]))


def test_a_trace_is_read_once_for_everybody(lab, read):
    profile = lab.profiles.of_run(put_profile(lab, "ada", [cpu_trace(), gpu_trace()]))
    assert not lab.profiles.is_read(profile, 1)
    first = lab.profiles.reading(profile, 1)
    assert lab.profiles.is_read(profile, 1) and lab.profiles.reading(profile, 1) is first
    assert [each.steps for each in lab.profiles.readings(profile)] == [3, 2]
    assert len(read) == 2


def test_many_who_ask_at_once_wait_for_one_reading(lab, read):
    profile = lab.profiles.of_run(put_profile(lab, "ada", [cpu_trace(steps=20)]))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: lab.profiles.reading(profile, 1), range(8)))
    assert len(read) == 1 and len({id(each) for each in found}) == 1


def test_the_oldest_goes_when_the_budget_is_spent(lab, read):
    profile = lab.profiles.of_run(put_profile(lab, "ada", [cpu_trace(first=4 + each) for each in range(4)]))
    one = lab.profiles.reading(profile, 1).events
    small = Profiles(lab.store, events_kept=2 * one + one // 2)
    for cycle in (1, 2, 1, 3):
        small.reading(profile, cycle)
    assert [small.is_read(profile, cycle) for cycle in (1, 2, 3)] == [True, False, True]
    tiny = Profiles(lab.store, events_kept=1)
    assert tiny.reading(profile, 4) is tiny.reading(profile, 4), "the newest stays, however large it is"


def test_a_run_without_traces_has_no_cycles_and_a_lost_or_damaged_file_a_sentence(lab):
    profile = lab.profiles.of_run(put_profile(lab, "ada", []))
    assert profile.cycles == () and lab.profiles.readings(profile) == []
    assert "trace_1.json.gz" in refused(lambda: lab.profiles.reading(profile, 1))
    damaged = lab.profiles.of_run(put_profile(lab, "ada", [b"{"]))
    for _ in range(2):  # it can be tried again
        with pytest.raises(TraceError):
            lab.profiles.reading(damaged, 1)


def test_an_upload_is_found_by_its_content(lab, read):
    content = gzip.compress(gpu_trace())
    profile = lab.profiles.add_upload("my run.pt.trace.json.gz", content)
    assert profile.title == "Uploaded: my run" and profile.config is None and profile.machine["device_name"]
    assert lab.profiles.add_upload("another name.json", content) is profile and len(read) == 1
    assert lab.profiles.uploaded(profile.key) is profile and "-" not in profile.key
    reading = lab.profiles.reading(profile, 1)
    assert (reading.overview.devices[0].name, reading.device_kind) == ("Made-up GPU", "CUDA")
    assert lab.profiles.uploaded("nothing") is None


def test_an_upload_that_had_to_go_says_so(lab):
    small = Profiles(lab.store, events_kept=1)
    first = small.add_upload("a.json", cpu_trace())
    small.add_upload("b.json", gpu_trace())
    assert small.uploaded(first.key) is None
    with pytest.raises(TraceError, match="again"):
        small.reading(first, 1)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("![x](//y).json", "!x(//y)"),
        (".json", "a trace"),
        ("trace.json.zip", "trace"),
        ("worker0.pt.trace.tar.gz", "worker0"),
        ("a" * 90 + ".pt.trace.json.gz", "a" * 26 + "…" + "a" * 17),
    ],
)
def test_names_of_uploads_are_tidied(lab, name, title):
    assert lab.profiles.add_upload(name, cpu_trace()).title == f"Uploaded: {title}"


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"{", text([]), b"GIF89a"])
def test_what_is_no_trace_gets_a_sentence(lab, content):
    with pytest.raises(TraceError):
        lab.profiles.add_upload("x.json", content)


def test_large_traces_are_read_one_at_a_time(lab, monkeypatch):
    monkeypatch.setattr(profiles_module, "_LARGE_FILE", 0)
    monkeypatch.setattr(profiles_module, "_WAIT_SECONDS", 0.05)
    begun, go_on = threading.Event(), threading.Event()

    def slow(content, told):
        begun.set()
        go_on.wait(10)
        return read_trace(content, told)

    monkeypatch.setattr(profiles_module, "read_trace", slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lab.profiles.add_upload, "a.json", cpu_trace())
        begun.wait(10)
        with pytest.raises(TraceError, match="large"):
            lab.profiles.add_upload("b.json", gpu_trace())
        go_on.set()
        assert first.result().origin == "upload"


def test_a_timeline_is_made_once(lab):
    reading = lab.profiles.reading(recorded_profile(), 1)
    step = reading.overview.steps[0].step
    assert reading.timeline(step) is reading.timeline(step)
    assert reading.timeline(step, (0.0, 500.0)) is not reading.timeline(step)
    for number in range(60):
        reading.timeline(step, (float(number), 900.0))
    with pytest.raises(TraceError, match="step"):
        reading.timeline(10_000)


# -- the bundled profile


def test_the_bundled_profile_is_the_baseline_on_synthetic_tiles(lab):
    profile = recorded_profile()
    assert profile.key == RECORDED and profile.config == profile_config("baseline") and "synthetic" in profile.tiles
    reading = lab.profiles.reading(profile, profile.cycles[0])
    assert reading.steps == 3 and not reading.overview.devices and not reading.overview.parts.derived
    assert reading.loads_elsewhere and reading.memory and reading.chains
    assert all(reading.overview.parts.mean_us[part] > 0 for part in ("load", "forward", "backward", "update"))
    assert reading.device_kind == ""
    assert len(lab.profiles.trace_file(profile, 4)) < 300_000
    content = gzip.decompress(recorded_trace())
    told = [place for place in (b"host_name", b"/work", b"/home", b"/tmp") if place in content]
    assert told == [], "it tells nothing of where it was made"


@pytest.mark.usefixtures("no_example_kept")
def test_a_bundled_file_that_is_gone_or_damaged_gets_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(profiles_module, "_RECORDED_FILE", tmp_path / "gone.gz")
    with pytest.raises(TraceError, match="missing"):
        recorded_profile()
    (tmp_path / "gone.gz").write_bytes(gzip.compress(b"{}"))
    with pytest.raises(TraceError, match="damaged"):
        recorded_profile()


@pytest.mark.usefixtures("no_example_kept")
def test_bundling_a_run_keeps_its_trace_and_settings(lab, monkeypatch, tmp_path):
    monkeypatch.setenv("EUROSAT_RUNS", str(lab.store.folder))
    record = put_profile(lab, "ada", [cpu_trace()], plan=ProfilePlan(repeat=1))
    assert "synthetic" in refused(lambda: keep_as_recorded(record.id, "", tmp_path / "x"))
    lab.store.update(record.id, tiles=replace(record.tiles, source="synthetic"))
    keep_as_recorded(record.id, "loaded", tmp_path / "profile.json.gz")
    monkeypatch.setattr(profiles_module, "_RECORDED_FILE", tmp_path / "profile.json.gz")
    known = recorded_profile()
    assert (known.config, known.plan, known.cycles) == (record.config, ProfilePlan(repeat=1), (1,))
    assert known.recorded_on.startswith("Test CPU, 2 cores") and known.recorded_on.endswith("(loaded)")
    assert read_trace(tmp_path / "profile.json.gz").names
