"""What compiling a network takes, and whether it is on this machine. Importing this module does not import torch."""

import os
import shutil
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

from eurosat_core.training.config import TrainConfig
from eurosat_core.wording import listed


def execution_problem(config: TrainConfig) -> str:
    """Why this machine cannot execute a checked config's steps as asked, as a sentence; empty when it can.

    Uses no device: where there is no such GPU, others say so.
    """
    return compile_problem(config.device) if config.execution == "compiled" else ""


def compile_problem(device: str) -> str:
    """Why nothing can be compiled for a device here, as a sentence with what to do; empty when it can."""
    import torch

    try:
        torch.compile(backend="inductor")  # nothing yet; but it looks at the version of Python
    except RuntimeError as error:
        return f"{str(error).rstrip('.')}. Choose eager execution."
    on_gpu = device.startswith("cuda")
    if on_gpu and find_spec("triton") is None:
        return "Compiling for a GPU needs Triton, which is not installed. Install it, or choose eager execution."
    names = _compilers(on_gpu)
    if not any(map(shutil.which, names)):
        return (
            f"Compiling needs a {'C' if on_gpu else 'C++'} compiler, and {listed(list(names), 'or')} was not found on "
            "this machine. Install one, or choose eager execution."
        )
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return (
            "Compiling needs Python’s header files (Python.h), which are not installed. Install them (on Debian and "
            "Ubuntu the package python3-dev), or choose eager execution."
        )
    return ""


def _compilers(on_gpu: bool) -> tuple[str, ...]:
    """The compilers that PyTorch (for the CPU) or Triton (for a GPU) would take, the first one that is there."""
    if on_gpu:
        return (named,) if (named := os.environ.get("CC")) else ("gcc", "clang", "cl")
    usual = {"win32": "cl", "darwin": "clang++"}.get(sys.platform, "g++")
    return (os.environ.get("CXX") or usual,)
