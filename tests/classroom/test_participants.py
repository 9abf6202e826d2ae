"""Participants: known by a secret of which only a hash is kept, with a name of their own, and back with a code."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from fake_engine import ROOT, OpenFake, running, wait_for_state

from eurosat_core.classroom import participants
from eurosat_core.classroom.attempts import Attempts
from eurosat_core.classroom.cookie import new_secret
from eurosat_core.classroom.participants import MAX_NICKNAME, Participants, name_key, tidy_name
from eurosat_core.errors import RunError
from eurosat_core.lab.messages import OWNER, Command


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "participants.jsonl"


@pytest.fixture
def people(path: Path) -> Participants:
    return Participants(path, [OWNER])


def test_a_secret_is_one_participant_from_then_on_also_in_another_server(people: Participants, path: Path) -> None:
    secret, other = new_secret(), new_secret()
    ada = people.enter(secret, "tiles")
    assert people.enter(secret).id == ada.id != people.enter(other).id
    assert Participants(path).enter(secret).nickname == ada.nickname
    assert [each.page for each in people.all() if each.id == ada.id] == ["tiles"]
    people.enter(secret, "train")
    people.enter(secret)
    assert {each.page for each in people.all()} == {"train", ""}


def test_the_disk_has_neither_secrets_nor_codes(people: Participants, path: Path) -> None:
    secret = new_secret()
    codes = [people.code(secret), people.new_code(secret)]
    text = path.read_text(encoding="utf-8")
    for each in (secret, *codes, *(code.replace("-", "") for code in codes)):
        assert each not in text
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("  Grace \t H.\n", "Grace H."),
        ("x" * 500, "x" * MAX_NICKNAME),
        ("a\u202eb\u2066c\u200bd\x00", "abcd"),  # directions, nothing, and a control sign
        ("a\N{NO-BREAK SPACE}\u3000b", "a b"),
        ("\u3164\u2800", ""),
        ("Z" + "\u0301" * 30, "\u0179\u0301\u0301"),
        ("<b>*x*</b> ![](//y)", "<b>*x*</b> ![](//y)"),
        ("\u0634\u0627\u062f\u064a", "\u0634\u0627\u062f\u064a"),
        ("\u0301", ""),
    ],
)
def test_a_name_can_be_seen_and_says_no_more_than_it_shows(typed: str, name: str) -> None:
    assert tidy_name(typed) == name


@pytest.mark.hostile
@pytest.mark.parametrize("alike", ["ADA L", "ada  l", "adal", "\uff21da\u2003L", "ada\u200b l", "ada l\ufe0f"])
def test_two_people_cannot_hold_one_name(people: Participants, alike: str) -> None:
    ada, bob = people.enter("a" * 43), people.enter("b" * 43)
    people.rename(ada.id, "ada l")
    with pytest.raises(RunError):
        people.rename(bob.id, alike)
    assert people.name(bob.id) == bob.nickname
    assert people.rename(ada.id, alike).nickname == tidy_name(alike)  # one's own can be written otherwise
    people.rename(ada.id, "grace")
    assert people.rename(bob.id, "ada l").nickname == "ada l"


@pytest.mark.hostile
@pytest.mark.parametrize("name", ["", " ", "\u200b", OWNER, "Command\u00a0 LINE", "COMMANDLINE"])
def test_names_that_nobody_can_have(people: Participants, name: str) -> None:
    ada = people.enter("a" * 43)
    with pytest.raises(RunError):
        people.rename(ada.id, name)
    with pytest.raises(RunError):
        people.rename("p-0000000000000000", "ada")


def test_owners_of_older_runs_are_names_and_nobody(people: Participants) -> None:
    ada = people.rename(people.enter("a" * 43).id, "ada")
    assert people.name("ada") == people.name(ada.id) == "ada" != ada.id
    assert people.name("p-0123456789abcdef") not in ("ada", "p-0123456789abcdef")
    assert people.id_of("ADA") == ada.id and people.id_of("bob") == ""


# --- coming back


def test_a_code_moves_a_participant_to_another_browser_and_can_be_made_anew(people: Participants) -> None:
    old, new, third = (new_secret() for _ in range(3))
    ada = people.enter(old)
    code = people.code(old)
    assert code == people.code(old)
    assert people.recover(new, code.lower().replace("-", " ")).id == ada.id
    assert people.enter(new).id == people.enter(old).id == ada.id
    assert len(people.all()) == 1  # whom the new browser was before is nobody's
    of_new = people.code(new)
    assert of_new != code
    assert people.recover(third, of_new).id == ada.id
    fresh = people.new_code(old)
    for worthless in (code, of_new, "", "-", "\ud800"):
        with pytest.raises(RunError):
            people.recover("z" * 43, worthless)
        people.enter("z" * 43)
    assert people.recover(new_secret(), fresh).id == ada.id
    assert people.recover(old, people.code(old)).id == ada.id  # one's own changes nothing


def test_a_code_can_be_issued_for_who_lost_theirs(people: Participants) -> None:
    lost = new_secret()
    ada = people.enter(lost)
    own, code = people.code(lost), people.issue_code(ada.id)
    assert people.recover(new_secret(), code).id == people.recover(new_secret(), own).id == ada.id
    people.new_code(lost)
    with pytest.raises(RunError):
        people.recover(new_secret(), code)
    with pytest.raises(RunError):
        people.issue_code("p-0000000000000000")


def test_codes_that_are_issued_again_and_again_cost_nobody_a_browser(people: Participants) -> None:
    mine = new_secret()
    ada = people.enter(mine)
    codes = [people.issue_code(ada.id) for _ in range(participants._MOST_BROWSERS + 1)]
    assert people.enter(mine).id == ada.id
    with pytest.raises(RunError):
        people.recover(new_secret(), codes[0])  # a later one took its place
    assert people.recover(new_secret(), codes[-1]).id == ada.id
    assert people.enter(mine).id == ada.id


def test_a_code_made_anew_meanwhile_ends_the_one_that_is_being_entered(
    people: Participants, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, new = new_secret(), new_secret()
    ada, old = people.enter(lost), people.code(lost)
    attempt = people._codes.attempt

    def slowly(who: str, is_right: Callable[[], bool]) -> bool:
        right = attempt(who, is_right)
        people.new_code(lost)  # between looking the code up and writing down whose the browser is
        return right

    monkeypatch.setattr(people._codes, "attempt", slowly)
    people.recover(new, old)
    monkeypatch.undo()
    with pytest.raises(RunError):
        people.recover(new_secret(), old)
    assert people.enter(new).id == ada.id


def test_where_people_are_is_kept_of_so_many(people: Participants, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(participants, "_MOST", 10)
    everybody = [people.enter(new_secret(), "train") for _ in range(25)]
    people.say(everybody[-1].id, "hand")
    assert len(people._here) <= 11
    assert people.says(everybody[-1].id) == "hand"


def test_codes_survive_a_restart_and_browsers_are_bounded(people: Participants, path: Path) -> None:
    browsers = [new_secret() for _ in range(participants._MOST_BROWSERS + 2)]
    ada = people.enter(browsers[0])
    again = Participants(path)
    for known, new in pairwise(browsers):
        assert again.recover(new, people.code(known)).id == ada.id
    kept = Participants(path)
    assert [kept.enter(each).id == ada.id for each in browsers] == [False] * 2 + [True] * participants._MOST_BROWSERS


@pytest.mark.hostile
def test_codes_cannot_be_tried_for_long(people: Participants, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    compare = participants.hmac.compare_digest
    monkeypatch.setattr(participants.hmac, "compare_digest", lambda a, b: tried.append(a) or compare(a, b))
    ada, guessing = new_secret(), new_secret()
    code = people.code(ada)
    people.enter(guessing)
    for _ in range(100):
        with pytest.raises(RunError):
            people.recover(guessing, "AAAA-AAAA")
    assert len(tried) < 20  # two codes each time
    with pytest.raises(RunError):
        people.recover(guessing, code)  # even the right one has to wait now
    assert people.recover(new_secret(), code).id == people.enter(ada).id  # others may come back meanwhile


def test_waits_grow_for_one_and_for_all_together_and_end() -> None:
    now = [0.0]
    tries = Attempts(free=2, longest=100.0, clock=lambda: now[0])

    def waits(who: str) -> float:
        """Seconds until the next try is taken, which is wrong again."""
        began = now[0]
        while True:
            try:
                assert not tries.attempt(who, lambda: False)
                return now[0] - began
            except RunError:
                now[0] += 1.0

    assert [waits("ada") for _ in range(9)] == [0, 0, 2, 4, 8, 16, 32, 64, 100]
    assert waits("bob") == 0
    with pytest.raises(RunError):
        tries.attempt("ada", lambda: True)
    now[0] += 100
    assert tries.attempt("ada", lambda: True)
    assert [waits("ada"), waits("ada")] == [0, 0]
    for number in range(20):
        waits(f"other {number}")
    assert 0 < waits("newcomer") <= 10.0
    now[0] += 4000
    assert waits("newcomer") == 0


# --- many at once, and damage


def test_thirty_people_at_once_are_thirty(people: Participants, path: Path) -> None:
    ready = threading.Barrier(30)

    def come(number: int) -> str:
        secret = f"{number:043}"
        ready.wait()
        (mine,) = {people.enter(secret).id for _ in range(5)}
        people.rename(mine, f"person {number}")
        return people.code(secret)

    with ThreadPoolExecutor(30) as pool:
        codes = list(pool.map(come, range(30)))
    again = Participants(path)
    for book in (people, again):
        assert len(book.all()) == len({name_key(each.nickname) for each in book.all()}) == 30
    assert [again.code(f"{number:043}") for number in range(30)] == codes


def test_one_name_goes_to_one_of_many_who_want_it(people: Participants) -> None:
    ready = threading.Barrier(12)

    def want(number: int) -> bool:
        mine = people.enter(f"{number:043}").id
        ready.wait()
        try:
            people.rename(mine, "Ada")
        except RunError:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(want, range(12))) == 1


def test_two_servers_lose_nobody(people: Participants, path: Path) -> None:
    people.enter("a" * 43)
    code = (
        "import sys; from pathlib import Path; from eurosat_core.classroom.participants import Participants\n"
        "print(Participants(Path(sys.argv[1])).enter('b' * 43).id)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, capture_output=True, text=True, check=True)
    assert people.enter("b" * 43).id == done.stdout.strip()
    assert len(people.all()) == 2


@pytest.mark.parametrize("torn", [b'{"id": "p-', b"\xff\x00\n", b'{"id": 3}\n', b"[]\n"])
def test_a_torn_line_harms_nobody(people: Participants, path: Path, torn: bytes) -> None:
    ada = people.enter("a" * 43)
    with path.open("ab") as file:
        file.write(torn)
    again = Participants(path)
    assert again.enter("a" * 43).id == ada.id
    bob = again.enter("b" * 43)
    assert Participants(path).enter("b" * 43).id == bob.id


def test_without_a_disk_everybody_is_known_until_the_server_ends(tmp_path: Path) -> None:
    people = Participants(tmp_path / "gone" / "participants.jsonl")
    ada = people.enter("a" * 43)
    people.rename(ada.id, "Ada")
    assert people.enter("a" * 43).nickname == "Ada"
    assert people.recover("b" * 43, people.code("a" * 43)).id == ada.id


# --- at the lab's door


@pytest.mark.hostile
@pytest.mark.parametrize("command", ["pause", "resume", "step", "stop"])
def test_nobody_steers_or_deletes_anothers_run(open_fake: OpenFake, command: Command) -> None:
    lab, engine = open_fake()
    ada, eve = lab.participants.enter("a" * 43), lab.participants.enter("e" * 43)
    run = running(lab, engine, owner=ada.id)
    lab.participants.rename(ada.id, "ada")
    asking: list[Callable[[str], object]] = [
        lambda who: lab.control(run.id, who, command),
        lambda who: lab.delete(run.id, who),
        lambda who: lab.open_test(run.id, who),
    ]
    for ask in asking:
        for who in (eve.id, "ada", "", OWNER, run.id):
            with pytest.raises(RunError, match="ada"):
                ask(who)
    assert engine.commands == [] and lab.store.get(run.id) == run
    lab.control(run.id, ada.id, "stop")
    wait_for_state(lab, run.id, "cancelled")
    with pytest.raises(RunError):
        lab.delete(run.id, eve.id)
    lab.delete(run.id, ada.id)


@pytest.mark.hostile
def test_a_name_does_not_own_what_was_stored_under_it(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    run = running(lab, engine, owner="ada")
    eve = lab.participants.rename(lab.participants.enter("e" * 43).id, "ada")
    with pytest.raises(RunError):
        lab.control(run.id, eve.id, "stop")


def test_how_it_is_going_holds_for_the_page_it_was_said_on(tmp_path: Path) -> None:
    room = Participants(tmp_path / "participants.jsonl")
    ada = room.enter(new_secret(), "tiles")
    room.say(ada.id, "stuck")
    assert room.says(ada.id) == "stuck"
    room.say(ada.id, "done")
    assert room.says(ada.id) == "done"
    room.say(ada.id, None)
    assert room.says(ada.id) is None
    room.say(ada.id, "hand")
    secret = new_secret()
    bob = room.enter(secret, "tiles")
    room.say(bob.id, "hand")
    room.enter(secret, "model")
    assert (room.says(ada.id), room.says(bob.id)) == ("hand", None)
