"""A trained run as an ONNX file: pictures as they are in, a probability for each class out, whatever asks it.

The normalisation is part of the graph, so nobody has to know it. Needs the package `onnx`, which the lab does without
otherwise. PyTorch's older exporter is taken: the other one needs onnxscript besides, and takes longer.
"""

import json
import warnings
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from eurosat_core.data.batches import Preprocessing, normalize
from eurosat_core.data.decoding import TILE_SIDE
from eurosat_core.errors import ConfigError, RunError
from eurosat_core.lab.inspection import Inspector
from eurosat_core.lab.kind import network_summary
from eurosat_core.lab.trained_weights import FILE as WEIGHTS
from eurosat_core.lab.trained_weights import load_network
from eurosat_core.models.catalog import model_entry
from eurosat_core.models.networks import AdaptiveAvgPool2d, MeanOverPlaces, window_shares
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.store import RunStore
from eurosat_core.training.network import preprocessing_for
from eurosat_core.wording import bytes_text

FILE = "model.onnx"
INPUT, OUTPUT = "tiles", "probabilities"
_OPSET = 18
_MOST_BYTES = 100 * 1024**2  # that the server makes while others wait


class _Asked(nn.Module):
    """A network with all that is around it: pixels uint8 [B, 64, 64, 3] in, probabilities [B, classes] out."""

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network, self.preprocessing = network, preprocessing

    def forward(self, pixels: Tensor) -> Tensor:
        scores: Tensor = self.network(normalize(pixels, self.preprocessing))
        return scores.softmax(1)


class _MeansOverWindows(nn.Module):
    """Adaptive pooling as two products of matrices: the exporter knows it only where one size divides the other."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, C, H, W] to [B, C, size, size]."""
        rows, columns = (window_shares(int(side), self.size) for side in features.shape[-2:])
        return rows @ features @ columns.T


class _MeanOverPlaces(nn.Module):
    """The mean over all places, whose number the exporter need not know."""

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, C, H, W] to [B, C, 1, 1]."""
        return features.mean((2, 3), keepdim=True)


def _exportable(network: nn.Module) -> nn.Module:
    """The same network; layers that the exporter does not know are computed in another way."""
    for name, layer in list(network.named_modules()):
        if isinstance(layer, AdaptiveAvgPool2d):
            size = layer.output_size
            assert isinstance(size, int)
            network.set_submodule(name, _MeansOverWindows(size))
        elif isinstance(layer, MeanOverPlaces):
            network.set_submodule(name, _MeanOverPlaces())
    return network


def export_problem() -> str:
    """Why nothing can be exported here, as a sentence with what to do; empty when it can."""
    if find_spec("onnx") is not None:
        return ""
    return 'An ONNX file needs the package onnx, which is not installed here: `pip install ".[onnx]"`.'


def too_large(record: RunRecord) -> str:
    """Why the server does not export a run's network, as a sentence; empty when it does."""
    size = 4 * network_summary(record.config.architecture).total_params
    if size <= _MOST_BYTES:
        return ""
    return (
        f"As an ONNX file this network takes {bytes_text(size)}; the app makes files of up to "
        f"{bytes_text(_MOST_BYTES)}. Whoever runs the lab can make it: `python -m eurosat_core export {record.id} "
        f"--onnx {FILE}`."
    )


def served_onnx(store: RunStore, inspector: Inspector, run_id: str) -> bytes:
    """A run's ONNX file, made in the interactive lane: one at a time, on one thread. Raises `LabError`."""
    if problem := too_large(store.get(run_id)):
        raise RunError(problem)
    if (kept := _kept(store, run_id)) is not None:
        return kept
    with inspector.alone():
        return exported(store, run_id)


def exported(store: RunStore, run_id: str) -> bytes:
    """A run's ONNX file; what was made is kept beside its weights. Raises `ConfigError` without the package `onnx`."""
    if problem := export_problem():
        raise ConfigError(problem)
    if (kept := _kept(store, run_id)) is not None:
        return kept
    record = store.get(run_id)
    network = load_network(store, run_id).to(memory_format=torch.contiguous_format)
    content = onnx_bytes(network, record)
    with suppress(OSError, RunError):  # a full disk, or a store that may only be looked at: it is made again then
        store.save(run_id, {FILE: content})
    return content


def _kept(store: RunStore, run_id: str) -> bytes | None:
    """What was made before from the same weights."""
    folder = store.folder_of(run_id)
    with suppress(OSError):
        if (folder / FILE).stat().st_mtime_ns >= (folder / WEIGHTS).stat().st_mtime_ns:
            return (folder / FILE).read_bytes()
    return None


def onnx_bytes(network: nn.Module, record: RunRecord) -> bytes:
    """An ONNX file of a network on the CPU, in evaluation mode, with what a user has to know of it in its metadata.

    network: layers of it may be exchanged for others that compute the same.
    """
    import onnx

    asked = _Asked(_exportable(network), preprocessing_for(record.config.model, side=record.config.input_side)).eval()
    example = torch.zeros(2, TILE_SIDE, TILE_SIDE, 3, dtype=torch.uint8)
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is traced: sizes that are always the same; and its age
        written = Path(folder, FILE)
        torch.onnx.export(
            asked,
            (example,),
            written,
            dynamo=False,
            opset_version=_OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
        )
        model = onnx.load(written)
    about = {
        "classes": json.dumps(list(record.tiles.class_names)),
        "input": "uint8 pictures [batch, 64, 64, 3]: height, width, red-green-blue from 0 to 255",
        "model": model_entry(record.config.model).title,
        "run": record.id,
    }
    onnx.helper.set_model_props(model, about)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content
