from collections import Counter

import pytest
from fake_engine import refused
from hypothesis import given
from hypothesis import strategies as st

from eurosat_core.lab.queue import FairQueue, Place, Waiting

CPU = {"cpu"}


def queue_of(*runs: Waiting, limit: int = 100) -> FairQueue:
    queue = FairQueue(limit)
    for each in runs:
        queue.add(each)
    return queue


def run(name: str, owner: str = "ada", device: str = "cpu", seconds: float | None = None, measured: bool = False):
    return Waiting(name, owner, device, seconds, measured)


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


def test_who_was_just_served_comes_after_who_was_not() -> None:
    queue = queue_of(run("a1"))
    assert queue.next_for(CPU, []) == run("a1")
    queue.add(run("a2"))
    queue.add(run("b1", "bob"))
    assert names(queue) == ["b1", "a2"]


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


def test_a_participant_has_a_limit() -> None:
    queue = queue_of(run("a1"), run("a2"), run("b1", "bob"), limit=2)
    sentence = refused(lambda: queue.check_room("ada"))
    assert "2 runs waiting" in sentence and "2 is the most" in sentence
    queue.check_room("bob")
    queue.next_for(CPU, [])
    queue.check_room("ada")


def test_a_run_can_leave_the_line() -> None:
    queue = queue_of(run("a1"), run("a2"))
    queue.remove("a1")
    queue.remove("unknown")
    assert "a1" not in queue and "a2" in queue and names(queue) == ["a2"]


def test_a_busy_device_does_not_hold_up_another() -> None:
    queue = queue_of(run("a1"), run("a2", device="cuda:0"))
    assert queue.next_for(set(), []) is None
    assert queue.next_for({"cuda:0"}, [run("x")]) == run("a2", device="cuda:0")
    assert queue.next_for({"cuda:0"}, [run("x")]) is None


def test_the_estimated_start_adds_up_what_is_ahead() -> None:
    queue = queue_of(run("a1", seconds=10), run("b1", "bob", seconds=20), run("g1", "gil", "cuda:0", seconds=99))
    running = [run("x", seconds=5), run("y", device="cuda:0", seconds=7)]
    assert queue.place("a1", running) == Place(1, 3, 5, "x")
    assert queue.place("b1", running) == Place(2, 3, 15, "x")
    assert queue.place("g1", running) == Place(3, 3, 7, "y")
    assert queue.place("x", running) is None


def test_the_start_is_unknown_when_a_length_is() -> None:
    queue = queue_of(run("a1"), run("a2"))
    assert queue.place("a1", []) == Place(1, 2, 0)
    assert queue.place("a2", []) == Place(2, 2, None, "a1")
    assert queue.place("a1", [run("x")]) == Place(1, 2, None, "x")


@pytest.mark.parametrize("running", [[run("x")], [run("x", device="cuda:0")]])
def test_a_measured_run_waits_until_nothing_runs_and_is_not_overtaken(running: list[Waiting]) -> None:
    queue = queue_of(run("m", measured=True), run("b1", "bob"), run("b2", "bob", "cuda:0"))
    idle = {"cpu", "cuda:0"} - {each.device for each in running}
    assert queue.next_for(idle, running) is None
    assert queue.next_for({"cpu", "cuda:0"}, []) == run("m", measured=True)


def test_nothing_starts_beside_a_measured_run() -> None:
    queue = queue_of(run("b1", "bob", "cuda:0"))
    assert queue.next_for({"cuda:0"}, [run("m", measured=True)]) is None


def test_a_measured_run_is_waited_for_on_every_device() -> None:
    queue = queue_of(run("m", "mia", "cuda:0", seconds=30, measured=True), run("b1", "bob", seconds=10))
    running = [run("x", seconds=5)]
    assert queue.place("m", running) == Place(1, 2, 5, "x")
    assert queue.place("b1", running) == Place(2, 2, 35, "x")


def test_a_run_that_returns_comes_before_the_line_and_takes_no_turn() -> None:
    queue = queue_of(run("a1"), run("b1", "bob"))
    back = run("a0")
    assert queue.next_for(set(), [run("x")], [back]) is None
    assert queue.next_for(CPU, [], [back]) == back
    assert queue.next_for(CPU, []) == run("a1"), "it is still ada's turn"


def test_another_device_does_not_wait_for_a_run_that_returns() -> None:
    queue = queue_of(run("g1", "gil", "cuda:0"))
    assert queue.next_for({"cuda:0"}, [run("x")], [run("a0")]) == run("g1", "gil", "cuda:0")


def test_nothing_returns_beside_a_measured_run() -> None:
    queue = queue_of()
    assert queue.next_for(CPU, [run("m", device="cuda:0", measured=True)], [run("a0")]) is None


def test_a_measured_run_returns_when_nothing_runs_and_is_not_overtaken() -> None:
    queue = queue_of(run("b1", "bob"), run("m2", "mia", measured=True))
    back = [run("m1", measured=True), run("a0")]
    assert queue.next_for(CPU, [run("x", device="cuda:0")], back) is None
    assert queue.next_for({"cpu", "cuda:0"}, [], back) == back[0]


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
