"""The benchmark of a whole room: how its participants read pages, what is counted of their runs, and two of them."""

import asyncio
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from own_loop import apart
from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from bench import classroom
from bench.classroom import Found, Participant, Room, first_waits, longest_wait
from eurosat_core import cli
from eurosat_core.errors import RunError
from eurosat_core.runs.record import RunRecord, State
from eurosat_core.settings import Settings
from tests.run_makers import make_record
from tests.test_bench import Server, message


def made_run(owner: str, created: float, started: float | None = None, ended: float | None = None) -> RunRecord:
    state: State = "finished" if ended else "running" if started else "queued"
    return make_record(owner=owner, state=state, created=created, started=started, ended=ended)


def whole_page(
    name: str,
    *parts: ForwardMsg,
    finished: ForwardMsg.ScriptFinishedStatus.ValueType = ForwardMsg.FINISHED_SUCCESSFULLY,
) -> list[ForwardMsg]:
    """What the server sends for a page."""
    pages = [{"page_script_hash": f"hash-{each}", "url_pathname": each} for each in ("", "train")]
    return [
        message(new_session={"page_script_hash": f"hash-{name}"}),
        message(navigation={"page_script_hash": f"hash-{name}", "app_pages": pages}),
        *parts,
        ForwardMsg(script_finished=finished),
    ]


def visited(*messages: ForwardMsg) -> tuple[Participant, Room, Server]:
    """A participant who has received all of these."""

    async def follow() -> tuple[Participant, Room, Server]:
        room = Room()
        server = Server(*messages)
        participant = Participant(server, "who=a", room)
        await participant.follow()
        return participant, room, server

    return apart(asyncio.run, follow())


def button(key: str, *, disabled: bool = False) -> ForwardMsg:
    return message(delta={"new_element": {"button": {"id": f"$$ID-5f-{key}", "disabled": disabled}}})


def test_a_participant_knows_pages_buttons_and_what_went_wrong() -> None:
    alert = {"new_element": {"alert": {"body": "It broke.", "format": Alert.ERROR}}}
    notice = {"new_element": {"alert": {"body": "Fine.", "format": Alert.INFO}}}
    raised = {"new_element": {"exception": {"message": "A traceback"}}}
    parts = [
        button("train_start"),
        button("other", disabled=True),
        *(message(delta=d) for d in (alert, notice, raised)),
    ]
    me, room, _ = visited(*whole_page("", *parts))
    assert me.pages == {"": "hash-", "train": "hash-train"}
    assert me.buttons == {"train_start": "$$ID-5f-train_start"}
    assert room.errors == ["It broke.", "A traceback"]


def test_buttons_of_the_page_before_are_gone() -> None:
    me, _, _ = visited(*whole_page("", button("train_start")), *whole_page("train"))
    assert me.buttons == {}


@pytest.mark.parametrize(
    ("messages", "stands"),
    [
        (whole_page("train"), True),
        (whole_page(""), False),  # another page's run, which was under way
        (whole_page("train", finished=ForwardMsg.FINISHED_EARLY_FOR_RERUN), False),
        (whole_page("train", finished=ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY), False),
    ],
)
def test_a_page_stands_when_its_own_run_has_ended(
    messages: list[ForwardMsg], stands: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classroom, "_HUNG_SECONDS", 0.05)

    async def go() -> Room:
        room = Room()
        me = Participant(Server(), "", room)
        me.pages = {"train": "hash-train"}
        going = asyncio.create_task(me.go("train"))
        await asyncio.sleep(0)
        for each in messages:
            me._take(each)
        await going
        return room

    room = apart(asyncio.run, go())
    assert (room.hung == []) == stands and len(room.page_runs["train"]) == 1


def test_a_server_that_is_gone_is_said_and_not_waited_for() -> None:
    async def go() -> None:
        me = Participant(Server(), "", Room())
        me.pages = {"train": "hash-train"}
        going = asyncio.create_task(me.go("train"))
        await asyncio.sleep(0)
        await me.follow()  # the connection ends at once
        await going

    with pytest.raises(RunError, match="connection ended while train"):
        apart(asyncio.run, asyncio.wait_for(go(), 60))


def test_a_guess_and_a_press_go_to_the_server_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classroom, "_HUNG_SECONDS", 0.01)
    options = [{"content": "slower"}, {"content": "faster"}]
    guess = message(delta={"new_element": {"button_group": {"id": "$$ID-9-guess_accuracy", "options": options}}})
    me, room, server = visited(*whole_page("train", guess, button("train_start")))

    me._ended = False

    async def act() -> None:
        await me.guess()
        assert await me.press("train_start", "train")
        assert not await me.press("profiler_start", "profile")
        await me.ask()

    apart(asyncio.run, act())
    guessed, pressed, after = (each.widget_states.widgets for each in server.wishes[1:])
    assert list(guessed[0].string_array_value.data) == ["slower"] and pressed[0].trigger_value and not after
    assert room.pressed == {"train": 1}


def test_waits_are_of_each_ones_first_run_against_a_fair_share() -> None:
    records = [
        made_run("a", 0, 1, 11),
        made_run("b", 1, 11, 31),
        made_run("b", 2, 31, None),  # not b's first
        made_run("c", 4, None, None),
    ]
    assert sorted(first_waits(records, now=50)) == [1, 10, 46]
    assert longest_wait(records, 4) == pytest.approx(1.5 * 4 * 15)
    assert longest_wait(records[3:], 4) is None


def test_lost_and_doubled_runs_are_counted() -> None:
    room = Room(pressed=Counter(train=3, profile=1))
    room.page_runs["tiles"] = [0.1, 0.2, 4.0]
    records = [made_run("a", 0, 1, 11), made_run("a", 1, 11, 12), made_run("b", 2, 12, 13)]
    memory = {"at start": (1.0, 1.0), "warm": (2.0, 1.0), "after": (5.5, 1.0)}
    rows = {each["name"]: each for each in Found(2, room, {}, 6.0, 3.0, memory, records).rows()}
    assert rows["runs lost"]["median"] == 1 and rows["runs doubled"]["median"] == 1
    assert rows["server grew by"]["median"] == 3.5
    assert rows["server’s CPU time per page run, refreshes with it"]["median"] == 2
    assert rows["tiles (3)"]["values"] == [0.2, pytest.approx(3.62), 4.0]


def test_the_slope_of_the_memory_is_by_least_squares() -> None:
    room = Room()
    room.page_runs["tiles"] = [0.1]
    memory = {"warm": (100.0, 1.0), "after": (100.0, 1.0)}
    course = [(minute / 6, 100 + 2.5 * minute / 6 + (-1) ** minute) for minute in range(12)]
    rows = {each["name"]: each for each in Found(1, room, {}, 6.0, 3.0, memory, [], course).rows()}
    whole, half = (each["median"] for each in rows.values() if each["unit"] == "MB a minute")
    assert whole == pytest.approx(2.5, abs=0.6)
    late = [(minute, used) for minute, used in course if minute >= 1]
    assert half == pytest.approx(np.polyfit(*zip(*late, strict=True), 1)[0])
    assert not any(each["unit"] == "MB a minute" for each in Found(1, room, {}, 6.0, 3.0, memory, []).rows())


def test_its_size_is_of_no_other_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "epoch", "--seconds", "3"]) == cli.UNUSABLE
    assert cli.main(["bench", "classroom", "--participants", "0"]) == cli.UNUSABLE
    assert "classroom" in capsys.readouterr().err


def test_two_participants_see_the_real_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classroom, "LOOKS", (0.1, 0.3))
    monkeypatch.setattr(classroom, "BROWSERS", 0)
    monkeypatch.setattr(classroom, "_COMING_SECONDS", 0.1)
    monkeypatch.setattr(classroom, "_MOST_DRAINING", 120.0)
    monkeypatch.setattr(classroom, "_SAMPLE_SECONDS", 0.4)
    settings = Settings(tmp_path / "runs", tmp_path / "cache", threads=1)
    found = apart(classroom.run, settings, lambda _line: None, 2, 4.0)
    rows = {each["name"]: each for each in found["rows"]}
    assert found["errors"] == [] and rows["tracebacks in the server's log"]["median"] == 0
    assert rows["runs doubled"]["median"] == rows["page runs that never ended"]["median"] == 0
    assert rows["server grew by"]["median"] != 0 and math.isfinite(rows["server’s CPU time"]["median"])
    assert any(name.startswith("page runs (") for name in rows)
    slopes = [each["median"] for each in rows.values() if each["unit"] == "MB a minute"]
    assert slopes and all(map(math.isfinite, slopes))
