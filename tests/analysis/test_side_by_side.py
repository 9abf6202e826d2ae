"""A comparison as a whole: its sentences for every way in which it can turn out."""

from dataclasses import replace
from typing import Any

import pytest
from run_makers import compared, make_record, said, seen, through, told

from eurosat_core.analysis.lineup import SideBySide, role, strong_against_small, time_verdict
from eurosat_core.finding import Finding
from eurosat_core.training.config import recipe_config
from eurosat_core.training.events import Finished

SMALL = make_record(config=recipe_config("baseline", "fast", epochs=3))
LARGE = make_record(config=recipe_config("tilenet", "fast", epochs=3))
ANSWERS = said([0, 1, 1, 2], [0, 1, 1, 2])


def took(seconds: float, *accuracies: float) -> Any:
    history = through(*(accuracies or (0.3, 0.4, 0.5)))
    return replace(history, finished=Finished(len(history.epochs), seconds, 1.9, history.epochs[-1].val_accuracy))


def work_of(found: Finding) -> Finding:
    """What made it other work."""
    why = found.figures["why"].figures["why"]
    assert isinstance(why, Finding)
    return why


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("baseline", "small"),
        ("tilenet", "strong"),
        ("efficientnet_lite0", "strong"),
        ("vgg11_bn", "strong"),
        ("custom", ""),
    ],
)
def test_roles(model: str, expected: str) -> None:
    assert role(make_record(config=recipe_config(model))) == expected


@pytest.mark.parametrize(
    ("seconds", "kind", "ratio"), [(100.0, "longer", 5.0), (21.0, "alike", 1.05), (10.0, "shorter", 2.0)]
)
def test_other_work_is_a_cost_and_no_speed_up(seconds: float, kind: str, ratio: float) -> None:
    found = time_verdict(*compared((SMALL, took(20.0), ANSWERS), (LARGE, took(seconds), ANSWERS)))
    assert told(found) == [kind] and found.figures["ratio"] == pytest.approx(ratio)
    assert Finding("work.phrase.network") in work_of(found).figures["other"]


def test_a_time_that_leaves_the_frozen_part_out_is_held_against_none() -> None:
    config = recipe_config("efficientnet_lite0", "fast", epochs=3)
    summary = {"train_tiles": 4500, "val_tiles": 1500, "feature_tiles": 0}
    taken = make_record(config=config, summary=summary)
    itself = make_record(config=config, summary={**summary, "feature_tiles": 6000})
    for first, other in ((SMALL, taken), (itself, taken), (taken, itself)):
        found = time_verdict(*compared((first, took(40.0), ANSWERS), (other, took(4.0), ANSWERS)))
        assert (found.kind, found.figures["why"].kind) == ("not_comparable", "features_taken")
    found = time_verdict(*compared((SMALL, took(20.0), ANSWERS), (itself, took(40.0), ANSWERS)))
    assert (found.kind, work_of(found).kind) == ("longer", "features")


def test_the_same_work_is_a_speed_up() -> None:
    gpu = replace(SMALL, config=replace(SMALL.config, device="cuda:0"))
    found = time_verdict(*compared((SMALL, took(60.0), ANSWERS), (gpu, took(20.0), ANSWERS)))
    assert found.kind in ("faster", "same")


def test_a_training_that_broke_off_has_no_time() -> None:
    broken = replace(LARGE, state="interrupted")
    found = time_verdict(*compared((SMALL, took(20.0), ANSWERS), (broken, seen(0.3), ANSWERS)))
    assert (found.kind, found.figures["why"].kind) == ("not_comparable", "unfinished")


def test_machines_and_company_are_named() -> None:
    one = replace(SMALL, machine={"device_name": "A CPU"})
    other = replace(LARGE, machine={"device_name": "A GPU"}, concurrent_runs=("x",))
    found = time_verdict(*compared((one, took(20.0), ANSWERS), (other, took(90.0), ANSWERS)))
    assert told(found) == ["longer", "machines", "noisy"]
    assert found.then[0].figures == {"machine": "A CPU", "other": "A GPU"}


def test_the_verdicts_hold_all_others_against_the_first_and_say_nothing_twice() -> None:
    synthetic = replace(LARGE, tiles=replace(LARGE.tiles, source="synthetic"))
    runs = compared(*((record, took(20.0), ANSWERS) for record in (SMALL, synthetic, synthetic)))
    side = SideBySide(runs)
    assert [each.kind for each in side.verdicts].count("not_comparable") == 1
    assert side.verdicts is side.verdicts  # computed once
    assert SideBySide(runs[:1]).verdicts == ()


def test_tiles_that_only_one_got_right_are_counted_once() -> None:
    other = said([0, 1, 1, 2], [0, 1, 0, 0])
    side = SideBySide(compared((SMALL, took(1.0), ANSWERS), (LARGE, took(1.0), other), (LARGE, took(1.0), None)))
    found = side.disagreement(0, 1)
    assert found is not None and (found.both_right, len(found.first), len(found.second)) == (2, 2, 0)
    assert side.disagreement(0, 1) is found
    assert side.disagreement(0, 2) is None


@pytest.mark.parametrize(("small", "large", "kind"), [(0.5, 0.75, "better"), (0.5, 0.5, "same"), (0.6, 0.3, "worse")])
def test_the_best_strong_run_stands_beside_the_small_one(small: float, large: float, kind: str) -> None:
    runs = compared(
        (SMALL, took(9.0, small), ANSWERS), (LARGE, took(9.0, 0.1), ANSWERS), (LARGE, took(9.0, large), ANSWERS)
    )
    found = strong_against_small(runs)
    assert found is not None and (found.variant, found.figures["gap"]) == (kind, large - small)
    assert strong_against_small(runs[:1]) is None
    elsewhere = replace(LARGE, tiles=replace(LARGE.tiles, fingerprint="other"))
    assert strong_against_small(compared((SMALL, took(9.0), None), (elsewhere, took(9.0), None))) is None
