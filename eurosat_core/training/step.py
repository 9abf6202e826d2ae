"""One training step, as the training loop, the sweeps and the profiler take it: network, loss, optimizer, update."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional

from eurosat_core.data.batches import Batch, DeviceCopy
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.devices import torch_device
from eurosat_core.errors import TrainingError
from eurosat_core.training.augmentation import Augmentation, DropoutState
from eurosat_core.training.config import TrainConfig, rate_share
from eurosat_core.training.evaluation import Tally, move
from eurosat_core.training.network import choose_kernels, make_network, scores_of, set_mode
from eurosat_core.training.precision import multiplies_tf32
from eurosat_core.training.threads import keep_freed_memory

Mark = Callable[[str], AbstractContextManager[object]]
"""Called with the name of a part of the step (load, copy, forward, backward, update): open while it is computed."""

_UNMARKED = nullcontext()


def unmarked(_part: str) -> AbstractContextManager[object]:
    """For steps whose parts nobody wants to know apart."""
    return _UNMARKED


class Trainer:
    """A network on its device with all that trains it, and the step.

    Args:
        config: a checked one, its precision and memory layout filled in (`precision.resolved`).
        tiles: what the network is to tell apart, and whose cache holds pretrained weights; None where it is given.
        network: in place of the one that a training begins with; on the device already.
        steps: of the whole training, over which learning rate and sizes of tiles follow their schedules. None where
            no end is known: the learning rate stays as it is, and tiles have all their pixels.

    Attributes:
        network: all of it.
        train_network: what a training step computes: all of it, unless batches hold the frozen part's outputs.
        eval_network: what a validation step computes.
    """

    def __init__(
        self, config: TrainConfig, tiles: TileSet | None, network: nn.Module | None = None, *, steps: int | None = None
    ) -> None:
        self.config = config
        self.device = torch_device(config.device)
        if config.precision == "tf32" and not multiplies_tf32(self.device):
            raise TrainingError(f"The card {config.device} does not multiply TF32. Choose float32.")
        if network is None:
            assert tiles is not None
            keep_freed_memory()
            network = make_network(config, len(tiles.class_names), tiles.cache.parent).to(self.device)
        self.network: nn.Module = network.to(memory_format=torch.channels_last) if config.channels_last else network
        self.train_network = self.eval_network = self.network
        self._optimizer = make_optimizer(config, self.network)
        self._schedule = make_schedule(config, self._optimizer, steps) if steps else None
        self._to_device = DeviceCopy(self.device, pinned=config.pin_memory, channels_last=bool(config.channels_last))
        self._augmentation = Augmentation(config, steps)
        self._dropout = DropoutState(config.seed, self.device)
        self._one = torch.ones((), device=self.device)  # the loss's gradient by itself, not made anew in every step
        self._steps_taken = 0
        self._parked: list[tuple[Tensor, torch.device]] = []  # and where each belongs

    def parameters(self) -> tuple[int, int]:
        """How many numbers the network has, and how many of them are trained."""
        counts = [(each.numel(), each.requires_grad) for each in self.network.parameters()]
        return sum(count for count, _ in counts), sum(count for count, trained in counts if trained)

    def mode(self, *, training: bool) -> None:
        """Training or evaluation mode (see `set_mode`), and the GPU's kernels as the config says."""
        self._choose_kernels()
        set_mode(self.network, self.config, training=training)

    def _choose_kernels(self) -> None:
        if self.device.type == "cuda":
            choose_kernels(self.config)

    def park(self) -> None:
        """Leave the device's memory to others: network and optimizer go to the processor's memory until `unpark`."""
        states = (each for state in self._optimizer.state.values() for each in state.values())
        ours = (*self.network.parameters(), *self.network.buffers(), *states)
        self._parked = [(each, each.device) for each in ours if isinstance(each, Tensor)]
        move([each for each, _ in self._parked], torch.device("cpu"))

    def unpark(self) -> None:
        """Bring back what `park` took from the device, which may find its memory full."""
        self._choose_kernels()  # another run was here meanwhile
        for each, device in self._parked:  # some optimizers count in the processor's memory anyway
            move([each], device)
        self._parked = []

    def step(self, batches: Iterator[Batch], mark: Mark = unmarked, tally: Tally | None = None) -> int:
        """Load a batch, copy it to the device, and learn from it; how many tiles it had."""
        with mark("load"):
            batch = next(batches)
        with mark("copy"):
            batch = self.on_device(batch)
        self.learn(batch, mark, tally)
        return len(batch.labels)

    def learn(self, batch: Batch, mark: Mark = unmarked, tally: Tally | None = None) -> Tensor:
        """Learn from a batch that is on the device; its loss. Never waits for the device."""
        with mark("forward"):
            batch = self._augmentation.view(batch, self._steps_taken)
            with self._dropout.drawing():
                scores, loss, objective = loss_of(self.train_network, batch, self.config, self.config.label_smoothing)
            if tally is not None:
                tally.add(loss, scores, batch.labels)
        with mark("backward"):
            objective.backward(self._one)
        with mark("update"):
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)  # gradients take no memory while nobody needs them
            if self._schedule is not None:
                self._schedule.step()
        self._steps_taken += 1
        return loss

    def validate(self, batch: Batch, tally: Tally) -> tuple[Tensor, Tensor]:
        """Scores [B, classes] and loss of a batch that is on the device; nothing is learned from it."""
        with torch.no_grad():
            scores, loss, _ = loss_of(self.eval_network, batch, self.config)
        tally.add(loss, scores, batch.labels)
        return scores, loss

    def on_device(self, batch: Batch) -> Batch:
        """As the training's loader brings it there; tiles that lie on the device already stay where they are."""
        return self._to_device(batch)


def make_optimizer(config: TrainConfig, network: nn.Module) -> torch.optim.Optimizer:
    """The optimizer asked for, over the parameters that are trained."""
    trained = [each for each in network.parameters() if each.requires_grad]
    rate, decay = config.learning_rate, config.weight_decay
    # One kernel for all parameters. There is none of Adagrad, of which PyTorch then takes a few for all of them. On a
    # CPU PyTorch's loop over the parameters is no slower by what can be measured: 1.8 of tilenet's 260 ms.
    fused = True if config.device.startswith("cuda") and config.optimizer != "adagrad" else None
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            trained, lr=rate, momentum=config.momentum, weight_decay=decay, nesterov=config.nesterov, fused=fused
        )
    kinds: dict[str, Callable[..., torch.optim.Optimizer]]
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "adagrad": torch.optim.Adagrad}
    return kinds[config.optimizer](trained, lr=rate, weight_decay=decay, fused=fused)


def make_schedule(
    config: TrainConfig, optimizer: torch.optim.Optimizer, steps: int
) -> torch.optim.lr_scheduler.LRScheduler | None:
    """What changes the learning rate after each of so many steps; None when it stays."""
    if config.schedule == "constant":
        return None
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_share(config.schedule, step, steps))


def loss_of(
    network: nn.Module, batch: Batch, config: TrainConfig, smoothing: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores [B, classes], the mean cross-entropy, and what the optimizer lowers: the same, or of smoothed labels.

    What is shown stays the plain one, so that training and validation can be compared. Both are made of one logarithm
    of the softmax; PyTorch's own smoothing, equal up to the order of its sums, takes another one.
    """
    scores = scores_of(network, batch.tiles, config.precision)
    chances = scores.log_softmax(1)
    loss = functional.nll_loss(chances, batch.labels)
    if not smoothing:
        return scores, loss, loss
    return scores, loss, torch.sub(loss * (1 - smoothing), chances.mean(), alpha=smoothing)


def drop_singleton_batch(batches: Iterator[Batch], network: nn.Module, config: TrainConfig) -> Iterator[Batch]:
    """An epoch's training batches; without a last tile left over alone when BatchNorm has nothing to compare it with.

    network: in training mode, in which frozen BatchNorm layers compare nothing. Where every batch is one tile, those
    that train compare its pixels.
    """
    compares = any(isinstance(each, nn.BatchNorm1d | nn.BatchNorm2d) and each.training for each in network.modules())
    if config.batch_size == 1 or not compares:
        return batches
    return (batch for at, batch in enumerate(batches) if not at or len(batch.labels) > 1)
