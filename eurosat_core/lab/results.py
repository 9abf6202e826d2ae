"""What runs have left behind, and how far they are; what participants said in the game of tiles."""

import threading

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import RunError
from eurosat_core.lab.library import TileLibrary
from eurosat_core.runs.game import evaluate_guesses
from eurosat_core.runs.guesses import GuessBook
from eurosat_core.runs.history import History, HistoryReader
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.store import RunStore
from eurosat_core.training.evaluation import Evaluation, Predictions, evaluate_predictions, predictions_from_bytes

_READERS_KEPT = 200


class Results:
    """What can be told without workers. All methods may be called from any thread."""

    def __init__(self, store: RunStore, library: TileLibrary) -> None:
        self._store = store
        self._library = library
        self._guess_book = GuessBook(store.folder / "guesses.jsonl")
        self._readers: dict[str, HistoryReader] = {}
        self._readers_lock = threading.Lock()

    def history(self, run_id: str) -> History:
        """What a run has told so far; one reader serves all sessions."""
        with self._readers_lock:
            reader = self._readers.get(run_id)
            if reader is None:
                reader = HistoryReader(self._store.folder_of(run_id) / "events.jsonl")
                self._readers[run_id] = reader
                while len(self._readers) > _READERS_KEPT:
                    self._readers.pop(next(iter(self._readers)))
        return reader.read()

    def owned(self, run_id: str, owner: str) -> RunRecord:
        """A run of the asker's. Raises `RunError` when it belongs to another."""
        record = self._store.get(run_id)
        if record.owner != owner:
            raise RunError(f"This run belongs to {record.owner}; only {record.owner} can stop or delete it.")
        return record

    def forget(self, run_id: str) -> None:
        """Let go of what is kept in memory of a deleted run."""
        with self._readers_lock:
            self._readers.pop(run_id, None)

    def evaluation(self, run_id: str) -> Evaluation | None:
        """Accuracy and confusions of a run's last complete epoch; None when it has none."""
        predictions = self.predictions(run_id)
        if predictions is None:
            return None
        return evaluate_predictions(predictions.true, predictions.predicted, self._store.get(run_id).tiles.class_names)

    def predictions(self, run_id: str) -> Predictions | None:
        """What a run said about its validation tiles; None when it has none (or they are damaged)."""
        try:
            return predictions_from_bytes(self._store.load(run_id, "predictions.npz"))
        except RunError:
            return None

    def tiles_of(self, record: RunRecord) -> TileSet | None:
        """The tiles a run was made with, if they are the lab's."""
        tile_set = self._library.tile_set
        return tile_set if tile_set and tile_set.fingerprint == record.tiles.fingerprint else None

    # -- the game

    def add_guess(self, owner: str, tiles: TileSet, tile: int, guessed: int, seconds: float) -> None:
        """Note what a participant took a tile for (its number in `tiles`, the label said) and how long that took."""
        self._guess_book.add(owner, tiles.fingerprint, tile, int(tiles.labels[tile]), guessed, seconds)

    def guesses(self, owner: str, tiles: TileSet | None = None) -> Evaluation | None:
        """Accuracy and confusions of a participant's newest guesses on `tiles` (the lab's); None without any."""
        tiles = tiles or self._library.tile_set
        if tiles is None:
            return None
        return evaluate_guesses(self._guess_book.of(owner, tiles.fingerprint), tiles.class_names)

    def guessed_tiles(self, owner: str, true: int, guessed: int) -> list[int]:
        """The lab's tiles of one class that a participant took for another (labels), newest first, each once."""
        tiles = self._library.tile_set
        if tiles is None:
            return []
        found = [
            each.tile
            for each in reversed(self._guess_book.of(owner, tiles.fingerprint))
            if (each.true, each.guessed) == (true, guessed) and each.tile < len(tiles)
        ]
        return list(dict.fromkeys(found))
