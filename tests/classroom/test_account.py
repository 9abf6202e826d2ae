"""Accounts: who a token speaks of, what stands for them, and who of them leads."""

from pathlib import Path
from typing import Any

import pytest

from eurosat_core.classroom.account import Account
from eurosat_core.classroom.cookie import NAME, secret_in
from eurosat_core.classroom.participants import MAX_NICKNAME, Participants
from eurosat_core.classroom.passcode import Passcode
from eurosat_core.errors import RunError
from eurosat_core.lab.messages import OWNER

ADA: dict[str, Any] = {"iss": "https://id.example", "sub": "a-1", "email": "Ada@example.org", "email_verified": True}
KEY = "the server's own"


def account(**changes: Any) -> Account:
    found = Account.of(ADA | changes)
    assert found is not None
    return found


def test_it_is_issuer_and_subject_whatever_else_the_token_says() -> None:
    ada = account()
    assert account(name="Ada", email="other@example.org").secret(KEY) == ada.secret(KEY)
    others = [account(sub="a-2"), account(iss="https://id.example2"), account(iss='https://id.example", "a-1', sub="x")]
    assert len({each.secret(KEY) for each in (ada, *others)}) == 4
    assert ada.secret("another key") != ada.secret(KEY)
    assert secret_in({NAME: ada.secret(KEY)}) == ada.secret(KEY)  # a secret as any other
    with pytest.raises(ValueError):
        ada.secret("")


@pytest.mark.hostile
@pytest.mark.parametrize(
    "claims", [{}, {"sub": "a"}, {"iss": "b"}, {"iss": "b", "sub": ""}, {"iss": "b", "sub": 3}, {"iss": [], "sub": {}}]
)
def test_a_token_that_names_nobody(claims: dict[str, Any]) -> None:
    assert Account.of(claims) is None


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({}, ""),
        ({"name": "Ada L"}, "Ada L"),
        ({"name": "Ada L", "nickname": "countess"}, "countess"),
        ({"preferred_username": "ada@example.org", "name": "Ada"}, "ada"),
        ({"name": 3, "given_name": "Ada"}, "Ada"),
    ],
)
def test_a_name_is_suggested(claims: dict[str, Any], name: str) -> None:
    assert account(**claims).name == name


@pytest.mark.hostile
@pytest.mark.parametrize("checked", [False, None, "no", 1, "True"])
def test_an_address_that_nobody_has_checked_counts_for_nothing(checked: object) -> None:
    pretending = account(sub="eve", email_verified=checked)
    assert pretending.email == "" and not pretending.is_one_of(["ada@example.org", ""])


def test_instructors_are_named_by_address_or_subject() -> None:
    door = Passcode(instructors=[" ada@EXAMPLE.org", "b-7"])
    assert door.is_set and not door.is_asked
    ada, bob, eve = account(), account(sub="b-7", email_verified=False), account(sub="B-7", email="eve@example.org")
    assert [door.names(each) for each in (ada, bob, eve, None)] == [True, True, False, False]
    for each in (eve, None):
        with pytest.raises(RunError):
            door.sign_in_named("e" * 43, each)
    assert not door.is_led
    door.sign_in_named("a" * 43, ada)
    assert door.leads("a" * 43) and not door.leads("e" * 43)
    with pytest.raises(RunError):
        door.sign_in("e" * 43, "eve", "")  # there is no passcode to be guessed
    door.sign_out("a" * 43)
    assert not door.leads("a" * 43)


@pytest.mark.hostile
@pytest.mark.parametrize("wanted", [OWNER, "\u202e", "ADA", "", "<b>" + "x" * 5000, "a\nb"])
def test_a_suggested_name_is_taken_only_if_it_can_be_had(tmp_path: Path, wanted: str) -> None:
    people = Participants(tmp_path / "participants.jsonl", [OWNER])
    assert people.enter("a" * 43, wanted="Ada").nickname == "Ada"
    name = people.enter("b" * 43, wanted=wanted).nickname
    assert 0 < len(name) <= MAX_NICKNAME and name.isprintable()
    assert name.casefold() not in ("ada", OWNER)
    assert people.enter("b" * 43, wanted="another").nickname == name
