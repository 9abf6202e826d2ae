"""One training step, as the training loop, the sweeps and the profiler take it: network, loss, optimizer, update."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from eurosat_core.data.batches import Batch, DeviceCopy, ResidentBatch
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.devices import torch_device
from eurosat_core.errors import TrainingError
from eurosat_core.training.augmentation import Augmentation, Drawn, DropoutState
from eurosat_core.training.compilers import execution_problem
from eurosat_core.training.config import TrainConfig, rate_share
from eurosat_core.training.evaluation import Tally, move
from eurosat_core.training.execution import CompiledNetwork, StepGraph
from eurosat_core.training.network import Network, choose_kernels, make_network, scores_of, set_mode
from eurosat_core.training.precision import multiplies_tf32
from eurosat_core.training.threads import keep_freed_memory

# The first steps of a graph are made without it, and the last one of an epoch is.
warnings.filterwarnings("ignore", message="This instance was constructed with capturable=True")

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
        if problem := execution_problem(config):
            raise TrainingError(problem)
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
        self._compiled: CompiledNetwork | None = None
        self._graph: StepGraph | None = None
        if config.execution == "graph":
            self._graph = StepGraph(self.device, self._whole_step, self._dropout)
        self._steps_taken = 0
        self._parked: list[tuple[Tensor, torch.device]] = []  # and where each belongs

    def parameters(self) -> tuple[int, int]:
        """How many numbers the network has, and how many of them are trained."""
        counts = [(each.numel(), each.requires_grad) for each in self.network.parameters()]
        return sum(count for count, _ in counts), sum(count for count, trained in counts if trained)

    def held(self) -> dict[str, list[Tensor]]:
        """The tensors that stay in memory beside the batch: parameters (and buffers), gradients, optimizer state."""
        parameters = list(self.network.parameters())
        states = [each for state in self._optimizer.state.values() for each in state.values()]
        return {
            "parameters": [*parameters, *self.network.buffers()],
            "gradients": [each.grad for each in parameters if each.grad is not None],
            "optimizer": [each for each in states if isinstance(each, Tensor)],
        }

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
        if self._graph is not None:
            self._graph.forget()

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
        """Learn from a batch that is on the device; its loss, until the next step. Never waits for the device."""
        if self._graph is not None and len(batch.labels) == self.config.batch_size:
            with mark("forward"):
                loss = self._graph.learn(batch, self._augmentation.draw(batch.shape, self._steps_taken), tally)
            with mark("backward"), mark("update"):
                pass  # all of it was launched at once
        else:
            with mark("forward"):
                batch = self._augmentation.view(batch, self._steps_taken)
                network = self._network_for(batch)
                with self._dropout.drawing():
                    scores, loss, objective = loss_of(network, batch, self.config, self.config.label_smoothing)
                if tally is not None:
                    tally.add(loss, scores, batch.labels)
            with mark("backward"):
                objective.backward(self._one)
                if self._compiled is not None:
                    self._compiled.went_back()
            with mark("update"):
                self._update()
        if self._schedule is not None:
            self._schedule.step()
        self._steps_taken += 1
        return loss

    def _update(self) -> None:
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)  # gradients take no memory while nobody needs them

    def _whole_step(self, batch: Batch, drawn: Drawn, counted: Tally) -> Tensor:
        """A step on the device, as a graph holds it: no number in it is the processor's, and nothing waits."""
        batch = Batch(self._augmentation.seen(batch.tiles, drawn), batch.labels)
        scores, loss, objective = loss_of(self.train_network, batch, self.config, self.config.label_smoothing)
        counted.loss.add_(loss.detach(), alpha=len(batch.labels))
        counted.right.add_((scores.detach().argmax(1) == batch.labels).sum())
        objective.backward(self._one)
        self._update()
        return loss.detach()

    def _network_for(self, batch: Batch) -> Network:
        """What computes a training batch: the compiled network, if it is to be and the batch is as large as all."""
        if self.config.execution != "compiled" or len(batch.labels) != self.config.batch_size:
            return self.train_network
        if self._compiled is None:
            self._compiled = CompiledNetwork(self.train_network, self.device)
        return self._compiled

    def take_compile_seconds(self) -> float:
        """Seconds that compiling took since this was asked last: of the first passes through the compiled network."""
        return self._compiled.take_seconds() if self._compiled is not None else 0.0

    def validate(self, batch: Batch, tally: Tally) -> tuple[Tensor, Tensor]:
        """Scores [B, classes] and loss of a batch that is on the device; nothing is learned from it."""
        with torch.no_grad():
            scores, loss, _ = loss_of(self.eval_network, batch, self.config)
        tally.add(loss, scores, batch.labels)
        return scores, loss

    def on_device(self, batch: Batch) -> Batch:
        """As the training's loader brings it there; tiles that lie on the device already stay where they are."""
        return batch if isinstance(batch, ResidentBatch) else self._to_device(batch)


def make_optimizer(config: TrainConfig, network: nn.Module) -> torch.optim.Optimizer:
    """The optimizer asked for, over the parameters that are trained."""
    trained = [each for each in network.parameters() if each.requires_grad]
    rate, decay = config.learning_rate, config.weight_decay
    # One kernel for all parameters. There is none of Adagrad, of which PyTorch then takes a few for all of them. On a
    # CPU PyTorch's loop over the parameters is no slower by what can be measured: 1.8 of tilenet's 260 ms.
    fused = True if config.on_cuda and config.optimizer != "adagrad" else None
    graphed = config.execution == "graph"
    optimizer: torch.optim.Optimizer
    if config.optimizer == "sgd":
        optimizer = torch.optim.SGD(
            trained, lr=rate, momentum=config.momentum, weight_decay=decay, nesterov=config.nesterov, fused=fused
        )
    elif config.optimizer == "adagrad":
        optimizer = torch.optim.Adagrad(trained, lr=rate, weight_decay=decay, fused=fused)
    else:
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
        optimizer = kind(trained, lr=rate, weight_decay=decay, fused=fused, capturable=graphed)
    if graphed:  # a number would stay in a graph what it is now
        optimizer.param_groups[0]["lr"] = torch.tensor(rate, device=torch_device(config.device))
    return optimizer


class Schedule(Protocol):
    """What changes the learning rate after each step."""

    def step(self) -> None: ...


class RateOnDevice:
    """The schedule of a learning rate that lies on the device, where PyTorch's own would read it with every step."""

    def __init__(self, config: TrainConfig, optimizer: torch.optim.Optimizer, steps: int) -> None:
        self._config, self._steps, self._taken = config, steps, -1
        self._rate: Tensor = optimizer.param_groups[0]["lr"]
        self.step()

    def step(self) -> None:
        self._taken += 1
        self._rate.fill_(self._config.learning_rate * rate_share(self._config.schedule, self._taken, self._steps))


def make_schedule(config: TrainConfig, optimizer: torch.optim.Optimizer, steps: int) -> Schedule | None:
    """What changes the learning rate after each of so many steps; None when it stays."""
    if config.schedule == "constant":
        return None
    if config.execution == "graph":
        return RateOnDevice(config, optimizer, steps)
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_share(config.schedule, step, steps))


def loss_of(
    network: Network, batch: Batch, config: TrainConfig, smoothing: float = 0.0
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
