"""What an operator has to compute and to move, from the shapes it was called on: FLOPs, and the fewest bytes.

FLOPs: a multiplication and its addition are two. Of matrix products, convolutions and attention they are counted as
torch's `FlopCounterMode` does it: the direct algorithm, whatever the library chose (Winograd's needs fewer). Of all
other operators one for each number written: their time is the memory's anyway.

Bytes: each input read once, each output written once, as if nothing were read again and nothing lay in a cache. An
output whose shape is not known is left out. So bytes are a lower bound of what moves, and FLOPs per byte an upper one.

What a shape alone does not tell is not guessed: without the stride and padding of a convolution its output is known
only from the gradient that comes back for it. Then, or for an operator that is not listed here, there is no answer.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

Dims = tuple[int, ...]

# As PyTorch names what a tensor holds; numbers that are no tensors are called `Scalar`, `Int`, `Double`.
_ITEM_BYTES = {
    "float": 4,
    "double": 8,
    "c10::Half": 2,
    "c10::BFloat16": 2,
    "long int": 8,
    "__int64": 8,
    "long": 8,
    "int": 4,
    "short int": 2,
    "short": 2,
    "signed char": 1,
    "unsigned char": 1,
    "bool": 1,
}
PRECISIONS = {"float": "float32", "double": "float64", "c10::Half": "float16", "c10::BFloat16": "bfloat16"}
"""What numbers are multiplied in, by what PyTorch calls them."""
_MOST = 1 << 62


@dataclass(frozen=True)
class Tensor:
    """One argument. kind: as PyTorch names what it holds."""

    dims: Dims
    kind: str

    @property
    def numbers(self) -> int:
        """How many it holds."""
        return math.prod(self.dims)

    @property
    def bytes(self) -> int:
        """What it takes, each number once."""
        return self.numbers * _ITEM_BYTES[self.kind]


@dataclass(frozen=True)
class Call:
    """What an operator was called on, argument by argument: a tensor or None, and the text of whatever else it was."""

    tensors: tuple[Tensor | None, ...] = ()
    values: tuple[str, ...] = ()

    def tensor(self, at: int) -> Tensor:
        """The tensor at this place. Raises `LookupError` where there is none."""
        found = self.tensors[at]
        if found is None:
            raise LookupError(at)
        return found

    def whole(self, at: int, number: int) -> Dims:
        """A list of whole numbers, such as a stride; a single one counts for all dimensions. Raises `LookupError`."""
        parts = [int(each) for each in self.values[at].strip("[]").split(",") if each.strip()]
        if len(parts) not in (1, number):
            raise LookupError(at)
        return tuple(parts * number if len(parts) == 1 else parts)


def parsed(text: bytes) -> Call:
    """A call from the JSON that a trace's columns keep; whatever is no tensor of whole numbers is None."""
    dims, kinds, values = orjson.loads(text)
    dims, kinds, values = (each if isinstance(each, list) else [] for each in (dims, kinds, values))
    pairs = zip(dims, [*kinds, *[""] * (len(dims) - len(kinds))], strict=False)
    return Call(
        tuple(_tensor(each, kind) for each, kind in pairs), tuple(x if isinstance(x, str) else "" for x in values)
    )


def _tensor(dims: Any, kind: Any) -> Tensor | None:
    if not isinstance(dims, list) or not isinstance(kind, str) or kind not in _ITEM_BYTES:
        return None
    if not all(type(each) is int and each >= 0 for each in dims) or math.prod(dims) > _MOST:
        return None
    return Tensor(tuple(dims), kind)


@dataclass(frozen=True)
class Work:
    """One call's. matrix: it multiplies matrices, so tensor cores can do it. precision: as in `PRECISIONS`; of other
    operators float32, the rate of the usual cores.
    """

    flops: int
    bytes: int
    matrix: bool
    precision: str


def work_of(name: str, call: Call, around: Call | None, output: Dims | None) -> Work | None:
    """What one call has to do; None where its shapes do not tell.

    around: the call of the convolution's backward that this one is a part of. output: the dims that its gradient has.
    """
    made = _OPERATORS.get(name)
    if made is None:
        return None
    try:
        found = made(call, around, output)
    except (LookupError, ValueError, ArithmeticError):
        return None
    return found if 0 < found.bytes < _MOST and found.flops < _MOST else None


_Maker = Callable[[Call, Call | None, Dims | None], Work]


def _matrix_work(flops: int, kind: str, *moved: int) -> Work:
    return Work(flops, sum(moved), True, PRECISIONS[kind])


def _product(first: int) -> _Maker:
    """Of matrices, or batches of them: [.., n, m] at place `first`, then [.., m, p]; before it what is added."""

    def made(call: Call, _around: Call | None, _output: Dims | None) -> Work:
        left, right = call.tensor(first), call.tensor(first + 1)
        *batch, rows, inner = left.dims
        if right.dims[:-1] != (*batch, inner):
            raise ValueError(right.dims)
        out = Tensor((*batch, rows, right.dims[-1]), left.kind)
        added = [call.tensor(at).bytes for at in range(first)]
        return _matrix_work(2 * out.numbers * inner, left.kind, left.bytes, right.bytes, out.bytes, *added)

    return made


def _convolution(bias: int | None, stride: int, padding: int, dilation: int | None) -> _Maker:
    """Input [N, C, …] and weight [K, C / groups, …]. bias, …: places of the other arguments."""

    def made(call: Call, _around: Call | None, output: Dims | None) -> Work:
        data, weight = call.tensor(0), call.tensor(1)
        space = len(data.dims) - 2
        if space < 1 or len(weight.dims) != space + 2:
            raise ValueError(weight.dims)
        if call.values:
            steps, around = call.whole(stride, space), call.whole(padding, space)
            spread = (1,) * space if dilation is None else call.whole(dilation, space)
            sides = [
                (side + 2 * pad - far * (size - 1) - 1) // step + 1
                for side, size, step, pad, far in zip(
                    data.dims[2:], weight.dims[2:], steps, around, spread, strict=True
                )
            ]
            output = (data.dims[0], weight.dims[0], *sides)
        if output is None or output[:2] != (data.dims[0], weight.dims[0]) or len(output) != len(data.dims):
            raise LookupError("output")
        out = Tensor(output, data.kind)
        if min(output) < 0:
            raise ValueError(output)
        added = call.tensors[bias] if bias is not None and bias < len(call.tensors) else None
        moved = (data.bytes, weight.bytes, out.bytes, added.bytes if added else 0)
        return _matrix_work(2 * out.numbers * math.prod(weight.dims[1:]), data.kind, *moved)

    return made


def _convolution_backward(call: Call, _around: Call | None, _output: Dims | None) -> Work:
    """Of PyTorch since 1.11: gradient, input, weight, …; which gradients were asked for stands last."""
    gradient, data, weight = (call.tensor(at) for at in range(3))
    masks = call.values[10].strip("[]").split(",")
    wanted = [each.strip() == "True" for each in masks]
    if call.values[7] != "False" or len(wanted) != 3:  # a transposed one
        raise ValueError(call.values)
    # Each of the two reads what the other one writes the gradient of.
    moved = gradient.bytes + sum(wanted[:2]) * (data.bytes + weight.bytes)
    flops = 2 * gradient.numbers * math.prod(weight.dims[1:])
    return _matrix_work(flops * sum(wanted[:2]), gradient.kind, moved)


def _gradient_of(place: int) -> _Maker:
    """One of the two halves of earlier years; its own gradient's shape stands only in the call around both.

    place: of what the half reads beside the gradient, in that call: 2, the weight, for the gradient of the input.
    """

    def made(call: Call, around: Call | None, _output: Dims | None) -> Work:
        gradient = call.tensor(1)
        if around is None:
            weight = call.tensor(2)
            if place != 2:
                raise LookupError("weight")
            return _matrix_work(
                2 * gradient.numbers * math.prod(weight.dims[1:]), gradient.kind, gradient.bytes, weight.bytes
            )
        data, weight = around.tensor(0), around.tensor(2)
        if around.tensor(1).dims != gradient.dims or around.tensor(place).dims != call.tensor(2).dims:
            raise ValueError(gradient.dims)
        flops = 2 * gradient.numbers * math.prod(weight.dims[1:])
        return _matrix_work(flops, gradient.kind, gradient.bytes, data.bytes, weight.bytes)

    return made


def _attention(first: int, heads: int, products: int) -> _Maker:
    """Queries, keys and values of four dimensions, the last one what each holds; heads: which dimension counts them.

    first: place of the queries. products: two forward, five backward; then the output's gradient stands before, which
    is as large as the queries, and the output and three gradients are moved, too.
    """

    def made(call: Call, _around: Call | None, _output: Dims | None) -> Work:
        query, key, value = (call.tensor(first + at) for at in range(3))
        length = 3 - heads  # the other one of dimensions 1 and 2
        batch, size = query.dims[0], query.dims[3]
        if len(query.dims) != 4 or len(key.dims) != 4 or value.dims != key.dims or key.dims[3] != size:
            raise ValueError(key.dims)
        pairs = batch * query.dims[heads] * query.dims[length] * key.dims[length]
        times = 1 if products == 2 else 2
        moved = times * (query.bytes + key.bytes + value.bytes) + query.bytes * (1 if products == 2 else 2)
        return _matrix_work(2 * products * pairs * size, query.kind, moved)

    return made


def _numbers(*read: int, written: int | None = None, flops: int = 1, beside: str = "") -> _Maker:
    """Number by number: arguments at the places `read`, and one output as large as the largest of them.

    written: the place of the argument that the output is as large as. beside: the kind of a second output.
    """

    def made(call: Call, _around: Call | None, _output: Dims | None) -> Work:
        inputs = [each for at in read if at < len(call.tensors) and (each := call.tensors[at]) is not None]
        if read:
            call.tensor(read[0])
        out = call.tensor(written) if written is not None else _broadcast(inputs)
        extra = out.numbers * _ITEM_BYTES[beside] if beside else 0
        return Work(flops * out.numbers, sum(each.bytes for each in inputs) + out.bytes + extra, False, "float32")

    return made


def _broadcast(inputs: Sequence[Tensor]) -> Tensor:
    """The output: every dimension of one, or of the same size in all; of the widest kind that is no mere number."""
    length = max(len(each.dims) for each in inputs)
    padded = [(1,) * (length - len(each.dims)) + each.dims for each in inputs]
    dims = tuple(max(sizes) if min(sizes) else 0 for sizes in zip(*padded, strict=True))
    if any(size not in (1, whole) for each in padded for size, whole in zip(each, dims, strict=True)):
        raise ValueError(dims)
    real = [each for each in inputs if each.dims] or list(inputs)
    floats = [each for each in real if each.kind in PRECISIONS] or real
    return Tensor(dims, max(floats, key=lambda each: _ITEM_BYTES[each.kind]).kind)


def _reduced(call: Call, _around: Call | None, output: Dims | None) -> Work:
    """All of the input is read; of what is written, little, nothing is counted."""
    data = call.tensor(0)
    return Work(data.numbers, data.bytes, False, "float32")


def _pooled(kind: str = "") -> _Maker:
    """All of the input is read; written is what its gradient's shape tells. kind: of a second output's numbers."""

    def made(call: Call, _around: Call | None, output: Dims | None) -> Work:
        data = call.tensor(0)
        known = output is not None and len(output) == len(data.dims) and output[:2] == data.dims[:2]
        out = Tensor(output, data.kind) if known and output is not None else None
        extra = out.bytes + out.numbers * _ITEM_BYTES.get(kind, 0) if out else 0
        return Work(data.numbers, data.bytes + extra, False, "float32")

    return made


def _named(names: str, made: _Maker) -> dict[str, _Maker]:
    return {f"aten::{name}": made for name in names.split()}


_OPERATORS: dict[str, _Maker] = {
    **_named("mm bmm", _product(0)),
    **_named("addmm baddbmm addmm_ baddbmm_ _addmm_activation", _product(1)),
    **_named("cudnn_convolution", _convolution(None, 3, 2, 4)),
    **_named("cudnn_convolution_relu", _convolution(2, 3, 4, 5)),
    **_named("mkldnn_convolution miopen_convolution", _convolution(2, 4, 3, 5)),
    **_named("_slow_conv2d_forward thnn_conv2d thnn_conv2d_forward", _convolution(3, 4, 5, None)),
    **_named("_conv_depthwise2d conv_depthwise3d", _convolution(3, 4, 5, 6)),
    **_named("convolution_backward", _convolution_backward),
    **_named(
        "cudnn_convolution_backward_input miopen_convolution_backward_input mkldnn_convolution_backward_input",
        _gradient_of(2),
    ),
    **_named(
        "cudnn_convolution_backward_weight miopen_convolution_backward_weight mkldnn_convolution_backward_weights",
        _gradient_of(0),
    ),
    **_named("_flash_attention_forward _efficient_attention_forward", _attention(0, 2, 2)),
    **_named("_scaled_dot_product_cudnn_attention _cudnn_attention_forward", _attention(0, 1, 2)),
    **_named("_flash_attention_backward _efficient_attention_backward", _attention(1, 2, 5)),
    **_named("_scaled_dot_product_cudnn_attention_backward _cudnn_attention_backward", _attention(1, 1, 5)),
    **_named("native_layer_norm native_group_norm native_batch_norm cudnn_batch_norm miopen_batch_norm", _numbers(0)),
    **_named("native_layer_norm_backward native_group_norm_backward native_batch_norm_backward", _numbers(0, 1)),
    **_named("cudnn_batch_norm_backward miopen_batch_norm_backward", _numbers(0, 1)),
    **_named("max_pool2d_with_indices", _pooled("long int")),
    **_named("avg_pool2d _adaptive_avg_pool2d", _pooled()),
    **_named("max_pool2d_with_indices_backward", _numbers(0, 7, written=1)),
    **_named("avg_pool2d_backward _adaptive_avg_pool2d_backward", _numbers(0, written=1)),
    **_named("sum mean var std amax amin max min argmax all any", _reduced),
    **_named("_softmax _log_softmax", _numbers(0)),
    **_named("_softmax_backward_data _log_softmax_backward_data", _numbers(0, 1)),
    **_named("native_dropout", _numbers(0, beside="bool")),
    **_named("native_dropout_backward", _numbers(0, 1)),
    **_named("add sub mul div maximum minimum pow", _numbers(0, 1)),
    **_named("add_ sub_ mul_ div_", _numbers(0, 1, written=0)),
    **_named("addcmul addcdiv lerp", _numbers(0, 1, 2)),
    **_named("addcmul_ addcdiv_ lerp_", _numbers(0, 1, 2, written=0)),
    **_named(
        "clamp_min clamp_max clamp threshold gelu silu sigmoid tanh exp log sqrt rsqrt neg abs reciprocal sin cos "
        "hardtanh hardswish hardsigmoid leaky_relu elu mish softplus square",
        _numbers(0),
    ),
    **_named(
        "clamp_min_ clamp_max_ clamp_ threshold_ silu_ sigmoid_ tanh_ exp_ sqrt_ neg_ reciprocal_ hardtanh_ hardswish_ "
        "leaky_relu_ elu_",
        _numbers(0, written=0),
    ),
    **_named(
        "threshold_backward gelu_backward silu_backward sigmoid_backward tanh_backward hardtanh_backward "
        "hardswish_backward leaky_relu_backward elu_backward mish_backward",
        _numbers(0, 1),
    ),
    **_named("copy_", _numbers(1, written=0, flops=0)),
    **_named("fill_ zero_", _numbers(written=0, flops=0)),
}
