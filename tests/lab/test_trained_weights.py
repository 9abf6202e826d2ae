"""The lines that load a run's weights are run here, beside the file, as a participant would run them."""

import ast
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_engine import CONFIG

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.data.weights import weights_problem
from eurosat_core.lab.jobs import run_job
from eurosat_core.lab.messages import Job
from eurosat_core.lab.trained_weights import FILE, contents, load_network, loading_code, source
from eurosat_core.models.catalog import CATALOG, build_model
from eurosat_core.runs.record import TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.network import kept_tensors

OWN = "conv 16 3, relu, residual 16 stride 2, adaptiveavgpool 4, flatten, linear out"
EFFICIENTNET = recipe_config("efficientnet_lite0", tiles=40, epochs=1, batch_size=20, source="memory")


@pytest.mark.processor
@pytest.mark.parametrize(
    "config",
    [
        replace(CONFIG, epochs=1),
        replace(CONFIG, epochs=1, model="custom"),
        replace(CONFIG, epochs=1, model="custom", network=OWN),
        replace(CONFIG, epochs=1, model="tilenet", stem_pool=False),
        pytest.param(
            EFFICIENTNET,
            marks=pytest.mark.skipif(
                bool(weights_problem("efficientnet_lite0", Path())), reason="its weights are not installed"
            ),
        ),
    ],
    ids=lambda config: config.network or config.model,
)
def test_the_lines_load_the_network_of_the_run(
    config: TrainConfig,
    small_tiles: TileSet,
    store: RunStore,
    used: TilesUsed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = store.create(config, "ada", used)
    store.save(
        run.id,
        run_job(Job(run.id, config, small_tiles.fingerprint, str(small_tiles.cache), 1), lambda _events: None).files,
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "net", raising=False)
    Path(FILE).write_bytes(store.load(run.id, FILE))
    if text := source(config, 4):
        Path("net.py").write_text(text, encoding="utf-8")
    told: dict[str, Any] = {}
    exec(loading_code(config, 4), told)
    sys.modules.pop("net", None)
    pictures = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(told["net"](pictures), load_network(store, run.id)(pictures), atol=1e-5)


def test_vgg_is_put_together_from_torchvision_and_the_layer_that_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision import models

    config, real = recipe_config("vgg11_bn"), models.vgg11_bn

    def without_weights(weights: str) -> Any:
        assert weights == "IMAGENET1K_V1"
        return real(weights=None)

    with torch.device("meta"):  # shapes and names are what is asked here
        trained = kept_tensors(build_model("vgg11_bn", 7), config)
    monkeypatch.setattr(models, "vgg11_bn", without_weights)
    monkeypatch.chdir(tmp_path)
    torch.save({name: torch.zeros(each.shape) for name, each in trained.items()}, FILE)
    told: dict[str, Any] = {}
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nothing can be copied onto it
        exec(loading_code(config, 7), told)
    assert set(trained) <= set(told["net"].state_dict())
    assert "classifier.6" in contents(config)


@pytest.mark.parametrize("model", CATALOG)
def test_every_model_of_the_catalog_has_lines(model: str) -> None:
    config = recipe_config(model, pretrained=False)
    ast.parse(loading_code(config, 10))
    assert contents(config).endswith(".")
    assert f"{CATALOG[model].std[0]:g}" in loading_code(config, 10).splitlines()[-1]
    if CATALOG[model].is_pretrained:
        assert "random" in contents(config)
        assert "drifted" in contents(replace(config, frozen_norms=False, source="memory"))
