"""Which tiles train and which validate: a random split, or one by place from published lists.

The lists are torchgeo's, which divide EuroSAT by longitude. They lie in `CACHE/spatial`, checked against their
published MD5s, whether they were downloaded, imported or found beside the tiles. Tiles are recognised by file names.
"""

import hashlib
import os
import secrets
import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from eurosat_core.data.download import PLACE_LISTS, download
from eurosat_core.errors import DataError
from eurosat_core.folders import not_kept

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TEST_FRACTION = 0.2  # of all tiles, when a random split seals a test part; torchgeo's split by place has as much


def _none() -> "Tensor":
    import torch

    return torch.zeros(0, dtype=torch.int64)


@dataclass(frozen=True)
class Split:
    """Tile numbers (int64) of the training, the validation and the sealed test part; no tile is in two of them.

    The test part is empty unless one was asked for.
    """

    train: "Tensor"
    validation: "Tensor"
    test: "Tensor" = field(default_factory=_none)


def _per_class(labels: "Tensor", generator: "torch.Generator") -> "list[Tensor]":
    """The tile numbers of each class that has any, each shuffled."""
    import torch

    members = [torch.nonzero(labels == label).flatten() for label in labels.unique().tolist()]
    return [each[torch.randperm(len(each), generator=generator)] for each in members]


def _rounded(exact: list[float], total: int) -> list[int]:
    """Whole numbers next to the exact ones, with this sum: the largest remainders are rounded up."""
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda at: shares[at] - exact[at])
    for at in by_remainder[: total - sum(shares)]:
        shares[at] += 1
    return shares


def _balanced_subset(labels: "Tensor", size: int, generator: "torch.Generator") -> "Tensor":
    """`size` positions in `labels`, in the proportions of the classes, rounded so that the sum is exact."""
    import torch

    members = _per_class(labels, generator)
    shares = _rounded([size * len(each) / len(labels) for each in members], size)
    return torch.cat([each[:share] for each, share in zip(members, shares, strict=True)]).sort().values


def _checked(split: Split, there: int) -> Split:
    """The same split. Raises `DataError` when a part that is needed is empty."""
    if not len(split.train) or not len(split.validation):
        raise DataError(
            f"{there} tiles are too few to learn from some and be judged on others. Use a set with more tiles."
        )
    return split


def make_split(
    labels: "Tensor",
    *,
    seed: int,
    train_fraction: float = 0.75,
    tiles: int | None = None,
    stratified: bool = False,
    sealed_test: bool = False,
) -> Split:
    """Divide tiles with `labels` [N] at random: the same parts for the same seed.

    Not stratified is the tutorial's way: one shuffle of all tiles, 75 % and 25 % (20,250 and 6,750 of
    27,000); stratified divides every class so. tiles: take only so many, drawn evenly from the classes.
    sealed_test: first take a fifth of every class away, the same whatever `tiles` is, for `Split.test`.
    Raises `DataError` when the training or the validation part would be empty.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    numbers, test = torch.arange(len(labels)), _none()
    if sealed_test:
        test = _balanced_subset(labels, round(len(labels) * TEST_FRACTION), generator)
        sealed = torch.zeros(len(labels), dtype=torch.bool)
        sealed[test] = True
        numbers = numbers[~sealed]
    if tiles is not None and tiles < len(numbers):
        numbers = numbers[_balanced_subset(labels[numbers], tiles, generator)]
    if stratified:
        groups = [numbers[each] for each in _per_class(labels[numbers], generator)]
    else:
        groups = [numbers[torch.randperm(len(numbers), generator=generator)]]
    cuts = _rounded([len(each) * train_fraction for each in groups], int(len(numbers) * train_fraction))
    train = torch.cat([group[:cut] for group, cut in zip(groups, cuts, strict=True)])
    validation = torch.cat([group[cut:] for group, cut in zip(groups, cuts, strict=True)])
    return _checked(Split(train, validation.sort().values, test), len(labels))


def make_place_split(
    labels: "Tensor", parts: "Tensor", *, seed: int, tiles: int | None = None, sealed_test: bool = False
) -> Split:
    """Divide tiles with `labels` [N] by where they lie: `parts` [N] holds 0 train, 1 validation, 2 test, -1 neither.

    Which tile is in which part does not depend on the seed. tiles: take only so many of the first two together, in
    their proportion and drawn evenly from the classes: this is what the seed decides. Raises `DataError` when the
    training or the validation part would be empty.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    train, validation, test = (torch.nonzero(parts == number).flatten() for number in range(3))
    there = len(train) + len(validation)
    if tiles is not None and tiles < there:
        sizes = _rounded([tiles * len(train) / there, tiles * len(validation) / there], tiles)
        train, validation = (
            part[_balanced_subset(labels[part], size, generator)]
            for part, size in zip((train, validation), sizes, strict=True)
        )
    return _checked(Split(train, validation, test if sealed_test else _none()), len(labels))


PARTS = tuple(PLACE_LISTS)  # train, val, test: the numbers 0, 1 and 2 of `parts_of`
ABSENT = -1

_FOLDER = "spatial"
_INSIDE = (Path("eurosat", "spatial"), Path("spatial"), Path())  # where a given folder may keep the lists


def has_lists(cache: Path) -> bool:
    """Whether the three lists lie in this cache."""
    return _lie_in(cache / _FOLDER)


def download_lists(cache: Path, stop: threading.Event | None = None, beside: str | None = None) -> None:
    """Fetch the lists that are missing. Raises `DataError` with a sentence.

    beside: the address of a mirror's archive; the lists are then expected in the same folder there.
    """
    for remote in PLACE_LISTS.values():
        if beside is not None:
            remote = replace(remote, url=f"{beside.rpartition('/')[0]}/{remote.name}")
        download(remote, cache / _FOLDER, stop=stop)


def import_lists(place: Path, cache: Path) -> None:
    """Take over the lists from a folder, or from the usual places in it.

    Raises `DataError` when they are not there, or are not the published ones.
    """
    folder = folder_with_lists(place)
    if folder is None:
        names = ", ".join(remote.name for remote in PLACE_LISTS.values())
        raise DataError(
            f"The lists of the split by place were not found under {place}. Name the folder that holds {names}."
        )
    contents = {}
    for remote in PLACE_LISTS.values():
        path = folder / remote.name
        try:
            contents[remote.name] = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}. Give yourself permission.") from error
        found = hashlib.md5(contents[remote.name], usedforsecurity=False).hexdigest()
        if found != remote.checksum:
            raise DataError(
                f"{path} is not the published list (MD5 {found}, expected {remote.checksum}). Fetch it again with "
                "`prepare`, or copy it from where it is right."
            )
    partial = cache / _FOLDER / f"{secrets.token_hex(4)}.new"  # its own name: another process may be at it too
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            partial.write_bytes(content)
            partial.replace(cache / _FOLDER / name)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise DataError(not_kept("The lists", cache / _FOLDER, error)) from error


def adopt_lists(place: Path, cache: Path) -> str:
    """Take over lists that lie beside the tiles, if there are any and the cache has none.

    Returns what is wrong with them, as a sentence; empty when nothing is.
    """
    if has_lists(cache) or folder_with_lists(place) is None:
        return ""
    try:
        import_lists(place, cache)
    except DataError as error:
        return str(error)
    return ""


def folder_with_lists(place: Path) -> Path | None:
    """The folder that holds the three lists: this one, or one of the usual places in it; None when there is none."""
    return next((place / inside for inside in _INSIDE if _lie_in(place / inside)), None)


def _lie_in(folder: Path) -> bool:
    # Path.is_file raises for a folder that may not be entered, and for a name that is too long.
    return all(os.path.isfile(folder / remote.name) for remote in PLACE_LISTS.values())  # noqa: PTH113


def parts_of(names: tuple[str, ...], cache: Path) -> npt.NDArray[np.int8]:
    """The part of each tile [N] (`Class/picture.jpg`): 0 train, 1 val, 2 test, -1 for a tile in no list.

    Raises `DataError` when the lists are not in this cache, or know none of the tiles.
    """
    part_of: dict[str, int] = {}
    for number, remote in enumerate(PLACE_LISTS.values()):
        try:
            lines = (cache / _FOLDER / remote.name).read_text(encoding="utf-8").split()
        except (OSError, ValueError) as error:
            raise DataError(
                "The lists of the split by place are not on this machine. Fetch them on the Tiles page or with "
                "`python -m eurosat_core prepare`, or choose the random split."
            ) from error
        part_of.update((Path(line).stem, number) for line in lines)
    parts = np.array([part_of.get(Path(name).stem, ABSENT) for name in names], dtype=np.int8)
    if not (parts == 0).any() or not (parts == 1).any():
        raise DataError(
            "The split by place knows EuroSAT’s own tiles by their names, and these are others. Choose the random "
            "split."
        )
    return parts
