"""The PyTorch behind a training: the few lines that a participant could type, in the precision and layout in use."""

from eurosat_core.training.config import TrainConfig

__all__ = ["code"]

_CODE = """
network = {network}
optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
batches = DataLoader(tiles, batch_size=40, shuffle=True, num_workers=2{pinned})

for epoch in range(epochs):
    network.train()
    for pictures, labels in batches:        # one step:
{to_device}{forward}
        optimizer.zero_grad()
        loss.backward()                     #   backward
        optimizer.step()                    #   update
    network.eval()                          # judge it on other tiles
    with torch.no_grad(){judging}:
        for pictures, labels in validation_batches:
{judged_to_device}            right += (network(pictures).argmax(1) == labels).sum()
"""
_FORWARD = """\
        scores = network(pictures)          #   forward
        loss = cross_entropy(scores, labels)"""
_AUTOCAST = """\
        with {autocast}:
            scores = network(pictures)      #   forward
            loss = cross_entropy(scores, labels)"""
_TO_GPU = """\
        pictures = pictures.to("cuda", non_blocking=True{layout})
        labels = labels.to("cuda", non_blocking=True)
"""
_JUDGED_TO_GPU = """\
            pictures, labels = pictures.to("cuda"), labels.to("cuda")
"""
_LAYOUT = "memory_format=torch.channels_last"


def code(config: TrainConfig) -> tuple[str, str]:
    """On the CPU and on a GPU. What `config` leaves to the device is shown as PyTorch does it by itself."""
    return _code(config, "cpu"), _code(config, "cuda")


def _code(config: TrainConfig, device: str) -> str:
    on_gpu = device == "cuda"
    to = [*(['"cuda"'] if on_gpu else []), *([_LAYOUT] if config.channels_last else [])]
    if on_gpu:
        moved = _TO_GPU.format(layout=f",\n{' ' * 31}{_LAYOUT}" if config.channels_last else "")
    else:
        moved = f"        pictures = pictures.to({_LAYOUT})\n" if config.channels_last else ""
    autocast = f'torch.autocast("{device}", dtype=torch.bfloat16)' if config.precision == "bfloat16" else ""
    return _CODE.format(
        network=f"Net().to({', '.join(to)})" if to else "Net()",
        pinned=",\n                     pin_memory=True" if on_gpu else "",
        to_device=moved,
        forward=_AUTOCAST.format(autocast=autocast) if autocast else _FORWARD,
        judging=f", {autocast}" if autocast else "",
        judged_to_device=_JUDGED_TO_GPU if on_gpu else "",
    ).strip()
