"""The leader board: what can be compared, and who is beaten by nobody."""

from dataclasses import replace

import pytest

from eurosat_core.analysis.leaders import Board, Entry, board, ranks
from eurosat_core.charts.leaders import leaders_chart, leaders_frame
from eurosat_core.runs.record import RunRecord, TilesUsed
from eurosat_core.training.config import workshop_config

TILES = TilesUsed("f", "eurosat", "here", 100, ("a", "b"))
CONFIG = workshop_config("baseline")


def run(owner: str, accuracy: float | None, seconds: float = 10.0, *, config=CONFIG, **more) -> RunRecord:
    summary = {"seconds": seconds} if accuracy is None else {"seconds": seconds, "val_accuracy": accuracy}
    given = {"state": "finished", "tiles": TILES, "created": 1e9, "summary": summary, **more}
    return RunRecord(f"{owner}-{accuracy}-{seconds}", owner, config=config, **given)


def entries(*points: tuple[float, float]) -> tuple[Entry, ...]:
    return tuple(Entry("p", str(at), "m", accuracy, cost, 1) for at, (accuracy, cost) in enumerate(points))


def parameters(_) -> int:
    return 338_486


def test_only_trainings_judged_on_the_same_tiles_are_compared():
    other = replace(CONFIG, seed=CONFIG.seed + 1)
    found = board(
        [
            run("ada", 0.7),
            run("bob", 0.6),
            run("cy", 0.9, config=other),
            run("cy", 0.8, tiles=replace(TILES, fingerprint="g")),
        ],
        parameters,
    )
    assert [(each.owner, each.accuracy) for each in found.entries] == [("ada", 0.7), ("bob", 0.6)]
    assert found.others == 2


@pytest.mark.parametrize(
    "left_out",
    [
        run("cy", None),
        run("cy", 0.9, state="running"),
        run("cy", 0.9, kind="profile"),
        run("cy", 0.9, recorded_on="elsewhere"),
        run("cy", 0.9, 0.0),
    ],
    ids=["not judged", "running", "profile", "recorded", "no time"],
)
def test_what_says_nothing_of_this_room_is_left_out(left_out: RunRecord):
    found = board([run("ada", 0.7), left_out], parameters)
    assert [each.owner for each in found.entries] == ["ada"]


def test_nobody_is_listed_twice_and_equal_ones_share_a_rank():
    found = board([run("ada", 0.1), run("ada", 0.8), run("bob", 0.8, 5.0), run("cy", 0.5)], parameters)
    best = found.best_of_each()
    assert [(each.owner, each.accuracy) for each in best] == [("bob", 0.8), ("ada", 0.8), ("cy", 0.5)]
    assert ranks(best) == (1, 1, 3)


def test_the_front_is_beaten_by_nobody():
    found = Board(entries((0.9, 100), (0.8, 50), (0.8, 60), (0.7, 70), (0.5, 1), (0.5, 1)))
    assert found.front("seconds") == {"0", "1", "4", "5"}


def test_an_empty_room_has_an_empty_board():
    assert board([], parameters) == Board()
    assert leaders_frame(Board(), "seconds", str).empty


def test_the_chart_reads_columns_that_exist():
    frame = leaders_frame(Board(entries((0.9, 100), (0.5, 200))), "seconds", lambda owner: owner.upper())
    assert list(frame["who"]) == ["P", "P"] and list(frame["front"]) == [True, False]
    spec = leaders_chart("seconds")
    fields = {
        channel["field"] for layer in spec["layer"] for channel in layer["encoding"].values() if "field" in channel
    }
    assert fields <= set(frame.columns)
