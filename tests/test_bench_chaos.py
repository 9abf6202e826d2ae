"""The benchmark that kills: what its witness finds in a store that has gone wrong, and five kills of a real server."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_engine import CONFIG, OpenFake, epoch_done, finished, started, step, trained

from bench import chaos
from bench.chaos import Witness, course_problems
from eurosat_core import cli
from eurosat_core.lab.lab import Lab
from eurosat_core.runs.record import RunRecord, TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.settings import Settings


@pytest.fixture
def done(open_fake: OpenFake) -> tuple[Lab, RunRecord]:
    lab, engine = open_fake()
    return lab, trained(lab, engine)


def witnessed(lab: Lab) -> Witness:
    witness = Witness(RunStore(lab.store.folder))
    witness.look()
    return witness


def test_a_store_that_is_as_it_should_be(done: tuple[Lab, RunRecord]) -> None:
    lab, run = done
    witness = witnessed(lab)
    witness.announced.add(run.id)
    witness.judge()
    assert witness.violations == [] and set(witness.ended) == {run.id}


def add_event(lab: Lab, run: RunRecord) -> None:
    lab.store.append(run.id, [step(1)])


def lose_the_network(lab: Lab, run: RunRecord) -> None:
    (lab.store.folder_of(run.id) / "model.pt").unlink()


def damage(lab: Lab, run: RunRecord) -> None:
    (lab.store.folder_of(run.id) / "run.json").write_text("{")


GONE_WRONG: dict[str, Callable[[Lab, RunRecord], Any]] = {
    "lost": lambda lab, run: lab.store.delete(run.id),
    "damaged": damage,
    "come to life": lambda lab, run: lab.store.update(run.id, state="running"),
    "another end": lambda lab, run: lab.store.update(run.id, state="failed"),
    "an event after its end": add_event,
    "a file lost": lose_the_network,
    "left half written": lambda lab, run: (lab.store.folder_of(run.id) / "model.pt.0a1b2c3d").touch(),
    "left half deleted": lambda lab, _: (lab.store.folder / ".deleted-x").mkdir(),
    "waits for ever": lambda lab, run: lab.store.create(CONFIG, "ada", run.tiles),
}


@pytest.mark.parametrize("case", GONE_WRONG)
def test_what_must_not_be_is_found(case: str, done: tuple[Lab, RunRecord]) -> None:
    lab, run = done
    witness = witnessed(lab)
    GONE_WRONG[case](lab, run)
    witness.judge()
    assert witness.violations


def test_a_run_that_was_announced_and_never_seen_is_lost(store: RunStore) -> None:
    witness = Witness(store, announced={"20260102-030405-baseline-00ff"})
    witness.look()
    assert len(witness.violations) == 1


@pytest.mark.parametrize(
    ("events", "problems"),
    [
        ([started(), step(1), step(2), epoch_done(1), step(1, 2), epoch_done(2), finished()], 0),
        ([started(), step(1), step(1), epoch_done(1), epoch_done(2), finished()], 1),
        ([started(), step(2), step(1), epoch_done(1), epoch_done(2), finished()], 1),
        ([started(), step(1), epoch_done(1), finished()], 1),
        ([started(), step(1), epoch_done(1), epoch_done(2)], 1),
        ([], 1),
    ],
    ids=["as it should be", "doubled", "out of order", "an epoch is missing", "no end", "nothing told"],
)
def test_the_course_of_a_finished_run(store: RunStore, used: TilesUsed, events: list[Any], problems: int) -> None:
    record = store.create(CONFIG, "ada", used)
    store.append(record.id, events)
    torch.save({}, store.folder_of(record.id) / "model.pt")
    ended = store.end(record.id, "finished", "")
    found = [each for each in course_problems(ended, store) if "cannot be used" not in each]
    assert len(found) == problems


def test_a_torn_line_is_for_an_interrupted_run_alone(store: RunStore, used: TilesUsed) -> None:
    record = store.create(CONFIG, "ada", used)
    store.append(record.id, [started()])
    with (store.folder_of(record.id) / "events.jsonl").open("ab") as file:
        file.write(b'{"at":1\n')
    assert list(course_problems(store.end(record.id, "interrupted", "The server was killed."), store)) == []
    assert list(course_problems(store.end(record.id, "cancelled", "It was stopped."), store))
    assert list(course_problems(store.end(record.id, "interrupted", ""), store)), "nothing says why"


def test_its_size_is_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "classroom", "--kills", "3"]) == cli.UNUSABLE
    assert cli.main(["bench", "chaos", "--kills", "0"]) == cli.UNUSABLE
    assert "--kills" in capsys.readouterr().err


@pytest.mark.engine
def test_five_kills_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of them as soon as the server is there; `bench chaos` does it fifty times, and lets it get on."""
    monkeypatch.setattr(chaos, "_AT_ONCE", 0.8)
    monkeypatch.setattr(chaos, "_MOST_CALLS", 12)
    found = chaos.run(Settings(tmp_path / "runs", tmp_path / "cache", threads=1), lambda _line: None, 5, 60.0, 4)
    rows = {each["name"]: each["median"] for each in found["rows"]}
    assert found["errors"] == [] and rows["what must not be"] == 0
    assert sum(rows[f"kills: {kind}"] for kind in ("worker", "server", "write")) >= 3
    assert rows["runs"] > 0 and rows["runs finished"] > 0
    assert not (tmp_path / "runs").exists(), "it has a store of its own"
    json.dumps(found)
