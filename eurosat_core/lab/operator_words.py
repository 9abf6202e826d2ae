"""What the rows of an operator table are, in a line each."""

import re
from collections.abc import Iterable

__all__ = ["explained", "meaning"]

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
