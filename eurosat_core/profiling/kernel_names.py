"""Names of GPU kernels that a person can read: what is left of a C++ template's full name."""

import re

__all__ = ["short_name"]

_LONGEST = 44
# Kernels that apply some function to many numbers: the function, somewhere in the arguments, says what is computed.
_GENERIC = {
    "elementwise": re.compile(r"elementwise_kernel"),
    "reduce": re.compile(r"reduce_\w*kernel"),
    "many tensors at once": re.compile(r"multi_tensor_apply_kernel"),
    "index": re.compile(r"index_\w*kernel"),
    "scan": re.compile(r"scan_\w*kernel"),
    "CUTLASS": re.compile(r"(?:Kernel2?|device_kernel)$"),
}
_INNER = re.compile(
    r"\w*Functor\w*|\w+_kernel_cuda\b|\w+_kernel_impl\w*|\w+KernelImpl\b|\w+Ops?\b|cutlass\w*_\w*(?:gemm|fprop|dgrad|wgrad)\w*"
)
# Wrappers that say nothing, and what can go from a name.
_EMPTY = re.compile(r"gpu_kernel_impl\w*|[AB]?B?UnaryFunctor|BinaryFunctor|ReduceOp|\w*MaskedFunctor|std_kernel_impl")
_AFFIX = re.compile(r"^CUDAFunctor_|(?:_kernel_cuda|_kernel_impl\w*|CUDAKernelImpl|KernelImpl)$")


def short_name(name: str) -> str:
    """`clamp_min (elementwise)`, `dgrad_engine`: without result type, namespaces, arguments and template's numbers.

    Names of libraries that are no C++ templates stay as they are; long ones lose their middle.
    """
    function = _function(name)
    for family, pattern in _GENERIC.items():
        if pattern.search(function):
            named = (each for each in _INNER.findall(name.replace(function, " ", 1)) if not _EMPTY.fullmatch(each))
            inner = next(named, "")
            if inner:
                return f"{_shortened(_AFFIX.sub('', inner))} ({family})"
            break
    return _shortened(function)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 15]}…{text[-14:]}"


def _function(name: str) -> str:
    """The function's own name: outside of all brackets, behind the last `::` and the result's type."""
    plain: list[str] = []
    depth = 0
    for letter in name.replace("(anonymous namespace)::", "").replace("<unnamed>::", ""):
        if letter in "<([{":
            if letter == "(" and not depth and plain:
                break
            depth += 1
        elif letter in ">)]}":
            depth = max(depth - 1, 0)
        elif not depth:
            plain.append(letter)
    words = "".join(plain).rsplit("::", 1)[-1].split()
    return words[-1] if words else name
