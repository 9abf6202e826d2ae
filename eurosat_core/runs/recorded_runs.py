"""Runs that came with the lab, recorded elsewhere.

They were trained on real tiles, so that there is something to compare before one's own. `assets/recorded/runs.zip` is
an ordinary bundle of three trainings that differ in nothing but the network. It was made on a machine with nothing else
to do, with EUROSAT_DATA naming real tiles, one training after the other:

    export EUROSAT_THREADS=1  # steadier than two on two cores: epochs differed by about a tenth
    for model in baseline efficientnet_lite0 tilenet; do
        python -m eurosat_core train --model $model --recipe tutorial --source memory --batch-size 64 \\
            --optimizer adam --learning-rate 0.001 --schedule cosine --epochs 5 --tiles 6000 --stratified
    done
    python -m eurosat_core bundle export RUN RUN RUN --to assets/recorded/runs.zip
"""

import hashlib
import logging
import threading
from pathlib import Path

from eurosat_core.errors import RunError
from eurosat_core.runs.bundles import import_bundle
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.store import RunStore

logger = logging.getLogger(__name__)


OWNER = "recorded"
"""To whom these runs belong, so that nobody deletes them."""


_BUNDLE = Path(__file__).parents[2] / "assets" / "recorded" / "runs.zip"


class RecordedRuns:
    """A store of its own for them, unpacked from the bundle when it is first asked for. For any thread.

    folder: where it is unpacked, such as the lab's cache; runs of another version of the bundle lie in another one.
    """

    def __init__(self, folder: Path, bundle: Path = _BUNDLE) -> None:
        self._folder = folder
        self._bundle = bundle
        self._lock = threading.Lock()
        self._store: RunStore | None = None
        self._problem = ""

    def all(self) -> tuple[list[RunRecord], str]:
        """The runs, newest first, and a sentence when there are none although there should be."""
        store = self.store()
        records = store.all()[0] if store is not None else []
        return records, self._problem

    def store(self) -> RunStore | None:
        """Where they lie; None when the bundle is missing, damaged, or cannot be unpacked."""
        with self._lock:
            if self._store is None and not self._problem:
                try:
                    self._store = self._unpacked()
                except (OSError, RunError) as error:
                    logger.warning("the recorded runs cannot be shown: %s", error)
                    self._problem = "The recorded runs that come with the lab cannot be read. Install the lab anew."
            return self._store

    def _unpacked(self) -> RunStore:
        digest = hashlib.sha256(self._bundle.read_bytes()).hexdigest()
        store = RunStore(self._folder / f"recorded-{digest[:12]}")
        if not store.all()[0]:  # a bundle arrives as a whole or not at all
            try:
                import_bundle(store, self._bundle, owner=OWNER)
            except RunError:
                if not store.all()[0]:  # else another server unpacked it at the same moment
                    raise
        return store
