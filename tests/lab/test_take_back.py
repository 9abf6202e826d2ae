"""A lab on a cluster that comes back: runs that workers still have go on, the others get their named end."""

from dataclasses import replace
from pathlib import Path

from fake_engine import (
    CONFIG,
    CPU,
    FakeEngine,
    epoch_done,
    eventually,
    fake_lab,
    running,
    started,
    step,
    wait_for_state,
)

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.lab.messages import Slot

SCHEDULER = "tls://127.0.0.1:8786"
ONE, TWO = (Slot("cpu", f"tls://{name}:1", name, 8, 4) for name in ("one", "two"))


def cluster_engine() -> FakeEngine:
    engine = FakeEngine((CPU,))
    engine.places = (ONE, TWO)
    return engine


def test_all_workers_of_a_device_are_used_and_no_run_is_company_on_another_machine(
    tmp_path: Path, small_tiles: TileSet
) -> None:
    lab, engine = fake_lab(tmp_path, small_tiles, cluster_engine(), scheduler=SCHEDULER)
    try:
        first, second = running(lab, engine, "ada"), running(lab, engine, "bob")
        assert {engine.taken[each.id] for each in (first, second)} == {ONE, TWO}
        assert engine.jobs[first.id].threads == 4
        third = lab.submit(CONFIG, "cleo")
        place = lab.place(third.id)
        assert place and place.behind == first.id
        assert (first.cluster, {first.host, second.host}) == (SCHEDULER, {"one", "two"})
        engine.end(first.id)
        assert wait_for_state(lab, first.id, "finished").concurrent_runs == ()
        engine.wait_for(third.id)
        assert engine.taken[third.id] == engine.taken[first.id]
    finally:
        lab.close()


def test_a_measured_run_waits_for_one_machine_only(tmp_path: Path, small_tiles: TileSet) -> None:
    lab, engine = fake_lab(tmp_path, small_tiles, cluster_engine(), scheduler=SCHEDULER)
    try:
        running(lab, engine, "ada")
        alone = lab.submit(CONFIG, "bob", group="a-race")
        engine.wait_for(alone.id)
        assert lab.store.get(alone.id).host == "two"
    finally:
        lab.close()


def test_runs_outlive_the_server_on_a_cluster(tmp_path: Path, small_tiles: TileSet) -> None:
    lab, engine = fake_lab(tmp_path, small_tiles, cluster_engine(), scheduler=SCHEDULER)
    kept, lost = running(lab, engine, "ada"), running(lab, engine, "bob")
    waiting = lab.submit(CONFIG, "cleo")
    engine.tell(kept.id, started(), step(1))
    eventually(lambda: lab.results.history(kept.id).events == 2)
    slot = engine.taken[kept.id]
    lab.close()
    assert lab.store.get(kept.id).state == lab.store.get(lost.id).state == "running"
    events = lab.store.folder_of(kept.id) / "events.jsonl"
    whole = events.read_bytes()
    events.write_bytes(whole + b'{"at":1.0,"ki')  # killed while it wrote

    later = cluster_engine()
    later.had = {kept.id: slot, "20260102-030405-baseline-00ff": TWO}
    again, later = fake_lab(tmp_path, small_tiles, later, scheduler=SCHEDULER)
    try:
        gone = wait_for_state(again, lost.id, "interrupted")
        assert gone.message and gone.ended
        assert later.followed == {kept.id: (slot, 2)} and events.read_bytes() == whole
        later.jobs[kept.id] = engine.jobs[kept.id]
        later.wait_for(waiting.id)
        assert later.taken[waiting.id] == TWO if slot == ONE else ONE, "the other one is taken"
        again.control(kept.id, "ada", "pause")
        assert later.commands == [(kept.id, "pause")]
        again.control(kept.id, "ada", "resume")
        later.tell(kept.id, epoch_done(1))
        later.end(kept.id)
        wait_for_state(again, kept.id, "finished")
        assert again.results.history(kept.id).events == 3
        eventually(lambda: kept.id in later.forgotten)
    finally:
        again.close()


def test_a_worker_need_not_keep_what_has_ended(tmp_path: Path, small_tiles: TileSet) -> None:
    lab, engine = fake_lab(tmp_path, small_tiles, cluster_engine(), scheduler=SCHEDULER)
    run = running(lab, engine)
    engine.end(run.id)
    wait_for_state(lab, run.id, "finished")
    lab.close()
    later = cluster_engine()
    later.had = {run.id: ONE}
    again, later = fake_lab(tmp_path, small_tiles, later, scheduler=SCHEDULER)
    try:
        eventually(lambda: later.forgotten == [run.id])
        assert again.store.get(run.id).state == "finished" and not later.followed
    finally:
        again.close()


def test_without_its_cluster_a_run_is_interrupted(tmp_path: Path, small_tiles: TileSet) -> None:
    lab, engine = fake_lab(tmp_path, small_tiles, cluster_engine(), scheduler=SCHEDULER)
    run = running(lab, engine)
    lab.close()
    for scheduler, state in ((SCHEDULER, "running"), (None, "interrupted")):
        store = replace(lab.settings, scheduler=scheduler)
        lab.store.mark_interrupted(store.scheduler or "")
        assert lab.store.get(run.id).state == state
