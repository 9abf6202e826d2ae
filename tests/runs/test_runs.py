import json
import os
import threading
import time
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from fake_engine import CONFIG, locked_elsewhere, refused, started, step

from eurosat_core.runs.history import HistoryReader
from eurosat_core.runs.record import ACTIVE, RunRecord, TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.training.evaluation import predictions_from_bytes

ID = "20260102-030405-baseline-00ff"
ENDED = frozenset({"finished", "failed", "cancelled", "interrupted"})


def make(store: RunStore, used: TilesUsed, **changes: Any) -> RunRecord:
    record = store.create(CONFIG, "ada", used)
    return store.update(record.id, **changes) if changes else record


# -- names


@pytest.mark.hostile
@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "/etc/passwd", ID + "/..", ID + "\n", ID.upper(), ID + "/run.json", "..\\x", "x" * 5000],
)
def test_a_name_that_is_no_run_id_is_refused(store: RunStore, name: str) -> None:
    for action in (store.folder_of, store.get, store.delete, store.lock):
        assert refused(lambda action=action: action(name))


@pytest.mark.hostile
def test_an_artifact_cannot_be_written_outside_its_folder(store: RunStore, used: TilesUsed) -> None:
    run = make(store, used)
    for name in ("../x", "/tmp/x", "a/b"):
        assert name in refused(lambda name=name: store.save(run.id, {name: b""}))


# -- reading and writing


def test_a_run_comes_back_as_it_was_stored(store: RunStore, used: TilesUsed) -> None:
    other = RunStore(store.folder)
    assert other.all() == ([], []), "no folder yet means no runs"
    assert make(store, used) in other.all()[0]
    figures = {"summary": {"epochs": 2}, "machine": {"threads": 2}}
    run = make(store, used, concurrent_runs=("a", "b"), message="é", started=1.5, **figures)
    assert other.get(run.id) == run
    assert run.is_active and not store.update(run.id, state="finished", ended=2.0).is_active
    assert not ACTIVE & ENDED


def test_runs_are_listed_newest_first(store: RunStore, used: TilesUsed) -> None:
    runs = [make(store, used, created=float(at)) for at in (5, 9, 7)]  # of the same second, with names of their own
    listed, problems = store.all()
    assert [each.created for each in listed] == [9, 7, 5] and not problems
    store.delete(runs[1].id)
    assert [each.created for each in store.all()[0]] == [7, 5]


def test_a_file_in_place_of_the_folder_is_said(tmp_path: Path, used: TilesUsed) -> None:
    (tmp_path / "runs").write_text("")
    store = RunStore(tmp_path / "runs")
    assert len(store.all()[1]) == 1
    assert "EUROSAT_RUNS" in refused(lambda: store.create(CONFIG, "ada", used))


def test_an_unchanged_run_is_not_read_again(store: RunStore, used: TilesUsed, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(store, used)
    store.get(run.id)
    monkeypatch.setattr("eurosat_core.runs.store.read_record", lambda path: pytest.fail(f"read again: {path}"))
    assert store.get(run.id).state == "queued"


def test_a_change_within_one_tick_of_the_clock_is_seen(store: RunStore, used: TilesUsed) -> None:
    run = make(store, used)
    path = store.folder_of(run.id) / "run.json"
    for state in ("running", "paused", "running", "failed"):
        before = path.stat().st_mtime_ns
        RunStore(store.folder).update(run.id, state=state)  # another process wrote it
        os.utime(path, ns=(before, before))
        assert store.get(run.id).state == state


def test_readers_never_see_half_a_run(store: RunStore, used: TilesUsed) -> None:
    run = make(store, used)
    other = RunStore(store.folder)
    done = threading.Event()
    seen: list[list[str]] = []

    def look() -> None:
        while not done.is_set():
            seen.append(other.all()[1])

    thread = threading.Thread(target=look)
    thread.start()
    for number in range(200):
        store.update(run.id, message="x" * (number * 50))
        store.delete(make(store, used).id)  # runs that come and go are no problem either
    done.set()
    thread.join()
    assert not [each for each in seen if each]
    assert {each.name for each in store.folder_of(run.id).iterdir()} == {"run.json"}


def full_disk(path: Path, *_content: Any, **_options: Any) -> int:
    path.touch()
    raise OSError(28, "No space left on device")


def test_a_full_disk_leaves_the_old_file_and_a_sentence(
    store: RunStore, used: TilesUsed, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make(store, used)
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space"):
        store.update(run.id, state="running")
    assert json.loads((store.folder_of(run.id) / "run.json").read_text())["state"] == "queued"
    assert len(list(store.folder_of(run.id).iterdir())) == 1
    sentence = refused(lambda: store.create(CONFIG, "ada", used))
    assert "No space" in sentence and "EUROSAT_RUNS" in sentence
    assert refused(lambda: store.create_locked(CONFIG, "ada", used, "train", {})) == sentence
    assert [each.name for each in store.folder.iterdir()] == [run.id], "nor half a run, which would be called damaged"


def test_artifacts_are_kept_whole(store: RunStore, used: TilesUsed) -> None:
    run = make(store, used)
    store.save(run.id, {"model.pt": b"one", "split.json": b"{}"})
    store.save(run.id, {"model.pt": b"two"})
    assert store.load(run.id, "model.pt") == b"two"
    assert refused(lambda: store.load(run.id, "predictions.npz"))


def test_events_carry_the_time_they_were_written(store: RunStore, used: TilesUsed) -> None:
    run = make(store, used)
    store.append(run.id, [started(), step(1)], at=12.3456)
    store.append(run.id, [step(2)])
    lines = [json.loads(each) for each in (store.folder_of(run.id) / "events.jsonl").read_text().splitlines()]
    assert [each["kind"] for each in lines] == ["started", "step", "step"]
    assert [each["at"] for each in lines][:2] == [12.346, 12.346]
    assert abs(lines[2]["at"] - time.time()) < 60


def disk_with_room_for(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on a file takes only so many bytes in one call, and then the disk is full."""
    usual = Path.open

    def opened(path: Path, *arguments: Any, **options: Any) -> Any:
        file = usual(path, *arguments, **options)
        if path.name != "events.jsonl":
            return file
        write = file.write
        small = MagicMock(wraps=file, write=lambda content: write(content[:count]))
        small.__enter__.return_value = small
        return small

    monkeypatch.setattr(Path, "open", opened)


def test_events_are_added_whole_or_not_at_all(
    store: RunStore, used: TilesUsed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, half a line stayed, and what came next was glued to it and lost."""
    run = make(store, used)
    store.append(run.id, [started()])
    path = store.folder_of(run.id) / "events.jsonl"
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        disk_with_room_for(150, patch)
        with pytest.raises(OSError, match="No space"):
            store.append(run.id, [step(1), step(2)])
    assert path.read_bytes() == before
    store.append(run.id, [step(1), step(2)])
    assert [each.step for each in HistoryReader(path).read().steps] == [1, 2]


def test_a_line_that_a_killed_writer_tore_takes_no_other_with_it(store: RunStore, used: TilesUsed) -> None:
    run = make(store, used)
    store.append(run.id, [started()])
    path = store.folder_of(run.id) / "events.jsonl"
    with path.open("ab") as file:
        file.write(b'{"at":1700000000.0,"kind":"st')
    store.append(run.id, [step(1)])
    history = HistoryReader(path).read()
    assert history.started and [each.step for each in history.steps] == [1] and history.events == 2


def test_what_killed_processes_left_is_removed_and_nothing_else(store: RunStore, used: TilesUsed) -> None:
    run, worked_on = make(store, used, state="finished"), make(store, used, state="running")
    begun, damaged = store.folder / ID, store.folder / f"{ID[:-1]}0"
    for folder, names in (
        (store.folder_of(run.id), ("model.pt.0a1b2c3d", "model.pt", "kept")),
        (store.folder_of(worked_on.id), ("model.pt.0a1b2c3d",)),
        (begun, ("run.json.0a1b2c3d", "lock")),
        (damaged, ("model.pt",)),
        (store.folder / f".deleted-{run.id}", ("model.pt",)),
    ):
        folder.mkdir(exist_ok=True)
        for name in names:
            (folder / name).write_bytes(b"x")
        os.utime(folder, (1, 1))
    with locked_elsewhere(store, worked_on.id):
        os.utime(store.folder_of(worked_on.id), (1, 1))
        store.tidy()
    left = {each.name: {file.name for file in each.iterdir()} - {"lock"} for each in store.folder.iterdir()}
    assert left == {
        run.id: {"run.json", "model.pt", "kept"},
        worked_on.id: {"run.json", "model.pt.0a1b2c3d"},
        damaged.name: {"model.pt"},  # somebody may want it: that it is damaged is said
    }
    assert [damaged.name in each for each in store.all()[1]] == [True]


def test_a_folder_that_is_just_being_made_is_left_alone(store: RunStore) -> None:
    (store.folder / ID).mkdir(parents=True)
    store.tidy()
    assert (store.folder / ID).is_dir() and store.all() == ([], [])


def test_a_deletion_that_was_cut_off_leaves_no_half_of_a_run(
    store: RunStore, used: TilesUsed, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make(store, used)
    store.save(run.id, {"model.pt": b"x"})
    with monkeypatch.context() as patch:
        patch.setattr("eurosat_core.runs.store.shutil.rmtree", lambda *_, **__: None)  # killed here
        store.delete(run.id)
    assert store.all() == ([], []) and run.id in refused(lambda: store.get(run.id))
    store.tidy()
    assert list(store.folder.iterdir()) == []


def test_a_deleted_run_is_gone(store: RunStore, used: TilesUsed) -> None:
    run = make(store, used)
    store.get(run.id)
    store.delete(run.id)
    assert not store.folder_of(run.id).exists()
    for action in (store.get, store.lock):
        assert run.id in refused(lambda action=action: action(run.id))
    assert not store.folder_of(run.id).exists()


# -- the lock and what was interrupted


def test_one_process_at_a_time_works_on_a_run(store: RunStore, used: TilesUsed) -> None:
    run = make(store, used)
    with locked_elsewhere(store, run.id) as other:
        assert "process" in refused(lambda: store.lock(run.id))
        other.kill()
        other.wait()
        store.lock(run.id).release()  # the system let go of it


def test_a_run_locked_from_its_beginning(store: RunStore, used: TilesUsed) -> None:
    run, lock = store.create_locked(CONFIG, "command line", used, "train", {})
    assert run.state == "running" and run.started
    assert RunStore(store.folder).mark_interrupted() == []
    lock.release()
    assert [each.id for each in store.mark_interrupted()] == [run.id]


def test_only_abandoned_runs_are_marked_interrupted(store: RunStore, used: TilesUsed) -> None:
    runs = {state: make(store, used, state=state) for state in sorted(ACTIVE | ENDED)}
    elsewhere = make(store, used, state="running")
    finished_before = (store.folder_of(runs["finished"].id) / "run.json").read_bytes()
    with locked_elsewhere(store, elsewhere.id):
        marked = store.mark_interrupted()
        assert {each.id for each in marked} == {runs["running"].id, runs["paused"].id}
        assert store.get(elsewhere.id).state == "running"
    for each in marked:
        now = store.get(each.id)
        assert now.state == "interrupted" and now.ended and now.message
        store.lock(each.id).release()  # whoever marked it does not hold it
    assert store.get(runs["queued"].id).state == "queued"
    assert (store.folder_of(runs["finished"].id) / "run.json").read_bytes() == finished_before
    assert [each.id for each in store.mark_interrupted()] == [elsewhere.id]


# -- what else lies in the folder


def test_what_is_no_run_is_passed_over_and_a_file_named_like_one_is_said(store: RunStore, used: TilesUsed) -> None:
    run = make(store, used)
    (store.folder / "notes").mkdir()
    (store.folder / ".DS_Store").write_text("")
    assert store.all() == ([run], [])
    (store.folder / ID).write_text("")
    assert store.all()[0] == [run] and ID in store.all()[1][0]


# -- predictions


def npz(path: Path, **arrays: Any) -> bytes:
    np.savez(path, **arrays)
    return path.read_bytes()


@pytest.mark.hostile
def test_damaged_or_pickled_predictions_are_refused(tmp_path: Path) -> None:
    four = {name: np.arange(3) for name in ("tiles", "true", "predicted", "confidence")}
    whole = npz(tmp_path / "whole.npz", **four)
    assert len(predictions_from_bytes(whole)) == 3
    pickled = npz(tmp_path / "pickled.npz", **{**four, "true": np.array([{"a": 1}, print, None], dtype=object)})
    lacking = npz(tmp_path / "lacking.npz", tiles=four["tiles"])
    for content in (b"", b"junk", whole[:-40], whole[: len(whole) // 2], pickled, lacking):
        assert refused(lambda content=content: predictions_from_bytes(content))


# -- one look at all


def test_one_look_reads_all_runs_once_and_again_after_a_change(store: RunStore, used: TilesUsed) -> None:
    run, elsewhere = make(store, used), RunStore(store.folder)
    read: list[str] = []
    own = store.get

    def get(run_id: str) -> RunRecord:
        read.append(run_id)
        return own(run_id)

    store.get = get  # type: ignore[method-assign]
    with store.one_look(), store.one_look():
        first = store.all()[0]
        first.clear()  # of whoever asked
        assert [each.id for each in store.all()[0]] == [run.id] and read == [run.id]
        elsewhere.update(run.id, owner="bob")
        assert store.all()[0][0].owner == "ada", "as it was when the look began"
        newer = make(store, used)
        assert {each.owner for each in store.all()[0] if each.id == run.id} == {"bob"}
        store.delete(newer.id)
        assert [each.id for each in store.all()[0]] == [run.id]
    elsewhere.update(run.id, owner="cleo")
    assert store.all()[0][0].owner == "cleo"


def test_another_threads_look_is_its_own(store: RunStore, used: TilesUsed) -> None:
    run, seen = make(store, used), []
    with store.one_look():
        store.all()
        RunStore(store.folder).update(run.id, owner="bob")
        other = threading.Thread(target=lambda: seen.append(store.all()[0][0].owner))
        other.start()
        other.join()
    assert seen == ["bob"]


# -- room for more


def test_the_oldest_go_first_and_what_is_needed_stays(store: RunStore, used: TilesUsed) -> None:
    ended = {"state": "finished", "ended": 9.0}
    runs = [
        make(store, used, created=1.0, state="paused"),
        make(store, used, created=2.0, recorded_on="elsewhere", **ended),
        make(store, used, created=3.0, **ended),
        make(store, used, created=4.0, owner="zed", **ended),
        make(store, used, created=5.0, **ended),
        make(store, used, created=6.0, **ended),
    ]
    store.keep(runs[2].id, True)
    ids = [each.id for each in runs]
    assert [each.id for each in store.surplus(5, "zed")] == [ids[4]]
    assert [each.id for each in store.surplus(0, "zed")] == [ids[4], ids[5]]
    assert store.surplus(6) == []
    store.keep(runs[2].id, False)
    store.keep(runs[2].id, False)
    assert [each.id for each in store.surplus(4)] == [ids[2], ids[3]]


def test_what_is_kept_is_known_to_every_process(store: RunStore, used: TilesUsed) -> None:
    run = make(store, used)
    assert not store.is_kept(run.id)
    store.keep(run.id, True)
    assert RunStore(store.folder).is_kept(run.id)
    assert refused(lambda: store.keep("../x", True))
