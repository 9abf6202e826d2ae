"""Whose turn it is, a claim on a place in the line, and the book of runs that workers have."""

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import CONFIG, refused
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import RunError
from eurosat_core.lab.messages import Job, Slot
from eurosat_core.lab.queue import FairQueue, Move, Place, Running, RunningRuns, Waiting, claim, waiting_run
from eurosat_core.runs.record import RunRecord, TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.speed.plan import Cell, SweepPlan
from eurosat_core.training.config import TrainConfig

CPU = {"cpu"}
CPU_SLOT = Slot("cpu", "cpu")


def queue_of(*runs: Waiting, limit: int = 100, cores: int = 8, **limits: int) -> FairQueue:
    queue = FairQueue(limit, cores, **limits)
    for each in runs:
        queue.add(each)
    return queue


def run(name: str, owner: str = "ada", device: str = "cpu", seconds: float | None = None, measured: bool = False):
    return Waiting(name, owner, device, seconds, measured)


def on_card(name: str, cores: int, device: str = "cuda:0", *, measured: bool = True) -> Waiting:
    return Waiting(name, f"{name}s", device, None, measured, cores)


def names(queue: FairQueue) -> list[str]:
    return [each.run_id for each in queue.in_order()]


def served(queue: FairQueue) -> list[str]:
    """The order in which an always idle CPU takes the runs."""
    order = []
    while (following := queue.next_for(CPU, [])) is not None:
        order.append(following.run_id)
    return order


def test_participants_take_turns() -> None:
    queue = queue_of(run("a1"), run("a2"), run("a3"), run("b1", "bob"), run("b2", "bob"), run("c1", "cleo"))
    assert names(queue) == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert served(queue) == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert len(queue) == 0


@given(st.lists(st.one_of(st.sampled_from("abcd"), st.none()), max_size=60))
def test_nobody_is_served_twice_while_another_waits(moves: list[str | None]) -> None:
    """A letter: that participant adds a run; None: the CPU takes one."""
    queue = FairQueue(1000)
    order: list[str] = []
    shown: dict[str, int] = {}  # by owner who waits: how often each other was served since then
    since: dict[str, Counter[str]] = {}
    for number, owner in enumerate([*moves, *([None] * len(moves))]):
        if owner is not None:
            queue.add(run(f"{owner}{number}", owner))
            since.setdefault(owner, Counter())
            shown[owner] = shown.get(owner, 0) + 1
            continue
        promised = queue.in_order()
        taken = queue.next_for(CPU, [])
        if taken is None:
            assert not promised
            continue
        assert taken == promised[0]
        order.append(taken.run_id)
        shown[taken.owner] -= 1
        del since[taken.owner]
        for waiting in since.values():
            waiting[taken.owner] += 1
            assert waiting[taken.owner] < 2, f"{taken.owner} was served twice while another waited"
        if shown[taken.owner]:
            since[taken.owner] = Counter()
    assert len(order) == sum(each is not None for each in moves)
    for owner in "abcd":  # one's own runs keep their order
        own = [int(each[1:]) for each in order if each[0] == owner]
        assert own == sorted(own)


@given(st.lists(st.sampled_from("abc"), max_size=12))
def test_the_order_shown_is_the_order_served(owners: list[str]) -> None:
    queue = queue_of(*(run(f"{owner}{number}", owner) for number, owner in enumerate(owners)))
    shown = names(queue)
    places = [queue.place(each, []) for each in shown]
    assert [each.position for each in places if each] == list(range(1, len(owners) + 1))
    assert served(queue) == shown


def test_what_is_moved_comes_first_and_the_rest_stays_fair() -> None:
    queue = queue_of(run("a1"), run("a2"), run("b1", "bob"), run("c1", "cleo"))
    assert names(queue) == ["a1", "b1", "c1", "a2"]
    queue.move("a2", "first")
    assert names(queue) == ["a2", "b1", "c1", "a1"]  # ada's turn is taken
    queue.move("c1", "up")
    assert names(queue) == ["a2", "c1", "b1", "a1"]
    queue.move("a2", "down")
    assert names(queue) == ["c1", "a2", "b1", "a1"]
    queue.add(run("d1", "dora"))
    assert names(queue) == ["c1", "a2", "b1", "d1", "a1"]
    for name, to in (("c1", "up"), ("a1", "down"), ("c1", "first"), ("nobody", "first")):
        queue.move(name, to)  # type: ignore[arg-type]
    assert names(queue)[:2] == ["c1", "a2"]
    queue.remove("a2")
    assert served(queue) == ["c1", "b1", "a1", "d1"]


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["first", "up", "down"])), max_size=12))
def test_a_move_changes_the_order_as_it_says(moves: list[tuple[int, Move]]) -> None:
    queue = queue_of(*(run(f"{owner}{number}", owner) for owner in "abc" for number in (1, 2)))
    for at, to in moves:
        before = names(queue)
        queue.move(before[at], to)
        assert names(queue).index(before[at]) == {"first": 0, "up": max(at - 1, 0), "down": min(at + 1, 5)}[to]
        assert sorted(names(queue)) == sorted(before)
    order = names(queue)
    assert served(queue) == order


def test_a_held_line_starts_nothing_but_lets_return_what_had_begun() -> None:
    queue = queue_of(run("a"), run("b", "bob"))
    queue.held = True
    assert queue.next_for(CPU, []) is None
    assert queue.place("b", []) == Place(2, 2, None, "a")
    returning = run("r", "cleo")
    assert queue.next_for(CPU, [], [returning]) == returning
    queue.held = False
    assert served(queue) == ["a", "b"]


def test_a_participant_has_a_limit() -> None:
    queue = queue_of(run("a1"), run("a2"), run("b1", "bob"), limit=2)
    sentence = refused(lambda: queue.check_room("ada"))
    assert sentence.count("2") == 2
    queue.check_room("bob")
    queue.next_for(CPU, [])
    queue.check_room("ada")


def test_all_together_have_a_limit() -> None:
    queue = queue_of(run("a1"), run("b1", "bob"), in_all=2)
    sentence = refused(lambda: queue.check_room("cleo"))
    assert "2 runs are waiting" in sentence and "2 is the most" in sentence
    queue.next_for(CPU, [])
    queue.check_room("cleo")


def test_who_has_enough_at_work_lets_others_go_first() -> None:
    queue = queue_of(run("a1"), run("b1", "bob"), at_work=1)
    working = [run("a0", device="cuda:0", seconds=7.0)]
    place = queue.place("a1", working)
    assert place == Place(1, 2, 7.0, "a0", owner_is_busy=True)
    assert queue.next_for(CPU, working) == run("b1", "bob")
    assert queue.next_for(CPU, working) is None and "a1" in queue, "the device stays free for others"
    assert queue.next_for(CPU, working, [run("a2")]) is None, "nor does one return that was paused"
    assert queue.place("a1", []) == Place(1, 1, 0, None)
    assert queue.next_for(CPU, []) == run("a1")


def test_thirty_participants_are_served_round_after_round() -> None:
    """Each has three runs; the quick ones have put all of theirs in before the slow ones begin."""
    owners = [f"owner-{number}" for number in range(30)]
    queue = queue_of(*(run(f"{owner}/{number}", owner) for owner in owners for number in range(3)))
    places = {each: queue.place(f"{each}/0", []) for each in owners}
    assert sorted(each.position for each in places.values() if each) == list(range(1, 31))
    order = [each.split("/") for each in served(queue)]
    for number in range(3):
        one_round = order[30 * number : 30 * (number + 1)]
        assert sorted(owner for owner, _ in one_round) == sorted(owners)
        assert {each for _, each in one_round} == {str(number)}


def test_who_comes_last_of_thirty_waits_for_one_run_of_each() -> None:
    queue = queue_of(*(run(f"{owner}/{number}", f"owner-{owner}") for owner in range(29) for number in range(4)))
    for _ in range(29):
        queue.next_for(CPU, [])
    queue.add(run("late", "late"))
    assert queue.next_for(CPU, []) == run("late", "late"), "all others have had a turn"


def test_a_run_can_leave_the_line() -> None:
    queue = queue_of(run("a1"), run("a2"))
    queue.remove("a1")
    queue.remove("unknown")
    assert "a1" not in queue and "a2" in queue and names(queue) == ["a2"]


CPU_RUN, GPU_RUN, BACK = run("a1"), run("g1", "gil", "cuda:0"), run("a0")
MEASURED, MEASURED_BACK = run("m", "mia", measured=True), run("m1", measured=True)
ON_CPU, ON_GPU, MEASURED_ON_GPU = run("x"), run("y", device="cuda:0"), run("z", device="cuda:0", measured=True)


@pytest.mark.parametrize(
    ("line", "running", "returning", "following"),
    [
        ([CPU_RUN, GPU_RUN], [ON_CPU, ON_GPU], [], None),
        pytest.param([CPU_RUN, GPU_RUN], [ON_CPU], [], GPU_RUN, id="a busy device does not hold up another"),
        pytest.param([MEASURED, CPU_RUN], [ON_CPU], [], None, id="measured waits, and is not overtaken"),
        pytest.param([MEASURED, CPU_RUN], [ON_GPU], [], None, id="measured waits for other devices, too"),
        ([MEASURED, CPU_RUN], [], [], MEASURED),
        pytest.param([CPU_RUN], [MEASURED_ON_GPU], [], None, id="nothing starts beside a measured run"),
        pytest.param([], [MEASURED_ON_GPU], [BACK], None, id="nor returns"),
        pytest.param([GPU_RUN], [ON_CPU], [BACK], GPU_RUN, id="another device does not wait for one that returns"),
        pytest.param([CPU_RUN], [ON_GPU], [MEASURED_BACK, BACK], None, id="measured returns when nothing runs"),
        pytest.param([CPU_RUN, MEASURED], [], [MEASURED_BACK, BACK], MEASURED_BACK, id="and first"),
    ],
)
def test_what_is_next_on_a_machine_with_a_gpu(
    line: list[Waiting], running: list[Waiting], returning: list[Waiting], following: Waiting | None
) -> None:
    idle = {"cpu", "cuda:0"} - {each.device for each in running}
    assert queue_of(*line).next_for(idle, running, returning) == following


SIX, SEVEN = on_card("c6", 6, "cpu", measured=False), on_card("c7", 7, "cpu", measured=False)
TIMED, OTHER_CARD = on_card("t", 2), on_card("o", 1, "cuda:1", measured=False)


@pytest.mark.parametrize(
    ("line", "running", "following"),
    [
        pytest.param([SIX], [TIMED], SIX, id="others run on, on the cores that are left"),
        pytest.param([SEVEN, OTHER_CARD], [TIMED], OTHER_CARD, id="one that needs more of them waits"),
        pytest.param([TIMED], [SIX], TIMED, id="it starts beside others"),
        pytest.param([TIMED, OTHER_CARD], [SEVEN], None, id="or waits for its cores, and is not overtaken"),
        pytest.param([TIMED, SIX], [on_card("y", 1, measured=False)], SIX, id="who waits for a card holds up no other"),
        pytest.param([MEASURED, SIX], [TIMED], None, id="what is measured on the CPU has the machine alone"),
        pytest.param([on_card("t", 20)], [], on_card("t", 20), id="a small machine does what it can"),
    ],
)
def test_what_is_measured_on_a_card_reserves_that_and_its_cores(
    line: list[Waiting], running: list[Waiting], following: Waiting | None
) -> None:
    idle = {"cpu", "cuda:0", "cuda:1"} - {each.device for each in running}
    assert queue_of(*line).next_for(idle, running) == following


def test_a_place_counts_only_what_holds_it_up() -> None:
    queue = queue_of(SIX, SEVEN)
    assert queue.place("c6", [TIMED]) == Place(1, 2, 0)
    assert queue_of(SEVEN).place("c7", [TIMED]) == Place(1, 1, None, "t")


def test_what_a_run_needs() -> None:
    tiles = TilesUsed("f", "eurosat", "", 100, ("a", "b"))
    loader, card = replace(CONFIG, source="loader", workers=3), replace(CONFIG, device="cuda:0")

    def needs(config: TrainConfig, kind: str = "train", **plan: object) -> tuple[bool, int | None]:
        waiting = waiting_run(RunRecord("r", "ada", "queued", config, tiles, 1.0, kind, plan=plan), None, threads=6)
        return waiting.measured, waiting.cores

    assert needs(CONFIG) == needs(loader) == (False, 6)
    assert needs(card) == (False, 1) and needs(replace(loader, device="cuda:0")) == (False, 4)
    assert needs(card, alone=True) == needs(CONFIG, alone=True) == (True, None)
    cells = tuple(Cell(str(each), {"workers": each, "source": "loader"}) for each in (1, 5))
    assert needs(card, "sweep", **SweepPlan(cells).to_dict()) == (True, 6)
    assert needs(CONFIG, "sweep", **SweepPlan(cells).to_dict()) == (True, None)
    both = (*cells, Cell("1", {"device": "cpu"}))
    assert needs(card, "sweep", **SweepPlan(both).to_dict()) == (True, None)
    assert needs(card, "of another version") == (True, 1)


@pytest.mark.parametrize(
    ("line", "running", "places"),
    [
        (
            [run("a1", seconds=10), run("b1", "bob", seconds=20), run("g1", "gil", "cuda:0", seconds=99)],
            [run("x", seconds=5), run("y", device="cuda:0", seconds=7)],
            {"a1": Place(1, 3, 5, "x"), "b1": Place(2, 3, 15, "x"), "g1": Place(3, 3, 7, "y"), "x": None},
        ),
        ([run("a1"), run("a2")], [], {"a1": Place(1, 2, 0), "a2": Place(2, 2, None, "a1")}),
        ([run("a1"), run("a2")], [run("x")], {"a1": Place(1, 2, None, "x")}),
        (
            [run("m", "mia", "cuda:0", seconds=30, measured=True), run("b1", "bob", seconds=10)],
            [run("x", seconds=5)],
            {"m": Place(1, 2, 5, "x"), "b1": Place(2, 2, 35, "x")},
        ),
    ],
    ids=["adds up what is ahead on its device", "unknown length", "unknown length of what runs", "measured"],
)
def test_the_estimated_start(line: list[Waiting], running: list[Waiting], places: dict[str, Place | None]) -> None:
    queue = queue_of(*line)
    assert {run_id: queue.place(run_id, running) for run_id in places} == places


def test_a_run_that_returns_comes_before_the_line_and_takes_no_turn() -> None:
    queue = queue_of(run("a1"), run("b1", "bob"))
    back = run("a0")
    assert queue.next_for(set(), [run("x")], [back]) is None
    assert queue.next_for(CPU, [], [back]) == back
    assert queue.next_for(CPU, []) == run("a1"), "it is still ada's turn"


def test_a_measured_run_is_not_starved_by_those_who_keep_asking() -> None:
    queue = queue_of(run("a0"), run("m", "mia", measured=True))
    running: list[Waiting] = []
    for number in range(20):
        queue.add(run(f"b{number}", "bob", "cpu"))
        queue.add(run(f"c{number}", "cleo", "cuda:0"))
        idle = {"cpu", "cuda:0"} - {each.device for each in running}
        while (following := queue.next_for(idle, running)) is not None:
            if following.measured:
                return
            running.append(following)
            idle.discard(following.device)
        if running:
            running.pop(0)  # the one that has run for longest ends
    pytest.fail("it never started")


def test_a_claimed_run_is_running_and_locked_until_it_is_let_go(
    store: RunStore, used: TilesUsed, small_tiles: TileSet
) -> None:
    record = store.create(CONFIG, "ada", used, plan={"alone": True})
    claimed = claim(store, Waiting(record.id, "ada", "cpu"), small_tiles, threads=3)
    assert claimed is not None
    job, lock = claimed
    fingerprint, cache = small_tiles.fingerprint, str(small_tiles.cache)
    assert job == Job(record.id, CONFIG, fingerprint, cache, 3, "train", {"alone": True})
    assert store.get(record.id).state == "running" and store.get(record.id).started
    with pytest.raises(RunError, match="another process"):
        store.lock(record.id)
    lock.release()
    store.lock(record.id).release()


def test_a_run_that_ended_meanwhile_stays_as_it_is_and_is_not_locked(
    store: RunStore, used: TilesUsed, small_tiles: TileSet
) -> None:
    record = store.create(CONFIG, "ada", used)
    store.end(record.id, "cancelled", "It was stopped while it waited.")
    assert claim(store, Waiting(record.id, "ada", "cpu"), small_tiles, threads=1) is None
    assert store.get(record.id).state == "cancelled"
    store.lock(record.id).release()


def having(tmp_path: Path, *names: str, paused: float | None = None) -> RunningRuns:
    """A book with these runs on the CPU; paused: for so many seconds."""
    book = RunningRuns()
    for name in names:
        since = None if paused is None else time.monotonic() - paused
        book[name] = Running(Waiting(name, "ada", "cpu", 60.0), FileLock(tmp_path / name), CPU_SLOT, paused_since=since)
    return book


def test_a_run_paused_for_long_is_parked_and_returns_in_the_order_of_the_clicks(tmp_path: Path) -> None:
    book = having(tmp_path, "first", "second", paused=61.0) | having(tmp_path, "third", paused=59.0)
    book = RunningRuns(book)
    assert [[each.waiting.run_id for each in found] for found in book.park(60.0)] == [["first", "second"], []]
    assert book.at_work() == [book["third"]] and book.returning() == []
    book["second"].resumed, book["first"].resumed = 1.0, 2.0
    assert book.returning() == [book["second"], book["first"]]
    book["second"].parked = False  # it has its device, and is about to be told
    assert book.at_work() == [book["second"], book["third"]] and book["second"].is_returning


def test_only_so_many_parked_runs_are_kept_and_the_oldest_go_first(tmp_path: Path) -> None:
    book = having(tmp_path, *(f"run {number}" for number in range(10)), paused=61.0)
    assert [each.waiting.run_id for each in book.park(paused_seconds=60.0)[1]] == ["run 0", "run 1"]
    book["run 0"].stop()
    assert [each.waiting.run_id for each in book.park(paused_seconds=60.0)[1]] == ["run 1"]


def test_what_a_run_still_needs(tmp_path: Path) -> None:
    running = having(tmp_path, "first")["first"]
    assert running.still_needs(12.0).seconds == 12.0
    running.began -= 20.0
    assert running.still_needs(None).seconds == pytest.approx(40.0, abs=1.0)
    running.began -= 100.0
    assert running.still_needs(None).seconds == 0.0
    running.paused_since = 0.0
    assert running.still_needs(12.0).seconds is None
