"""The leak lens on its three pages: nothing before it is opened, and what it says with and without features."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.lab import leak_lens
from eurosat_core.lab.lab import Lab
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.transfer import TransferPlan, transfer_config
from tests.pages.conftest import App, alts, charts, choose, keys, open_tiles, saw, tells
from tests.pages.test_predict_page import trained

SPLITS, NEIGHBOURS = "leaks_splits", "leaks_neighbours"


def features_of(tiles: TileSet) -> torch.Tensor:
    return torch.from_numpy(tiles.array[:, ::8, ::8].reshape(len(tiles), -1)).float()


@pytest.fixture
def with_features(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr(leak_lens, "kept_features", lambda _config, tiles, *_: features_of(tiles))
    monkeypatch.setattr(
        leak_lens, "staged_part", lambda _network, batch: batch[:, :, ::8, ::8].movedim(1, 3).flatten(1)
    )
    monkeypatch.setattr(leak_lens, "normalize", lambda pixels, _how: pixels.movedim(3, 1).float())
    monkeypatch.setattr(leak_lens, "make_network", lambda *_: torch.nn.Identity())
    return lab


@pytest.fixture
def run(lab: Lab) -> RunRecord:
    record = trained(lab)
    noted = lab.results.predictions(record.id)
    assert noted is not None
    validation = noted.tiles.tolist()
    rest = sorted(set(range(len(open_tiles(lab)))) - set(validation))
    lab.store.save(record.id, {"split.json": json.dumps({"train": rest, "validation": validation}).encode()})
    return record


def with_places(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = (np.arange(len(open_tiles(lab))) % 3).astype(np.int8)
    monkeypatch.setattr(lab.library, "place_parts", lambda: parts)


def test_a_tiles_neighbours_are_looked_for_when_they_are_opened(
    with_features: Lab, run: RunRecord, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_places(with_features, monkeypatch)
    test = app("predict.py", network=run.id)
    assert not tells(test, "leaks/tile")
    test.session_state[NEIGHBOURS] = True
    test.run()
    assert tells(test, "leaks/tile") and tells(test, "leaks/how") and all(alts(test))
    assert sum(each.startswith("Training tile") for each in alts(test)) == leak_lens.COUNT


def test_of_synthetic_tiles_no_near_duplicate_is_told(with_features: Lab, run: RunRecord, app: App) -> None:
    test = app("predict.py", network=run.id)
    test.session_state[NEIGHBOURS] = True
    assert tells(test.run(), "leaks/no limit")


def test_the_recorded_network_has_no_neighbours(lab: Lab, app: App) -> None:
    test = app("predict.py")
    test.session_state[NEIGHBOURS] = True
    assert tells(test.run(), "leaks/not noted")


@pytest.mark.parametrize("places", [True, False])
def test_both_splits_on_the_tiles_page(
    with_features: Lab, app: App, monkeypatch: pytest.MonkeyPatch, places: bool
) -> None:
    if places:
        with_places(with_features, monkeypatch)
    test = choose(app("tiles.py"), "tiles_view", "Splits")
    before = charts(test)
    test.session_state[SPLITS] = True
    test.run()
    assert tells(test, "leaks/split") and all(alts(test)) and charts(test) == before + 1
    assert tells(test, "leaks/how" if places else "leaks/no limit")
    assert any("pca_lowrank" in each.value for each in test.code)


def test_compare_says_what_it_made_of_the_chosen_runs(
    with_features: Lab, run: RunRecord, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_places(with_features, monkeypatch)
    test = choose(app("compare.py", runs=run.id), "compare_part", "split")
    test.session_state[SPLITS] = True
    test.run()
    assert tells(test, "leaks/split") and "validation tiles" in saw(test)


@pytest.fixture
def with_own(with_features: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A run's own features are known, too."""
    monkeypatch.setattr(
        leak_lens, "own_features", lambda _network, batch: batch[:, :, ::8, ::8].movedim(1, 3).flatten(1)
    )
    return with_features


def test_by_its_own_features_a_tile_has_two_rows_of_neighbours(
    with_own: Lab, run: RunRecord, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_places(with_own, monkeypatch)
    test = app("predict.py", network=run.id)
    test.session_state[NEIGHBOURS] = True
    test.session_state["leaks_by"] = "own"
    test.run()
    assert tells(test, "leaks/own tile") and tells(test, "leaks/beside") and tells(test, "leaks/own how")
    assert sum(each.startswith("Training tile") for each in alts(test)) == 2 * leak_lens.COUNT


def test_compare_goes_by_each_runs_own_features(with_own: Lab, run: RunRecord, app: App) -> None:
    test = choose(app("compare.py", runs=run.id), "compare_part", "split")
    test.session_state[SPLITS] = True
    test.session_state["leaks_by"] = "own"
    test.run()
    assert tells(test, "leaks/own split") and "own features" in saw(test) and not tells(test, "leaks/split")
    assert sum("Same class" in each.label for each in test.metric) == 2


def test_own_features_that_are_missing_are_computed_by_a_run(
    lab: Lab, run: RunRecord, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = app("predict.py", network=run.id)
    test.session_state[NEIGHBOURS] = True
    test.session_state["leaks_by"] = "own"
    test.run()
    assert tells(test, "leaks/own missing")
    test.button(key=f"leaks_compute_{run.id}").click().run()
    (asked,) = [each for each in lab.store.all()[0] if each.kind == "transfer"]
    assert asked.plan["run"] == run.id and not asked.plan["learns"]
    assert tells(app("transfer.py", run=asked.id), "transfer/empty") is False
    lab.store.end(asked.id, "finished", "")
    assert tells(app("transfer.py", run=asked.id), "transfer/features alone")
    assert tells(app("transfer.py"), "transfer/empty")


def test_missing_features_are_computed_by_a_run(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.library, "missing_weights", lambda _config: "")
    asked = []
    monkeypatch.setattr(lab, "submit_transfer", lambda *given: asked.append(given) or SimpleNamespace(id="gone"))
    test = choose(app("tiles.py"), "tiles_view", "Splits")
    test.session_state[SPLITS] = True
    test.run()
    assert tells(test, "leaks/missing") and "leaks_compute" in keys(test) and not tells(test, "leaks/split")
    test.button(key="leaks_compute").click().run()
    ((config, plan, _owner),) = asked
    assert (config, plan, plan.trials) == (transfer_config(), TransferPlan(learns=False), 0)


def test_without_weights_it_says_so(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.library, "missing_weights", lambda _config: "They are not here.")
    test = choose(app("tiles.py"), "tiles_view", "Splits")
    test.session_state[SPLITS] = True
    assert "leaks_compute" not in keys(test.run())
