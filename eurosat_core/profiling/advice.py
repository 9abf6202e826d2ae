"""What to change: rules over the overview, each with the figures that it rests on.

No figures, no advice. The thresholds stand on top, with their reasons.

Everything that is told of a trace as one JSON object: what `overview --json` prints.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from eurosat_core.profiling.kernels import kernel_table
from eurosat_core.profiling.operators import operator_table
from eurosat_core.profiling.overview import Overview, overview_of
from eurosat_core.profiling.trace import Trace
from eurosat_core.wording import bytes_text, device_name, listed, percent, rounded

# Where a part takes less than a tenth of a step, doing away with it gains less than 11 %: not worth a change.
LOADING_SHARE = 0.10
COPY_SHARE = 0.10
# Below one half the GPU spends more time waiting than working.
LOW_UTILIZATION = 0.50
# Launching a kernel costs the host about 5 to 10 µs: a GPU that is done sooner waits for the next one.
TINY_KERNEL_US = 10.0
MANY_KERNELS = 50
# The host's own work must be a large share of the step before it can be what the GPU waits for.
HOST_SHARE = 0.30
# The last tenth of a GPU's memory is easily taken by a larger batch at the end, or by another program.
FULL_MEMORY = 0.90
# Tensor cores speed up only convolutions and matrix products: these must matter, and hardly any of them use them.
MATRIX_SHARE = 0.30
UNUSED_TENSOR_CORES = 0.05
# One wait a step is natural (somebody looks at the loss); a busy GPU is not held up by waiting.
WAITS = 3
WAIT_SHARE = 0.05
BUSY = 0.80
# bfloat16 on tensor cores came with compute capability 8.0 (Ampere); 7.x knows float16 only.
BFLOAT16_SINCE = (8, 0)
TENSOR_CORES_SINCE = (7, 0)
# At which batch size more stops to help much here: the networks of this lab fill a GPU by then.
LARGE_BATCH = 1024


@dataclass(frozen=True)
class Advice:
    """One thing to change. `change`: settings of a training that do it; empty where none does."""

    key: str
    title: str
    evidence: str
    remedy: str
    change: dict[str, Any]
    share: float
    """The share of the step that is at stake; advice is ordered by it."""


def advice_for(overview: Overview, settings: Mapping[str, Any] | None = None) -> list[Advice]:
    """Advice that the figures give reason for, what matters most first.

    settings: those of the recorded training, so that nothing is advised that is set already; None if unknown. Where a
    device worked unseen nothing is said of who waited for whom.
    """
    if not overview.mean_step_us.get("Total"):
        return []
    known = settings or {}
    on_cpu = str(known.get("device") or "cpu") == "cpu"  # of an Apple GPU no profiler sees anything
    rules = (_full_memory,) if overview.unseen_device or not (on_cpu or overview.devices) else _RULES
    found = (rule(overview, known) for rule in rules)
    return sorted((each for each in found if each is not None), key=lambda each: -each.share)


def _share(overview: Overview, *roles: str) -> float:
    return sum(overview.mean_step_us[role] for role in roles) / overview.mean_step_us["Total"]


def _utilization(overview: Overview) -> float | None:
    """Of the least busy GPU; None without any."""
    told = [each.utilization for each in overview.devices if each.utilization is not None]
    return min(told) if told else None


def _milliseconds(microseconds: float) -> str:
    return f"{rounded(microseconds / 1000, 3)} ms" if microseconds < 999_500 else f"{rounded(microseconds / 1e6, 3)} s"


def _of_step(overview: Overview, *roles: str) -> str:
    taken = sum(overview.mean_step_us[role] for role in roles)
    total = overview.mean_step_us["Total"]
    return f"{_milliseconds(taken)} of a step's {_milliseconds(total)} ({percent(taken / total)})"


def _larger_batch(known: Mapping[str, Any]) -> dict[str, Any]:
    size = int(known.get("batch_size") or 0)
    return {} if size >= LARGE_BATCH else {"batch_size": max(256, 2 * size)}


def _loading(overview: Overview, known: Mapping[str, Any]) -> Advice | None:
    share = _share(overview, "DataLoader")
    if share < LOADING_SHARE:
        return None
    return Advice(
        "data_loading",
        "The GPU waits for its data" if overview.devices else "The training waits for its data",
        f"The DataLoader took {_of_step(overview, 'DataLoader')}"
        f"{' while no GPU kernel ran' if overview.devices else ''}.",
        "Take decoded tiles from memory, or let more loader workers prepare batches ahead.",
        {} if known.get("source") in ("memory", "features") else {"source": "memory"},
        share,
    )


def _low_utilization(overview: Overview, known: Mapping[str, Any]) -> Advice | None:
    utilization = _utilization(overview)
    if utilization is None or utilization >= LOW_UTILIZATION:
        return None
    idle = [each for each in overview.devices if (each.utilization or 0) < LOW_UTILIZATION]
    figures = listed([f"GPU {each.index}: {percent(each.utilization or 0)}" for each in idle])
    return Advice(
        "low_utilization",
        "The GPU is idle most of the time",
        f"A GPU kernel ran in less than half of the time ({figures}).",
        "Give it more to do in each step: a larger batch. What else is named here comes first.",
        _larger_batch(known),
        (1 - utilization) / 2,  # the cause, where it is known, stands above its consequence
    )


def _copies(overview: Overview, known: Mapping[str, Any]) -> Advice | None:
    share = _share(overview, "Memcpy")
    if share < COPY_SHARE:
        return None
    facts = overview.facts
    amount = f", {bytes_text(facts.copied_bytes)}" if facts.copied_bytes else ""
    change = {"source": "memory"} if known.get("source") != "memory" else {}
    return Advice(
        "copies",
        "Copying holds up the GPU",
        f"Copies took {_of_step(overview, 'Memcpy')} while no GPU kernel ran "
        f"({rounded(facts.copies, 3)} a step{amount}).",
        "Keep the tiles on the GPU, or copy from pinned memory while it computes.",
        change,
        share,
    )


def _launching(overview: Overview, known: Mapping[str, Any]) -> Advice | None:
    facts, utilization = overview.facts, _utilization(overview)
    share = _share(overview, "Runtime", "CPU exec")
    if utilization is None or utilization >= LOW_UTILIZATION or share < HOST_SHARE:
        return None
    if facts.median_kernel_us is None or facts.kernels < MANY_KERNELS or facts.median_kernel_us >= TINY_KERNEL_US:
        return None
    return Advice(
        "launch_bound",
        "Launching takes longer than computing",
        f"{facts.kernels:,.0f} GPU kernels a step, half of them shorter than {facts.median_kernel_us:.3g} µs; to "
        f"launch them the host took {_of_step(overview, 'Runtime', 'CPU exec')}.",
        "Make each GPU kernel do more: a larger batch costs hardly any more launches.",
        _larger_batch(known),
        share,
    )


def _host_bound(overview: Overview, known: Mapping[str, Any]) -> Advice | None:
    utilization, share = _utilization(overview), _share(overview, "CPU exec")
    if utilization is None or utilization >= LOW_UTILIZATION or share < HOST_SHARE:
        return None
    if _launching(overview, known) is not None:
        return None
    return Advice(
        "cpu_bound",
        "The CPU holds up the GPU",
        f"The host's own work took {_of_step(overview, 'CPU exec')} while the GPU did nothing.",
        "Move what the CPU does in each step to the GPU, or do it once ahead; keep tiles in memory.",
        {} if known.get("source") == "memory" else {"source": "memory"},
        share,
    )


def _cpu_arithmetic(overview: Overview, known: Mapping[str, Any]) -> Advice | None:
    share, matrix = _share(overview, "CPU exec"), overview.facts.host_matrix_share
    if overview.devices or matrix is None or share * matrix < HOST_SHARE:
        return None
    if known.get("channels_last") or known.get("precision") == "bfloat16":  # it was looked for already
        return None
    return Advice(
        "cpu_arithmetic",
        "The CPU's arithmetic is the limit",
        f"Computing took {_of_step(overview, 'CPU exec')}, and {percent(matrix)} of the operators' time went into "
        "convolutions and matrix products.",
        "Let the lab try which precision and memory layout this processor is fastest in.",
        # Which that is depends on its instructions: bfloat16 can be much faster, and many times slower.
        {"channels_last": None, "precision": "auto"},
        share * matrix,
    )


def _full_memory(overview: Overview, known: Mapping[str, Any]) -> Advice | None:
    facts = overview.facts
    if facts.memory_share is None or facts.memory_device is None or facts.memory_share < FULL_MEMORY:
        return None
    size = int(known.get("batch_size") or 0)
    peak = overview.peak_memory_bytes[facts.memory_device]
    return Advice(
        "memory_full",
        "The GPU's memory is nearly full",
        f"Tensors took up to {bytes_text(peak)} on {device_name(facts.memory_device)}: {percent(facts.memory_share)} "
        "of its memory.",
        "Take smaller batches, or compute in bfloat16, before a step fails for want of memory.",
        {"batch_size": size // 2} if size >= 2 else {"precision": "bfloat16"},
        1.0,  # a run that fails costs all of it
    )


def _tensor_cores(overview: Overview, known: Mapping[str, Any]) -> Advice | None:
    facts = overview.facts
    if facts.compute_capability is None or facts.compute_capability < TENSOR_CORES_SINCE:
        return None
    if facts.matrix_share is None or facts.tensor_core_share is None or known.get("precision") == "bfloat16":
        return None
    if facts.matrix_share < MATRIX_SHARE or facts.tensor_core_share > UNUSED_TENSOR_CORES:
        return None
    able = facts.compute_capability >= BFLOAT16_SINCE
    return Advice(
        "tensor_cores",
        "The GPU's tensor cores are not used",
        f"{percent(facts.matrix_share)} of the GPU kernels' time went into convolutions and matrix products, and "
        f"{percent(facts.tensor_core_share)} of that ran on tensor cores.",
        "Compute in bfloat16: tensor cores take half as many bytes and multiply many times faster."
        if able
        else "Compute in float16 with PyTorch's autocast: this GPU's tensor cores do not know bfloat16.",
        {"precision": "bfloat16"} if able else {},
        _share(overview, "Kernel") * facts.matrix_share / 2,
    )


def _waiting(overview: Overview, _known: Mapping[str, Any]) -> Advice | None:
    facts, utilization = overview.facts, _utilization(overview)
    share = facts.wait_us / overview.mean_step_us["Total"]
    if utilization is None or utilization >= BUSY or facts.waits < WAITS or share < WAIT_SHARE:
        return None
    return Advice(
        "host_waits",
        "The host waits for the GPU too often",
        f"{rounded(facts.waits, 3)} times a step the host stood still until the GPU was done, "
        f"{_milliseconds(facts.wait_us)} in all ({percent(share)}); then the GPU had nothing to do until it was given "
        "more.",
        "Read results (.item(), .cpu(), print) once an epoch instead of in each step.",
        {},
        share,
    )


_RULES: tuple[Callable[[Overview, Mapping[str, Any]], Advice | None], ...] = (
    _loading,
    _low_utilization,
    _copies,
    _launching,
    _host_bound,
    _cpu_arithmetic,
    _full_memory,
    _tensor_cores,
    _waiting,
)


def report_of(trace: Trace, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Steps, mean step, devices, peak memory, parts, operators, kernels, advice, notes; plain JSON values.

    settings: those of the training that was recorded, if known; advice then names only what is not set yet.
    """
    overview = overview_of(trace)
    return {
        "steps": [{"step": each.step, "start_us": each.start_us, **each.role_us} for each in overview.steps],
        "mean_step_us": overview.mean_step_us,
        "devices": [asdict(each) for each in overview.devices],
        "peak_memory_bytes": overview.peak_memory_bytes,
        "parts": asdict(overview.parts),
        "operators": [asdict(each) for each in operator_table(trace)],
        "kernels": [asdict(each) for each in kernel_table(trace)],
        "advice": [asdict(each) for each in advice_for(overview, settings)],
        "notes": list(overview.notes),
    }
