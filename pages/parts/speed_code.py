"""The PyTorch behind each experiment: the same timed steps, with the one line that changes.

Batch size, loader workers and network are the experiment's own, so what is shown is what is measured.
"""

from eurosat_core.speed.experiments import EXPERIMENTS
from eurosat_core.training.config import TrainConfig

__all__ = ["code"]

_STEPS = """
import time
import torch
from torch.utils.data import DataLoader

{setup}

def step():
    pictures, labels = next(batches)
{move}{forward}
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

for _ in range(5):                              # warm-up does not count
    step()
{wait}began = time.perf_counter()
for _ in range(30):
    step()
{wait}print(30 * batch_size / (time.perf_counter() - began), "tiles per second")
"""
_FORWARD = "    loss = torch.nn.functional.cross_entropy(network(pictures), labels)"
_SGD = "optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)"
_LOADER = "batches = iter(DataLoader(tiles, batch_size=batch_size, shuffle=True{more}))"
_MEMORY = "batches = (part for part in zip(pictures_in_memory.split(batch_size), labels_in_memory.split(batch_size)))"
_AUTOCAST = (
    '    with torch.autocast("{kind}", dtype=torch.bfloat16):       # ← instead of float32\n'
    "        loss = torch.nn.functional.cross_entropy(network(pictures), labels)"
)


def _setup(network: str = "network = {net}", optimizer: str = _SGD, source: str = _MEMORY) -> str:
    return "\n".join(("{batch}", network, optimizer, source))


_SETUPS = {
    "batch_size": _setup(),
    "model_size": _setup(network="network = {net}                                 # ← eight times the filters"),
    "workers": _setup(source=_LOADER.format(more=", num_workers={workers}") + "    # ← instead of {fewer}"),
    "optimizer": _setup(optimizer="optimizer = torch.optim.Adam(network.parameters(), lr=0.001)   # ← instead of SGD"),
    "source": _setup(source=_MEMORY + "   # ← not a DataLoader"),
    "pin_memory": _setup(source=_LOADER.format(more=", num_workers={workers}, pin_memory=True") + "    # ←"),
    "channels_last": _setup(
        network="network = {net}.to(memory_format=torch.channels_last)   # ← and the pictures, too"
    ),
    "precision": _setup(),
}


def code(name: str) -> tuple[str, str]:
    """The lines of an experiment on the CPU, and on a GPU."""
    return _filled(name, "cpu"), _filled(name, "cuda")


def _settings(name: str, label: str) -> TrainConfig:
    """What is measured under this label, unchecked: the code is shown without the GPU that some need, too."""
    one = EXPERIMENTS[name]
    changes = next(each.changes for each in one.options if each.label == label)
    return TrainConfig(**{"model": one.model, **one.base, **changes})


def _filled(name: str, kind: str) -> str:
    gpu = kind == "cuda"
    focus, reference = (_settings(name, each) for each in (EXPERIMENTS[name].focus, EXPERIMENTS[name].reference))
    batch = f"batch_size = {focus.batch_size}"
    if focus.batch_size != reference.batch_size:
        batch = f"{batch:<48}# ← instead of {reference.batch_size}"
    net = {"custom": "WideNet()", "tilenet": "TileNet()"}.get(focus.model, "Net()")
    move = []
    if gpu:
        ahead = ", non_blocking=True" if name == "pin_memory" else ""
        move.append(f'    pictures, labels = pictures.to("cuda"{ahead}), labels.to("cuda"{ahead})\n')
    if name == "channels_last":
        move.append("    pictures = pictures.to(memory_format=torch.channels_last)\n")
    return _STEPS.format(
        setup=_SETUPS[name].format(
            batch=batch, net=f'{net}.to("cuda")' if gpu else net, workers=focus.workers, fewer=reference.workers
        ),
        move="".join(move),
        forward=_AUTOCAST.format(kind=kind) if name == "precision" else _FORWARD,
        wait="torch.cuda.synchronize()                        # a GPU is only told what to do\n" if gpu else "",
    ).strip()
