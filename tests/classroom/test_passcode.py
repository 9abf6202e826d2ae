"""The passcode: who leads, in which browser, for how long; and that it is nowhere to be read."""

import logging
from pathlib import Path

import pytest

from eurosat_core.classroom.passcode import LASTS_SECONDS, Passcode
from eurosat_core.errors import RunError

ADA, BOB = "a" * 43, "b" * 43


def test_only_the_browser_that_gave_it_leads_until_it_signs_out_or_the_day_ends() -> None:
    now = [0.0]
    door = Passcode("open sesame", lambda: now[0])
    assert door.is_set and not door.leads(ADA)
    door.sign_in(ADA, "ada", "open sesame")
    assert door.leads(ADA) and not door.leads(BOB) and not door.leads("")
    door.sign_out(BOB)
    now[0] = LASTS_SECONDS - 1
    assert door.leads(ADA)
    door.sign_in(BOB, "bob", "open sesame")
    now[0] = LASTS_SECONDS
    assert not door.leads(ADA) and door.leads(BOB)
    door.sign_out(BOB)
    assert not door.leads(BOB)


@pytest.mark.hostile
@pytest.mark.parametrize("typed", ["", "open sesam", "open sesame ", "Open sesame", "\ud800", "x" * 100_000])
def test_a_wrong_one_does_not_lead_and_is_not_told(
    typed: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    door = Passcode("open sesame")
    with caplog.at_level(logging.DEBUG), pytest.raises(RunError) as refused:
        door.sign_in(ADA, "ada", typed)
    assert not door.leads(ADA)
    assert "sesam" not in "".join([str(refused.value), repr(vars(door)), caplog.text, *capfd.readouterr()])


@pytest.mark.parametrize("typed", ["", "None"])
def test_without_a_passcode_nobody_leads(typed: str) -> None:
    door = Passcode("")
    assert not door.is_set
    with pytest.raises(RunError):
        door.sign_in(ADA, "ada", typed)
    assert not door.leads(ADA)


@pytest.mark.hostile
def test_guessing_is_slowed_down_also_for_the_right_one() -> None:
    now = [0.0]
    door = Passcode("open sesame", lambda: now[0])
    for _ in range(10):
        with pytest.raises(RunError):
            door.sign_in(ADA, "ada", "wrong")
    with pytest.raises(RunError):
        door.sign_in(ADA, "ada", "open sesame")
    door.sign_in(BOB, "bob", "open sesame")
    now[0] += 3600.0
    door.sign_in(ADA, "ada", "open sesame")


def test_secrets_are_not_in_the_repository() -> None:
    ignored = (Path(__file__).parents[2] / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "/.streamlit/secrets.toml" in ignored
