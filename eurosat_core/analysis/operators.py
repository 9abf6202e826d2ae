"""The operator table of a profile, and what its first rows mean."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from eurosat_core.profiling.operators import OperatorRow

NAME = "Name"


def time_text(microseconds: float) -> str:
    """`1.234ms`, as torch's table writes a time."""
    if microseconds >= 1e6:
        return f"{microseconds / 1e6:.3f}s"
    if microseconds >= 1e3:
        return f"{microseconds / 1e3:.3f}ms"
    return f"{microseconds:.3f}us"


def memory_text(size: float) -> str:
    """`-5.63 MB`, as torch's table writes bytes taken (less those given back)."""
    for unit, power in (("GB", 3), ("MB", 2), ("KB", 1)):
        if abs(size) >= 1024**power:
            return f"{size / 1024**power:.2f} {unit}"
    return f"{size:.0f} B"


def share_text(percent: float) -> str:
    """`12.34%`, as torch's table writes a share."""
    return f"{percent:.2f}%" if math.isfinite(percent) else "NaN"


@dataclass(frozen=True)
class OperatorColumn:
    """A column of figures. text: how torch writes one. about: what it means. is_self: without what an operator calls.

    is_total: with it. Of neither kind is the number of calls.
    """

    name: str
    text: Callable[[float], str]
    about: str
    is_self: bool = False
    is_total: bool = False


def columns_of(device: str, memory: bool, device_memory: bool) -> tuple[OperatorColumn, ...]:
    """The columns behind the name. device: `CUDA`, `XPU`, or empty for a table without one."""
    own, whole = "without what it calls", "with everything that it calls"
    columns = [
        OperatorColumn("Self CPU %", share_text, f"Of all time on the CPU: {own}.", is_self=True),
        OperatorColumn("Self CPU", time_text, f"Time on the CPU, {own}.", is_self=True),
        OperatorColumn("CPU total %", share_text, f"Of all time on the CPU: {whole}.", is_total=True),
        OperatorColumn("CPU total", time_text, f"Time on the CPU, {whole}.", is_total=True),
        OperatorColumn("CPU time avg", time_text, f"Mean of a call, {whole}.", is_total=True),
    ]
    if device:
        columns += [
            OperatorColumn(
                f"Self {device}", time_text, "Time of the GPU's work that it launched itself.", is_self=True
            ),
            OperatorColumn(f"Self {device} %", share_text, "Of all the GPU's work.", is_self=True),
            OperatorColumn(f"{device} total", time_text, f"Time of the GPU's work, {whole}.", is_total=True),
            OperatorColumn(f"{device} time avg", time_text, "Mean of a call on the GPU.", is_total=True),
        ]
    if memory:
        taken = "Memory taken less memory given back"
        columns += [
            OperatorColumn("CPU Mem", memory_text, f"{taken}, {whole}.", is_total=True),
            OperatorColumn("Self CPU Mem", memory_text, f"{taken}, {own}.", is_self=True),
        ]
        if device and device_memory:
            columns += [
                OperatorColumn(f"{device} Mem", memory_text, f"{taken} on the GPU, {whole}.", is_total=True),
                OperatorColumn(f"Self {device} Mem", memory_text, f"{taken} on the GPU, {own}.", is_self=True),
            ]
    return (*columns, OperatorColumn("# of Calls", lambda number: f"{number:,.0f}", "How often it was called."))


def operator_frame(
    rows: Sequence[OperatorRow], device: str, device_us: float
) -> tuple[pd.DataFrame, tuple[OperatorColumn, ...]]:
    """Raw figures (µs, bytes, %) in torch's order by `CPU total`, and what the columns are.

    device: what torch calls the device, empty for none. device_us: time of all work on it.
    """
    has_device = bool(device) and any(each.device_self_us > 0 for each in rows)
    memory = any(each.cpu_memory_bytes is not None for each in rows)
    device_memory = any((each.device_self_memory_bytes or 0) > 0 for each in rows)
    columns = columns_of(device if has_device else "", memory, device_memory)
    all_us = sum(each.cpu_self_us for each in rows)
    table = []
    for each in rows:
        calls = max(each.calls, 1)
        values = {
            "Self CPU %": _percent(each.cpu_self_us, all_us),
            "Self CPU": each.cpu_self_us,
            "CPU total %": _percent(each.cpu_total_us, all_us),
            "CPU total": each.cpu_total_us,
            "CPU time avg": each.cpu_total_us / calls,
            f"Self {device}": each.device_self_us,
            f"Self {device} %": _percent(each.device_self_us, device_us),
            f"{device} total": each.device_total_us,
            f"{device} time avg": each.device_total_us / calls,
            "CPU Mem": each.cpu_memory_bytes or 0,
            "Self CPU Mem": each.cpu_self_memory_bytes or 0,
            f"{device} Mem": each.device_memory_bytes or 0,
            f"Self {device} Mem": each.device_self_memory_bytes or 0,
            "# of Calls": each.calls,
        }
        table.append((each.name, *(float(values[column.name]) for column in columns)))
    frame = pd.DataFrame(table, columns=[NAME, *(each.name for each in columns)])
    return frame.sort_values("CPU total", ascending=False, kind="stable", ignore_index=True), columns


def _percent(value: float, whole: float) -> float:
    return 100 * value / whole if whole else float("nan")


# The first that matches counts. Names are those of PyTorch from 2021 on.
_MEANINGS = (
    (r"ProfilerStep", "One training step, as the profiler marks it. Its self time is Python between the operators."),
    (r"eurosat\.load$", "Our mark around fetching a batch: what the step waits for its data."),
    (r"eurosat\.copy$", "Our mark around moving the batch to the device."),
    (r"eurosat\.forward$", "Our mark around the network's forward pass and the loss."),
    (r"eurosat\.backward$", "Our mark around computing all gradients."),
    (r"eurosat\.update$", "Our mark around the optimizer's step."),
    (
        r"enumerate\(Data(Loader|Pipe)\)",
        "The DataLoader hands over a batch; with workers, the wait until one is ready.",
    ),
    (r"Optimizer\.step", "The optimizer changes all parameters."),
    (r"Optimizer\.zero_grad", "Gradients of the step before are cleared."),
    (r"autograd::engine::evaluate_function", "The backward pass carries out one node of its graph, named behind."),
    (r"torch::autograd::AccumulateGrad", "A gradient is stored beside its parameter."),
    (r"\w*Convolution\w*Backward\d*$", "Backward of a convolution: gradients of its input, filters and bias."),
    (r"\w+Backward\d*$", "The backward half of the forward operator of that name."),
    (r"aten::(cudnn_|mkldnn_|miopen_)?convolution_backward", "Gradients of a convolution, computed."),
    (r"aten::cudnn_convolution$", "A convolution on the GPU, computed by NVIDIA's library cuDNN."),
    (r"aten::mkldnn_convolution$", "A convolution on the CPU, computed by Intel's library oneDNN (once MKL-DNN)."),
    (r"aten::miopen_convolution$", "A convolution on the GPU, computed by AMD's library MIOpen."),
    (r"aten::(conv[123]d|convolution|_convolution)$", "A convolution on its way to the library that computes it."),
    (r"aten::(linear|addmm|addmm_)$", "A linear layer: a matrix product plus bias."),
    (r"aten::(mm|bmm|matmul|baddbmm)$", "A matrix product; in the backward pass, of linear layers."),
    (r"aten::mkldnn_linear", "A linear layer, computed by oneDNN."),
    (r"aten::(_?scaled_dot_product|_flash_attention|_efficient_attention)", "Attention, in one piece."),
    (r"aten::\w*max_pool2d", "Max pooling: the largest of each small square."),
    (r"aten::\w*avg_pool", "Average pooling: the mean of each square."),
    (r"aten::\w*batch_norm", "BatchNorm: every channel to mean 0 and spread 1."),
    (r"aten::\w*(layer_norm|group_norm)", "Normalisation of a tile's own features."),
    (
        r"aten::(relu_?|clamp_min_?|clamp_?|hardtanh_?|relu6)$",
        "ReLU or a relative: what is below the limit is cut off.",
    ),
    (r"aten::threshold_backward", "Backward of ReLU: gradients pass where the output was above 0."),
    (r"aten::(gelu|silu|sigmoid|tanh|hardswish)", "An activation function."),
    (r"aten::\w*dropout", "Dropout: some values are set to 0 at random."),
    (r"aten::\w*(cross_entropy|nll_loss|log_softmax)", "The loss: how far the scores are from the label."),
    (r"aten::\w*softmax", "Scores become shares that sum to 1."),
    (r"aten::(to|_to_copy)$", "A tensor is asked for on another device or in another type; it copies only if needed."),
    (r"aten::copy_$", "Values are copied into a tensor: between devices, types or layouts."),
    (r"aten::pin_memory|aten::_pin_memory", "A batch moves to memory that a GPU can read by itself."),
    (r"aten::(stack|cat|_cat)$", "Tensors are joined: single tiles into a batch."),
    (r"aten::_foreach_", "One operation on all parameters at once: the optimizer's way to save launches."),
    (r"aten::_fused_(sgd|adam)", "The whole optimizer's step in one GPU kernel."),
    (
        r"aten::(add|sub|mul|div|addcmul|addcdiv|sqrt|lerp)_?$",
        "Arithmetic number by number; most of it is the optimizer.",
    ),
    (r"aten::(zero_|fill_|zeros|ones|zeros_like|ones_like)$", "A tensor is filled with one value."),
    (r"aten::(empty|empty_like|empty_strided|resize_)$", "Memory is taken; nothing is computed."),
    (
        r"aten::(detach_?|alias|view|reshape|flatten|_unsafe_view|as_strided|permute|transpose|t|expand|select|slice|narrow"
        r"|squeeze_?|unsqueeze_?|unbind|split|chunk)$",
        "Another look at the same numbers: no copy, hardly any time.",
    ),
    (r"detach_?$", "Another look at the same numbers: no copy, hardly any time."),
    (r"aten::(contiguous|clone)$", "The numbers are laid out anew: a copy."),
    (r"aten::(sum|mean|max|argmax|min)$", "Many numbers become few."),
    (r"aten::(item|_local_scalar_dense|is_nonzero)$", "A number is read in Python: the host waits for the device."),
    (r"aten::(index|index_select|gather|embedding)", "Rows or values are picked out: a batch from tiles in memory."),
    (r"aten::(random_|randperm|uniform_|normal_|bernoulli_)", "Random numbers: shuffling, dropout, starting weights."),
    (r"(cuda|hip|cu)LaunchKernel\w*", "The host puts a GPU kernel in the queue; it does not wait for it."),
    (
        r"(cuda|hip)Memcpy(Async)?",
        "The host asks for a copy between memories; a copy from ordinary memory makes it wait.",
    ),
    (r"(cuda|hip)Memset(Async)?", "The host asks for memory to be filled."),
    (r"(cuda|hip)(Device|Stream|Event)Synchronize", "The host waits until the device is done."),
    (r"(cuda|hip)(Malloc|Free|HostAlloc)", "Memory is taken from the driver: slow, and rare once PyTorch has enough."),
    (r"(cuda|hip)\w*", "A call of the GPU's library."),
    (r"(nccl|gloo):", "GPUs of a distributed training exchange their gradients."),
    (r"Activity Buffer Request|Lazy Function Loading|Instrumentation|Command Buffer", "The profiler's own work."),
    (r"\[memory\]", "Memory that was taken or given back outside of all operators."),
)
_COMPILED = tuple((re.compile(pattern), text) for pattern, text in _MEANINGS)


def meaning(name: str) -> str:
    """What an operator of this name does, in a line; empty for one that is not known."""
    return next((text for pattern, text in _COMPILED if pattern.match(name)), "")


def explained(names: Iterable[str]) -> dict[str, str]:
    """Those of the names that are known, with their lines, in the same order."""
    return {name: text for name in names if (text := meaning(name))}
