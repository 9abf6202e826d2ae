"""The sealed test part: scored when a training ends, looked at once, and marked as opened from then on.

The more often decisions follow a look at the same tiles, the less these say about tiles nobody has seen. So the
figure is kept in an envelope (`test.npz`) that a participant opens on purpose, and every opening is counted.
"""

import math
import time
from collections.abc import Iterable

from eurosat_core.errors import RunError
from eurosat_core.finding import Finding
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.store import RunStore
from eurosat_core.training.evaluation import Evaluation, evaluate_predictions, predictions_from_bytes

_FILE = "test.npz"


def has_sealed_test(store: RunStore, record: RunRecord) -> bool:
    """Whether the run has a test part that nobody has looked at yet."""
    return record.test_opened is None and (store.folder_of(record.id) / _FILE).exists()


def sealed_tiles(store: RunStore, run_id: str) -> int:
    """How many tiles the test part has; says nothing of how the network did. Raises `RunError` without one."""
    return len(predictions_from_bytes(store.load(run_id, _FILE)))


def open_test(store: RunStore, run_id: str) -> Evaluation:
    """What the run's network said about its test part; from now on the run is marked as opened.

    Raises `RunError` when the run has no test part, or when it cannot be noted that it was opened.
    """
    record = store.get(run_id)
    if not (store.folder_of(run_id) / _FILE).exists():
        raise RunError(
            f"The run {run_id} kept no sealed test part. Train again with *Sealed test part* on (`--sealed-test`)."
        )
    evaluation = _evaluation(store, record)
    if record.test_opened is None:
        summary = {**record.summary, "test_accuracy": evaluation.accuracy}
        try:
            store.update(run_id, test_opened=time.time(), summary=summary)
        except OSError as error:
            raise RunError(
                f"That it was opened cannot be noted in {store.folder} ({error.strerror or error}), so it stays sealed."
            ) from error
    return evaluation


def opened_test(store: RunStore, record: RunRecord) -> Evaluation | None:
    """What was said about a test part that has been opened; None while it is sealed, or when there is none."""
    return _evaluation(store, record) if record.test_opened is not None else None


def _evaluation(store: RunStore, record: RunRecord) -> Evaluation:
    predictions = predictions_from_bytes(store.load(record.id, _FILE))
    return evaluate_predictions(predictions.true, predictions.predicted, record.tiles.class_names)


def earlier_openings(records: Iterable[RunRecord], record: RunRecord) -> int:
    """How many other runs had been scored on the same test part when this one was opened, or until now."""
    before = record.test_opened if record.test_opened is not None else float("inf")
    return sum(
        each.id != record.id
        and each.test_opened is not None
        and each.test_opened < before
        and _part(each) == _part(record)
        for each in records
    )


def against_validation(record: RunRecord, test: Evaluation, looks: int) -> Finding:
    """The opened figure beside the one that choices were made by.

    looks: how many other runs had been scored on the same tiles before.
    """
    validation = float(record.summary.get("val_accuracy", 0.0))
    tiles = int(record.summary.get("val_tiles", 0))
    # Two standard errors of the difference of two shares.
    doubt = 2 * math.sqrt(
        sum(share * (1 - share) / max(count, 1) for share, count in ((test.accuracy, test.tiles), (validation, tiles)))
    )
    gap = validation - test.accuracy
    kind = "same" if abs(gap) <= doubt else "less" if gap > 0 else "more"
    figures = {"tiles": test.tiles, "accuracy": test.accuracy, "validation": validation, "gap": gap}
    return Finding(f"sealed.{kind}", figures, (Finding("sealed.looks", {"looks": looks}),) if looks else ())


def _part(record: RunRecord) -> tuple[str, str, int | None]:
    """Which tiles the test part holds: by place always the same ones, at random those that the seed drew."""
    config = record.config
    return record.tiles.fingerprint, config.split, config.seed if config.split == "random" else None
