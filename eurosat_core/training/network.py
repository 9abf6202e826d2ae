"""A network ready to be trained or asked: made, fed as the catalog says, run in the precision asked for."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from eurosat_core.data.batches import VALIDATION_BATCH, Batch, Preprocessing, normalize
from eurosat_core.data.tiles import TileSet
from eurosat_core.models.catalog import build_model, model_entry
from eurosat_core.training.config import TrainConfig

__all__ = [
    "evaluation_batches",
    "loss_of",
    "make_network",
    "make_optimizer",
    "predict",
    "preprocessing_for",
    "scores_of",
]


def preprocessing_for(model: str, channels_last: bool = False) -> Preprocessing:
    """How the catalog says this model wants its tiles."""
    entry = model_entry(model)
    return Preprocessing(entry.mean, entry.std, channels_last)


def make_network(config: TrainConfig, classes: int) -> nn.Module:
    """A freshly initialised network on the CPU, the same for the same seed.

    The global generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return build_model(config.model, classes)


def make_optimizer(config: TrainConfig, network: nn.Module) -> torch.optim.Optimizer:
    """The optimizer asked for, over the parameters that are trained."""
    trained = [each for each in network.parameters() if each.requires_grad]
    rate, decay = config.learning_rate, config.weight_decay
    match config.optimizer:
        case "adam":
            return torch.optim.Adam(trained, lr=rate, weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(trained, lr=rate, weight_decay=decay)
        case "adagrad":
            return torch.optim.Adagrad(trained, lr=rate, weight_decay=decay)
        case _:
            return torch.optim.SGD(trained, lr=rate, momentum=config.momentum, weight_decay=decay)


def scores_of(network: nn.Module, tiles: Tensor, precision: str) -> Tensor:
    """Scores [B, classes] in float32 for normalised tiles [B, 3, 64, 64], computed in `precision`."""
    if precision == "float32":
        scores: Tensor = network(tiles)
        return scores
    with torch.autocast(tiles.device.type, dtype=torch.bfloat16):
        scores = network(tiles)
    return scores.float()


def loss_of(network: nn.Module, batch: Batch, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """Scores [B, classes] and the mean cross-entropy of one batch."""
    scores = scores_of(network, batch.tiles, config.precision)
    return scores, functional.cross_entropy(scores, batch.labels)


def evaluation_batches(config: TrainConfig, tiles: TileSet, numbers: Tensor) -> Iterator[Batch]:
    """The tiles with these numbers, on the CPU, in batches of the size in which the run validated.

    The same batches give the same scores to the last bit, so a run's accuracy can be confirmed exactly.
    """
    preprocessing = preprocessing_for(config.model, config.channels_last)
    size = max(config.batch_size, VALIDATION_BATCH) if config.source == "memory" else config.batch_size
    for chosen in numbers.split(size):
        yield Batch(normalize(tiles.pixels[chosen], preprocessing), tiles.labels[chosen])


def predict(network: nn.Module, batches: Iterator[Batch], config: TrainConfig) -> tuple[Tensor, Tensor]:
    """Predicted labels and their softmax probability [n] for all batches; no gradient is kept."""
    network.eval()
    with torch.no_grad():
        scores = torch.cat([scores_of(network, batch.tiles, config.precision) for batch in batches])
    confidence, predicted = scores.softmax(1).max(1)
    return predicted, confidence
