"""Runs leave as a bundle and arrive elsewhere with the same figures; what is broken or hostile stays outside."""

import io
import json
import os
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from bad_bundles import BAD
from bundle_makers import bundle_of, rewritten, stored_run
from fake_engine import refused
from hypothesis import given
from hypothesis import strategies as st

from eurosat_core.analysis.contenders import run_figures, stored_contenders
from eurosat_core.errors import RunError
from eurosat_core.runs import bundles
from eurosat_core.runs.bundles import export_bundle, import_bundle, recorded_mark
from eurosat_core.runs.store import RunStore


@pytest.fixture
def elsewhere(tmp_path: Path) -> RunStore:
    """The store of another lab, with nothing in it."""
    return RunStore(tmp_path / "elsewhere" / "runs")


def everything(folder: Path) -> dict[str, bytes]:
    """All files below a folder, by path."""
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def taken(store: RunStore, bundle: bytes, **options: Any) -> bundles.Imported:
    return import_bundle(store, io.BytesIO(bundle), **options)


# -- there and back


def test_a_run_arrives_as_it_left(store: RunStore, elsewhere: RunStore) -> None:
    run = stored_run(store, concurrent_runs=("x",), test_opened=1030.0)
    result = taken(elsewhere, bundle_of(store, run.id, weights=True))
    (arrived,) = result.added
    assert elsewhere.get(run.id) == arrived
    assert arrived == replace(run, recorded_on="Test GPU, 1 January 1970", tiles=replace(run.tiles, place=""))
    assert everything(elsewhere.folder_of(run.id)).keys() == everything(store.folder_of(run.id)).keys()
    for name in everything(store.folder_of(run.id)).keys() - {"run.json"}:
        assert elsewhere.load(run.id, name) == store.load(run.id, name)
    assert result.text.startswith("1 run ")


def test_figures_are_identical_under_another_store(store: RunStore, elsewhere: RunStore) -> None:
    ids = [stored_run(store).id, stored_run(store, summary={"val_accuracy": 0.25}).id]
    taken(elsewhere, bundle_of(store, *ids))
    before, after = stored_contenders(store, ids), stored_contenders(elsewhere, ids)
    for one, other in zip(before, after, strict=True):
        assert (one.history, one.evaluation, one.record.summary) == (
            other.history,
            other.evaluation,
            other.record.summary,
        )
    marked = {"recorded_on", "label"}
    for one, other in zip(run_figures(before), run_figures(after), strict=True):
        figures = [{name: value for name, value in asdict(each).items() if name not in marked} for each in (one, other)]
        assert figures[0] == figures[1]
        assert other.label.startswith("Baseline CNN · CPU, recorded")


def test_a_bundle_is_a_file_that_zip_tools_read(store: RunStore, tmp_path: Path, elsewhere: RunStore) -> None:
    run, target = stored_run(store), tmp_path / "demo.zip"
    export_bundle(store, [run.id, run.id], target)
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        assert json.loads(archive.read("bundle.json"))["format"] == 1
        assert "/home/ada" not in archive.read(f"runs/{run.id}/run.json").decode()  # a folder of this machine
    assert list(tmp_path.glob("demo*")) == [target]
    assert import_bundle(elsewhere, target).added[0].id == run.id
    assert not (elsewhere.folder_of(run.id) / "model.pt").exists(), "weights stay at home unless they are asked for"


def test_what_a_crash_left_in_the_events_stays_behind(store: RunStore, elsewhere: RunStore) -> None:
    run = stored_run(store, state="interrupted")
    whole = store.load(run.id, "events.jsonl")
    store.save(run.id, {"events.jsonl": b"\xff torn\n" + whole + b'{"kind": "ep'})
    taken(elsewhere, bundle_of(store, run.id))
    assert elsewhere.load(run.id, "events.jsonl") == whole


def test_a_run_that_failed_before_anything_happened_can_be_shown_too(store: RunStore, elsewhere: RunStore) -> None:
    run = stored_run(store, state="failed", machine={}, summary={}, started=None)
    for each in store.folder_of(run.id).iterdir():
        if each.name != "run.json":
            each.unlink()
    (arrived,) = taken(elsewhere, bundle_of(store, run.id)).added
    assert arrived.recorded_on.endswith("1 January 1970")


# -- whose, and under which name


def test_the_owner_is_kept_or_whoever_imports(store: RunStore, elsewhere: RunStore) -> None:
    runs = [stored_run(store, "ada"), stored_run(store, ""), stored_run(store, "grace")]
    result = taken(elsewhere, bundle_of(store, runs[0].id, runs[1].id))
    assert [each.owner for each in result.added] == ["ada", "recorded"]
    assert taken(elsewhere, bundle_of(store, runs[2].id), owner="bob").added[0].owner == "bob"


def test_a_taken_id_is_exchanged_for_a_fresh_one(store: RunStore, elsewhere: RunStore) -> None:
    run = stored_run(store)
    other = stored_run(elsewhere)
    elsewhere.folder_of(other.id).rename(elsewhere.folder_of(run.id))
    elsewhere.write(replace(other, id=run.id))
    before = everything(elsewhere.folder_of(run.id))
    (arrived,) = taken(elsewhere, bundle_of(store, run.id)).added
    assert arrived.id != run.id
    assert arrived.id[:-4] == run.id[:-4]
    assert elsewhere.get(arrived.id) == arrived
    assert everything(elsewhere.folder_of(run.id)) == before


def test_importing_twice_is_recognised(store: RunStore, elsewhere: RunStore) -> None:
    first, second = stored_run(store), stored_run(store)
    taken(elsewhere, bundle_of(store, first.id))
    before = everything(elsewhere.folder)
    again = taken(elsewhere, bundle_of(store, first.id))
    assert (again.added, [each.id for each in again.known]) == ((), [first.id])
    assert "1 run " in again.text
    assert everything(elsewhere.folder) == before
    both = taken(elsewhere, bundle_of(store, first.id, second.id))
    assert [each.id for each in both.added] == [second.id]
    assert both.text.count("1 run ") == 2
    assert taken(store, bundle_of(store, first.id)).added == ()  # its own lab knows it, too


def test_a_run_passed_on_keeps_its_first_mark(store: RunStore, elsewhere: RunStore, tmp_path: Path) -> None:
    run = stored_run(store)
    (arrived,) = taken(elsewhere, bundle_of(store, run.id)).added
    third = RunStore(tmp_path / "third")
    (passed_on,) = taken(third, bundle_of(elsewhere, arrived.id), owner="eve").added
    assert passed_on.recorded_on == arrived.recorded_on == recorded_mark(run)


# -- once here


def test_a_recorded_run_can_be_deleted_and_never_comes_to_life(store: RunStore, elsewhere: RunStore) -> None:
    run = stored_run(store, state="interrupted")
    taken(elsewhere, bundle_of(store, run.id))
    elsewhere.delete(run.id)
    assert elsewhere.all() == ([], [])
    (arrived,) = taken(elsewhere, bundle_of(store, run.id)).added
    assert elsewhere.mark_interrupted() == []
    assert not arrived.is_active
    assert not arrived.ran_since(0.0)  # its clock was another machine's, so it was beside nothing here
    with pytest.raises(RunError):
        elsewhere.update(arrived.id, state="running")
        RunStore(elsewhere.folder).get(arrived.id)


# -- what cannot be exported


def test_what_cannot_be_exported_leaves_no_file(store: RunStore, tmp_path: Path) -> None:
    good, damaged = stored_run(store).id, stored_run(store).id
    store.save(damaged, {"predictions.npz": b"evil"})
    target = tmp_path / "demo.zip"
    for runs, place, words in (
        ([], target, "one run"),
        (["20260102-030405-baseline-00ff"], target, "20260102-030405-baseline-00ff"),
        ([stored_run(store, state="running").id], target, "not ended"),
        ([good, damaged], target, "predictions.npz"),
        ([good], tmp_path / "no" / "demo.zip", "demo.zip"),
    ):
        assert words in refused(lambda runs=runs, place=place: export_bundle(store, runs, place))
    assert not list(tmp_path.glob("demo*"))


# -- what cannot be imported


@pytest.mark.hostile
@pytest.mark.parametrize("name", BAD)
def test_a_bad_bundle_is_refused_and_leaves_nothing(
    name: str, store: RunStore, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    good = bundle_of(store, stored_run(store).id, stored_run(store).id)
    make, words = BAD[name]
    bad = make(good)
    here = RunStore(tmp_path / "here" / "runs")
    stored_run(here)
    before, outside = everything(here.folder), sorted(tmp_path.iterdir())
    sentence = refused(lambda: taken(here, bad))
    assert words in sentence
    assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 700
    assert everything(here.folder) == before
    assert [each.name for each in here.folder.iterdir() if each.name.startswith(".")] == []
    assert sorted(tmp_path.iterdir()) == outside
    path = tmp_path / "bad.zip"
    path.write_bytes(bad)
    assert words in refused(lambda: import_bundle(here, path))


def test_a_file_that_is_not_there_or_a_folder(elsewhere: RunStore, tmp_path: Path) -> None:
    assert "no.zip" in refused(lambda: import_bundle(elsewhere, tmp_path / "no.zip"))
    assert "not a file" in refused(lambda: import_bundle(elsewhere, tmp_path))


def test_a_full_disk_is_said_and_leaves_nothing(store: RunStore, elsewhere: RunStore, monkeypatch: Any) -> None:
    good = bundle_of(store, stored_run(store).id, stored_run(store).id)
    moved: list[str] = []
    rename = os.rename

    def full(source: Any, target: Any) -> None:
        if moved:
            raise OSError(28, "No space left on device")
        moved.append(str(target))
        rename(source, target)

    monkeypatch.setattr(bundles.os, "rename", full)
    assert "No space" in refused(lambda: taken(elsewhere, good))
    assert len(moved) == 1
    assert list(elsewhere.folder.iterdir()) == []


def test_too_little_room_is_seen_beforehand(store: RunStore, elsewhere: RunStore, monkeypatch: Any) -> None:
    good = bundle_of(store, stored_run(store).id)
    usage = bundles.shutil.disk_usage(store.folder)
    monkeypatch.setattr(bundles.shutil, "disk_usage", lambda _: usage._replace(free=10))
    assert "disk space" in refused(lambda: taken(elsewhere, good))


def test_bounds_hold_for_honest_archives_too(store: RunStore, elsewhere: RunStore, monkeypatch: Any) -> None:
    good = bundle_of(store, stored_run(store).id, stored_run(store).id)
    limits = bundles._LIMITS
    for name, value, words in (
        ("_LIMITS", replace(limits, most_bytes=1), "would swell"),
        ("_LIMITS", replace(limits, entries=1), "at most 1 "),
        ("_MOST_RUNS", 1, "Export fewer"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(bundles, name, value)
            assert words in refused(lambda: taken(elsewhere, good))
    monkeypatch.setattr(bundles, "_LARGEST_TRACE", 3)
    assert refused(lambda: taken(elsewhere, good))


def test_what_a_killed_import_left_is_swept_up(store: RunStore, elsewhere: RunStore) -> None:
    elsewhere.folder.mkdir(parents=True)
    old, young = elsewhere.folder / ".import-old", elsewhere.folder / ".import-young"
    for each in (old, young):
        each.mkdir()
    os.utime(old, (1, 1))
    taken(elsewhere, bundle_of(store, stored_run(store).id))
    assert not old.exists() and young.exists()


_junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.hostile
@given(st.data())
def test_junk_in_run_json_is_taken_or_refused_with_a_sentence(tmp_path_factory: Any, data: st.DataObject) -> None:
    place = tmp_path_factory.mktemp("junk")
    store, here = RunStore(place / "a"), RunStore(place / "b")

    def change(run: dict[str, bytes]) -> None:
        record = json.loads(run["run.json"])
        inside = data.draw(st.sampled_from([record, record["config"], record["tiles"], record["summary"]]))
        inside[data.draw(st.sampled_from(sorted(inside)))] = data.draw(_junk)
        run["run.json"] = json.dumps(record).encode()

    bundle = rewritten(bundle_of(store, stored_run(store).id), change)
    try:
        result = taken(here, bundle)
    except RunError as error:
        assert str(error).endswith(".")
        assert list(here.folder.iterdir()) == []
    else:
        assert here.all() == (list(result.added), [])
