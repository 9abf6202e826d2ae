"""What runs have left behind, and how far they are: everything that can be told without workers."""

import threading

from eurosat_core.data.tiles import TileSet
from eurosat_core.errors import RunError
from eurosat_core.lab.game import evaluate_guesses
from eurosat_core.lab.guesses import GuessBook
from eurosat_core.lab.history import History, HistoryReader
from eurosat_core.lab.library import TileLibrary
from eurosat_core.lab.run_record import RunRecord
from eurosat_core.lab.runs import RunStore
from eurosat_core.lab.sealed import earlier_openings, has_sealed_test, open_test, opened_test, sealed_tiles
from eurosat_core.lab.train_job import predictions_from_bytes
from eurosat_core.training.evaluation import Evaluation, Predictions, evaluate_predictions

__all__ = ["Results"]

_READERS_KEPT = 200


class Results:
    """The reading half of the lab. All methods may be called from any thread."""

    def __init__(self, store: RunStore, guess_book: GuessBook, library: TileLibrary) -> None:
        self.store = store
        self.library = library
        self._guess_book = guess_book
        self._readers: dict[str, HistoryReader] = {}
        self._readers_lock = threading.Lock()

    def runs(self) -> tuple[list[RunRecord], list[str]]:
        """All runs, newest first, and a sentence for each run folder that cannot be used."""
        return self.store.all()

    def run(self, run_id: str) -> RunRecord:
        """One run. Raises `RunError` when there is none of that name."""
        return self.store.get(run_id)

    def history(self, run_id: str) -> History:
        """What a run has told so far; one reader serves all sessions."""
        with self._readers_lock:
            reader = self._readers.get(run_id)
            if reader is None:
                reader = HistoryReader(self.store.folder_of(run_id) / "events.jsonl")
                self._readers[run_id] = reader
                while len(self._readers) > _READERS_KEPT:
                    self._readers.pop(next(iter(self._readers)))
        return reader.read()

    def owned(self, run_id: str, owner: str) -> RunRecord:
        """A run of the asker's. Raises `RunError` when it belongs to another."""
        record = self.store.get(run_id)
        if record.owner != owner:
            raise RunError(f"This run belongs to {record.owner}; only {record.owner} can stop or delete it.")
        return record

    def forget(self, run_id: str) -> None:
        """Let go of what is kept in memory of a deleted run."""
        with self._readers_lock:
            self._readers.pop(run_id, None)

    def open_test(self, run_id: str, owner: str) -> Evaluation:
        """Look at a run's sealed test part. Raises `RunError` when it is not the asker's or has none."""
        return open_test(self.store, self.owned(run_id, owner).id)

    def test_evaluation(self, run_id: str) -> Evaluation | None:
        """Accuracy and confusions on the test part once it was opened, else None."""
        return opened_test(self.store, self.store.get(run_id))

    def has_sealed_test(self, run_id: str) -> bool:
        """Whether the run has a test part that nobody has looked at yet."""
        return has_sealed_test(self.store, self.store.get(run_id))

    def sealed_tiles(self, run_id: str) -> int:
        """How many tiles a run's test part has."""
        return sealed_tiles(self.store, run_id)

    def earlier_openings(self, run_id: str) -> int:
        """How many other runs had been scored on the same test part before this one."""
        return earlier_openings(self.store.all()[0], self.store.get(run_id))

    def evaluation(self, run_id: str) -> Evaluation | None:
        """Accuracy and confusions of a run's last complete epoch; None when it has none."""
        predictions = self.predictions(run_id)
        if predictions is None:
            return None
        return evaluate_predictions(predictions.true, predictions.predicted, self.store.get(run_id).tiles.class_names)

    def predictions(self, run_id: str) -> Predictions | None:
        """What a run said about its validation tiles; None when it has none (or they are damaged)."""
        try:
            return predictions_from_bytes(self.store.load(run_id, "predictions.npz"))
        except RunError:
            return None

    def file(self, run_id: str, name: str) -> bytes:
        """Something a run left behind: `model.pt`, `trace_1.json.gz`, … Raises `RunError` when it has none of it."""
        return self.store.load(run_id, name)

    def file_size(self, run_id: str, name: str) -> int | None:
        """How many bytes such a file has; None when the run left none of that name."""
        return self.store.size(run_id, name)

    def tiles_of(self, record: RunRecord) -> TileSet | None:
        """The tiles a run was made with, if they are the lab's."""
        tile_set = self.library.tile_set
        return tile_set if tile_set and tile_set.fingerprint == record.tiles.fingerprint else None

    # -- the game

    def add_guess(self, owner: str, tiles: TileSet, tile: int, guessed: int, seconds: float) -> None:
        """Note what a participant took a tile for (its number in `tiles`, the label said) and how long that took."""
        self._guess_book.add(owner, tiles.fingerprint, tile, int(tiles.labels[tile]), guessed, seconds)

    def guesses(self, owner: str, tiles: TileSet | None = None) -> Evaluation | None:
        """Accuracy and confusions of a participant's newest guesses on `tiles` (the lab's); None without any."""
        tiles = tiles or self.library.tile_set
        if tiles is None:
            return None
        return evaluate_guesses(self._guess_book.of(owner, tiles.fingerprint), tiles.class_names)

    def guessed_tiles(self, owner: str, true: int, guessed: int) -> list[int]:
        """The lab's tiles of one class that a participant took for another (labels), newest first, each once."""
        tiles = self.library.tile_set
        if tiles is None:
            return []
        found = [
            each.tile
            for each in reversed(self._guess_book.of(owner, tiles.fingerprint))
            if (each.true, each.guessed) == (true, guessed) and each.tile < len(tiles)
        ]
        return list(dict.fromkeys(found))
