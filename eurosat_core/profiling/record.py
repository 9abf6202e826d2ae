"""Recording a few training steps with torch's profiler, as a generator of events like the training loop.

The five parts of every step are annotated by name; a DataLoader adds its own annotation. Between two events the
profiler may be recording: it is started, stepped and stopped by its methods, and no context manager is open across a
`yield`. Whoever pulls reports nothing during recorded steps, for that would stand in the trace.
"""

import gzip
import json
import os
import re
import tempfile
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.devices import torch_device
from eurosat_core.errors import ConfigError, TrainingError
from eurosat_core.profiling.modules import MODULE
from eurosat_core.profiling.overview import MARK
from eurosat_core.profiling.plan import (
    PlanStep,
    ProfileDone,
    ProfileEvent,
    ProfilePlan,
    ProfileStarted,
    ProfileStep,
    TraceDone,
    profile_problem,
    trace_file,
)
from eurosat_core.profiling.trace import HELD
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.precision import resolved
from eurosat_core.training.problems import explained
from eurosat_core.training.sources import full_batches, source_to_copy_from, split_for
from eurosat_core.training.step import Trainer

# Nobody asks for events of earlier cycles here.
warnings.filterwarnings("ignore", message="Warning: Profiler clears events at the end of each cycle")

_COMPRESSION = 5  # of gzip: half the time of 9 for a tenth more bytes

Pull = Generator[ProfileEvent, float | None, None]
"""Events out; nothing comes in, for a profile is never paused."""


@dataclass(frozen=True)
class CycleRecorded:
    """What one cycle leaves: its trace (gzip of Chrome's JSON)."""

    cycle: int
    trace: bytes


def record(
    config: TrainConfig,
    plan: ProfilePlan,
    tiles: TileSet,
    keep: Callable[[CycleRecorded], None] | None = None,
) -> Pull:
    """Carry out `plan` on training steps as `config` says; it goes round the tiles for as many steps as it takes.

    Closing the generator ends the profile; cycles that were complete are kept.

    Args:
        keep: called with what each cycle leaves, before the cycle's event.

    Raises:
        ConfigError, DataError: before the first step.
        TrainingError: in between.
    """
    config.checked()
    plan.checked()
    if problem := profile_problem(config):
        raise ConfigError(problem)
    with explained(config):
        config, _ = resolved(config)
        recorder = _Recorder(config, plan, tiles)
    try:
        yield recorder.started(plan)
        for step in plan.strip():
            with explained(config):  # closed again before the yield
                recorder.compute(step)
            # The step is still open: what a consumer does with this event belongs to it, not to the next one, which
            # may be the first to be recorded.
            yield ProfileStep(step.phase, step.number, step.cycle, recorder.seconds())
            with explained(config):
                cycle = recorder.advance()
            if cycle is not None:
                if keep is not None:
                    keep(cycle)
                yield TraceDone(cycle.cycle, trace_file(cycle.cycle), len(cycle.trace), recorder.seconds())
        yield ProfileDone(plan.total_steps, plan.traces, recorder.seconds())
    finally:
        recorder.close()


class _Recorder:
    """The moving parts of one profile; `record` drives it."""

    def __init__(self, config: TrainConfig, plan: ProfilePlan, tiles: TileSet) -> None:
        self._began = time.perf_counter()
        self._trainer = Trainer(config, tiles)
        self._trainer.mode(training=True)
        split = split_for(config, tiles)
        self._source = source_to_copy_from(config, tiles, split)
        self._batches = full_batches(self._source, min(config.batch_size, len(split.train)))
        self._cycles: list[CycleRecorded] = []
        self._closing = False
        self._failure: Exception | None = None  # of keeping a trace
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Profiler won't be using warmup")  # asked for, to see its effect
            made = schedule(wait=plan.wait, warmup=plan.warmup, active=plan.active, repeat=plan.repeat)
        self._profile = profile(
            activities=activities_for(self._trainer.device),
            schedule=made,
            on_trace_ready=self._keep_trace,
            profile_memory=plan.memory,
            record_shapes=plan.details,
        )
        self._details = plan.details
        self._held: list[dict[str, list[tuple[str, int, int]]]] = []  # at each recorded update, and at the end
        self._modules = _ModuleMarks(self._trainer.network) if plan.details else None
        self._profile.start()

    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def started(self, plan: ProfilePlan) -> ProfileStarted:
        parameters, trainable = self._trainer.parameters()
        return ProfileStarted(
            steps=plan.total_steps,
            cycles=plan.traces,
            parameters=parameters,
            trainable_parameters=trainable,
            device=self._trainer.config.device,
            threads=torch.get_num_threads(),
        )

    def compute(self, step: PlanStep) -> None:
        """One step of the training, its parts annotated. step: of the plan."""
        noting = self._details and step.phase == "active"

        def mark(part: str) -> record_function:
            if noting and part == "update":  # gradients are there, and forgotten at its end
                self._held.append(_storages(self._trainer.held()))
            return record_function(MARK + part)

        self._trainer.step(self._batches, mark)
        if noting and step.writes:
            self._held.append(_storages(self._trainer.held()))
            self._profile.add_metadata_json(HELD, json.dumps(self._held))
            self._held = []

    def advance(self) -> CycleRecorded | None:
        """Tell the profiler that the step is over; what its cycle left, if it was the cycle's last."""
        before = len(self._cycles)
        self._profile.step()
        if self._failure is not None:
            raise self._failure
        return self._cycles[-1] if len(self._cycles) > before else None

    def _keep_trace(self, finished: "profile") -> None:
        """Called by the profiler when it has stopped recording a cycle."""
        if self._closing:  # stopped in the middle of a cycle
            return
        try:
            self._cycles.append(CycleRecorded(len(self._cycles) + 1, _exported(finished)))
        except Exception as error:
            # Raised from here, the profiler would not prepare its next cycle, and closing it would start that one all
            # the same: a segmentation fault with PyTorch 2.11 built for CUDA.
            self._failure = error

    def close(self) -> None:
        """Stop the profiler, and end the loader's workers."""
        self._closing = True
        if self._modules is not None:
            self._modules.close()
        with suppress(RuntimeError):  # of a device that failed
            self._profile.stop()
        self._profile.on_trace_ready = None  # it refers to this recorder, which would keep its network alive
        # It holds the loader, whose workers would live on until Python happens to collect them: in the middle of
        # another profile, which then stood still for 10 s and more (measured with two workers).
        self._batches.close()
        self._source.close()


def _storages(held: dict[str, list[torch.Tensor]]) -> dict[str, list[tuple[str, int, int]]]:
    """Device, address and bytes of what tensors lie in, each once."""
    found = {}
    for name, tensors in held.items():
        storages = {(str(each.device), each.untyped_storage().data_ptr()): each for each in tensors}
        found[name] = [(*key, each.untyped_storage().nbytes()) for key, each in storages.items()]
    return found


class _ModuleMarks:
    """Annotates every call of a network's modules until it is closed: `nn.Module: features.0 (Conv2d)`."""

    def __init__(self, network: nn.Module) -> None:
        self._open: list[record_function] = []
        self._handles = []
        for path, module in network.named_modules():
            kind = type(module).__name__
            name = f"{MODULE}{path} ({kind})" if path else f"{MODULE}{kind}"
            self._handles.append(module.register_forward_pre_hook(partial(self._enter, name)))
            self._handles.append(module.register_forward_hook(self._leave, always_call=True))

    def _enter(self, name: str, _module: nn.Module, _given: object) -> None:
        mark = record_function(name)
        mark.__enter__()
        self._open.append(mark)

    def _leave(self, _module: nn.Module, _given: object, _result: object) -> None:
        self._open.pop().__exit__(None, None, None)

    def close(self) -> None:
        """Leave the network as it was."""
        for each in self._handles:
            each.remove()


def activities_for(device: torch.device) -> list[ProfilerActivity]:
    """The CPU, and the device where the profiler can see it; Apple's GPUs it cannot."""
    seen = {"cuda": ProfilerActivity.CUDA, "xpu": ProfilerActivity.XPU}
    return [ProfilerActivity.CPU] + ([seen[device.type]] if device.type in seen else [])


def _exported(finished: "profile") -> bytes:
    """The trace as JSON, compressed."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trace.json"
            finished.export_chrome_trace(str(path))
            return gzip.compress(path.read_bytes(), _COMPRESSION)
    except OSError as error:
        raise TrainingError(
            f"The trace could not be written to the folder for temporary files: {error.strerror or error}. Free some "
            "disk space, and record again."
        ) from error


def kernels_problem(device: str) -> str:
    """Profile one training step on a GPU; a sentence when no kernel of it was recorded, empty when some were.

    Initialises the device in this process. What the device itself reports as an error is told in the sentence, too.
    """
    if device == "mps":
        return "PyTorch’s profiler has no eyes on Apple’s GPUs: a profile shows the CPU’s side only."
    try:
        here = torch_device(device)
        network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.LazyLinear(10)).to(here)
        tiles = torch.zeros(4, 3, 64, 64, device=here)
        network(tiles)  # loads the libraries, which need not stand in the trace
        with profile(activities=activities_for(here)) as recorded:  # waits for the device at its end
            network(tiles).sum().backward()
        seen = sum(each.self_device_time_total for each in recorded.key_averages())
    except (RuntimeError, AssertionError) as error:
        return f"A step could not be profiled on {device}: {str(error).strip().splitlines()[0]}"
    return "" if seen > 0 else f"PyTorch’s profiler recorded no GPU kernel of a step on {device}."


def explained_kernels_problem(device: str) -> str:
    """The same, with what the profiler's library (Kineto, over CUPTI) says about it.

    Only for a process of its own: what this one writes to stderr meanwhile is read here, and that library is told to
    talk, which it asks for once.
    """
    os.environ["KINETO_LOG_LEVEL"] = _TALKS
    with tempfile.TemporaryFile() as file:
        with _stderr_to(file.fileno()):
            problem = kernels_problem(device)
        file.seek(0)
        said = library_reason(file.read().decode(errors="replace"))
    return f"{problem} It says: {said}." if problem and said else problem


_TALKS = "1"  # of warnings and errors
_LOGGED = re.compile(r"^(?:WARN|ERROR)[^\]]*\]\s*(\S.*)$", re.MULTILINE)


def library_reason(log: str) -> str:
    """What Kineto's log gives as the reason: its first line about CUPTI, else its first one; empty for none."""
    lines = [each.strip().rstrip(".") for each in _LOGGED.findall(log)]
    return next((each for each in lines if "cupti" in each.lower()), lines[0] if lines else "")


@contextmanager
def _stderr_to(descriptor: int) -> Iterator[None]:
    """While open, all that this process writes to stderr goes elsewhere."""
    before = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
