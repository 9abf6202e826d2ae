"""The Compare page in every state it can be in: which runs, what is said about them, and the parts behind the pills."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import GPU
from msgspec import structs
from streamlit.testing.v1 import AppTest

from eurosat_core.analysis.lineup import RecordedRuns, lineup_of
from eurosat_core.lab.lab import Lab
from eurosat_core.runs.bundles import export_bundle
from eurosat_core.runs.record import RunRecord, TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.training.config import workshop_config
from eurosat_core.training.events import Event, Finished
from pages.parts.compare import accuracy as compare_matrices
from pages.parts.compare import choose as compare_state
from tests.pages.conftest import (
    ME,
    App,
    begun,
    charts,
    choose,
    click,
    epoch,
    keys,
    put,
    saw,
    shown,
    tells,
    unescaped,
    used,
)
from tests.pages.test_train_results import keep_predictions

PAGE = "compare.py"
PART = "compare_part"
SMALL, STRONG = "Baseline CNN · CPU", "EfficientNet-Lite0 · CPU"
ELSEWHERE = "Recorded elsewhere"  # a card's badge


def history(accuracy: float, rate: float = 1000.0) -> list[Event]:
    epochs = [structs.replace(epoch(number, accuracy * number / 3), tiles_per_second=rate) for number in (1, 2, 3)]
    return [*begun(), *epochs, Finished(3, 30.0, 1.2, accuracy)]


def trained(lab: Lab, model: str = "baseline", accuracy: float = 0.62, wrong: int = 38, **changes: Any) -> RunRecord:
    """A finished run on the lab's tiles that named `wrong` of its 100 tiles wrongly."""
    config = workshop_config(model, device=changes.pop("device", "cpu"))
    rate = changes.pop("rate", 1000.0)
    values = {"summary": {"val_accuracy": accuracy, "seconds": 30.0}, "machine": {"device_name": "A CPU", "threads": 2}}
    record = put(lab, "finished", history(accuracy, rate), config=config, **values | changes)
    keep_predictions(lab, record.id, wrong=wrong)
    return record


@pytest.fixture
def pair(lab: Lab) -> tuple[RunRecord, RunRecord]:
    """A small network and a strong one on the lab's tiles."""
    return trained(lab), trained(lab, "efficientnet_lite0", 0.9, wrong=10)


@pytest.fixture
def no_bundle(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab without the runs that come with it."""
    monkeypatch.setattr(lineup_of(lab), "_recorded", RecordedRuns(tmp_path / "none", tmp_path / "none.zip"))
    return lab


def compared(test: AppTest) -> list[str]:
    found: list[str] = test.session_state[compare_state.KEY]
    return found


def drawn(test: AppTest) -> int:
    """Charts of the runs; the race has one of its own, with what the tutorial reports."""
    return charts(test) - 1


# -- which runs


def test_before_the_first_run_the_recorded_ones_are_compared(lab: Lab, app: App) -> None:
    test = app(PAGE)
    assert tells(test, "compare/nothing") and tells(saw(test), "accuracy.better")
    assert shown(test).count(ELSEWHERE) == 2 and "compare_train" in keys(test)
    assert [lineup_of(lab).is_bundled(each) for each in compared(test)] == [True, True]
    assert drawn(test) == 2


def test_without_any_runs_at_all_it_says_how_to_get_some(no_bundle: Lab, app: App) -> None:
    test = app(PAGE)
    put(no_bundle, "running", [*begun(), epoch(1, 0.3)])
    test.run()
    assert tells(test, "compare/nothing at all") and "1 run of yours" in shown(test)
    assert lineup_of(no_bundle).recorded_problem() in [each.value for each in test.caption]
    assert "next_page" in keys(test) and drawn(test) == 0
    for part in ("curves", "cost", "split", "bundles"):
        choose(test, PART, part)


def test_one_run_stands_alone_with_a_way_on_and_the_missing_one_is_set_up_like_it(lab: Lab, app: App) -> None:
    record = trained(lab, "tilenet", 0.9)
    test = app(PAGE)
    assert compared(test) == [record.id]
    assert tells(test, "compare/one") and saw(test) == ""
    click(test, "compare_recorded")
    assert len(compared(test)) == shown(test).count(ELSEWHERE) == 3
    test = click(app(PAGE), "compare_train")
    assert test.session_state["train_model"] == "baseline"
    assert test.session_state["train_epochs"] == workshop_config("tilenet").epochs


def test_the_choice_follows_new_runs_until_somebody_chooses_and_survives_a_page_switch(lab: Lab, app: App) -> None:
    first = trained(lab)
    test = app(PAGE)
    second = trained(lab, "tilenet", 0.8, wrong=20)
    test.run()
    assert compared(test) == [first.id, second.id]
    choose(test, compare_state.KEY, [second.id])
    trained(lab, "tilenet", 0.99, wrong=1)
    test.run()
    assert compared(test) == [second.id]
    assert test.query_params["runs"] == second.id
    one, two, _ = trained(lab), trained(lab, "tilenet", 0.8), trained(lab, "tilenet", 0.9)
    test = choose(app(PAGE), compare_state.KEY, [two.id, one.id])
    test.switch_page("tiles.py").run()
    test.switch_page(PAGE).run()
    assert compared(test) == [two.id, one.id]
    assert compared(app(PAGE, runs=f"{two.id},{one.id}")) == [two.id, one.id]


def test_another_participants_run_is_found_by_its_address(lab: Lab, app: App) -> None:
    theirs, mine = trained(lab, owner="bob"), trained(lab)
    assert theirs.id not in compared(app(PAGE))
    test = app(PAGE, runs=f"{theirs.id},{mine.id}")
    assert compared(test) == [theirs.id, mine.id] and "bob" in str(test.get_by_key(compare_state.KEY).options)


@pytest.mark.parametrize("asked", ["nonsense", "../../etc", "![x](//y)", "20260101-000000-baseline-abcd", ",,,"])
def test_an_address_that_names_nothing_is_said(pair: tuple[RunRecord, RunRecord], app: App, asked: str) -> None:
    test = app(PAGE, runs=asked)
    assert compared(test) == [each.id for each in pair]
    assert len(test.warning) == 1 + (asked != ",,,")  # beside what is often believed


@pytest.mark.parametrize("state", ["cancelled", "failed", "interrupted"])
def test_a_run_that_broke_off_is_compared_as_far_as_it_came(lab: Lab, app: App, state: Any) -> None:
    trained(lab)
    broken = put(lab, state, [*begun(), epoch(1, 0.3)])
    if state == "cancelled":
        keep_predictions(lab, broken.id)
    test = app(PAGE)
    assert broken.id in compared(test) and state.capitalize() in shown(test)
    assert tells(saw(test), "speed_up.not_comparable") or "1 of 3" in saw(test)
    for part in ("accuracy", "curves", "cost"):
        choose(test, PART, part)


# -- what must not be compared


def other_set(lab: Lab, **changes: Any) -> TilesUsed:
    return replace(used(lab), **changes)


def test_what_must_not_be_compared_by_accuracy_stays_apart(lab: Lab, app: App) -> None:
    one, two = trained(lab), trained(lab, "tilenet", 0.9, tiles=other_set(lab, fingerprint="other"))
    test = app(PAGE, runs=f"{one.id},{two.id}")
    assert tells(saw(test), "same_tiles.other_set") and not tells(saw(test), "accuracy.better")
    assert "Difference" not in str(test.get_by_key("compare_cells").options)
    choose(test, compare_matrices.TRUE, cell(lab)[0])
    choose(test, compare_matrices.SAID, cell(lab)[1])
    assert tells(test, "compare/other tiles")  # the second one's answer is looked at
    one, two = trained(lab), trained(lab, "tilenet", 0.9, tiles=other_set(lab, source="eurosat"))
    test = app(PAGE, runs=f"{one.id},{two.id}")
    assert tells(saw(test), "same_tiles.synthetic")
    assert shown(test).count("Synthetic tiles") >= 2  # the sidebar's and the card's
    names = tuple(f"kind {number}" for number in range(len(used(lab).class_names)))
    three = trained(lab, "tilenet", 0.9, tiles=other_set(lab, class_names=names, fingerprint="x"))
    test = app(PAGE, runs=f"{one.id},{three.id}")
    assert tells(saw(test), "same_tiles.other_classes") and "Difference" not in str(
        test.get_by_key("compare_cells").options
    )


# -- the parts


def cell(lab: Lab) -> tuple[str, str]:
    """The mix-up that `keep_predictions` makes most of: class 0 taken for class 1, in words."""
    titles = list(compare_matrices.class_titles(used(lab).class_names).values())
    return titles[0], titles[1]


def test_a_cell_shows_its_tiles_with_both_answers(lab: Lab, pair: tuple[RunRecord, RunRecord], app: App) -> None:
    test = app(PAGE)
    choose(test, compare_matrices.WHOSE, SMALL)
    choose(test, compare_matrices.TRUE, cell(lab)[0])
    choose(test, compare_matrices.SAID, cell(lab)[1])
    text = shown(test)
    assert all(f"**{each}**" in text for each in (*cell(lab), SMALL))
    assert len(test.get("image")) >= 5
    assert f"{STRONG}: " in text
    before = charts(test)
    choose(test, "compare_cells", "share")
    assert charts(test) == before
    choose(test, "compare_cells", "difference")
    assert charts(test) == before - 1 and tells(test, "compare/difference")


def test_own_guesses_stand_beside_the_networks(lab: Lab, pair: tuple[RunRecord, RunRecord], app: App) -> None:
    tiles = lab.tiles().tile_set
    assert tiles is not None
    assert tells(app(PAGE), "compare/you absent")
    for number in range(10):
        lab.results.add_guess(ME, tiles, number, int(tiles.labels[number]) if number > 2 else 1, 1.0)
    test = app(PAGE)
    assert tells(test, "compare/you", tiles="10 guesses") and tells(saw(test), "you.same")
    choose(test, compare_matrices.WHOSE, "You")
    choose(test, compare_matrices.TRUE, cell(lab)[0])
    choose(test, compare_matrices.SAID, cell(lab)[0])
    assert "by You" in shown(test).replace("**", "")
    assert tells(choose(test, "compare_cells", "difference"), "compare/difference")


def test_the_views_of_accuracy_and_the_other_parts_are_drawn_when_they_are_opened(
    pair: tuple[RunRecord, RunRecord], app: App
) -> None:
    test = app(PAGE)
    for view in ("classes", "pairs", "apart", "surest"):
        assert not tells(test, f"compare/{view}")
        assert tells(choose(test, "compare_accuracy", view), f"compare/{view}")
    for part, more in {"curves": 2, "cost": 2, "split": 0, "bundles": 0}.items():
        assert not tells(test, f"compare/{part}")
        assert tells(choose(test, PART, part), f"compare/{part}")
        assert drawn(test) == more
    choose(test, PART, "curves")
    (table,) = [each.value for each in test.table]  # only settings that differ
    assert "Model" in table.index and "Seed" not in table.index
    assert list(map(unescaped, table.columns)) == [SMALL, STRONG]


def test_both_splits_are_told_apart(lab: Lab, app: App) -> None:
    for split, accuracy in (("random", 0.9), ("place", 0.7)):
        record = trained(lab, accuracy=accuracy, tiles=other_set(lab, source="eurosat"))
        figures = {"val_accuracy": accuracy, "val_tiles": 2000, "train_tiles": 4000}
        lab.store.update(record.id, config=workshop_config(split=split), summary=figures)
    test = choose(app(PAGE), PART, "split")
    assert tells(saw(test), "split.both.worse", gap=0.2)


# -- the guess, the devices


def test_cpu_and_gpu_stand_together_and_are_labelled(gpu_lab: Lab, app: App) -> None:
    cpu = trained(gpu_lab)
    gpu = trained(gpu_lab, device=GPU.id, rate=6000.0, machine={"device_name": "Test GPU", "threads": 2})
    test = app(PAGE, runs=f"{cpu.id},{gpu.id}")
    assert "Baseline CNN · GPU 0" in shown(test) and "Test GPU" in shown(test)
    assert tells(test, "compare/misconception") and not tells(test, "compare/devices none")


def test_two_runs_are_put_side_by_side_by_themselves_and_held_against_the_guess(
    pair: tuple[RunRecord, RunRecord], app: App
) -> None:
    guess = "the other, by 10 to 30 points"
    test = choose(app(PAGE), "guess_compare_winner", guess)
    assert tells(saw(test), "guesses.right", guess=guess)
    assert tells(test, "compare/devices none") and "GPU 0" not in shown(test)
    assert compared(test) == [each.id for each in pair]
    assert test.query_params["runs"] == ",".join(compared(test))
    assert tells(saw(test), "accuracy.better", run=STRONG, accuracy=0.9, other_accuracy=0.62, gap=0.28)
    assert tells(saw(test), "speed_up.alike") and not tells(saw(test), "speed_up.faster"), "other work has no ratio"
    assert "A CPU, 2 threads, 3 epochs" in shown(test)  # words of the runs
    choose(test, compare_state.KEY, [])
    assert drawn(test) == 0 and "next_page" in keys(test) and saw(test) == ""


def test_imported_runs_are_listed_compared_and_deleted(tmp_path: Path, lab: Lab, app: App) -> None:
    away = RunStore(tmp_path / "away")
    record = away.create(workshop_config(device="cuda:3"), "ada", used(lab))
    away.append(record.id, history(0.7))
    values = {"summary": {"val_accuracy": 0.7, "seconds": 12.0}, "machine": {"device_name": "NVIDIA H100"}}
    away.update(record.id, state="finished", started=1.0, ended=2.0, **values)
    bundle = io.BytesIO()
    export_bundle(away, [record.id], bundle)
    bundle.seek(0)
    mine = lineup_of(lab).taken_in(bundle, ME).added[0]
    test = choose(app(PAGE), PART, "bundles")
    assert "NVIDIA H100" in shown(test)
    click(test, f"compare_take_{mine.id}")
    assert mine.id in compared(test) and ELSEWHERE in shown(test)
    click(test, f"compare_delete_{mine.id}_sure")
    assert test.success and not lab.store.all()[0]
