"""Whose memory it was: on pieces that can be added up in the head, and recorded here against PyTorch's own counts."""

import pytest
from trace_makers import host, memory, step, text

from eurosat_core.analysis.profile import owners_finding
from eurosat_core.profiling.memory_parts import OWNERS, memory_parts
from eurosat_core.profiling.plan import ProfilePlan, profile_config
from eurosat_core.profiling.record import record
from eurosat_core.profiling.trace import HELD, read_trace

NOTES = [
    {"parameters": [["cpu", 1, 100]], "optimizer": [], "gradients": [["cpu", 4, 100]]},
    {"parameters": [["cpu", 1, 100]], "optimizer": [["cpu", 5, 100]], "gradients": []},
]
EVENTS = [
    step(0, 0, 100),
    host("eurosat.forward", 10, 30, "user_annotation"),
    host("eurosat.backward", 40, 30, "user_annotation"),
    host("eurosat.update", 70, 20, "user_annotation"),
]


def piece(at, size, address):
    return {**memory(at, size), "args": {**memory(at, size)["args"], "Addr": address}}


def test_each_piece_has_its_owner():
    events = [
        *EVENTS,
        piece(5, 7, 2),  # the batch
        piece(15, 50, 3),  # kept for the gradients
        piece(20, 9, 4),  # for a moment, where a gradient will lie
        piece(21, -9, 4),
        piece(50, 100, 4),
        piece(60, -50, 3),
        piece(75, 100, 5),
        piece(80, -100, 4),
        piece(95, -7, 2),
    ]
    found = memory_parts(read_trace(text(events, **{HELD: NOTES})))[0]
    assert dict(zip(OWNERS, found.used.max(axis=0).tolist(), strict=True)) == {
        "parameters": 100,
        "optimizer": 100,
        "gradients": 100,
        "activations": 50,
        "other": 16,
    }
    assert (found.device, found.peak_us) == ("cpu", 75)
    assert found.at_peak == {"parameters": 100, "optimizer": 100, "gradients": 100, "activations": 0, "other": 7}
    assert found.used[-1].tolist() == [100, 100, 0, 0, 0]
    assert owners_finding(found).kind in ("parameters", "optimizer", "gradients")


@pytest.mark.parametrize("held", [None, [], [{}], "x", [{"parameters": [["cpu"]], "optimizer": 1, "gradients": 2}]])
def test_what_no_recording_of_ours_wrote_tells_nothing(held):
    assert memory_parts(read_trace(text([*EVENTS, piece(5, 7, 2)], **{HELD: held}))) == ()


def test_of_a_gpu_what_was_there_before_is_in_its_total():
    gone = {**memory(30, -40, 860, kind=1, index=0)}
    gone["args"]["Addr"] = 77
    first = {**memory(20, 50, 900, kind=1, index=0)}
    first["args"]["Addr"] = 3
    notes = [{name: [["cuda:0", *rest] for _, *rest in pieces] for name, pieces in note.items()} for note in NOTES]
    found = memory_parts(read_trace(text([*EVENTS, first, gone], **{HELD: notes})))[0]
    assert found.used.tolist() == [[100, 100, 0, 50, 650], [100, 100, 0, 50, 610]]


def test_recorded_here(small_tiles):
    kept = []
    config = profile_config("baseline", source="memory", batch_size=8, optimizer="adam", learning_rate=0.001)
    plan = ProfilePlan(wait=0, warmup=0, active=2, repeat=1, details=True)
    list(record(config, plan, small_tiles, kept.append))
    found = memory_parts(read_trace(kept[0].trace))[0]
    most = dict(zip(OWNERS, found.used.max(axis=0).tolist(), strict=True))
    size = 4 * (336_000 + 1_976)  # float32
    assert most["parameters"] == most["gradients"] == size
    assert most["optimizer"] == 2 * size + 10 * 4  # two means, and a count for each of ten parameters
    assert most["activations"] > 8 * 8 * 64 * 64 * 4  # the first convolution's output alone
    assert found.used[0][0] == size, "they were there before recording began"
