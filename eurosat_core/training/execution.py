"""How a training step is executed: operation by operation, compiled, or launched at once as a CUDA graph.

Each is asked for by name, and what this machine cannot do is refused: no step is ever executed in another way in
silence. Only an epoch's last, smaller batch is executed operation by operation whatever was asked for, since a program
holds for one size of batch.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from eurosat_core.data.batches import Batch, ResidentBatch
from eurosat_core.errors import TrainingError
from eurosat_core.settings import load_settings
from eurosat_core.training.augmentation import Drawn, DropoutState
from eurosat_core.training.evaluation import Tally, wait_for

_WHERE = "TORCHINDUCTOR_CACHE_DIR"
_KEPT_SECONDS = 30 * 24 * 3600.0


class CompiledNetwork:
    """A network whose training steps are compiled: for every size of tiles when the first batch of it comes.

    Made for one training: what a process compiled before does not count.
    """

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        folder = programs_folder()
        if folder not in Path(os.environ.get(_WHERE, "")).parents:  # it is while something is compiled afresh
            os.environ[_WHERE] = str(folder)
        from torch import _dynamo  # here, for both take two seconds to load
        from torch._inductor import config as inductor

        if device.type == "cpu":
            inductor.compile_threads = 1  # more would be processes, which stay
        _dynamo.reset()  # it compiles one piece of code only so many times in a process
        self._device = device
        self._sides: set[int] = set()
        self._began: float | None = None
        self._seconds = 0.0
        # Whatever cannot be compiled as a whole is an error, not a part that is executed otherwise.
        self._network = torch.compile(network, fullgraph=True, dynamic=False)

    def __call__(self, tiles: Tensor) -> Tensor:
        """Scores [B, classes] for what the network takes, tiles [B, 3, S, S] as a rule; B is always the same."""
        if tiles.shape[-1] not in self._sides:
            self._sides.add(tiles.shape[-1])
            wait_for(self._device)
            self._began = time.perf_counter()
        scores: Tensor = self._network(tiles)
        return scores

    def went_back(self) -> None:
        """The backward pass is done, too: if it was the first one of a size, both are compiled now."""
        if self._began is not None:
            wait_for(self._device)
            self._seconds += time.perf_counter() - self._began
            self._began = None

    def take_seconds(self) -> float:
        """Seconds of first passes since this was asked last; nearly all of them are compiling."""
        taken, self._seconds = self._seconds, 0.0
        return taken


WARM_UPS = 3
"""Steps that are made in the usual way before one is recorded: in them memory is taken and programs are chosen."""


class CaptureError(TrainingError):
    """A step could not be recorded as a CUDA graph."""


class StepGraph:
    """A whole training step as a CUDA graph: recorded once, launched at once from then on.

    A graph holds for one size of tiles, and reads and writes the same memory each time: what is new in a step is first
    copied to where the graph reads it. The first steps of a size are made in the usual way, in the stream that is
    recorded later.

    Args:
        step: makes a step and returns its mean loss. It must launch the same work whenever a batch is of one size.
        dropout: the generator that this work may draw from.
    """

    def __init__(
        self, device: torch.device, step: Callable[[Batch, Drawn, Tally], Tensor], dropout: DropoutState
    ) -> None:
        self._device = device
        self._step = step
        self._dropout = dropout
        self._stream = torch.cuda.Stream(device)
        self._counted = Tally.on(device)  # what the graph adds to, until `_settle`
        self._counts_for: Tally | None = None
        self.forget()

    def forget(self) -> None:
        """What was recorded no longer holds: the tensors of network or optimizer lie elsewhere."""
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Batch, Drawn] | None = None
        self._loss: Tensor | None = None
        self._warmed = 0

    def learn(self, batch: Batch, drawn: Drawn, tally: Tally | None) -> Tensor:
        """Make a step; its mean loss, which the next one overwrites. Raises `CaptureError`."""
        self._count_for(tally, len(batch.labels))
        if self._inputs is not None and not _fits(self._inputs, batch, drawn):
            self.forget()
        if self._inputs is None:
            self._inputs = _copied(batch), drawn.to(self._device)
        else:
            _overwrite(self._inputs, batch, drawn)
        if self._warmed < WARM_UPS:
            return self._warm_up(*self._inputs)
        if self._graph is None:
            self._record(*self._inputs)
        assert self._graph is not None and self._loss is not None
        with self._dropout.drawing():
            self._graph.replay()
        return self._loss

    def _warm_up(self, batch: Batch, drawn: Drawn) -> Tensor:
        self._warmed += 1
        computing = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(computing)
        with torch.cuda.stream(self._stream), self._dropout.drawing():
            loss = self._step(batch, drawn, self._counted)
        computing.wait_stream(self._stream)
        return loss

    def _record(self, batch: Batch, drawn: Drawn) -> None:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._dropout.generator)
        try:
            # Other threads, such as those that pin a loader's batches, may go on meanwhile.
            with (
                torch.cuda.device(self._device),
                self._dropout.drawing(),
                torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"),
            ):
                self._loss = self._step(batch, drawn, self._counted)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            wait_for(self._device)  # one that has failed says so again
            why = str(error).strip().splitlines()[0].rstrip(".")
            raise CaptureError(
                f"The training step could not be recorded as a CUDA graph: {why}. Choose eager execution."
            ) from error
        self._graph = graph

    def _count_for(self, tally: Tally | None, tiles: int) -> None:
        if tally is not self._counts_for:
            self._settle()
            self._counts_for = tally
            if tally is not None:
                tally.settle = self._settle
        if tally is not None:
            tally.tiles += tiles

    def _settle(self) -> None:
        """Hand over what was counted."""
        for name in ("loss", "right"):
            counted: Tensor = getattr(self._counted, name)
            if self._counts_for is not None:
                getattr(self._counts_for, name).add_(counted)
            counted.zero_()


def _fits(inputs: tuple[Batch, Drawn], batch: Batch, drawn: Drawn) -> bool:
    """Whether a step reads what it needs where the last one did."""
    own, own_drawn = inputs
    same_tiles = getattr(own, "gather", None) == getattr(batch, "gather", None)
    return same_tiles and own_drawn.side == drawn.side


def _copied(batch: Batch) -> Batch:
    """The batch in memory of its own, which later ones are copied to."""
    if isinstance(batch, ResidentBatch):
        return ResidentBatch(batch.rows.clone(), batch.labels.clone(), batch.gather, batch.side)
    return Batch(batch.tiles.clone(), batch.labels.clone())


def _overwrite(inputs: tuple[Batch, Drawn], batch: Batch, drawn: Drawn) -> None:
    own, own_drawn = inputs
    own.labels.copy_(batch.labels)
    if isinstance(own, ResidentBatch) and isinstance(batch, ResidentBatch):
        own.rows.copy_(batch.rows)
    else:
        own.tiles.copy_(batch.tiles)
    for there, new in zip(own_drawn, drawn, strict=True):
        if isinstance(there, Tensor) and isinstance(new, Tensor):
            there.copy_(new, non_blocking=True)  # CUDA takes its own copy of ordinary memory before the call returns


def programs_folder() -> Path:
    """Where compiled programs are kept for the next training; what has lain there for a month is gone.

    Without it they would go to the system's folder for temporary files, and stay.
    """
    folder = load_settings().cache / "compiled"
    too_old = time.time() - _KEPT_SECONDS
    for path in folder.rglob("*"):
        with suppress(OSError):  # somebody else was quicker
            if path.is_file() and path.stat().st_mtime < too_old:
                path.unlink()
    return folder


@contextmanager
def compiled_afresh() -> Iterator[None]:
    """While open, nothing that was compiled before is used, and nothing is kept: what compiling takes shows."""
    from torch._inductor.utils import fresh_cache

    folder = load_settings().cache / "compiled"
    folder.mkdir(parents=True, exist_ok=True)
    with fresh_cache(dir=str(folder)):
        yield
