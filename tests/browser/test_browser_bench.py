"""The benchmark's real browsers, on the real app."""

import asyncio
import random
import time

from own_loop import apart

from bench.browsers import Onlooker, onlookers


def test_an_onlooker_trains_once_and_sees_pages_drawn(browser, app: str) -> None:
    async def watch() -> list[Onlooker]:
        async with onlookers(1) as looking:
            for each in looking:
                await each.browse(app, time.monotonic() + 10, random.Random(0), (0.5, 1.0))
        return looking

    (onlooker,) = apart(asyncio.run, watch())
    assert (onlooker.trains, onlooker.errors) == (1, [])
    assert onlooker.switches and min(onlooker.switches) > 0


def test_an_onlooker_whose_page_never_comes_says_so(browser) -> None:
    async def watch() -> list[Onlooker]:
        async with onlookers(1) as looking:
            await looking[0].browse("http://127.0.0.1:9", time.monotonic() + 1, random.Random(0), (0.5, 1.0))
        return looking

    (onlooker,) = apart(asyncio.run, watch())
    assert onlooker.trains == 0
    assert len(onlooker.errors) == 1
