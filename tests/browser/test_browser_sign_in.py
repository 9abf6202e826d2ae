"""Signing in through a provider: who that is, is the same in every browser, and nobody else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import app_with_secrets, watched_window
from tests.browser.participant import go_to, keyed, main, press
from tests.browser.test_browser_classroom import nickname
from tests.browser.waiting import drawn

pytest.importorskip("authlib")
from tests.fake_provider import Provider, provider

pytestmark = pytest.mark.browser

ADA = {"sub": "ada-1815", "name": "Ada L", "email": "ada@example.org", "email_verified": True}
BOB = {"sub": "bob-2", "name": "Ada L", "email": "bob@example.org", "email_verified": True}
EVE = {"sub": "eve-3", "name": "<b>Eve</b>", "email": "ada@example.org", "email_verified": False}


@pytest.fixture(scope="module")
def identities() -> Iterator[Provider]:
    with provider() as server:
        yield server


@pytest.fixture(scope="module")
def app(app_folder: Path, identities: Provider) -> Iterator[str]:
    """As everywhere, with a provider, and Ada named as the instructor."""
    here = "http://127.0.0.1:{port}"  # Streamlit fills it in
    secrets = identities.secrets_toml(here, instructors=["ADA@example.org"])
    with app_with_secrets(app_folder, secrets) as address:
        yield address


def sign_in(page, identities: Provider, who: dict[str, object]) -> str:
    """Sign in; the nickname that this gives."""
    identities.person = who
    press(page, "account_default")
    keyed(page, "account_leave").wait_for()
    return nickname(page)


def is_called(page, name: str) -> None:
    """Once the page has been drawn."""
    page.wait_for_function("name => document.querySelector('[aria-label=Nickname]')?.value === name", arg=name)


def test_a_subject_is_one_participant_in_every_browser(page, browser, app, identities):
    before = nickname(page)
    name = sign_in(page, identities, ADA)
    assert name == "Ada L" != before
    with watched_window(browser, app) as other:
        assert nickname(other) != name
        assert sign_in(other, identities, ADA) == name
        box = other.get_by_label("Nickname", exact=True)
        box.fill("Countess")
        box.press("Enter")
        drawn(other)
        page.reload()
        is_called(page, "Countess")
        press(other, "account_leave")
        keyed(other, "account_default").wait_for()
        assert nickname(other) != "Countess"
        assert sign_in(other, identities, BOB) == "Ada L"  # the name is free, and somebody else's now
        other.reload()
        is_called(other, "Ada L")
    is_called(page, "Countess")


def test_only_a_named_account_leads_without_a_passcode(page, browser, app, identities):
    go_to(page, "Classroom")
    drawn(page)
    assert keyed(page, "lead").count() == 0
    sign_in(page, identities, EVE)  # an address that nobody has checked
    go_to(page, "Classroom")
    drawn(page)
    assert keyed(page, "lead").count() == 0 and main(page).get_by_label("Passcode").count() == 0
    with watched_window(browser, app) as desk:
        sign_in(desk, identities, ADA)
        go_to(desk, "Classroom")
        press(desk, "lead")
        keyed(desk, "queue_hold").wait_for()
    go_to(page, "Start")
    go_to(page, "Classroom")
    drawn(page)
    assert keyed(page, "queue_hold").count() == 0


def test_a_token_that_the_provider_did_not_sign_signs_nobody_in(page, app, identities):
    before = nickname(page)
    identities.honest = False
    try:
        identities.person = ADA
        with page.expect_response(lambda answer: "/oauth2callback" in answer.url):
            press(page, "account_default")
        page.wait_for_url(f"{app}/")
        is_called(page, before)
        drawn(page)
        assert keyed(page, "account_leave").count() == 0
    finally:
        identities.honest = True
    context = page.context
    context.add_cookies([{"name": "_streamlit_user", "value": "e30.forged", "url": app, "httpOnly": True}])
    page.reload()
    is_called(page, before)
    drawn(page)
    assert keyed(page, "account_leave").count() == 0
