"""The trained weights of a run: read here, and for use elsewhere, with the few lines of PyTorch that load them."""

import io
import pickle
from pathlib import Path

import torch

from eurosat_core.data.decoding import TILE_SIDE
from eurosat_core.errors import RunError
from eurosat_core.models.build import network_source
from eurosat_core.models.catalog import BASELINE, model_entry
from eurosat_core.runs.store import RunStore
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.network import kept_tensors, make_network

FILE = "model.pt"


def source(config: TrainConfig, classes: int) -> str:
    """The network as a Python file of its own, which needs nothing but PyTorch; empty where there is none."""
    if config.model not in ("baseline", "custom"):
        return ""
    return network_source(config.network or BASELINE, classes)


def contents(config: TrainConfig) -> str:
    """What the file holds, as a sentence or two."""
    entry = model_entry(config.model)
    if not entry.is_pretrained:
        return "A state dict: every tensor of the network by its name, as it was after the run’s last epoch."
    drifted = "" if config.frozen_norms else ", and the BatchNorm statistics, which have drifted"
    rest = (
        "the published ImageNet weights"
        if config.pretrained
        else "random, and comes out the same again for the same seed"
    )
    return (
        f"Only what was trained: the last layer ({entry.last_layer}){drifted}. All else is frozen: it is {rest}, so "
        "the file stays small, and the lines below put both together."
    )


def loading_code(config: TrainConfig, classes: int) -> str:
    """Lines of Python that load the file into a network `net`, ready to be asked."""
    entry = model_entry(config.model)
    if not entry.is_pretrained:
        if source(config, classes):
            make = "from net import Net  # the file net.py, beside this one\n\nnet = Net()"
        else:
            pooled = "" if config.stem_pool else ", stem_pool=False"
            make = (
                "from eurosat_core.models.catalog import build_model  # this project\n\n"
                f'net = build_model("{config.model}", {classes}{pooled})'
            )
        load = f'net.load_state_dict(torch.load("{FILE}", weights_only=True))'
    else:
        if config.model == "vgg11_bn" and config.pretrained:
            make = (
                "from torchvision.models import vgg11_bn\n\n"
                'net = vgg11_bn(weights="IMAGENET1K_V1")  # the frozen part, as published\n'
                f"net.classifier[6] = torch.nn.Linear(4096, {classes})  # the layer that was trained"
            )
        else:
            make = (
                "from eurosat_core.training.config import recipe_config  # this project\n"
                "from eurosat_core.training.network import make_network\n\n"
                f'config = recipe_config("{config.model}", pretrained={config.pretrained}, seed={config.seed})\n'
                f"net = make_network(config, {classes})  # with its frozen part"
            )
        load = (
            f'trained = torch.load("{FILE}", weights_only=True)\n'
            "net.load_state_dict(trained, strict=False)  # not strict: the frozen part stays as it is"
        )
    mean, std = (_channels(each) for each in (entry.mean, entry.std))
    side = config.input_side
    enlarged = "" if side == TILE_SIDE else ", then enlarged from 64 pixels a side (bicubic)"
    tiles = f"# Tiles [B, 3, {side}, {side}] as it learned from them: (pixel / 255 - {mean}) / {std}{enlarged}"
    return f"import torch\n{make}\n{load}\nnet.eval()\n{tiles}"


def _channels(values: tuple[float, float, float]) -> str:
    """One number where all channels have the same, else one per channel."""
    return f"{values[0]:g}" if len(set(values)) == 1 else f"({', '.join(f'{each:g}' for each in values)})"


def load_network(store: RunStore, run_id: str, file: str = "model.pt") -> torch.nn.Module:
    """The trained network of a run, on the CPU, in evaluation mode. Raises `RunError` when it has none.

    file: which of the run's weights; those of its end by default.
    """
    record = store.get(run_id)
    return network_with(store.load(run_id, file), record.config, len(record.tiles.class_names), run_id)


def network_with(
    weights: bytes, config: TrainConfig, classes: int, run_id: str, cache: Path | None = None
) -> torch.nn.Module:
    """The same from the contents of the file; cache: the folder of downloaded weights."""
    network = make_network(config, classes, cache)
    try:
        tensors = torch.load(io.BytesIO(weights), weights_only=True, map_location="cpu")
        if set(tensors) != set(kept_tensors(network, config)):
            raise ValueError("other tensors than this model's")
        network.load_state_dict(tensors, strict=False)  # of a pretrained network the rest is the published part
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"The weights of run {run_id} are damaged or not this model's. Train it again.") from error
    if config.channels_last:
        network = network.to(memory_format=torch.channels_last)
    return network.eval()
