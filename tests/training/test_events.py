"""Events of all kinds of runs as lines of JSON, and what is refused as one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eurosat_core.errors import RunError
from eurosat_core.runs.history import encoded_event, line_of, read_event
from eurosat_core.training.events import EpochDone, Event, Finished, Started, StepDone

real = st.floats(allow_nan=False, allow_infinity=False)
whole = st.integers(1, 2**53 - 1)
events = st.one_of(
    st.builds(Started, *[whole] * 7, device=st.text(max_size=10), threads=whole),
    st.builds(
        StepDone,
        phase=st.sampled_from(["train", "validation"]),
        epoch=whole,
        step=whole,
        seconds=real,
        loss=st.none() | real,
        accuracy=st.none() | real,
        tiles_per_second=st.none() | real,
        memory_bytes=st.none() | whole,
    ),
    st.builds(EpochDone, whole, *[real] * 9),
    st.builds(Finished, whole, *[real] * 3),
)


@given(events, real)
def test_events_survive_json(event: Event, at: float) -> None:
    assert read_event(encoded_event(event)) == (event, None)
    assert read_event(line_of(encoded_event(event), at)) == (event, at)


def test_figures_that_are_missing_are_left_out() -> None:
    step = StepDone("train", 1, 2, 0.5)
    assert not step.reported
    assert json.loads(encoded_event(step)) == {"kind": "step", "phase": "train", "epoch": 1, "step": 2, "seconds": 0.5}
    assert StepDone("train", 1, 2, 0.5, loss=0.0).reported


FINISHED = {"kind": "finished", "epochs": 1, "seconds": 1, "val_loss": 1, "val_accuracy": 1}


@pytest.mark.parametrize(
    ("entry", "values"),
    [
        ("kind", ["party", ["finished"], None]),
        ("epochs", [0, -1, 1.5, True, "1", None, 10**400]),
        ("val_loss", [float("nan"), float("inf"), True, "1", None, [1]]),
        ("at", [float("nan"), float("inf"), True, "noon", [1]]),
    ],
)
def test_an_entry_that_cannot_be_drawn_makes_no_event(entry: str, values: list[object]) -> None:
    assert read_event(json.dumps(FINISHED).encode()) == (Finished(1, 1.0, 1.0, 1.0), None)
    for value in values:
        with pytest.raises(RunError):
            read_event(json.dumps({**FINISHED, entry: value}).encode())


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b'{"epochs": 1}',
        b'{"kind": "finished"}',
        b'{"kind": "epoch", "epoch": 1e999}',
        b"[]",
        b"7",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"kind": "' + b"\xff" + b'"}',
        b'{"kind": "trace", "cycle": 1, "file": "\\ud800", "size_bytes": 1, "seconds": 1}',
        b'{"more": ' + b"[" * 100_000,
    ],
)
def test_what_is_no_event_is_told(line: bytes) -> None:
    with pytest.raises(RunError):
        read_event(line)


def test_unknown_entries_are_ignored() -> None:
    assert read_event(json.dumps({**FINISHED, "more": [1]}).encode()) == (Finished(1, 1.0, 1.0, 1.0), None)
