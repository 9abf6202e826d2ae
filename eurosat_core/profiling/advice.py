"""What to change: rules over the overview, each with the figures that it rests on.

No figures, no advice. The thresholds stand on top, with their reasons.

Everything that is told of a trace as one object: what `overview --json` prints.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from eurosat_core.devices import AMPERE
from eurosat_core.finding import Finding
from eurosat_core.profiling.idle import idle_times
from eurosat_core.profiling.launches import queues
from eurosat_core.profiling.memory_parts import memory_parts
from eurosat_core.profiling.modules import module_table
from eurosat_core.profiling.operators import kernel_table, operator_table
from eurosat_core.profiling.overview import Overview, overview_of
from eurosat_core.profiling.roofline import rooflines
from eurosat_core.profiling.trace import Trace
from eurosat_core.wording import rounded

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
TENSOR_CORES_SINCE = (7, 0)
# At which batch size more stops to help much here: the networks of this lab fill a GPU by then.
LARGE_BATCH = 1024


@dataclass(frozen=True)
class Advice:
    """One thing to change. `change`: settings of a training that do it; empty where none does.

    words: where its title, evidence and remedy stand in `assets/words/advice.toml`, if not under its key.
    """

    key: str
    figures: Mapping[str, Any]
    change: dict[str, Any]
    share: float
    """The share of the step that is at stake; advice is ordered by it."""
    words: str = ""

    @property
    def title(self) -> Finding:
        return Finding(f"advice.{self.words or self.key}.title", self.figures)

    @property
    def evidence(self) -> Finding:
        return Finding(f"advice.{self.words or self.key}.evidence", self.figures)

    @property
    def remedy(self) -> Finding:
        return Finding(f"advice.{self.words or self.key}.remedy", self.figures)


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


def _of_step(overview: Overview, *roles: str) -> dict[str, Any]:
    """What these roles took of a step, in ms and as a share."""
    taken, total = sum(overview.mean_step_us[role] for role in roles), overview.mean_step_us["Total"]
    return {"taken": taken / 1000, "step": total / 1000, "share": taken / total}


def _larger_batch(known: Mapping[str, Any]) -> dict[str, Any]:
    size = int(known.get("batch_size") or 0)
    return {} if size >= LARGE_BATCH else {"batch_size": max(256, 2 * size)}


def _loading(overview: Overview, known: Mapping[str, Any]) -> Advice | None:
    share = _share(overview, "DataLoader")
    if share < LOADING_SHARE:
        return None
    change = {} if known.get("source") in ("memory", "features") else {"source": "memory"}
    words = "" if overview.devices else "data_loading_cpu"
    return Advice("data_loading", _of_step(overview, "DataLoader"), change, share, words)


def _low_utilization(overview: Overview, known: Mapping[str, Any]) -> Advice | None:
    utilization = _utilization(overview)
    if utilization is None or utilization >= LOW_UTILIZATION:
        return None
    idle = [
        Finding("advice.phrase.gpu", {"index": each.index, "utilization": each.utilization or 0})
        for each in overview.devices
        if (each.utilization or 0) < LOW_UTILIZATION
    ]
    share = (1 - utilization) / 2  # the cause, where it is known, stands above its consequence
    return Advice("low_utilization", {"idle": idle}, _larger_batch(known), share)


def _copies(overview: Overview, known: Mapping[str, Any]) -> Advice | None:
    share = _share(overview, "Memcpy")
    if share < COPY_SHARE:
        return None
    facts = overview.facts
    figures = {**_of_step(overview, "Memcpy"), "copies": rounded(facts.copies, 3), "bytes": facts.copied_bytes}
    change = {"source": "memory"} if known.get("source") != "memory" else {}
    return Advice("copies", figures, change, share, "" if facts.copied_bytes else "copies_unsized")


def _launching(overview: Overview, known: Mapping[str, Any]) -> Advice | None:
    facts, utilization = overview.facts, _utilization(overview)
    share = _share(overview, "Runtime", "CPU exec")
    if utilization is None or utilization >= LOW_UTILIZATION or share < HOST_SHARE:
        return None
    if facts.median_kernel_us is None or facts.kernels < MANY_KERNELS or facts.median_kernel_us >= TINY_KERNEL_US:
        return None
    figures = {"kernels": facts.kernels, "median_us": facts.median_kernel_us}
    return Advice("launch_bound", figures | _of_step(overview, "Runtime", "CPU exec"), _larger_batch(known), share)


def _host_bound(overview: Overview, known: Mapping[str, Any]) -> Advice | None:
    utilization, share = _utilization(overview), _share(overview, "CPU exec")
    if utilization is None or utilization >= LOW_UTILIZATION or share < HOST_SHARE:
        return None
    if _launching(overview, known) is not None:
        return None
    change = {} if known.get("source") == "memory" else {"source": "memory"}
    return Advice("cpu_bound", _of_step(overview, "CPU exec"), change, share)


def _cpu_arithmetic(overview: Overview, known: Mapping[str, Any]) -> Advice | None:
    share, matrix = _share(overview, "CPU exec"), overview.facts.host_matrix_share
    if overview.devices or matrix is None or share * matrix < HOST_SHARE:
        return None
    if known.get("channels_last") or known.get("precision") == "bfloat16":  # it was looked for already
        return None
    # Which is fastest depends on the processor's instructions: bfloat16 can be much faster, and many times slower.
    change = {"channels_last": None, "precision": "auto"}
    return Advice("cpu_arithmetic", {**_of_step(overview, "CPU exec"), "matrix": matrix}, change, share * matrix)


def _full_memory(overview: Overview, known: Mapping[str, Any]) -> Advice | None:
    facts = overview.facts
    if facts.memory_share is None or facts.memory_device is None or facts.memory_share < FULL_MEMORY:
        return None
    size = int(known.get("batch_size") or 0)
    figures = {"peak": overview.peak_memory_bytes[facts.memory_device], "device": facts.memory_device}
    change: dict[str, Any] = {"batch_size": size // 2} if size >= 2 else {"precision": "bfloat16"}
    return Advice("memory_full", {**figures, "share": facts.memory_share}, change, 1.0)  # a failed run costs all of it


def _tensor_cores(overview: Overview, known: Mapping[str, Any]) -> Advice | None:
    facts = overview.facts
    if facts.compute_capability is None or facts.compute_capability < TENSOR_CORES_SINCE:
        return None
    if facts.matrix_share is None or facts.tensor_core_share is None or known.get("precision") == "bfloat16":
        return None
    if facts.matrix_share < MATRIX_SHARE or facts.tensor_core_share > UNUSED_TENSOR_CORES:
        return None
    able = facts.compute_capability >= AMPERE
    figures = {"matrix": facts.matrix_share, "tensor_cores": facts.tensor_core_share}
    share = _share(overview, "Kernel") * facts.matrix_share / 2
    change = {"precision": "bfloat16"} if able else {}
    return Advice("tensor_cores", figures, change, share, "" if able else "tensor_cores_float16")


def _waiting(overview: Overview, _known: Mapping[str, Any]) -> Advice | None:
    facts, utilization = overview.facts, _utilization(overview)
    share = facts.wait_us / overview.mean_step_us["Total"]
    if utilization is None or utilization >= BUSY or facts.waits < WAITS or share < WAIT_SHARE:
        return None
    figures = {"waits": rounded(facts.waits, 3), "wait": facts.wait_us / 1000, "share": share}
    return Advice("host_waits", figures, {}, share)


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
    """All that is told of a trace, from its steps and devices to notes and advice.

    All but the advice as plain JSON values. idle: by device, as `IdleTimes`. queues: launches ahead of each device.
    rooflines: by device, as `Roofline`.

    settings: those of the training that was recorded, if known; advice then names only what is not set yet.
    """
    overview = overview_of(trace, str((settings or {}).get("device") or ""))
    return {
        "steps": [{"step": each.step, "start_us": each.start_us, **each.role_us} for each in overview.steps],
        "mean_step_us": overview.mean_step_us,
        "devices": [asdict(each) for each in overview.devices],
        "peak_memory_bytes": overview.peak_memory_bytes,
        "parts": asdict(overview.parts),
        "operators": [asdict(each) for each in operator_table(trace)],
        "kernels": [asdict(each) for each in kernel_table(trace)],
        "idle": [{**asdict(each), "idle_us": each.idle_us} for each in idle_times(trace)],
        "queues": [
            {
                "index": each.index,
                "few_waiting_share": each.few,
                "steps": [{"step": at.step, "mean": at.mean, "max": at.most} for at in each.steps],
            }
            for each in queues(trace)
        ],
        "memory_at_peak_bytes": {each.device: each.at_peak for each in memory_parts(trace)},
        "modules": [asdict(each) for each in module_table(trace)],
        "rooflines": [each.told() for each in rooflines(trace)],
        "advice": advice_for(overview, settings),
        "notes": list(overview.notes),
    }
