import json
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eurosat_core.errors import RunError
from eurosat_core.training.events import (
    EpochDone,
    Event,
    Finished,
    Started,
    StepDone,
    event_from_dict,
    event_to_dict,
)

real = st.floats(allow_nan=False, allow_infinity=False)
whole = st.integers(1, 2**63)
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


@given(events)
def test_events_survive_json(event: Event) -> None:
    line = json.dumps(event_to_dict(event), allow_nan=False)
    assert event_from_dict(json.loads(line)) == event


def test_kinds_differ() -> None:
    assert [each.kind for each in (Started, StepDone, EpochDone, Finished)] == [
        "started",
        "step",
        "epoch",
        "finished",
    ]


def test_figures_that_are_missing_are_left_out() -> None:
    step = StepDone("train", 1, 2, 0.5)
    assert not step.reported
    assert event_to_dict(step) == {"kind": "step", "phase": "train", "epoch": 1, "step": 2, "seconds": 0.5}
    assert StepDone("train", 1, 2, 0.5, loss=0.0).reported


def test_events_cannot_be_changed() -> None:
    event = Finished(1, 2.0, 0.5, 0.9)
    with pytest.raises(FrozenInstanceError):
        event.epochs = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"kind": "party"},
        {"kind": ["step"]},
        {"kind": "finished"},
        {"kind": "finished", "epochs": 1, "seconds": 1, "val_loss": 1, "val_accuracy": 1, "more": 1},
        {"epochs": 1},
        [],
        7,
        None,
        ["ab", "cd"],
        "text",
    ],
)
def test_what_is_no_event_is_told(values: Any) -> None:
    with pytest.raises(RunError, match="not an event of a run"):
        event_from_dict(values)
