"""Further figures of a trace: what the advice rests on."""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eurosat_core.profiling.columns import Ints, Kind
from eurosat_core.profiling.intervals import merged, total
from eurosat_core.profiling.steps import Steps
from eurosat_core.profiling.trace import Trace

__all__ = ["Facts", "facts_of", "is_matrix_operator", "uses_tensor_cores"]

# Calls in which the host only waits for the device.
_WAIT = re.compile(r"(?:cuda|hip|cu|ze)\w*Synchronize$|urQueueFinish$|urEventWait$")
# Parts of the names of kernels that use tensor cores: shapes of their instructions, and names of libraries' families.
_TENSOR_CORES = re.compile(
    r"[a-z]884|[a-z]_?1688|16816|16832|8816|hmma|imma|wgmma|tensorop|xmma(?!.*ffma)|nvjet|flash_(?:fwd|bwd)|fmha",
    re.IGNORECASE,
)
_MATRIX = re.compile(
    r"aten::(?:\w*convolution\w*|conv\d\w*|addmm_?|mm|bmm|baddbmm|matmul|linear|_scaled_dot_product\w*|"
    r"_efficient_attention\w*|_flash_attention\w*|mkldnn_linear\w*)$"
)


@dataclass(frozen=True)
class Facts:
    """Means per step between the first step's start and the last one's end; None where nothing tells it."""

    kernels: float = 0.0
    """GPU kernels per step."""
    median_kernel_us: float | None = None
    waits: float = 0.0
    """Calls per step in which the host waits for the GPU."""
    wait_us: float = 0.0
    """How long they take, per step."""
    copies: float = 0.0
    copied_bytes: float = 0.0
    """To, from and between GPUs, per step."""
    matrix_share: float | None = None
    """Of the kernels' time: in convolutions and matrix products."""
    tensor_core_share: float | None = None
    """Of the convolutions' and matrix products' time on the GPU: on tensor cores."""
    compute_capability: tuple[int, int] | None = None
    """Of the first NVIDIA GPU on which kernels ran."""
    memory_device: str | None = None
    """The GPU whose memory was fullest, by its peak."""
    memory_share: float | None = None
    """That peak as a fraction of what this GPU has."""
    host_matrix_share: float | None = None
    """Of the operators' own time on the CPU: in convolutions and matrix products."""


def facts_of(trace: Trace, steps: Steps) -> Facts:
    """Compute them over the whole window of the steps."""
    low, high = steps.window
    inside = (trace.start_ns >= low) & (trace.start_ns < high)
    kernels, copies, calls = (
        rows[inside[rows]] for rows in (trace.rows(kind) for kind in (Kind.KERNEL, Kind.MEMCPY, Kind.RUNTIME))
    )
    waits = calls[trace.named(_WAIT.match)[calls]]
    number = len(steps)
    matrix, on_tensor_cores = _matrix_shares(trace, kernels)
    device, share = _fullest(trace)
    return Facts(
        kernels=len(kernels) / number,
        median_kernel_us=float(np.median(trace.duration_ns[kernels])) / 1000 if len(kernels) else None,
        waits=len(waits) / number,
        wait_us=total(merged((trace.start_ns[waits], trace.end_ns[waits]))) / 1000 / number,
        copies=len(copies) / number,
        copied_bytes=float(np.nansum(trace.copied_bytes[copies])) / number,
        matrix_share=matrix,
        tensor_core_share=on_tensor_cores,
        compute_capability=_capability(trace, kernels, calls),
        memory_device=device,
        memory_share=share,
        host_matrix_share=_host_matrix_share(trace, inside),
    )


def is_matrix_operator(name: str) -> bool:
    """Whether an operator is a convolution or a matrix product."""
    return _MATRIX.match(name) is not None


def uses_tensor_cores(kernel: str) -> bool:
    """Whether a kernel's name tells that it runs on tensor cores."""
    return _TENSOR_CORES.search(kernel) is not None


def _matrix_shares(trace: Trace, kernels: Ints) -> tuple[float | None, float | None]:
    """Of the kernels' time: in matrix operators; and of that: on tensor cores."""
    device = trace.device_rows
    makers = trace.maker[np.searchsorted(device, kernels)]
    known = makers >= 0
    kernels, makers = kernels[known], makers[known]
    times = trace.duration_ns[kernels]
    in_matrix = trace.named(is_matrix_operator)[makers]
    if not times.sum():
        return None, None
    matrix = int(times[in_matrix].sum())
    fast = int(times[in_matrix & trace.named(uses_tensor_cores)[kernels]].sum())
    return matrix / int(times.sum()), fast / matrix if matrix else None


def _capability(trace: Trace, kernels: Ints, calls: Ints) -> tuple[int, int] | None:
    """AMD's cards bear numbers of their own under the same name: only CUDA's calls make it NVIDIA's."""
    if not len(kernels) or not trace.named(lambda name: name.startswith("cu"))[calls].any():
        return None
    properties = trace.devices.get(int(trace.device[kernels].min()))
    return properties.compute_capability if properties else None


def _fullest(trace: Trace) -> tuple[str | None, float | None]:
    memory = trace.memory
    fullest: tuple[str | None, float | None] = (None, None)
    for number, name in enumerate(memory.device):
        kind, _, index = name.partition(":")
        properties = trace.devices.get(int(index)) if kind == "cuda" else None
        allocated = memory.allocated[memory.on == number]
        if properties is None or properties.memory_bytes is None or not np.isfinite(allocated).any():
            continue
        share = float(np.nanmax(allocated)) / properties.memory_bytes
        if fullest[1] is None or share > fullest[1]:
            fullest = (name, share)
    return fullest


def _host_matrix_share(trace: Trace, inside: npt.NDArray[np.bool_]) -> float | None:
    rows = trace.rows(Kind.OPERATOR)
    rows = rows[inside[rows]]
    times = trace.self_ns[rows]
    return float(times[trace.named(is_matrix_operator)[rows]].sum() / times.sum()) if times.sum() > 0 else None
