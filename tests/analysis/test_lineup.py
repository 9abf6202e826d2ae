"""Which runs can be compared, which are to begin with, and what comes with the lab."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bundle_makers import BUNDLED, bundle_of, stored_run
from fake_engine import refused
from run_makers import begun, epoch

from eurosat_core.analysis import lineup as lineups
from eurosat_core.analysis.lineup import RECORDED_OWNER, Lineup, RecordedRuns
from eurosat_core.errors import RunError
from eurosat_core.lab.messages import OWNER as COMMAND_LINE
from eurosat_core.runs.history import History, HistoryReader
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.store import RunStore
from eurosat_core.training.config import workshop_config

OTHER = replace(BUNDLED, fingerprint="other")


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bundle that comes with the lab: two runs here, a small network and a strong one."""
    away = RunStore(tmp_path / "away")
    runs = [stored_run(away, config=workshop_config(model)) for model in ("baseline", "tilenet")]
    path = tmp_path / "runs.zip"
    path.write_bytes(bundle_of(away, *(each.id for each in runs)))
    monkeypatch.setattr(RecordedRuns.__init__, "__defaults__", (path,))
    return path


@pytest.fixture
def lineup(store: RunStore, bundle: Path, tmp_path: Path) -> Lineup:
    def history(run_id: str) -> History:
        return HistoryReader(store.folder_of(run_id) / "events.jsonl").read()

    return Lineup(store, history, tmp_path / "cache")


def trained(store: RunStore, model: str, accuracy: float = 0.5, owner: str = "ada", **changes: Any) -> RunRecord:
    """A finished run of `owner` with this accuracy."""
    tiles = changes.pop("tiles", BUNDLED)
    config = workshop_config(model, device=changes.pop("device", "cpu"))
    run = stored_run(store, owner, config=config, summary={"val_accuracy": accuracy, "seconds": 20.0}, **changes)
    return store.update(run.id, tiles=tiles)


def models(lineup: Lineup, ids: list[str]) -> list[str]:
    return [each.record.config.model for each in lineup.side_by_side(ids).runs]


# -- what can be chosen


def test_own_runs_come_first_then_the_command_lines_then_recorded_ones(store: RunStore, lineup: Lineup) -> None:
    imported = trained(store, "baseline", recorded_on="A GPU, 1 May 2026")
    shared = trained(store, "baseline", owner=COMMAND_LINE)
    other = trained(store, "baseline", owner="bob")
    own = trained(store, "baseline")
    ids = [each.id for each in lineup.choices("ada")]
    assert ids[:3] == [own.id, shared.id, imported.id]
    assert other.id not in ids and len(ids) == 5
    assert [lineup.is_bundled(each) for each in ids] == [False] * 3 + [True] * 2
    assert other.id in [each.id for each in lineup.choices("ada", also=[other.id, "nonsense"])]


@pytest.mark.parametrize(
    ("state", "summary", "events", "counts"),
    [
        ("finished", {"val_accuracy": 0.5}, [], True),
        ("cancelled", {"val_accuracy": 0.5}, [], True),
        ("interrupted", {}, [begun(), epoch(1, 0.3)], True),
        ("failed", {}, [begun()], False),
        ("running", {}, [begun(), epoch(1, 0.3)], False),
        ("queued", {}, [], False),
    ],
)
def test_a_run_counts_once_it_ended_with_an_epoch(
    store: RunStore, lineup: Lineup, state: Any, summary: dict[str, Any], events: list[Any], counts: bool
) -> None:
    run = store.create(workshop_config(), "ada", BUNDLED)
    store.append(run.id, events)
    record = store.update(run.id, state=state, summary=summary)
    assert lineup.has_result(record) == counts
    assert (record.id in [each.id for each in lineup.choices("ada")]) == counts


# -- what is chosen to begin with


def test_without_own_runs_the_bundled_ones_are_compared(lineup: Lineup) -> None:
    ids = lineup.default("ada")
    assert models(lineup, ids) == ["baseline", "tilenet"]
    assert all(lineup.is_bundled(each) for each in ids)
    assert all(each.record.owner == RECORDED_OWNER for each in lineup.side_by_side(ids).runs)


def test_the_best_small_network_meets_the_best_strong_one(store: RunStore, lineup: Lineup) -> None:
    small = [trained(store, "baseline", each) for each in (0.4, 0.6, 0.5)]
    strong = [trained(store, model, each) for model, each in (("tilenet", 0.7), ("efficientnet_lite0", 0.9))]
    trained(store, "baseline", 0.99, tiles=OTHER)
    assert lineup.default("ada") == [small[1].id, strong[1].id]


def test_two_own_runs_on_the_same_tiles_do_without_a_strong_one(store: RunStore, lineup: Lineup) -> None:
    first, second = trained(store, "baseline", 0.4), trained(store, "baseline", 0.6)
    trained(store, "custom", 0.6, tiles=OTHER, created=1.0)
    assert set(lineup.default("ada")) == {first.id, second.id}


def test_a_single_own_run_meets_a_recorded_one_of_the_same_tiles_only(store: RunStore, lineup: Lineup) -> None:
    own = trained(store, "baseline", 0.1, tiles=OTHER)
    assert lineup.default("ada") == [own.id]
    store.update(own.id, tiles=BUNDLED)
    found = lineup.default("ada")
    assert models(lineup, found) == ["baseline", "tilenet"]
    assert found[0] == own.id and lineup.is_bundled(found[1])


def test_runs_on_a_gpu_bring_the_others_along(store: RunStore, lineup: Lineup) -> None:
    trained(store, "baseline")
    assert lineup.device_runs("ada") == []
    gpu = trained(store, "baseline", device="cuda:0")
    assert gpu.id in lineup.device_runs("ada")


# -- brought together


def test_a_comparison_is_kept_until_a_run_changes(store: RunStore, lineup: Lineup) -> None:
    ids = [trained(store, model).id for model in ("baseline", "tilenet")]
    side = lineup.side_by_side(ids)
    assert [each.record.id for each in side.runs] == ids
    assert lineup.side_by_side(ids) is side
    assert lineup.side_by_side(ids[::-1]) is not side
    store.append(ids[0], [epoch(3, 0.7)])
    again = lineup.side_by_side(ids)
    assert again is not side and again.runs[0].accuracy == 0.7


def test_one_run_twice_is_one_run(store: RunStore, lineup: Lineup) -> None:
    run = trained(store, "baseline")
    assert len(lineup.side_by_side([run.id, run.id]).runs) == 1


def test_a_run_that_is_gone_is_named(lineup: Lineup) -> None:
    with pytest.raises(RunError, match="20260101-000000-baseline-abcd"):
        lineup.side_by_side(["20260101-000000-baseline-abcd"])


# -- from one lab to another


def test_export_and_import_keep_the_figures(store: RunStore, lineup: Lineup, tmp_path: Path) -> None:
    run = trained(store, "baseline")
    bundled = lineup.default("nobody")
    content = lineup.exported([run.id, *bundled])
    elsewhere = RunStore(tmp_path / "elsewhere")
    there = Lineup(elsewhere, lambda run_id: History(), tmp_path / "cache2")
    result = there.taken_in(io.BytesIO(content), "bob")
    assert [each.owner for each in result.added] == ["bob"]  # what comes with every lab stayed behind
    assert result.added[0].summary == run.summary and result.added[0].recorded_on
    assert result.added[0].id in [each.id for each in there.choices("carol")]  # a room shares what was imported
    assert refused(lambda: lineup.exported(bundled))


# -- the runs that come with the lab


@pytest.mark.parametrize("content", [b"", b"PK nothing of ours", None])
def test_a_damaged_or_missing_bundle_leaves_the_page_without_them(
    bundle: Path, lineup: Lineup, content: bytes | None
) -> None:
    bundle.unlink() if content is None else bundle.write_bytes(content)
    assert lineup.default("ada") == lineup.choices("ada") == []
    assert lineup.recorded_problem()


def test_they_are_unpacked_once_and_found_again(bundle: Path, tmp_path: Path) -> None:
    ids = [each.id for each in RecordedRuns(tmp_path / "c").all()[0]]
    assert len(ids) == 2
    assert [each.id for each in RecordedRuns(tmp_path / "c").all()[0]] == ids
    assert len(list((tmp_path / "c").iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_no_end(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    runs = RecordedRuns(tmp_path / "file" / "below")
    assert runs.all()[0] == [] and runs.all()[1]


def test_the_real_bundle_is_small_and_whole(tmp_path: Path) -> None:
    path = lineups._BUNDLE
    assert path.stat().st_size < 300_000
    records, problem = RecordedRuns(tmp_path, path).all()
    assert not problem and {each.config.model for each in records} == {"baseline", "efficientnet_lite0", "tilenet"}
    assert {each.state for each in records} == {"finished"}
    assert all(each.recorded_on and each.tiles.source == "eurosat" and not each.tiles.place for each in records)
    folder = RecordedRuns(tmp_path, path).store()
    assert folder is not None and not list(folder.folder.rglob("model*.pt"))
    alike = {name: {getattr(each.config, name) for each in records} for name in ("epochs", "batch_size", "source")}
    assert all(len(values) == 1 for values in alike.values())
