"""Features once, then what is learned from them: sklearn and arithmetic as oracles."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.data.tiles import open_tiles
from eurosat_core.errors import ConfigError, RunError
from eurosat_core.lab.jobs import Control, run_job
from eurosat_core.lab.messages import Job
from eurosat_core.runs.history import encoded_event, read_event
from eurosat_core.training import few_labels
from eurosat_core.training.events import FeaturesDone
from eurosat_core.training.few_labels import draw_labels, missing_features, standardised
from eurosat_core.training.frozen import FeatureForm, known_features
from eurosat_core.training.linear_probe import fit
from eurosat_core.training.neighbours import nearest, vote
from eurosat_core.training.sources import split_for
from eurosat_core.training.transfer import (
    ALL,
    TRANSFER_FILE,
    TransferDone,
    TransferPlan,
    TransferResult,
    TransferStarted,
    TrialDone,
    spread_of,
    transfer_config,
)

PLAN = TransferPlan(labels=(1, 3), draws=2, scratch_draws=1, scratch_seconds=2.0)
CONFIG = transfer_config(input_side=64)


@pytest.fixture(scope="module")
def tiles(small_folder, tmp_path_factory: pytest.TempPathFactory) -> TileSet:
    """Forty tiles with a cache folder of their own."""
    folder = tmp_path_factory.mktemp("few")
    return open_tiles(small_folder(folder / "tiles", {"Forest": 20, "River": 20}), folder / "cache")


def some_features(seed: int, n: int = 300, width: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Three clouds that touch."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (n,), generator=generator)
    centres = torch.randn(3, width, generator=generator)
    return centres[labels] + 0.9 * torch.randn(n, width, generator=generator), labels


@pytest.mark.parametrize("count", [1, 5])
def test_neighbours_are_sklearns(count: int) -> None:
    values, labels = some_features(1)
    known, asked = values[:200], values[200:]
    oracle = KNeighborsClassifier(count, metric="cosine").fit(known, labels[:200])
    distances, rows = oracle.kneighbors(asked)
    cosines, found = nearest(asked, known, count)
    assert np.array_equal(found.numpy(), rows) and np.allclose(1 - cosines.numpy(), distances, atol=1e-5)
    votes = oracle.predict_proba(asked)
    sure = (np.sort(votes, axis=1)[:, -1] > np.sort(votes, axis=1)[:, -2] + 1e-9) | (count == 1)
    assert sure.mean() > 0.8
    assert np.array_equal(vote(asked, known, labels[:200], 3, count).numpy()[sure], oracle.predict(asked)[sure])


def test_of_as_many_votes_the_closer_ones_win() -> None:
    known = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    labels = torch.tensor([0, 0, 1, 1])
    asked = torch.tensor([[0.6, 0.5], [0.5, 0.6]])
    assert vote(asked, known, labels, 2, 4).tolist() == [0, 1]


@pytest.mark.parametrize(("strength", "width"), [(1.0, 12), (30.0, 12), (30.0, 250)])
def test_the_linear_layer_is_sklearns_logistic_regression(strength: float, width: int) -> None:
    """Also with more features than tiles."""
    values, labels = some_features(2, width=width)
    oracle = LogisticRegression(C=1 / strength, max_iter=1000, tol=1e-8).fit(values[:200], labels[:200])
    probe = fit(values[:200], labels[:200], 3, strength)
    assert np.allclose(probe.weights.numpy(), oracle.coef_, atol=2e-3)
    assert np.array_equal(probe.predict(values[200:]).numpy(), oracle.predict(values[200:]))


def test_every_class_gives_as_many_labels_and_no_tile_twice() -> None:
    labels = torch.arange(100) % 4
    train = torch.randperm(100, generator=torch.Generator().manual_seed(0))[:80]
    least = int(labels[train].bincount().min())
    for count in (1, 7, least):
        drawn = draw_labels(labels, train, count, seed=3)
        assert labels[drawn].bincount().tolist() == [count] * 4
        assert len(drawn.unique()) == 4 * count and set(drawn.tolist()) <= set(train.tolist())
        assert torch.equal(drawn, draw_labels(labels, train, count, seed=3))
    assert not torch.equal(draw_labels(labels, train, 7, seed=3), draw_labels(labels, train, 7, seed=4))


def test_standardised_features_have_mean_0_and_spread_1_where_it_is_learned() -> None:
    values, _ = some_features(3)
    own = torch.arange(200)
    found = standardised(torch.cat([values * 100 + 5, torch.ones(300, 1)], 1), own)
    assert torch.allclose(found[own].mean(0), torch.zeros(13), atol=1e-4)
    assert torch.allclose(found[own].std(0)[:-1], torch.ones(12), atol=1e-4) and found.isfinite().all()


def done(tiles: TileSet, plan: TransferPlan = PLAN, /, **changes: object):
    events: list = []
    job = Job("a-run", replace(CONFIG, **changes), tiles.fingerprint, str(tiles.cache), 1, "transfer", plan.to_dict())
    return run_job(job, events.extend), events


@pytest.mark.processor
def test_a_transfer_from_its_features_to_its_result(tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_labels, "SCRATCH_STEPS", 3)
    form = FeatureForm(PLAN.stages, PLAN.views)
    assert known_features(CONFIG, tiles, form) is None
    result, events = done(tiles)
    assert (result.state, result.message) == ("finished", "")
    found = TransferResult.from_json(result.files[TRANSFER_FILE])
    assert (found.train_tiles, found.validation_tiles, found.features, found.computed) == (30, 10, 2096, 40)
    assert found.complete and found.labels == (1, 3, ALL)
    assert [len(found.of("linear", each)) for each in found.labels] == [2, 2, 1]
    assert [len(found.of("scratch", each)) for each in found.labels] == [1, 1, 0]
    assert {each.tiles for each in found.of("neighbours", 3)} == {6} and found.of("linear", ALL)[0].tiles == 30
    started = next(each for each in events if isinstance(each, TransferStarted))
    trials = [each for each in events if isinstance(each, TrialDone)]
    assert len(trials) == started.trials == PLAN.trials == len(found.trials) and isinstance(events[-1], TransferDone)
    values, known = known_features(CONFIG, tiles, form) or pytest.fail("they are kept")
    assert known.all() and values.shape == (40, 2096) and not values.flags.writeable
    assert known_features(replace(CONFIG, input_side=96), tiles, form) is None, "other features"
    again, _ = done(tiles)
    later = TransferResult.from_json(again.files[TRANSFER_FILE])
    assert later.computed == 0
    assert [each.accuracy for each in later.trials] == [each.accuracy for each in found.trials]


@pytest.mark.processor
def test_a_sealed_test_part_stays_sealed(tiles: TileSet, tmp_path: Path, small_folder) -> None:
    fresh = open_tiles(small_folder(tmp_path / "tiles", {"Forest": 25, "River": 25}), tmp_path / "cache")
    plan = replace(PLAN, scratch_draws=0, labels=(1,))
    sealed = replace(CONFIG, sealed_test=True)
    done(fresh, plan, sealed_test=True)
    _, known = known_features(sealed, fresh, FeatureForm(plan.stages, plan.views)) or pytest.fail("they are kept")
    split = split_for(sealed, fresh)
    assert len(split.test) == 10 and not known[split.test.numpy()].any() and known.sum() == 40


@pytest.mark.processor
def test_features_alone_serve_the_next_transfer(tmp_path: Path, small_folder) -> None:
    fresh = open_tiles(small_folder(tmp_path / "tiles", {"Forest": 12, "River": 12}), tmp_path / "cache")
    alone = TransferPlan(learns=False)
    assert missing_features(CONFIG, alone, fresh) == missing_features(CONFIG, PLAN, fresh) == 24
    some = replace(CONFIG, tiles=10)
    result, events = done(fresh, alone, tiles=10)
    assert result.state == "finished" and result.files == {} and result.summary["feature_tiles"] == 10
    assert [type(each) for each in events if not isinstance(each, FeaturesDone)] == [TransferStarted, TransferDone]
    assert [read_event(encoded_event(each))[0] for each in events] == events
    assert missing_features(some, PLAN, fresh) == 0 and missing_features(CONFIG, PLAN, fresh) == 14
    assert missing_features(some, replace(PLAN, stages=False), fresh) == 10, "others are kept by themselves"


def test_stopped_it_keeps_what_it_found(tiles: TileSet) -> None:
    control = Control()
    events: list = []

    def report(told: list) -> None:
        events.extend(told)
        if isinstance(told[0], TrialDone):
            control.command("stop")

    job = Job("b-run", CONFIG, tiles.fingerprint, str(tiles.cache), 1, "transfer", PLAN.to_dict())
    result = run_job(job, report, control)
    assert result.state == "cancelled" and result.message
    found = TransferResult.from_json(result.files[TRANSFER_FILE])
    assert not found.complete and len(found.trials) == 1


@pytest.mark.parametrize(
    "changes",
    [{"labels": (0,)}, {"labels": (5, 5)}, {"draws": 0}, {"scratch_draws": 9}, {"views": 3}, {"scratch_seconds": 0.5}],
)
def test_plans_that_cannot_be_carried_out_get_a_sentence(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        TransferPlan.from_dict({**PLAN.to_dict(), **changes})


def test_plans_and_results_survive_json() -> None:
    assert TransferPlan.from_dict(PLAN.to_dict()) == PLAN
    with pytest.raises(ConfigError):
        TransferPlan.from_dict({"unknown": 1})
    with pytest.raises(RunError):
        TransferResult.from_json(b'{"format": 9}')
    with pytest.raises(RunError):
        TransferResult.from_json(b"[]")


def test_a_spread_is_mean_lowest_and_highest() -> None:
    spread = spread_of([0.5, 0.7, 0.9])
    assert spread is not None and (spread.mean, spread.low, spread.high, spread.draws) == (
        pytest.approx(0.7),
        0.5,
        0.9,
        3,
    )
    assert spread_of([]) is None
