"""The interactive lane: what a network makes of one tile, at once, on the server's CPU, while trainings run.

Never through the queue. Bounded: one inference at a time and on one thread (others wait for it, not for ever), one
tile, a limit on the network's size, a few feature maps per layer, and few networks and results kept.
"""

import re
import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
import torch
from cachetools import LRUCache, cachedmethod
from torch import Tensor, nn

from eurosat_core.data.batches import normalize
from eurosat_core.data.pictures import Pixels, Values
from eurosat_core.errors import RunError
from eurosat_core.lab.train import epoch_file
from eurosat_core.lab.trained_weights import load_network
from eurosat_core.models.recorded import RECORDED, recorded_baseline, recorded_network
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.store import RunStore
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.network import make_network, preprocessing_for

BEFORE, AFTER = 0, -1
"""Stages of a training: as it was initialised, as it ended; any other is the number of an epoch."""

MAPS = 16  # feature maps, and
NEURONS = 128  # values of a layer without maps, that are kept of each layer
_LARGEST_NETWORK = 200_000_000  # parameters: VGG11-BN has 128.8 million
_PARAMETERS_KEPT = 150_000_000  # of all networks kept in memory together, 4 bytes each
_RESULTS_KEPT = 32
_WAIT_SECONDS = 10.0
_EPOCH_FILE = re.compile(r"model_epoch_([0-9]{3})\.pt")


@dataclass(frozen=True)
class LayerSeen:
    """What one layer gives for a tile.

    name: as in the summary table (`Conv2d-1`). path: its name in the network (`conv1`). shape: of its output, without
    the batch. maps: its first feature maps [n, H, W], or None; neurons: its first values [n] where it has no maps.
    silent: how many of all its maps (or neurons) have no value above zero, so that a ReLU leaves only zeros.
    """

    name: str
    path: str
    shape: tuple[int, ...]
    maps: Values | None
    neurons: Values | None
    silent: int
    lowest: float
    highest: float

    @property
    def kind(self) -> str:
        """`Conv2d`, `Linear`, …"""
        return self.name.rpartition("-")[0]


@dataclass(frozen=True)
class NetworkSeen:
    """A network's layers in the order of their use, and its answer: a probability [classes] for each class."""

    layers: tuple[LayerSeen, ...]
    probabilities: Values
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class FirstLayer:
    """The filters of a network's first convolution: weights [filters, channels, side, side], biases [filters]."""

    weights: Values
    biases: Values
    padding: int
    stride: int


class Inspector:
    """Looks into the bundled network and into those of a store's runs. May be called from any thread."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._one = threading.Lock()
        self._results = threading.Condition()  # who asks for what is kept does not wait for others' networks
        self._networks: LRUCache[Hashable, nn.Module] = LRUCache(_PARAMETERS_KEPT, _size)
        self._seen: LRUCache[Hashable, NetworkSeen] = LRUCache(_RESULTS_KEPT)
        self._filters: LRUCache[Hashable, FirstLayer] = LRUCache(_RESULTS_KEPT)

    def config(self, run_id: str) -> TrainConfig:
        """The settings with which a run's network, or the bundled one, is asked here. Raises `RunError` without it."""
        if run_id != RECORDED:
            return self._store.get(run_id).judging_config
        record = recorded_baseline()
        form = {"precision": "float32", "channels_last": False}
        return recipe_config(record.model, "fast", seed=record.seed, epochs=record.epochs, **form)

    def class_names(self, run_id: str) -> tuple[str, ...]:
        """The classes that a network tells apart. Raises `RunError` without it."""
        return recorded_baseline().class_names if run_id == RECORDED else self._store.get(run_id).tiles.class_names

    def trained(self, owner: str) -> list[RunRecord]:
        """A participant's runs that left a network to look into, newest first."""
        return [
            each
            for each in self._store.all()[0]
            if each.owner == owner
            and not each.is_active
            and each.kind == "train"
            and (self._store.folder_of(each.id) / "model.pt").is_file()
        ]

    def epochs(self, run_id: str) -> list[int]:
        """The epochs whose weights a run kept, in order; none for most."""
        if run_id == RECORDED:
            return []
        names = (each.name for each in self._store.folder_of(run_id).glob("model_epoch_*.pt"))
        return sorted(int(found[1]) for name in names if (found := _EPOCH_FILE.fullmatch(name)))

    @cachedmethod(
        lambda self: self._filters,
        key=lambda self, run_id, stage=AFTER: self.version(run_id, stage),
        condition=lambda self: self._results,
    )
    def first_layer(self, run_id: str, stage: int = AFTER) -> FirstLayer:
        """The filters of a network's first convolution. Raises `RunError` when there is none."""
        with self.borrowed(run_id, stage) as network:
            return _first_layer(network)

    @cachedmethod(
        lambda self: self._seen,
        key=lambda self, run_id, tile, stage=AFTER: (self.version(run_id, stage), tile.tobytes()),
        condition=lambda self: self._results,
    )
    def look(self, run_id: str, tile: Pixels, stage: int = AFTER) -> NetworkSeen:
        """What a network's layers make of a tile [64, 64, 3] (uint8). Raises `RunError` without a network."""
        with self.borrowed(run_id, stage) as network:
            config = self.config(run_id)
            pixels = torch.from_numpy(np.ascontiguousarray(tile))[None]
            wanted = preprocessing_for(config.model, side=config.input_side)
            layers, scores = _record(network, normalize(pixels, wanted))
            probabilities: Values = scores[0].softmax(0).numpy()
            return NetworkSeen(layers, probabilities, self.class_names(run_id))

    @contextmanager
    def borrowed(self, run_id: str, stage: int = AFTER) -> Iterator[nn.Module]:
        """A network, alone and on one thread until the block ends: for short work. Raises `RunError`.

        One thread, since a second one of OpenMP would wait for cores that a training has.
        """
        with self.alone():
            yield self._network(run_id, stage)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """The lane's turn, on one thread, until the block ends: for short work. Raises `RunError`."""
        if not self._one.acquire(timeout=_WAIT_SECONDS):
            raise RunError("The lab is looking into other networks just now. Try again in a few seconds.")
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(1)
            yield
        finally:
            torch.set_num_threads(threads)
            self._one.release()

    def version(self, run_id: str, stage: int = AFTER) -> Hashable:
        """Names one state of one network; another one when its file was replaced."""
        changed = 0
        if run_id != RECORDED and stage != BEFORE:
            with suppress(OSError):
                changed = (self._store.folder_of(run_id) / _file(stage)).stat().st_mtime_ns
        return run_id, stage, changed

    @cachedmethod(lambda self: self._networks, key=lambda self, run_id, stage: self.version(run_id, stage))
    def _network(self, run_id: str, stage: int) -> nn.Module:
        """A network at a stage, from memory where it is kept. Only for who is alone."""
        network = self._load(run_id, stage).eval()
        size = _parameters(network)
        if size > _LARGEST_NETWORK:
            raise RunError(
                f"This network has {size:,} parameters; the lab looks into networks of up to {_LARGEST_NETWORK:,}."
            )
        return network

    def _load(self, run_id: str, stage: int) -> nn.Module:
        if stage == BEFORE:
            return make_network(self.config(run_id), len(self.class_names(run_id)))
        if run_id == RECORDED:
            return recorded_network()
        return load_network(self._store, run_id, _file(stage))


def _file(stage: int) -> str:
    return "model.pt" if stage == AFTER else epoch_file(stage)


def _parameters(network: nn.Module) -> int:
    return sum(each.numel() for each in network.parameters())


def _size(network: nn.Module) -> int:
    """Parameters, of which the largest network takes all the room there is."""
    return min(_parameters(network), _PARAMETERS_KEPT)


def _first_layer(network: nn.Module) -> FirstLayer:
    layer = next((each for each in network.modules() if isinstance(each, nn.Conv2d)), None)
    if layer is None:
        raise RunError("This network has no convolution, so it has no filters to look at. Choose another network.")
    weights: Values = layer.weight.detach().float().contiguous().numpy()
    biases = np.zeros(len(weights), dtype=np.float32) if layer.bias is None else layer.bias.detach().float().numpy()
    padding = layer.padding if isinstance(layer.padding, str) else layer.padding[0]
    if isinstance(padding, str):  # "same" keeps the size, "valid" has none
        padding = weights.shape[2] // 2 if padding == "same" else 0
    return FirstLayer(weights.copy(), biases.copy(), int(padding), int(layer.stride[0]))


def _record(network: nn.Module, tiles: Tensor) -> tuple[tuple[LayerSeen, ...], Tensor]:
    """Run one normalised tile [1, 3, 64, 64] through a network and note what every layer gives; and its scores."""
    seen: list[LayerSeen] = []
    paths = {layer: path for path, layer in network.named_modules() if not list(layer.children())}

    def note(layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        kind = "Conv2d" if isinstance(layer, nn.Conv2d) else type(layer).__name__  # a variant of it is one, too
        # At once: the next layer may work in place.
        seen.append(_layer_seen(f"{kind}-{len(seen) + 1}", paths[layer], output.detach()[0].float()))

    hooks = [layer.register_forward_hook(note) for layer in paths]
    try:
        with torch.inference_mode():
            scores: Tensor = network(tiles)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(seen), scores.float()


def _layer_seen(name: str, path: str, output: Tensor) -> LayerSeen:
    is_maps = output.dim() == 3
    highest = output.flatten(1).amax(1) if is_maps else output
    return LayerSeen(
        name,
        path,
        tuple(output.shape),
        output[:MAPS].contiguous().numpy().copy() if is_maps else None,
        None if is_maps else output.flatten()[:NEURONS].numpy().copy(),
        int((highest <= 0).sum()),
        float(output.min()),
        float(output.max()),
    )
