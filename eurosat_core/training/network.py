"""A network made from a config, fed as the catalog says, and run in the precision asked for."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from eurosat_core.data.batches import VALIDATION_BATCH, Batch, Preprocessing, normalize
from eurosat_core.data.decoding import TILE_SIDE
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.data.weights import load_weights
from eurosat_core.models.catalog import build_model, model_entry
from eurosat_core.models.pretrained import from_weights, norms_in_evaluation_mode
from eurosat_core.settings import load_settings
from eurosat_core.training.augmentation import in_every_symmetry
from eurosat_core.training.config import TrainConfig

Network = Callable[[Tensor], Tensor]
"""Normalised tiles [B, 3, 64, 64] (or a frozen part's outputs) → scores [B, classes]."""


def preprocessing_for(model: str, channels_last: bool = False, side: int = TILE_SIDE) -> Preprocessing:
    """How the catalog says this model wants its tiles, enlarged to `side` pixels a side."""
    entry = model_entry(model)
    return Preprocessing(entry.mean, entry.std, channels_last, side)


def make_network(config: TrainConfig, classes: int, cache: Path | None = None) -> nn.Module:
    """A freshly initialised network on the CPU, the same for the same seed; of a pretrained one, its last layer.

    The global generator is left as it was.

    Args:
        classes: how many it tells apart.
        cache: the folder that holds downloaded weights.

    Raises:
        DataError: when pretrained weights are asked for that are not on this machine.
    """
    entry = model_entry(config.model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        if entry.is_pretrained and config.pretrained:
            return from_weights(entry, classes, load_weights(entry.weights, cache or load_settings().cache))
        return build_model(config.model, classes, config.network, stem_pool=config.stem_pool)


def stand_in(config: TrainConfig, device: torch.device, *, convolutions_only: bool = False) -> nn.Module:
    """A network of the same layers for timing, with weights that nobody drew: 129 million of them would take seconds.

    convolutions_only: of networks that keep these together (VGG).
    """
    with torch.device("meta"):
        network = build_model(config.model, 10, config.network, stem_pool=config.stem_pool)
    features = getattr(network, "features", None)
    if convolutions_only and isinstance(features, nn.Module):
        network = features
    network = network.to_empty(device=device)
    with torch.no_grad():
        for each in network.parameters():
            each.fill_(1 / max(each[0].numel(), 1))  # sums stay what they are, so nothing overflows or dies away
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.reset_running_stats()
    return network


def set_mode(network: nn.Module, config: TrainConfig, *, training: bool) -> None:
    """Training or evaluation mode; frozen BatchNorm layers stay in evaluation mode unless the config says otherwise."""
    network.train(training)
    if training and config.frozen_norms:
        norms_in_evaluation_mode(network)


def kept_tensors(network: nn.Module, config: TrainConfig) -> dict[str, Tensor]:
    """What a run has to keep: all tensors, or of a network with a frozen part those that are not in it.

    The frozen part is made again from the published weights, or from the seed when it is random.
    """
    state: dict[str, Tensor] = network.state_dict()
    if not config.is_pretrained:
        return state
    trained = {name for name, each in network.named_parameters() if each.requires_grad}
    drifting = set() if config.frozen_norms else {name for name, _ in network.named_buffers()}
    return {name: value for name, value in state.items() if name in trained | drifting}


def scores_of(network: Network, tiles: Tensor, precision: str) -> Tensor:
    """Scores [B, classes] in float32 for normalised tiles [B, 3, 64, 64], computed in `precision`."""
    with autocast(precision, tiles.device):
        scores: Tensor = network(tiles)
    return scores.float()


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context in which layers compute in `precision`. Raises `ValueError` while it is left to the device."""
    if precision not in ("float32", "tf32", "bfloat16"):
        raise ValueError(f"the precision is still '{precision}': training.precision fills in what it is here")
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bfloat16" else nullcontext()


def choose_kernels(config: TrainConfig) -> None:
    """Have this process's GPUs compute as `config` says from now on: in float32 or TF32, deterministic or not."""
    multiply_float32(config.precision)
    deterministic_kernels(config.deterministic)


def deterministic_kernels(wanted: bool) -> None:
    """Have this process's GPUs add up in the same order every time, or as they like; it holds until the next call.

    Where PyTorch has no such kernel, it then raises a `RuntimeError` that names the operation.
    """
    if torch.are_deterministic_algorithms_enabled() != wanted:  # the call loads PyTorch's compiler, which takes seconds
        torch.use_deterministic_algorithms(wanted)
    torch.backends.cudnn.deterministic = wanted
    torch.backends.cudnn.benchmark = False  # which kernel is the fastest may change from one time to the next


def multiply_float32(precision: str) -> None:
    """Have this process's GPUs multiply float32 as IEEE says, or rounded to TF32 where that is the `precision`.

    It holds until the next call, so in the backward pass as well.
    PyTorch by itself takes TF32 in convolutions and IEEE in matrix products, so neither is what a CPU computes.
    """
    how = "tf32" if precision == "tf32" else "ieee"
    backends: Any = torch.backends
    for each in (backends.cuda.matmul, backends.cudnn, backends.cudnn.conv, backends.cudnn.rnn):
        each.fp32_precision = how


def float32_flags() -> dict[str, str]:
    """How this process's GPUs multiply float32 now, in matrix products and in convolutions: `ieee` or `tf32`."""
    backends: Any = torch.backends
    return {"matmul": backends.cuda.matmul.fp32_precision, "convolution": backends.cudnn.conv.fp32_precision}


def evaluation_batches(config: TrainConfig, tiles: TileSet, numbers: Tensor) -> Iterator[Batch]:
    """The tiles with these numbers, on the CPU, in batches of the size in which the run validated.

    The same batches give the same scores to the last bit on the processor that the run validated on, so its accuracy
    can be confirmed exactly there. What was validated on a GPU cannot: that adds up in another order, and rounds to 24
    bits (float32), 11 (TF32) or 8 (bfloat16), so tiles whose best two classes are that close get another answer.
    `evaluate` counts them.
    """
    preprocessing = preprocessing_for(config.model, bool(config.channels_last), config.input_side)
    size = config.batch_size if config.source == "loader" else max(config.batch_size, VALIDATION_BATCH)
    for chosen in numbers.split(size):
        yield Batch(normalize(tiles.pixels[chosen], preprocessing), tiles.labels[chosen])


def predict(
    network: nn.Module, batches: Iterator[Batch], config: TrainConfig, *, symmetries: bool = False
) -> tuple[Tensor, Tensor]:
    """Predicted labels and their softmax probability [n] for all batches; no gradient is kept.

    Args:
        symmetries: ask about every tile eight times, turned and mirrored, and take the mean of the probabilities.
    """
    network.eval()
    found = []
    with torch.no_grad():
        for batch in batches:
            views: Iterable[Tensor] = in_every_symmetry(batch.tiles) if symmetries else (batch.tiles,)
            answers = [scores_of(network, each, config.precision).softmax(1) for each in views]
            found.append(torch.stack(answers).mean(0))
    confidence, predicted = torch.cat(found).max(1)
    return predicted, confidence
