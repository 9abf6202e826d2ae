"""One client that floods the server: its messages wait, its sessions are bounded, and others notice nothing."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from own_loop import apart

from eurosat_core.classroom import connections
from eurosat_core.classroom.connections import FairConnections, Pace
from eurosat_core.classroom.cookie import NAME, new_secret


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_pace_lets_a_burst_through_and_then_so_many_a_second() -> None:
    clock = Clock()
    pace = Pace(10.0, 3, clock)
    assert [pace.wait() for _ in range(3)] == [0, 0, 0]
    assert [pace.wait() for _ in range(3)] == pytest.approx([0.1, 0.2, 0.3])
    clock.now += 60
    assert [pace.wait() for _ in range(4)] == pytest.approx([0, 0, 0, 0.1]), "no more than the burst is saved up"


class Room:
    """An app that counts what it is asked, behind what bounds it. open: sessions it has now."""

    def __init__(self) -> None:
        self.open = 0
        self.taken: dict[str, int] = {}
        self.ended = asyncio.Event()
        self.bounded = FairConnections(self._app)

    async def _app(self, scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        await send({"type": "websocket.accept"})
        self.open += 1
        try:
            while (await receive())["type"] == "websocket.receive":
                self.taken[scope["client"][0]] = self.taken.get(scope["client"][0], 0) + 1
            await self.ended.wait()
        finally:
            self.open -= 1

    async def session(self, address: str, messages: int = 0, cookie: str | None = None) -> str:
        """A session that sends so many messages at once: how the server answered it first."""
        said: list[str] = []
        left = ["websocket.receive"] * messages + ["websocket.disconnect"]

        async def receive() -> dict[str, Any]:
            return {"type": left.pop(0) if left else "websocket.disconnect", "bytes": b""}

        async def send(message: dict[str, Any]) -> None:
            said.append(message["type"])

        headers = [(b"cookie", f"{NAME}={cookie}".encode())] if cookie is not None else []
        scope = {"type": "websocket", "client": (address, 1), "headers": headers}
        await self.bounded(scope, receive, send)
        return said[0]


def answers(sessions: Sequence[tuple[str, str | None]]) -> tuple[list[str], Room]:
    """What sessions (address, cookie) that are open at once are told, and the room once all have gone."""

    async def all_at_once() -> tuple[list[str], Room]:
        room = Room()
        tasks = [asyncio.create_task(room.session(address, 0, cookie)) for address, cookie in sessions]
        for _ in range(5):
            await asyncio.sleep(0)
        room.ended.set()
        told = await asyncio.gather(*tasks)
        assert room.open == 0 and not room.bounded._open and not room.bounded._paces, "nothing is kept of who has left"
        assert await room.session(*sessions[0][:1]) == "websocket.accept", "there is room again"
        return told, room

    found: tuple[list[str], Room] = apart(asyncio.run, all_at_once())
    return found


@pytest.mark.hostile
@pytest.mark.parametrize("cookie", [None, new_secret(), "no secret of ours"], ids=["none", "ours", "another"])
def test_one_browser_has_so_many_sessions(cookie: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "OF_A_BROWSER", 3)
    told, _ = answers([("10.0.0.1", cookie)] * 200 + [("10.0.0.2", None), ("10.0.0.1", new_secret())])
    assert told == ["websocket.accept"] * 3 + ["websocket.close"] * 197 + ["websocket.accept"] * 2


@pytest.mark.hostile
def test_made_up_cookies_give_an_address_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "OF_AN_ADDRESS", 5)
    told, _ = answers([("10.0.0.1", new_secret()) for _ in range(9)] + [("10.0.0.2", new_secret())])
    assert told == ["websocket.accept"] * 5 + ["websocket.close"] * 4 + ["websocket.accept"]


def test_a_room_behind_one_proxy_comes_in() -> None:
    told, _ = answers([("10.0.0.1", new_secret()) for _ in range(30)] * 2)
    assert set(told) == {"websocket.accept"}


@pytest.mark.hostile
def test_a_flood_of_messages_waits_and_loses_none() -> None:
    async def flood() -> tuple[int, int, int]:
        room = Room()
        room.ended.set()
        flooding = asyncio.create_task(room.session("10.0.0.1", 90))
        await asyncio.sleep(0.2)
        at_first = room.taken["10.0.0.1"]
        await asyncio.wait_for(room.session("10.0.0.2", 20), 0.5)  # somebody else, at once
        await flooding
        return at_first, room.taken["10.0.0.2"], room.taken["10.0.0.1"]

    at_first, others, in_the_end = apart(asyncio.run, flood())
    assert 60 <= at_first < 80 and others == 20 and in_the_end == 90
