import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from fake_engine import CONFIG, eventually

from eurosat_core.data.batches import MemorySource
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import TrainingError
from eurosat_core.lab import jobs
from eurosat_core.lab import train as train_job
from eurosat_core.lab.jobs import Control, Job, JobResult, run_job
from eurosat_core.models.catalog import build_model
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.evaluation import evaluate_predictions, predictions_from_bytes
from eurosat_core.training.events import EpochDone, Event, Finished, Started, StepDone
from eurosat_core.training.network import preprocessing_for
from eurosat_core.training.problems import DeviceError
from eurosat_core.training.sources import split_for

LONG = replace(CONFIG, epochs=200)


def job_for(tiles: TileSet, config: TrainConfig = CONFIG, run_id: str = "a-run", **changes: Any) -> Job:
    return replace(Job(run_id, config, tiles.fingerprint, str(tiles.cache), threads=1), **changes)


class Watched(Control):
    """Tells whether its run stands still."""

    still = False

    def wait(self) -> float:
        self.still = self._paused and not self._steps
        try:
            return super().wait()
        finally:
            self.still = False


class Session:
    """A job in a thread, its events as they come, and how to command it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.events: list[Event] = []
        self.result: JobResult | None = None
        self.control = Watched()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        self.result = run_job(self.job, self.events.extend, self.control)

    def say(self, name: jobs.Command) -> None:
        eventually(lambda: jobs.command(self.job.run_id, name))

    def steps(self) -> list[StepDone]:
        return [each for each in self.events if isinstance(each, StepDone)]

    def pause(self) -> None:
        """Pause, and wait until the run stands still."""
        self.say("pause")
        eventually(lambda: self.control.still)

    def step(self) -> StepDone:
        """Ask for one step, and wait until it is done."""
        before = len(self.steps())
        self.say("step")
        eventually(lambda: len(self.steps()) > before and self.control.still)
        (told,) = self.steps()[before:]
        return told

    def end(self) -> JobResult:
        self._thread.join(60)
        assert self.result is not None
        return self.result


@pytest.fixture
def session() -> Iterator[Callable[[Job], Session]]:
    opened: list[Session] = []

    def open_one(job: Job) -> Session:
        opened.append(Session(job))
        return opened[-1]

    yield open_one
    for each in opened:
        if jobs.command(each.job.run_id, "stop"):
            each.end()


@pytest.fixture(scope="module")
def finished_run(small_tiles: TileSet) -> tuple[JobResult, list[Event]]:
    events: list[Event] = []
    return run_job(job_for(small_tiles), events.extend), events


# -- what a finished run brings back


def test_a_run_goes_through(finished_run: tuple[JobResult, list[Event]]) -> None:
    result, events = finished_run
    assert (result.state, result.message, result.restart_worker) == ("finished", "", False)
    assert result.events == len(events)
    assert isinstance(events[0], Started) and isinstance(events[-1], Finished)
    assert sum(isinstance(each, EpochDone) for each in events) == 2
    assert all(each.reported for each in events if isinstance(each, StepDone))
    assert set(result.files) == {"model.pt", "predictions.npz", "split.json"}


def test_the_figures_are_those_of_the_last_epoch(finished_run: tuple[JobResult, list[Event]]) -> None:
    result, events = finished_run
    last = [each for each in events if isinstance(each, EpochDone)][-1]
    assert result.summary["epochs"] == 2
    assert result.summary["val_accuracy"] == last.val_accuracy
    assert result.summary["train_loss"] == last.train_loss
    assert result.summary["seconds"] >= last.elapsed_seconds
    assert json.loads(json.dumps(result.summary)) == result.summary
    noted = {"device_name", "threads", "torch", "python", "system", "eurosat_lab"}
    assert noted <= set(result.machine) <= noted | {"busy_elsewhere"}


def test_predictions_sum_to_the_accuracy(finished_run: tuple[JobResult, list[Event]], small_tiles: TileSet) -> None:
    result, _ = finished_run
    predictions = predictions_from_bytes(result.files["predictions.npz"])
    judged = evaluate_predictions(predictions.true, predictions.predicted, small_tiles.class_names)
    assert judged.accuracy == pytest.approx(result.summary["val_accuracy"], abs=1e-12)
    assert torch.equal(predictions.true, small_tiles.labels[predictions.tiles])
    split = json.loads(result.files["split.json"])
    assert predictions.tiles.tolist() == split["validation"]
    assert sorted(split["train"] + split["validation"]) == list(range(len(small_tiles)))


def test_the_stored_weights_give_the_stored_predictions(
    finished_run: tuple[JobResult, list[Event]], small_tiles: TileSet
) -> None:
    result, _ = finished_run
    network = build_model("baseline", 4)
    network.load_state_dict(torch.load(io.BytesIO(result.files["model.pt"]), weights_only=True))
    network.eval()
    source = MemorySource(
        small_tiles,
        split_for(CONFIG, small_tiles),
        torch.device("cpu"),
        preprocessing_for("baseline", channels_last=True),
        batch_size=20,
        seed=CONFIG.seed,
    )
    with torch.no_grad():
        said = torch.cat([network(batch.tiles) for batch in source.validation()]).softmax(1)
    predictions = predictions_from_bytes(result.files["predictions.npz"])
    assert torch.equal(said.argmax(1), predictions.predicted)
    assert torch.allclose(said.max(1).values, predictions.confidence, atol=1e-4)


# -- being commanded


def test_a_stopped_run_keeps_its_last_epoch(small_tiles: TileSet, session: Callable[[Job], Session]) -> None:
    running = session(job_for(small_tiles, LONG))
    eventually(lambda: any(isinstance(each, EpochDone) for each in running.events))
    running.say("stop")
    result = running.end()
    assert result.state == "cancelled" and "stopped" in result.message
    assert result.summary["epochs"] >= 1 and "model.pt" in result.files
    assert not isinstance(running.events[-1], Finished)
    assert not jobs.command("a-run", "stop"), "an ended run takes no commands"


def test_one_step_is_one_batch_also_over_the_end_of_an_epoch(
    small_tiles: TileSet, session: Callable[[Job], Session]
) -> None:
    running = session(job_for(small_tiles, replace(LONG, batch_size=50)))  # 3 steps, and 1 of validation
    eventually(lambda: running.events)
    running.pause()
    told = [running.step() for _ in range(9)]
    places = [(each.epoch, {"train": 0, "validation": 1}[each.phase], each.step) for each in told]
    order = [(epoch, *place) for epoch in range(1, 60) for place in ((0, 1), (0, 2), (0, 3), (1, 1))]
    first = order.index(places[0])
    assert places == order[first : first + 9]
    assert all(each.reported for each in told), "who steps by hand sees the figures of each step"
    before = len(running.steps())
    running.say("resume")
    eventually(lambda: len(running.steps()) > before)


def test_pauses_are_not_counted(small_tiles: TileSet, session: Callable[[Job], Session]) -> None:
    began = time.perf_counter()
    running = session(job_for(small_tiles, replace(CONFIG, epochs=10)))
    eventually(lambda: running.events)
    running.pause()
    assert running.result is None, "it was paused before its end"
    at = time.perf_counter()
    time.sleep(1.0)
    asleep = time.perf_counter() - at
    running.say("resume")
    result = running.end()
    assert result.state == "finished"
    assert result.summary["seconds"] < time.perf_counter() - began - asleep
    assert all(each.seconds < result.summary["seconds"] for each in running.steps())


def test_a_paused_run_can_be_stopped(small_tiles: TileSet, session: Callable[[Job], Session]) -> None:
    running = session(job_for(small_tiles, LONG))
    eventually(lambda: running.events)
    running.pause()
    running.say("stop")
    assert running.end().state == "cancelled"


def test_stop_before_the_first_step(small_tiles: TileSet) -> None:
    control = Control()
    control.command("stop")
    result = run_job(job_for(small_tiles), lambda _events: None, control)
    assert result.state == "cancelled" and result.events == 0
    assert result.summary == {} and set(result.files) == {"split.json"}


def test_a_run_that_is_not_here_takes_no_command() -> None:
    assert not jobs.command("unknown", "pause")


# -- what goes wrong


def test_other_tiles_than_asked_for(small_tiles: TileSet) -> None:
    result = run_job(job_for(small_tiles, fingerprint="another"), lambda _events: None)
    assert result.state == "failed" and "tiles have changed" in result.message
    assert result.files == {} and result.events == 0 and not result.restart_worker


def test_a_worker_elsewhere_looks_for_its_own_tiles(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EUROSAT_DATA", small_tiles.place)
    monkeypatch.setenv("EUROSAT_CACHE", str(small_tiles.cache.parent))
    job = job_for(small_tiles, replace(CONFIG, epochs=1), cache="/not/on/this/machine")
    assert run_job(job, lambda _events: None).state == "finished"


def failing_after(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let a training fail after its first epoch."""
    real = train_job.train

    def train(*arguments: Any) -> Any:
        for event in (events := real(*arguments)):
            yield event
            if isinstance(event, EpochDone):
                events.close()
                raise error

    monkeypatch.setattr(train_job, "train", train)


@pytest.mark.parametrize(
    ("error", "words", "restart"),
    [
        (TrainingError("The memory is full. Try less."), "The memory is full. Try less.", False),
        (DeviceError("The device vanished."), "The device vanished.", True),
        (ZeroDivisionError("division by zero"), "inside the lab: ZeroDivisionError: division by zero", False),
    ],
)
def test_a_failure_is_a_sentence_and_keeps_the_last_epoch(
    small_tiles: TileSet,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    words: str,
    restart: bool,
) -> None:
    failing_after(monkeypatch, error)
    events: list[Event] = []
    result = run_job(job_for(small_tiles), events.extend)
    assert result.state == "failed" and words in result.message and result.restart_worker == restart
    assert result.summary["epochs"] == 1 and {"model.pt", "predictions.npz"} <= set(result.files)
    assert result.events == len(events)
    unknown = not isinstance(error, TrainingError)
    assert ("Traceback" in caplog.text) == unknown, "the log has the details of what nobody foresaw"


def test_a_loss_that_runs_away_is_a_sentence(small_tiles: TileSet) -> None:
    config = replace(CONFIG, learning_rate=10.0, momentum=0.99, epochs=30)
    result = run_job(job_for(small_tiles, config), lambda _events: None)
    assert result.state == "failed" and "learning rate" in result.message


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_device_that_is_not_there_is_a_sentence_and_a_fresh_worker(small_tiles: TileSet) -> None:
    result = run_job(job_for(small_tiles, replace(CONFIG, device="cuda:0")), lambda _events: None)
    assert result.state == "failed" and "cuda:0" in result.message and result.restart_worker
    assert result.machine["device_name"] == "cuda:0"


def test_a_card_that_vanished_is_still_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def vanished(_device: str) -> str:
        raise AssertionError("Invalid device id")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", vanished)
    assert jobs._machine("cuda:3", 2)["device_name"] == "cuda:3"


def test_tiles_that_cannot_be_split_so_fail_with_the_sentence(small_tiles: TileSet) -> None:
    result = run_job(job_for(small_tiles, replace(CONFIG, split="place")), lambda _events: None)
    assert result.state == "failed" and "lists of the split by place" in result.message
    assert result.files == {}


def test_the_sealed_part_comes_back_in_a_file_of_its_own(small_tiles: TileSet) -> None:
    result = run_job(job_for(small_tiles, replace(CONFIG, sealed_test=True, epochs=1)), lambda _events: None)
    parts = json.loads(result.files["split.json"])
    assert predictions_from_bytes(result.files["test.npz"]).tiles.tolist() == parts["test"]
    assert (result.summary["train_tiles"], result.summary["val_tiles"]) == (120, 40)
    assert "test_accuracy" not in result.summary
