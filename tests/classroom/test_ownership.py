"""Whose something is: nobody stops, deletes, renames or reads what is another's, whatever a browser sends."""

import ast
import inspect
import io
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_engine import OpenFake, running, trained

from eurosat_core.classroom.cookie import new_secret
from eurosat_core.classroom.participants import Participants
from eurosat_core.classroom.passcode import Passcode
from eurosat_core.classroom.rounds import Rounds
from eurosat_core.errors import RunError
from eurosat_core.lab.instructor import Instructor
from eurosat_core.lab.lab import Lab
from eurosat_core.runs.bundles import export_bundle

pytestmark = pytest.mark.hostile

PAGES = Path(__file__).parents[2] / "pages"
# What pages may call of the lab's rooms without saying who asks: nothing of it changes what is anybody's. Theirs alone
# is what they ask with `session.me()`, `session.secret()` or through `session.instructor()`.
READ_ONLY = {
    "store": {"all", "get", "load", "size", "is_kept", "one_look"},
    "dispatcher": {"held", "limit", "parked", "returning", "stopping", "waiting"},
    "participants": {"all", "name", "says"},
    "rounds": {"all", "current", "newest_votes", "votes"},
    "experiments": {"all", "current", "hands"},
    "guide": {"now"},
    "passcode": {"is_asked", "is_led", "is_set", "names"},
}
# Of the lab itself: what takes a run's id and asks for nobody, for it only reads.
LOOKS = {"seconds_left", "place", "holds_up", "hand_run"}


def public(kind: type[Any]) -> dict[str, inspect.Signature]:
    found = inspect.getmembers(kind, inspect.isfunction)
    return {name: inspect.signature(each) for name, each in found if not name.startswith("_")}


OWNED = [name for name, each in public(Lab).items() if {"run_id", "owner"} <= set(each.parameters)]
GIVEN: dict[str, Any] = {"kept": True, "command": "stop"}


def test_each_method_with_a_run_asks_whose_it_is_or_only_looks() -> None:
    with_run = {name for name, each in public(Lab).items() if "run_id" in each.parameters}
    assert with_run - set(OWNED) <= LOOKS
    assert set(OWNED) >= {"control", "delete", "keep", "open_test"}


@pytest.mark.parametrize("state", ["running", "finished"])
@pytest.mark.parametrize("name", OWNED)
def test_nobody_does_anything_to_anothers_run(open_fake: OpenFake, name: str, state: str) -> None:
    lab, engine = open_fake()
    ada, eve = (lab.participants.enter(new_secret()).id for _ in range(2))
    run = running(lab, engine, owner=ada) if state == "running" else trained(lab, engine, owner=ada)
    folder = lab.store.folder_of(run.id)
    before = {each.name: each.read_bytes() for each in folder.iterdir()}
    method = getattr(lab, name)
    more = {each: GIVEN[each] for each in inspect.signature(method).parameters if each not in ("run_id", "owner")}
    for who in (eve, "", "instructor", lab.participants.name(ada), ada.upper(), f"{ada} ", run.id, "../" + ada):
        with pytest.raises(RunError, match="belongs"):
            method(run.id, who, **more)
    assert {each.name: each.read_bytes() for each in folder.iterdir()} == before
    assert engine.commands == []


def test_only_who_leads_gets_what_the_instructor_may_do(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    lab.passcode = Passcode("open sesame")
    run = running(lab, engine)
    leading = new_secret()
    lab.passcode.sign_in(leading, "ada", "open sesame")
    assert isinstance(lab.instructor(leading), Instructor)
    for secret in ("", new_secret(), leading[:-1], leading.swapcase(), "open sesame", run.id):
        with pytest.raises(RunError):
            lab.instructor(secret)


def test_pages_change_what_is_somebodys_only_in_their_own_name() -> None:
    """Their code is read: every call of the lab's rooms that is not listed above says who asks."""
    wrong, seen = [], set()
    for path in PAGES.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            asked = (
                re.search(r"\blab(?:\(\))?\.(\w+)\.(\w+)$", ast.unparse(call.func))
                if isinstance(call, ast.Call)
                else None
            )
            if asked is None or asked[1] not in READ_ONLY or asked[2] in READ_ONLY[asked[1]]:
                continue
            seen.add(asked[0])
            if not call.args or ast.unparse(call.args[0]) not in (
                "session.me()",
                "me",
                "me()",
                "secret()",
                "_of_browser()",
                "_of_account_here()",
                "_leading()",
            ):
                wrong.append(f"{path.name}:{call.lineno} {ast.unparse(call)}")
    assert len(seen) > 5
    assert wrong == []


def test_votes_guesses_and_networks_are_each_ones_own(open_fake: OpenFake) -> None:
    lab, _ = open_fake()
    ada, eve = (lab.participants.enter(new_secret()).id for _ in range(2))
    lab.designs.save(ada, "mine", "conv 4 3, relu, flatten, linear 10")
    lab.lesson_guesses.put(ada, "train_accuracy", "about 70")
    lab.rounds.open("train_accuracy")
    lab.rounds.vote(ada, 1, 1, "about 70", 3)
    lab.rounds.vote(eve, 1, 1, "about 30", 1)
    lab.designs.delete(eve, "mine")
    lab.lesson_guesses.forget(eve)
    assert list(lab.designs.of(ada)) == ["mine"] and lab.designs.of(eve) == {}
    assert lab.lesson_guesses.of(ada) == {"train_accuracy": "about 70"} and lab.lesson_guesses.of(eve) == {}
    assert Rounds(lab.settings.runs).votes(1, 1)[ada].guess == "about 70"


def test_secrets_are_in_no_log_no_run_and_no_bundle(
    open_fake: OpenFake, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The passcode, a browser's secret, a recovery code: used in every way, kept nowhere as they are."""
    caplog.set_level(logging.DEBUG)
    lab, engine = open_fake()
    secret, other = new_secret(), new_secret()
    lab.passcode = Passcode("open sesame")
    tried: list[Callable[[], object]] = [
        lambda: lab.passcode.sign_in(secret, me, "open sesam"),
        lambda: lab.passcode.sign_in(secret, me, "open sesame"),
        lambda: lab.participants.recover(other, "AAAA-AAAA"),
        lambda: lab.participants.recover(other, code),
        lambda: lab.participants.rename(me, "Ada"),
        lambda: lab.instructor("nobody"),
    ]
    me, code = lab.participants.enter(secret).id, lab.participants.code(secret)
    issued = lab.participants.issue_code(me)
    said = []
    for each in tried:
        try:
            each()
        except RunError as error:
            said.append(str(error))
    run = trained(lab, engine, owner=me)
    bundle = io.BytesIO()
    export_bundle(lab.store, [run.id], bundle, weights=True)
    files = [each.read_bytes() for each in lab.settings.runs.rglob("*") if each.is_file()]
    everything = b"\n".join(
        [*files, bundle.getvalue(), caplog.text.encode(), *(each.encode() for each in (*said, *capfd.readouterr()))]
    )
    assert len(said) == 3 and Participants(lab.settings.runs / "participants.jsonl").enter(other).id == me
    for each in ("open sesame", "open sesam", secret, other, code, code.replace("-", ""), issued):
        assert each.encode() not in everything
