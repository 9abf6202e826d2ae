"""Rounds of questions: phases, votes, and what is left after a restart."""

import threading

import pytest

from eurosat_core.analysis.rounds import bars, gain, sureness
from eurosat_core.classroom.rounds import Rounds, Vote
from eurosat_core.errors import RunError


def votes(**guesses: str) -> dict[str, Vote]:
    return {
        owner: Vote(owner, 1, 1, guess.rstrip("!"), 3 if guess.endswith("!") else 1, 0)
        for owner, guess in guesses.items()
    }


def test_a_round_goes_through_its_phases_and_ends(tmp_path):
    rounds = Rounds(tmp_path)
    assert rounds.current() is None
    asked = rounds.open("train_accuracy")
    assert (asked.number, asked.phase, asked.turn) == (1, "first", 1)
    with pytest.raises(RunError):
        rounds.open("model_where")
    assert rounds.go(1, "talk").turn == 0
    assert rounds.go(1, "second").turn == 2
    with pytest.raises(RunError):
        rounds.go(1, "talk")  # never back
    shown = rounds.go(1, "shown", "about 70", "71 % after 3 epochs.")
    assert (shown.right, shown.measured) == ("about 70", "71 % after 3 epochs.")
    assert rounds.go(1, "closed").right == "about 70"
    assert rounds.current() is None
    assert rounds.open("model_where").number == 2
    assert [each.phase for each in rounds.all()] == ["closed", "first"]


def test_a_vote_counts_once_a_turn_and_only_while_it_is_open(tmp_path):
    rounds = Rounds(tmp_path)
    rounds.open("train_accuracy")
    rounds.vote("p-1", 1, 1, "about 30", 1)
    rounds.vote("p-1", 1, 1, "about 50", 3)
    rounds.vote("p-2", 1, 1, "about 70", 2)
    assert {owner: (each.guess, each.sure) for owner, each in rounds.votes(1, 1).items()} == {
        "p-1": ("about 50", 3),
        "p-2": ("about 70", 2),
    }
    rounds.go(1, "talk")
    assert rounds.newest_votes(rounds.current()) == rounds.votes(1, 1)
    for turn in (0, 1):
        with pytest.raises(RunError):
            rounds.vote("p-1", 1, turn, "about 70", 1)
    rounds.go(1, "second")
    assert rounds.newest_votes(rounds.current()) == {}, "nobody has voted again yet"
    with pytest.raises(RunError):
        rounds.vote("p-1", 1, 1, "about 70", 2)  # a page that still showed the first vote
    rounds.vote("p-1", 1, 2, "about 70", 2)
    assert rounds.newest_votes(rounds.current()) == rounds.votes(1, 2)
    assert rounds.votes(1, 1)["p-1"].guess == "about 50"
    assert rounds.votes(1, 2)["p-1"].guess == "about 70"
    with pytest.raises(RunError):
        rounds.vote("p-1", 2, 2, "about 70", 1)  # another round


def test_a_restart_in_the_middle_loses_nothing(tmp_path):
    before = Rounds(tmp_path)
    before.open("train_accuracy", hidden=True)
    before.vote("p-1", 1, 1, "about 30", 1)
    with (tmp_path / "votes.jsonl").open("a") as file:
        file.write('{"owner": "p-2", "rou')  # torn
    after = Rounds(tmp_path)
    assert after.current() == before.current()
    assert list(after.votes(1, 1)) == ["p-1"]
    after.vote("p-3", 1, 1, "about 50", 2)
    assert list(before.votes(1, 1)) == ["p-1", "p-3"]


def test_thirty_vote_at_once_and_each_counts(tmp_path):
    rounds = Rounds(tmp_path)
    rounds.open("train_accuracy")
    ready = threading.Barrier(30)

    def vote(owner: str) -> None:
        ready.wait()
        rounds.vote(owner, 1, 1, "about 70", 2)

    everybody = [threading.Thread(target=vote, args=(f"p-{number}",)) for number in range(30)]
    for each in everybody:
        each.start()
    for each in everybody:
        each.join()
    assert len(Rounds(tmp_path).votes(1, 1)) == 30


def test_bars_count_choices_and_name_nobody():
    found = bars(["a", "b"], votes(x="a", y="a", z="b"), votes(x="b", y="b", z="b"), right="b")
    assert [(each.choice, each.first, each.second, each.is_right) for each in found] == [
        ("a", 2, 0, False),
        ("b", 1, 3, True),
    ]


@pytest.mark.parametrize(
    ("first", "second", "kind", "share"),
    [
        ("aabb", "bbbb", "up", 1.0),
        ("aaab", "aabb", "up", 1 / 3),
        ("aabb", "aaab", "down", -1 / 2),
        ("abab", "baba", "same", 0.0),
        ("bbbb", "bbbb", "knew", None),
        ("bbbb", "bbba", "lost", None),
    ],
)
def test_the_gain_is_what_was_left_to_learn_and_learned(first, second, kind, share):
    """(after - before) / (1 - before), with shares."""
    people = "wxyz"
    found = gain(*(votes(**dict(zip(people, turn, strict=True))) for turn in (first, second)), "b")
    assert found.kind == kind
    if share is not None:
        before, after = first.count("b") / 4, second.count("b") / 4
        assert found.figures["gain"] == pytest.approx((after - before) / (1 - before)) == pytest.approx(share)


def test_the_gain_counts_only_those_who_voted_twice():
    found = gain(votes(x="a", y="b", late="b"), votes(x="b", y="b", other="a"), "b")
    assert (found.figures["before"], found.figures["after"], found.figures["votes"]) == (1, 2, 2)
    assert gain(votes(x="a"), {}, "b").kind == "once"
    assert gain({}, {}, "b").kind == "nobody"
    assert gain(votes(x="a"), votes(x="b"), "").kind == "unmeasured"


def test_sureness_counts_the_certain_ones():
    assert sureness(votes(x="a!", y="b!", z="b"), "b") == (1, 2)
    assert sureness(votes(z="b"), "b") is None
