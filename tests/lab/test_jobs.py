"""What a worker does with a training: its result, its commands, the weights it keeps, and what goes wrong."""

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from fake_engine import CONFIG, OpenFake, eventually

from eurosat_core.data.batches import MemorySource
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import ConfigError, TrainingError
from eurosat_core.lab import jobs
from eurosat_core.lab.jobs import Control, run_job
from eurosat_core.lab.kind import Kind
from eurosat_core.lab.messages import Command, Job, JobResult
from eurosat_core.lab.train import MAX_BYTES, epoch_file, kept_bytes, kept_problem
from eurosat_core.models.catalog import build_model
from eurosat_core.training import loop
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.evaluation import evaluate_predictions, predictions_from_bytes
from eurosat_core.training.events import EpochDone, Event, Finished, Started, StepDone
from eurosat_core.training.network import preprocessing_for
from eurosat_core.training.problems import DeviceError
from eurosat_core.training.sources import split_for

LONG = replace(CONFIG, epochs=200)
NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


def job_for(tiles: TileSet, config: TrainConfig = CONFIG, run_id: str = "a-run", **changes: Any) -> Job:
    return replace(Job(run_id, config, tiles.fingerprint, str(tiles.cache), threads=1), **changes)


def done(tiles: TileSet, config: TrainConfig = CONFIG, control: Control | None = None, **changes: Any) -> JobResult:
    """What a training brings back that nobody listens to; changes: to the job."""
    return run_job(job_for(tiles, config, **changes), lambda _events: None, control)


class Watched(Control):
    """Tells whether its run stands still."""

    still = False

    def wait(self, work: Kind) -> float:
        self.still = self._paused and not self._steps
        try:
            return super().wait(work)
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

    def say(self, name: Command) -> None:
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


@pytest.mark.processor
def test_predictions_sum_to_the_accuracy(finished_run: tuple[JobResult, list[Event]], small_tiles: TileSet) -> None:
    result, _ = finished_run
    predictions = predictions_from_bytes(result.files["predictions.npz"])
    evaluation = evaluate_predictions(predictions.true, predictions.predicted, small_tiles.class_names)
    assert evaluation.accuracy == pytest.approx(result.summary["val_accuracy"], abs=1e-12)
    assert torch.equal(predictions.true, small_tiles.labels[predictions.tiles])
    split = json.loads(result.files["split.json"])
    assert predictions.tiles.tolist() == split["validation"]
    assert sorted(split["train"] + split["validation"]) == list(range(len(small_tiles)))


@pytest.mark.processor
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


def test_a_stopped_run_keeps_the_epochs_it_did(small_tiles: TileSet) -> None:
    control = Control()
    events: list[Event] = []

    def report(told: list[Event]) -> None:
        events.extend(told)
        if sum(isinstance(each, EpochDone) for each in events) == 2:
            control.command("stop")

    result = run_job(job_for(small_tiles, replace(LONG, keep_epochs=True)), report, control)
    assert result.state == "cancelled" and "stopped" in result.message
    assert result.summary["epochs"] == 2 and not any(isinstance(each, Finished) for each in events)
    assert set(result.files) == {epoch_file(1), epoch_file(2), "model.pt", "predictions.npz", "split.json"}
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
    time.sleep(0.5)
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
    result = done(small_tiles, control=control)
    assert result.state == "cancelled"
    assert result.summary == {} and set(result.files) == {"split.json"}


# -- what goes wrong


@pytest.mark.parametrize(
    ("config", "changes", "words", "restart"),
    [
        (CONFIG, {"fingerprint": "another"}, "tiles", False),
        (replace(CONFIG, split="place"), {}, "lists", False),
        pytest.param(replace(CONFIG, device="cuda:0"), {}, "cuda:0", True, marks=NO_GPU),
    ],
)
def test_what_cannot_be_done_is_a_sentence(
    small_tiles: TileSet, config: TrainConfig, changes: dict[str, Any], words: str, restart: bool
) -> None:
    result = done(small_tiles, config, **changes)
    assert result.state == "failed" and words in result.message and result.restart_worker == restart
    assert not set(result.files) - {"split.json"}
    assert result.machine["device_name"] == config.device or config.device == "cpu"


@pytest.mark.processor
def test_a_loss_that_runs_away_is_a_sentence(small_tiles: TileSet) -> None:
    result = done(small_tiles, replace(CONFIG, learning_rate=10.0, momentum=0.99, epochs=30))
    assert result.state == "failed" and "learning rate" in result.message


def test_a_worker_elsewhere_looks_for_its_own_tiles(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EUROSAT_DATA", small_tiles.place)
    monkeypatch.setenv("EUROSAT_CACHE", str(small_tiles.cache.parent))
    assert done(small_tiles, replace(CONFIG, epochs=1), cache="").state == "finished"


@pytest.mark.parametrize(
    ("error", "words", "restart"),
    [
        (TrainingError("Try less."), "Try less.", False),
        (DeviceError("It vanished."), "It vanished.", True),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero", False),
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
    real = loop.train

    def failing(*arguments: Any) -> Any:
        for event in (training := real(*arguments)):
            yield event
            if isinstance(event, EpochDone):
                training.close()
                raise error

    monkeypatch.setattr(loop, "train", failing)
    events: list[Event] = []
    result = run_job(job_for(small_tiles), events.extend)
    assert result.state == "failed" and words in result.message and result.restart_worker == restart
    assert result.summary["epochs"] == 1 and {"model.pt", "predictions.npz"} <= set(result.files)
    unknown = not isinstance(error, TrainingError)
    assert ("Traceback" in caplog.text) == unknown, "the log has the details of what nobody foresaw"


def test_a_card_that_vanished_is_still_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def vanished(_device: str) -> str:
        raise AssertionError("Invalid device id")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", vanished)
    assert jobs._machine("cuda:3", 2)["device_name"] == "cuda:3"


def test_the_sealed_part_comes_back_in_a_file_of_its_own(small_tiles: TileSet) -> None:
    result = done(small_tiles, replace(CONFIG, sealed_test=True, epochs=1))
    parts = json.loads(result.files["split.json"])
    assert predictions_from_bytes(result.files["test.npz"]).tiles.tolist() == parts["test"]
    assert (result.summary["train_tiles"], result.summary["val_tiles"]) == (120, 40)
    assert "test_accuracy" not in result.summary


KEEPING = replace(CONFIG, keep_epochs=True)
LARGE = "conv 8 3; relu; flatten; linear 500; relu; linear out"  # 15.4 million parameters


def loaded(result: JobResult, name: str) -> dict[str, Any]:
    weights: dict[str, Any] = torch.load(io.BytesIO(result.files[name]), weights_only=True)
    return weights


def test_every_epoch_is_kept_and_the_last_is_the_network(small_tiles: TileSet) -> None:
    result = done(small_tiles, KEEPING)
    first, last, end = (loaded(result, name) for name in (epoch_file(1), epoch_file(2), "model.pt"))
    assert epoch_file(3) not in result.files
    assert all(torch.equal(last[name], end[name]) for name in end)
    assert not torch.equal(first["conv1.weight"], last["conv1.weight"])


def test_the_size_is_that_of_the_trained_parameters() -> None:
    assert kept_bytes(TrainConfig(epochs=10)) == 10 * 4 * 338_486
    assert kept_bytes(recipe_config("vgg11_bn", epochs=3)) == 3 * 4 * 40_970
    assert not kept_problem(TrainConfig(epochs=200, keep_epochs=True)), "the baseline fits at any length"


def test_a_huge_network_over_many_epochs_is_refused(open_fake: OpenFake) -> None:
    config = TrainConfig(model="custom", network=LARGE, epochs=20, keep_epochs=True, source="memory")
    most = MAX_BYTES // kept_bytes(replace(config, epochs=1))
    assert f"{most} epochs" in kept_problem(config)
    assert not kept_problem(replace(config, epochs=most))
    assert not kept_problem(replace(config, keep_epochs=False))
    lab, _ = open_fake()
    with pytest.raises(ConfigError, match=f"{most} epochs"):
        lab.submit(config, "ada")
