"""The PyTorch behind each experiment: the same timed steps, with the one line that changes."""

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


def _setup(
    batch: str = "batch_size = 40", network: str = "network = {net}", optimizer: str = _SGD, source: str = ""
) -> str:
    return "\n".join((batch, network, optimizer, source or _MEMORY))


_SETUPS = {
    "batch_size": _setup(batch="batch_size = 256                                # ← instead of 40"),
    "model_size": _setup(network="network = {net}                                 # ← eight times the filters"),
    "workers": _setup(source=_LOADER.format(more=", num_workers=2") + "    # ← instead of 0"),
    "optimizer": _setup(optimizer="optimizer = torch.optim.Adam(network.parameters(), lr=0.001)   # ← instead of SGD"),
    "source": _setup(source=_MEMORY + "   # ← not a DataLoader"),
    "pin_memory": _setup(source=_LOADER.format(more=", num_workers=4, pin_memory=True") + "    # ←"),
    "channels_last": _setup(
        network="network = {net}.to(memory_format=torch.channels_last)   # ← and the pictures, too"
    ),
    "precision": _setup(),
}


def code(name: str) -> tuple[str, str]:
    """The lines of an experiment on the CPU, and on a GPU."""
    return _filled(name, "cpu"), _filled(name, "cuda")


def _filled(name: str, kind: str) -> str:
    gpu = kind == "cuda"
    net = {"model_size": "WideNet()", "channels_last": "TileNet()", "precision": "TileNet()"}.get(name, "Net()")
    move = []
    if gpu:
        ahead = ", non_blocking=True" if name == "pin_memory" else ""
        move.append(f'    pictures, labels = pictures.to("cuda"{ahead}), labels.to("cuda"{ahead})\n')
    if name == "channels_last":
        move.append("    pictures = pictures.to(memory_format=torch.channels_last)\n")
    return _STEPS.format(
        setup=_SETUPS[name].format(net=f'{net}.to("cuda")' if gpu else net),
        move="".join(move),
        forward=_AUTOCAST.format(kind=kind) if name == "precision" else _FORWARD,
        wait="torch.cuda.synchronize()                        # a GPU is only told what to do\n" if gpu else "",
    ).strip()
