"""Whether the profiler can see what a GPU does: where its counters (CUPTI) are blocked, a trace has no kernels."""

import torch
from torch import nn
from torch.profiler import profile

from eurosat_core.profiling.record import activities_for

__all__ = ["kernels_problem"]


def kernels_problem(device: str) -> str:
    """Profile one training step on a GPU; a sentence when no kernel of it was recorded, empty when some were.

    Initialises the device in this process. What the device itself reports as an error is told in the sentence, too.
    """
    if device == "mps":
        return "PyTorch’s profiler has no eyes on Apple’s GPUs: a profile shows the CPU’s side only."
    try:
        network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.LazyLinear(10)).to(device)
        tiles = torch.zeros(4, 3, 64, 64, device=device)
        network(tiles)  # loads the libraries, which need not stand in the trace
        with profile(activities=activities_for(torch.device(device))) as recorded:  # waits for the device at its end
            network(tiles).sum().backward()
        seen = sum(each.self_device_time_total for each in recorded.key_averages())
    except (RuntimeError, AssertionError) as error:
        return f"A step could not be profiled on {device}: {str(error).strip().splitlines()[0]}"
    return "" if seen > 0 else f"PyTorch’s profiler recorded no GPU kernel of a step on {device}."
