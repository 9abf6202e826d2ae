"""What trained networks answer: to one tile, to a picture cut into many, and where in a tile they looked.

Part of the interactive lane: on the server's CPU, one at a time and on one thread with all that looks into networks
(`inspection`). Many tiles are asked about in batches of a fraction of a second; in between, others have their turn.
"""

import json
import math
import threading
import time
from collections.abc import Hashable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import numpy as np
import torch
from cachetools import LRUCache, cachedmethod

from eurosat_core.data.batches import normalize
from eurosat_core.data.pictures import METRES_PER_PIXEL, Pixels, Values
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.data.uploads import STRETCHES, Cut, cut, read_picture
from eurosat_core.errors import RunError
from eurosat_core.lab.inspection import Inspector
from eurosat_core.lab.messages import OWNER as COMMAND_LINE
from eurosat_core.models.recorded import RECORDED
from eurosat_core.models.saliency import Saliency, where_looked
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.sealed import has_sealed_test
from eurosat_core.runs.store import RunStore
from eurosat_core.training.evaluation import predictions_from_bytes
from eurosat_core.training.network import preprocessing_for, scores_of

Part = Literal["train", "validation", "test"]

_FIRST_BATCH, _LARGEST_BATCH = 8, 128
_BATCH_SECONDS = 0.25
_TURN_SECONDS = 0.002  # a lock does not hand itself on: who lets go of it and takes it at once starves the others
_KEPT = 256  # of each kind: answers to many tiles (40 KB a thousand), to single ones, and heat maps (16 KB each)
_SPLITS_KEPT = 16
_READ_AT_ONCE = 2  # large pictures take memory while they are read
_SAMPLE = 256  # tiles, at most, and
_SAMPLE_SECONDS = 2.0  # for how long a wrong answer is looked for where none is noted


@dataclass(frozen=True)
class Answers:
    """probabilities: [done, classes], of the first of `total` tiles; class_names: of the columns."""

    probabilities: Values
    class_names: tuple[str, ...]
    total: int

    @property
    def done(self) -> int:
        return len(self.probabilities)

    @property
    def is_complete(self) -> bool:
        return self.done == self.total


@dataclass(frozen=True)
class Wanted:
    """What is to be made of an uploaded picture.

    bands: of a file with more than three, which are red, green and blue (see `data.uploads`). stretch: one of
    `STRETCHES`. metres: what a pixel shows. whole: a picture too large is reduced, else its middle is taken.
    """

    bands: str = ""
    stretch: str = STRETCHES[0]
    metres: float = METRES_PER_PIXEL
    whole: bool = False


@dataclass(frozen=True)
class Prepared:
    """An uploaded picture laid out in tiles; width, height, bands, has_alpha: of the file."""

    cut: Cut
    width: int
    height: int
    bands: int
    has_alpha: bool = False

    @property
    def count(self) -> int:
        """How many tiles it has."""
        return self.cut.layout.rows * self.cut.layout.columns


class Predictor:
    """Asks the bundled network and those of a store's runs. May be called from any thread."""

    def __init__(self, store: RunStore, inspector: Inspector) -> None:
        self._store = store
        self._inspector = inspector
        self._guard = threading.Condition()  # of what is kept
        self._reading = threading.Semaphore(_READ_AT_ONCE)
        # Apart: a class asks about so many single tiles that a map of minutes would soon be pushed out.
        self._maps: LRUCache[Hashable, Answers] = LRUCache(_KEPT)
        self._answers: LRUCache[Hashable, Answers] = LRUCache(_KEPT)
        self._looked: LRUCache[Hashable, Saliency] = LRUCache(_KEPT)
        self._parts: LRUCache[str, dict[int, Part]] = LRUCache(_SPLITS_KEPT)

    def networks(self, owner: str, named: str = "") -> list[RunRecord]:
        """Runs with a network to ask: the participant's own, newest first; the command line's; and the one named."""
        found = [*self._inspector.trained(owner), *self._inspector.trained(COMMAND_LINE)]
        if named and named != RECORDED and named not in (each.id for each in found):
            record = self._store.get(named)
            found += [each for each in self._inspector.trained(record.owner) if each.id == named]
        return found

    def prepare(self, content: bytes, wanted: Wanted) -> Prepared:
        """An uploaded file laid out in tiles. Raises `DataError` with a sentence."""
        with self._reading:
            picture = read_picture(content, wanted.bands)
            made = cut(picture, wanted.stretch, wanted.metres, whole=wanted.whole)
            return Prepared(made, picture.width, picture.height, picture.bands, picture.has_alpha)

    # -- asking

    def ask(self, run_id: str, tiles: Pixels, seconds: float = math.inf) -> Answers:
        """What a network answers to tiles [n, 64, 64, 3]: goes on where it was left, for so many seconds at most.

        Raises `RunError` without a network, or when the lane is taken for too long.
        """
        key = self._key(run_id, tiles)
        known = self._so_far(key, run_id, len(tiles))
        ends, batch = time.monotonic() + seconds, _FIRST_BATCH
        while not known.is_complete:
            began = time.monotonic()
            more = self._probabilities(run_id, tiles[known.done : known.done + batch])
            now = time.monotonic()
            each = (now - began) / len(more)
            batch = min(max(int(_BATCH_SECONDS / max(each, 1e-6)), 1), _LARGEST_BATCH)
            known = Answers(np.concatenate([known.probabilities, more]), known.class_names, known.total)
            with self._guard:
                self._answers_to(len(tiles))[key] = known
            if now >= ends:
                break
            time.sleep(_TURN_SECONDS)
        return known

    def so_far(self, run_id: str, tiles: Pixels) -> Answers:
        """What is known already of a network's answers; nothing is computed. Raises `RunError` without a network."""
        return self._so_far(self._key(run_id, tiles), run_id, len(tiles))

    def answer(self, run_id: str, tile: Pixels) -> Values:
        """The probability of each class [classes] for one tile [64, 64, 3]. Raises `RunError`."""
        probabilities: Values = self.ask(run_id, tile[None]).probabilities[0]
        return probabilities

    @cachedmethod(
        lambda self: self._looked,
        key=lambda self, run_id, tile, label: (self._key(run_id, tile), label),
        condition=lambda self: self._guard,
    )
    def where(self, run_id: str, tile: Pixels, label: int) -> Saliency:
        """Where in a tile [64, 64, 3] a network finds what speaks for a class. Raises `RunError`."""
        with self._inspector.borrowed(run_id) as network:
            return where_looked(network, self._normalised(run_id, tile[None]), label)

    def _key(self, run_id: str, tiles: Pixels) -> Hashable:
        digest = blake2b(tiles.tobytes(), digest_size=16).digest()
        return self._inspector.version(run_id), tiles.shape, digest

    def _so_far(self, key: Hashable, run_id: str, total: int) -> Answers:
        with self._guard:
            known = self._answers_to(total).get(key)
        if known is not None:
            return known
        names = self._inspector.class_names(run_id)
        return Answers(np.empty((0, len(names)), dtype=np.float32), names, total)

    def _answers_to(self, total: int) -> "LRUCache[Hashable, Answers]":
        """Where answers to so many tiles are kept."""
        return self._maps if total > 1 else self._answers

    def _normalised(self, run_id: str, tiles: Pixels) -> torch.Tensor:
        config = self._inspector.config(run_id)
        pixels = torch.from_numpy(np.array(tiles))
        return normalize(pixels, preprocessing_for(config.model, bool(config.channels_last), config.input_side))

    def _probabilities(self, run_id: str, tiles: Pixels) -> Values:
        config = self._inspector.config(run_id)
        with self._inspector.borrowed(run_id) as network, torch.inference_mode():
            scores = scores_of(network, self._normalised(run_id, tiles), config.precision)
            probabilities: Values = scores.softmax(1).numpy()
        return probabilities

    # -- tiles of the lab's set

    def part_of(self, run_id: str, tiles: TileSet, number: int) -> Part | None:
        """The part of its split that a run had a tile in; None where that is not known, and for other tiles."""
        return self._split(run_id).get(number) if self._own(run_id, tiles) else None

    def is_sealed(self, run_id: str, tiles: TileSet, number: int) -> bool:
        """Whether a tile lies in a run's test part that nobody has opened: its answer must not be seen by chance."""
        return self.part_of(run_id, tiles, number) == "test" and has_sealed_test(self._store, self._store.get(run_id))

    def wrong(self, run_id: str, tiles: TileSet, seed: int = 0) -> list[int]:
        """Numbers of tiles that a network gets wrong, the ones it is surest of first. Raises `RunError`.

        Those that the run noted of its validation part; for other networks and other tiles, of a sample drawn by
        `seed`. Empty also where its classes are not the tiles'.
        """
        if tiles.class_names != self._inspector.class_names(run_id):
            return []
        if self._own(run_id, tiles):
            try:
                noted = predictions_from_bytes(self._store.load(run_id, "predictions.npz"))
            except RunError:
                pass
            else:
                missed = noted.true != noted.predicted
                order = noted.confidence[missed].argsort(descending=True, stable=True)
                chosen: list[int] = noted.tiles[missed][order].tolist()
                return chosen
        drawn = np.random.default_rng(seed).permutation(len(tiles))[:_SAMPLE]
        sample = np.array([each for each in drawn.tolist() if not self.is_sealed(run_id, tiles, each)], dtype=np.int64)
        answers = self.ask(run_id, tiles.array[sample], _SAMPLE_SECONDS)
        sure, said = answers.probabilities.max(1, initial=0), answers.probabilities.argmax(1)
        tried = sample[: answers.done]
        missing = np.flatnonzero(said != tiles.labels.numpy()[tried])
        return [int(tried[at]) for at in missing[np.argsort(-sure[missing], kind="stable")]]

    def _own(self, run_id: str, tiles: TileSet) -> bool:
        """Whether these are the tiles that a run was made with."""
        return run_id != RECORDED and self._store.get(run_id).tiles.fingerprint == tiles.fingerprint

    @cachedmethod(lambda self: self._parts, key=lambda self, run_id: run_id, condition=lambda self: self._guard)
    def _split(self, run_id: str) -> dict[int, Part]:
        """Tile number → part, as the run noted it; empty where it did not."""
        try:
            noted = json.loads(self._store.load(run_id, "split.json"))
            names: tuple[Part, ...] = ("train", "validation", "test")
            return {int(number): name for name in names for number in noted.get(name, ())}
        except (RunError, ValueError, TypeError, AttributeError):
            return {}
