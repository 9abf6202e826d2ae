"""What a tile's nearest training tiles are, and how many validation tiles have a near-duplicate among them.

Part of the interactive lane: on the server's CPU, in turns and on one thread with all that looks into networks
(`inspection`). The features are those of a transfer, of the bundled backbone or what a run's own last layer gets, and
must be there: a run computes them, never the server. What they come to is worked out once for everybody, in pieces of a
fraction of a second, and kept: 14 MB for a set of tiles.
"""

import json
import threading
import time
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from cachetools import LRUCache
from torch import Tensor, nn

from eurosat_core.data.batches import normalize
from eurosat_core.data.pictures import Pixels
from eurosat_core.data.splits import make_place_split, make_split
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import RunError
from eurosat_core.lab.inspection import Inspector
from eurosat_core.models.last_layer import own_features
from eurosat_core.models.pretrained import staged_part
from eurosat_core.runs.store import RunStore
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.evaluation import predictions_from_bytes
from eurosat_core.training.few_labels import form_of
from eurosat_core.training.frozen import FeatureForm, known_features
from eurosat_core.training.near_duplicates import (
    Neighbours,
    Space,
    find_space,
    joined,
    limits,
    nearest,
    nearest_of,
    placed,
)
from eurosat_core.training.network import make_network, preprocessing_for
from eurosat_core.training.transfer import TransferPlan, own_config, transfer_config

COUNT = 5
"""Nearest training tiles that are shown of one tile."""

_TURN_SECONDS = 0.002  # for others who wait for the lane
_SETS_KEPT, _SPLITS_KEPT = 4, 16  # a split's neighbours: 20 bytes a tile
_NAMES_KEPT = 64

Parts = npt.NDArray[np.int8]
"""Of the split by place [N], as `data.splits.parts_of` gives them."""
Piece = TypeVar("Piece")


@dataclass(frozen=True)
class Judged:
    """The validation tiles of one split, or of a run, and their nearest training tiles.

    tiles, nearest: numbers [n]; similarity: [n]; near: bool [n], which are near-duplicates, or None where nothing says
    what such a tile is. right: bool [n], which a run named rightly; None of a split alone. train_tiles: how many.
    """

    tiles: Tensor
    nearest: Tensor
    similarity: Tensor
    near: Tensor | None
    train_tiles: int
    right: Tensor | None = None

    @property
    def share(self) -> float | None:
        """How much of the validation part has a near-duplicate among the training tiles."""
        return None if self.near is None else float(self.near.float().mean())


@dataclass(frozen=True)
class OneTile:
    """The nearest training tiles of one tile: numbers, cosines, and whether the first is a near-duplicate.

    near: None where nothing says what such a tile is.
    """

    numbers: tuple[int, ...]
    similarity: tuple[float, ...]
    near: bool | None


@dataclass(frozen=True)
class _Set:
    """Unit vectors [N, D] of all tiles in their space, and above what similarity [classes] two are near-duplicates."""

    space: Space
    places: Tensor
    limits: Tensor | None


def kept_features(
    config: TrainConfig, tiles: TileSet, form: FeatureForm, numbers: Tensor | None = None
) -> Tensor | None:
    """What runs kept of these tiles [N, F], memory-mapped; None while not all of them are there.

    On whatever device they were computed: what is alike stays alike. numbers: of the tiles that are needed.
    """
    needed = slice(None) if numbers is None else numbers.numpy()
    for device in ("cpu", "cuda", "mps"):
        found = known_features(replace(config, device=device), tiles, form)
        if found is not None and isinstance(found[0], np.memmap) and found[1][needed].all():
            values = found[0]  # mapped anew, for PyTorch wants no array that is only to be read
            mapped = torch.from_file(str(values.filename), size=values.size, dtype=torch.float32)
            return mapped.view(values.shape)
    return None


class LeakLens:
    """Looks for neighbours. May be called from any thread. cache: the folder of downloaded weights."""

    def __init__(self, store: RunStore, inspector: Inspector, cache: Path) -> None:
        self._store = store
        self._inspector = inspector
        self._cache = cache
        self._lock = threading.RLock()  # one works for all, and the others find what it found
        self._sets: LRUCache[tuple[str, str, Hashable], _Set] = LRUCache(_SETS_KEPT)
        self._judged: LRUCache[Hashable, Judged] = LRUCache(_SPLITS_KEPT)
        self._names: LRUCache[Hashable, str] = LRUCache(_NAMES_KEPT)
        self._network: nn.Module | None = None

    # -- features: of the bundled backbone, or a run's own where `own` names it

    def request(self, own: str = "", device: str = "cpu") -> tuple[TrainConfig, TransferPlan]:
        """What leaves the features behind: a transfer that learns nothing.

        own: a run, for what its network's last layer gets. Raises `LabError` where it left no network.
        """
        if not own:
            return transfer_config(device=device), TransferPlan(learns=False)
        plan = TransferPlan(learns=False, stages=False, run=own, weights=self._name_of(own))
        return own_config(self._store.get(own).config, device), plan

    def _name_of(self, run_id: str) -> str:
        """Names a run's weights."""
        with self._lock:
            version = self._inspector.version(run_id)
            if version not in self._names:
                self._names[version] = blake2b(self._store.load(run_id, "model.pt"), digest_size=12).hexdigest()
            return self._names[version]

    def _kept(self, tiles: TileSet, own: str) -> Tensor | None:
        config, plan = self.request(own)
        return kept_features(config, tiles, form_of(plan), torch.cat(self._parts_of(own)) if own else None)

    def is_ready(self, tiles: TileSet, own: str = "") -> bool:
        """Whether the features have been computed: of all tiles, or of those of a run. Raises as `request` does."""
        if any(key[:2] == (tiles.fingerprint, own) for key in tuple(self._sets)):
            return True
        return self._kept(tiles, own) is not None

    # -- asking

    def split(self, tiles: TileSet, parts: Parts | None, name: str, seed: int) -> Judged:
        """The validation part of a split that seals a test part, so that both splits are of the same sizes.

        parts: None where tiles cannot be split by place. name: random or place. Raises `RunError` without features, or
        when the lane is taken for too long.
        """
        with self._lock:
            found = self._set(tiles, parts)
            key = (tiles.fingerprint, parts is not None, name, seed)
            if key not in self._judged:
                if name == "place" and parts is not None:
                    divided = make_place_split(tiles.labels, torch.from_numpy(parts), seed=seed, sealed_test=True)
                else:
                    divided = make_split(tiles.labels, seed=seed, sealed_test=True)
                self._judged[key] = self._judge(found, tiles, divided.train, divided.validation)
            return self._judged[key]

    def run(self, tiles: TileSet, parts: Parts | None, run_id: str, *, own: bool = False) -> Judged:
        """The validation part of a run's own split, and what the run named rightly. Raises `RunError`, too, without it.

        own: by its own features; they say nothing about near-duplicates, for they make all of a class alike. The test
        part of the run is not looked at.
        """
        record = self._store.get(run_id)
        if record.tiles.fingerprint != tiles.fingerprint:
            raise RunError("This run was trained on other tiles than those that are open here.")
        with self._lock:
            found = self._set(tiles, parts, run_id if own else "")
            key = (tiles.fingerprint, parts is not None, own, self._inspector.version(run_id))
            if key not in self._judged:
                noted = predictions_from_bytes(self._store.load(run_id, "predictions.npz"))
                right = noted.true == noted.predicted
                self._judged[key] = self._judge(found, tiles, self._parts_of(run_id)[0], noted.tiles, right)
            return self._judged[key]

    def one(self, tiles: TileSet, parts: Parts | None, run_id: str, pixels: Pixels, *, own: bool = False) -> OneTile:
        """The nearest training tiles of a run for a tile [64, 64, 3], of the set or not. Raises `RunError`.

        That very tile is left out where the run was trained on it. own: by the run's own features.
        """
        with self._lock:
            found = self._set(tiles, parts, run_id if own else "")
            training = self._parts_of(run_id)[0]
            place = self._place(found, tiles, pixels, run_id if own else "")
        with self._inspector.alone():
            seen = nearest_of(place, found.places, training, COUNT + 1)
        pairs = list(zip(seen.numbers.tolist(), seen.similarity.tolist(), strict=True))
        others = [(at, how) for at, how in pairs if (tiles.array[at] != pixels).any()][:COUNT]
        near = None
        if found.limits is not None and others:
            near = others[0][1] > float(found.limits[tiles.labels[others[0][0]]])
        return OneTile(tuple(at for at, _ in others), tuple(how for _, how in others), near)

    # -- working it out

    def _parts_of(self, run_id: str) -> list[Tensor]:
        """The training and the validation tiles of a run [m], [n]. Raises `RunError` where it did not note them."""
        try:
            noted = json.loads(self._store.load(run_id, "split.json"))
            return [torch.tensor(noted[part], dtype=torch.int64).sort().values for part in ("train", "validation")]
        except (ValueError, TypeError, KeyError):
            raise RunError(f"Which tiles the run {run_id} was trained on is not noted.") from None

    def _set(self, tiles: TileSet, parts: Parts | None, own: str = "") -> _Set:
        key = (tiles.fingerprint, own, self._inspector.version(own) if own else parts is not None)
        if key not in self._sets:
            features = self._kept(tiles, own)
            if features is None:
                raise RunError("The features of these tiles have not been computed yet.")
            used = torch.cat(self._parts_of(own)) if own else torch.arange(len(tiles))
            *_, space = self._in_turns(find_space(features, used))
            assert space is not None
            places = torch.cat(self._in_turns(placed(space, features)))  # of tiles that are not used, too: of zeros
            most = None if parts is None or own else self._limits(tiles, parts, places)
            self._sets[key] = _Set(space, places, most)
        return self._sets[key]

    def _limits(self, tiles: TileSet, parts: Parts, places: Tensor) -> Tensor | None:
        """From tiles of the test list to those of the training list; no class of the former is looked at."""
        training, far = (torch.from_numpy(np.flatnonzero(parts == part)) for part in (0, 2))
        if not len(training) or not len(far):
            return None
        seen = joined(self._in_turns(nearest(places, far, training)))
        return limits(seen.similarity[:, 0], tiles.labels[seen.numbers[:, 0]], len(tiles.class_names))

    def _judge(
        self, found: _Set, tiles: TileSet, training: Tensor, queries: Tensor, right: Tensor | None = None
    ) -> Judged:
        seen: Neighbours = joined(self._in_turns(nearest(found.places, queries, training)))
        numbers, similarity = seen.numbers[:, 0], seen.similarity[:, 0]
        near = None if found.limits is None else similarity > found.limits[tiles.labels[numbers]]
        return Judged(queries, numbers, similarity, near, len(training), right)

    def _place(self, found: _Set, tiles: TileSet, pixels: Pixels, own: str) -> Tensor:
        """Where a tile lies [D]: its features are computed here, for it may be of no set."""
        config, _ = self.request(own)
        batch = normalize(torch.tensor(pixels)[None], preprocessing_for(config.model, not own, config.input_side))
        if own:
            with self._inspector.borrowed(own) as network, torch.inference_mode():
                return found.space.place(own_features(network, batch))[0].clone()
        with self._inspector.alone(), torch.inference_mode():
            if self._network is None:
                made = make_network(config, len(tiles.class_names), self._cache).eval()
                self._network = made.to(memory_format=torch.channels_last)
            return found.space.place(staged_part(self._network, batch))[0].clone()

    def _in_turns(self, pieces: Iterator[Piece]) -> list[Piece]:
        """All pieces of some work; between two of them others have the lane."""
        found: list[Piece] = []
        is_done = False
        while not is_done:
            with self._inspector.alone():
                before = len(found)
                found.extend(islice(pieces, 1))
                is_done = len(found) == before
            time.sleep(_TURN_SECONDS)
        return found
