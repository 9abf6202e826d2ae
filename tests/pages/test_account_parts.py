"""Signing in on the pages: nothing of it without a provider, who that is with one, and who may lead."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
import streamlit as st

import streamlit_app
from eurosat_core.classroom.account import Account
from eurosat_core.classroom.passcode import Passcode
from eurosat_core.lab.lab import Lab
from pages.parts import account
from tests.pages.conftest import App, checked, click, keys, says

ADA = Account("https://id.example", "a-1", "Ada L", "ada@example.org")
AUTH = {"client_id": "lab", "cookie_secret": "the server's own"}
SignIn = Callable[[Account | None], None]


@pytest.fixture
def sign_in(monkeypatch: pytest.MonkeyPatch) -> SignIn:
    """Function: who is signed in from now on; a provider is set."""
    monkeypatch.setattr(account, "_auth", lambda: AUTH)

    def change(who: Account | None) -> None:
        monkeypatch.setattr(account, "current", lambda: who)

    change(None)
    return change


def account_keys(test: Any) -> set[str]:
    return {each for each in keys(test) if each.startswith("account_")}


def test_without_a_provider_there_is_nothing_to_see(lab: Lab, app: App) -> None:
    assert account.providers() == [] and account.current() is None and account.secret() == ""
    assert account_keys(app()) == set()


def test_signed_in_it_is_another_participant_and_the_same_one_again(lab: Lab, app: App, sign_in: SignIn) -> None:
    test = app()
    before = test.text_input(key="nickname_input").value
    assert account_keys(test) == {"account_default"}
    sign_in(ADA)
    test = checked(test.run())
    assert account_keys(test) == {"account_leave"} and "ada@example.org" in says(test)
    assert test.text_input(key="nickname_input").value == "Ada L"
    assert app(who="bob").text_input(key="nickname_input").value == "Ada L"  # whatever cookie the browser has
    sign_in(None)
    assert checked(test.run()).text_input(key="nickname_input").value == before


def test_whom_the_provider_names_leads_when_told_to(lab: Lab, app: App, sign_in: SignIn) -> None:
    lab.passcode = Passcode(instructors=["ada@example.org"])
    test = app("classroom.py")
    assert "lead" not in keys(test) and not {"passcode_input"} & {each.key for each in test.text_input}
    sign_in(Account("https://id.example", "b-2", "Bob"))
    assert "lead" not in keys(checked(test.run()))
    sign_in(ADA)
    test = checked(test.run())
    assert "lead" in keys(test) and not lab.passcode.is_led
    assert "queue_hold" in keys(click(test, "lead"))
    sign_in(None)
    assert "queue_hold" not in keys(checked(test.run()))


@pytest.mark.parametrize(
    ("auth", "names"),
    [
        ({}, []),
        (AUTH, ["default"]),
        ({"cookie_secret": "x", "google": {"client_id": "a"}, "okta": {"client_id": "b"}}, ["google", "okta"]),
        ({"cookie_secret": "x", "client_kwargs": {"scope": "openid"}}, []),
        ("nonsense", []),
    ],
)
def test_providers(auth: Any, names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("authlib")
    monkeypatch.setattr(st, "secrets", {"auth": auth})
    assert account.providers() == names
    monkeypatch.setattr(account, "find_spec", lambda _name: None)
    assert account.providers() == []


@pytest.mark.parametrize(
    ("classroom", "is_set", "is_asked"),
    [
        ({}, False, False),
        ({"passcode": "open sesame"}, True, True),
        ({"instructors": ["ada@example.org"]}, True, False),
        ({"instructors": [" "]}, False, False),
        ({"passcode": "open sesame", "instructors": "ada@example.org"}, False, False),
        ({"passcode": "open sesame", "instructors": [3]}, False, False),
        ("open sesame", False, False),
    ],
)
def test_who_leads_is_read_and_never_told(
    classroom: Any, is_set: bool, is_asked: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(st, "secrets", {"classroom": classroom})
    door = streamlit_app.door()
    assert (door.is_set, door.is_asked) == (is_set, is_asked)
    assert "sesame" not in caplog.text and "example.org" not in caplog.text
    assert bool(caplog.records) == (not is_set and classroom not in ({}, {"instructors": [" "]}))


def test_a_provider_without_its_library_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(st, "secrets", {"auth": AUTH})
    monkeypatch.setattr(streamlit_app, "find_spec", lambda _name: None)
    streamlit_app.door()
    assert "Authlib" in caplog.text and AUTH["cookie_secret"] not in caplog.text
