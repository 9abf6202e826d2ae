"""How steps are executed: what is refused and why, and that compiled steps learn what the usual ones do."""

import importlib.util
import os
import sysconfig
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import ConfigError, TrainingError
from eurosat_core.training import compilers
from eurosat_core.training.compilers import execution_problem
from eurosat_core.training.config import SPEED_SETTINGS
from eurosat_core.training.events import Compiled, EpochDone, Finished
from eurosat_core.training.execution import compiled_afresh, programs_folder
from eurosat_core.training.problems import explained
from eurosat_core.training.step import Trainer
from tests.training.conftest import CONFIG, of_kind, run

COMPILED = replace(CONFIG, execution="compiled")
LAYERS = "conv 4 3 stride 4, relu, dropout 0.3, flatten, linear out"
SMALL = replace(COMPILED, model="custom", network=LAYERS, epochs=2, batch_size=40)
"""150 training tiles: three batches of 40 and one of 30."""


@pytest.fixture
def compiling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where compiled programs go; the test is skipped where there is nothing to compile them with."""
    if problem := execution_problem(COMPILED):
        pytest.skip(problem)
    monkeypatch.setenv("EUROSAT_CACHE", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    return tmp_path / "compiled"


def test_execution_is_a_matter_of_speed() -> None:
    assert "execution" in SPEED_SETTINGS
    assert execution_problem(CONFIG) == ""
    with pytest.raises(ConfigError, match="CUDA GPUs"):
        replace(COMPILED, device="mps").checked()


@pytest.mark.parametrize("missing", ["compiler", "headers", "triton", "python"])
def test_what_compiling_lacks_is_said_before_the_run(
    small_tiles: TileSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    config = COMPILED
    monkeypatch.setattr(compilers.shutil, "which", lambda name: None if missing == "compiler" else f"/usr/bin/{name}")
    here = tmp_path
    if missing != "headers":
        (here / "Python.h").touch()
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(here))
    words = {"compiler": "C\\+\\+ compiler", "headers": "python3-dev", "triton": "Triton", "python": "too new"}[missing]
    if missing == "triton":
        config = replace(COMPILED, device="cuda:0")
        monkeypatch.setattr(compilers, "find_spec", lambda _name: None)
    if missing == "python":

        def refuse(**_how: str) -> None:
            raise RuntimeError("This Python is too new")

        monkeypatch.setattr(torch, "compile", refuse)
    assert "eager" in execution_problem(config)
    with pytest.raises(TrainingError, match=words):
        Trainer(config, small_tiles, torch.nn.Linear(1, 1))


def test_a_gpu_needs_triton_and_a_c_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilers, "find_spec", lambda _name: importlib.util.find_spec("torch"))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(compilers.shutil, "which", lambda name: name if name == "clang" else None)
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(tmp_path))
    (tmp_path / "Python.h").touch()
    on_card = replace(COMPILED, device="cuda:0")
    assert execution_problem(on_card) == "" and execution_problem(COMPILED)
    monkeypatch.setenv("CC", "icx")
    assert "icx" in execution_problem(on_card)


def test_compiled_steps_learn_what_eager_ones_do(small_tiles: TileSet, compiling: Path) -> None:
    plain = replace(SMALL, network=LAYERS.replace("dropout 0.3, ", ""))
    events, kept = run(plain, small_tiles)
    eager_events, eager = run(replace(plain, execution="eager"), small_tiles)
    for name, expected in eager[-1].weights.items():
        torch.testing.assert_close(kept[-1].weights[name], expected, rtol=1e-4, atol=1e-5)
    assert of_kind(Finished, events)[0].val_loss == pytest.approx(of_kind(Finished, eager_events)[0].val_loss, rel=1e-4)
    told = of_kind(Compiled, events)
    assert len(told) == 1, "for the size of most batches; an epoch's last one is smaller, and is not compiled for"
    first = of_kind(EpochDone, events)[0]
    assert 0 < told[0].compile_seconds <= told[0].seconds <= first.elapsed_seconds
    assert told[0].compile_seconds <= first.train_seconds, "what compiling takes counts in its epoch"
    assert not of_kind(Compiled, eager_events)
    assert any(path.is_file() for path in compiling.rglob("*")), "programs are kept with the lab's other files"


def test_dropout_draws_from_the_trainings_own_generator_when_compiled(small_tiles: TileSet, compiling: Path) -> None:
    config = replace(SMALL, epochs=1)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = run(config, small_tiles)[1][-1].weights
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again = run(config, small_tiles)[1][-1].weights
    assert all(torch.equal(value, again[name]) for name, value in first.items())


def test_what_was_compiled_before_is_not_used_afresh(small_tiles: TileSet, compiling: Path) -> None:
    with compiled_afresh():
        assert Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]).parent == compiling
        run(replace(SMALL, epochs=1), small_tiles)
    assert not [path for path in compiling.rglob("*") if path.is_file()], "and nothing of it is kept"


def test_programs_are_kept_for_a_month(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EUROSAT_CACHE", str(tmp_path))
    folder = tmp_path / "compiled" / "ab"
    folder.mkdir(parents=True)
    old, recent = folder / "old.so", folder / "recent.so"
    for path, days in ((old, 31), (recent, 29)):
        path.touch()
        os.utime(path, (time.time() - days * 86400,) * 2)
    assert programs_folder() == tmp_path / "compiled"
    assert not old.exists() and recent.exists()


def test_what_cannot_be_compiled_is_told_in_a_sentence() -> None:
    from torch._inductor.exc import InvalidCxxCompiler

    with pytest.raises(TrainingError, match="eager"), explained(COMPILED):
        raise InvalidCxxCompiler
