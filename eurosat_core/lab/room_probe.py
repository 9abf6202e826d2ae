"""The class is the training set: a linear probe learns from the tiles that the room named.

Part of the interactive lane: on the server's CPU, in turns and on one thread with all that looks into networks
(`inspection`). EfficientNet-Lite0's features of the tiles are computed in short batches, each once, and kept in memory.
"""

import threading
import time
from collections.abc import Hashable, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from cachetools import LRUCache
from torch import Tensor, nn

from eurosat_core.data.batches import normalize
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.data.weights import weights_problem
from eurosat_core.lab.inspection import Inspector
from eurosat_core.models.catalog import model_entry
from eurosat_core.models.pretrained import frozen_part
from eurosat_core.runs.game import held_out
from eurosat_core.runs.guesses import Guess
from eurosat_core.runs.room_labels import Learned, Point, counts_on_curve, usable
from eurosat_core.training.config import recipe_config
from eurosat_core.training.linear_probe import fit
from eurosat_core.training.network import make_network, preprocessing_for

_MODEL = "efficientnet_lite0"
_BATCH = 32  # tiles, about a sixth of a second on one busy core
_TURN_SECONDS = 0.002  # for others who wait for the lane
_POINTS_KEPT = 64


class RoomProbe:
    """Learns from the room's guesses. May be called from any thread. cache: the folder of downloaded weights."""

    def __init__(self, inspector: Inspector, cache: Path) -> None:
        self._inspector = inspector
        self._cache = cache
        self._lock = threading.RLock()
        self._network: nn.Module | None = None
        self._fingerprint = ""
        self._features: dict[int, Tensor] = {}  # 5 KB each, of those wanted last
        self._points: LRUCache[Hashable, Point] = LRUCache(_POINTS_KEPT)

    def learn(self, tiles: TileSet, guesses: Sequence[Guess], seconds: float) -> Learned:
        """The learning curve of these guesses on `tiles`, in their order; guesses on held-out tiles are left out.

        It works for about so many seconds: features first, then points of the curve. The rest waits for the next call.
        Raises `RunError` when the lane is taken for too long.
        """
        problem = weights_problem(model_entry(_MODEL).weights, self._cache)
        judged = held_out(tiles).tolist()
        if not problem and not judged:
            problem = f"{len(tiles):,} tiles are too few to keep some from the games. Use a larger set."
        if problem:
            return Learned(problem=problem)
        used = usable(guesses, tiles, set(judged))
        if not used:
            return Learned(held_out=len(judged))
        ends = time.monotonic() + seconds
        with self._lock:
            if self._fingerprint != tiles.fingerprint:
                self._fingerprint = tiles.fingerprint
                self._features.clear()
                self._points.clear()
            wanted = list(dict.fromkeys([*judged, *(each.tile for each in used)]))
            self._compute(tiles, wanted, ends)
            ready = sum(each in self._features for each in wanted)
            points: list[Point] = []
            for count in counts_on_curve(len(used)) if ready == len(wanted) else ():
                points.append(self._point(tiles, used[:count], judged))
                if time.monotonic() >= ends:
                    break
            for tile in self._features.keys() - set(wanted):
                del self._features[tile]
        return Learned(tuple(points), len(judged), ready, len(wanted))

    def _compute(self, tiles: TileSet, wanted: Sequence[int], ends: float) -> None:
        missing = torch.tensor([each for each in wanted if each not in self._features], dtype=torch.int64)
        for numbers in missing.split(_BATCH) if len(missing) else ():
            with self._inspector.alone(), torch.inference_mode():
                network = self._frozen(len(tiles.class_names))
                batch = normalize(tiles.pixels[numbers], preprocessing_for(_MODEL, channels_last=True))
                values = frozen_part(network, batch).numpy().copy()
            for tile, row in zip(numbers.tolist(), values, strict=True):
                self._features[tile] = torch.from_numpy(row)
            if time.monotonic() >= ends:
                return
            time.sleep(_TURN_SECONDS)

    def _frozen(self, classes: int) -> nn.Module:
        if self._network is None:
            network = make_network(recipe_config(_MODEL, "fast"), classes, self._cache).eval()
            self._network = network.to(memory_format=torch.channels_last)
        return self._network

    def _point(self, tiles: TileSet, used: Sequence[Guess], judged: Sequence[int]) -> Point:
        pairs = np.array([(each.tile, each.guessed) for each in used])
        key = blake2b(pairs.tobytes(), digest_size=16).digest()
        if key not in self._points:
            self._points[key] = self._judge(tiles, torch.from_numpy(pairs), torch.tensor(judged))
        return self._points[key]

    def _judge(self, tiles: TileSet, pairs: Tensor, judged: Tensor) -> Point:
        learned, seen = (torch.stack([self._features[at] for at in rows.tolist()]) for rows in (pairs[:, 0], judged))
        right = []
        for labels in (pairs[:, 1], tiles.labels[pairs[:, 0]]):
            with self._inspector.alone():
                probe = fit(learned, labels, len(tiles.class_names))
            right.append(probe.predict(seen) == tiles.labels[judged])
        room, truth = right
        only_room, only_truth = int((room & ~truth).sum()), int((truth & ~room).sum())
        return Point(len(pairs), float(room.float().mean()), float(truth.float().mean()), only_room, only_truth)
