"""The Profiler page in a real browser: record, follow advice, record again, compare; upload, zoom, refresh."""

import gzip
import json
import re

import pytest

from tests.browser.conftest import watched_window
from tests.browser.participant import MINUTES, give, go_to, main
from tests.browser.test_browser_convolution import choose
from tests.browser.waiting import differs, drawn, settled_box
from tests.trace_makers import host, kernel, launch, memory, step, text

pytestmark = pytest.mark.browser


def saw(page, words: str):
    return page.locator("[data-testid=stAlert]").filter(has_text="What you just saw").filter(has_text=words)


def record(page, button) -> str:
    """Press a button that records, and wait for the profile; its run's id."""
    before = page.url
    button.click()
    page.wait_for_url(lambda url: "run=" in url and url != before)
    page.get_by_text("Look closer").wait_for(state="detached")  # of the profile before
    page.get_by_text("Look closer").wait_for(timeout=MINUTES)
    return re.search(r"run=([^&]+)", page.url).group(1)


def test_record_follow_advice_record_again_and_compare(browser, app: str):
    with watched_window(browser, app) as page:
        go_to(page, "Profiler")
        page.get_by_text("an example to read, not your machine").wait_for()  # nothing is empty before the first run
        drawn(page)
        first = record(page, main(page).get_by_role("button", name="Record on CPU"))
        page.get_by_text("an example to read").wait_for(state="detached")
        saw(page, "A step took").wait_for()
        choose(page, "Advice")
        main(page).get_by_role("button", name=re.compile("^Set it for the next profile")).first.click()
        page.get_by_text("Set as advised").wait_for()
        second = record(page, main(page).get_by_role("button", name="Record it now"))
        assert second != first
        page.get_by_text("Operators that changed most").wait_for()  # side by side, without being asked for
        page.get_by_text("What differs").wait_for()
        drawn(page)
        page.reload()
        page.get_by_text("Look closer").wait_for()
        assert second in page.url
        saw(page, "A step took").wait_for()


def test_a_trace_is_uploaded_looked_at_in_every_part_and_found_after_a_refresh(browser, app: str, tmp_path):
    events = [step(4, 0, 900)]
    for number in range(8):
        at = 100.0 * number
        events += [host("aten::linear", at + 5, 60), host("aten::addmm", at + 8, 50), launch(number + 1, at + 20, 10)]
        events.append(kernel(number + 1, at + 40, 45, f"void gemm_{number % 3}<float>(int)", blocks=0.5, occupancy=25))
        events.append(memory(at + 9, 4096, 4096 * (number + 1), kind=1, index=0, **{"Total Reserved": 1 << 20}))
    path = tmp_path / "small gpu.pt.trace.json"
    path.write_bytes(text(events, deviceProperties=[{"id": 0, "name": "Made-up GPU", "totalGlobalMem": 1 << 30}]))
    with watched_window(browser, app) as page:
        go_to(page, "Profiler")
        main(page).get_by_role("button", name="Upload a trace").click()
        give(page, path)
        page.get_by_text("This trace was uploaded").wait_for()
        page.keyboard.press("Escape")
        page.get_by_text("Utilization of GPU 0").wait_for()
        for part, words in (
            ("Overview", "SM efficiency"),
            ("Operators", "2 rows of the table, one piece of work"),
            ("GPU kernels", "8 launches in the whole trace"),
            ("Memory", "at most"),
            ("Timeline", "Time runs to the right"),
            ("Side by side", "Put beside it"),
            ("The tutorial’s figures", "Recorded by the tutorial"),
            ("Advice", "Computed from this trace"),
        ):
            choose(page, part)
            page.get_by_text(words).first.wait_for()
            drawn(page)
        page.reload()
        page.get_by_text("This trace was uploaded").wait_for()


def test_a_damaged_trace_gets_its_sentence(browser, app: str, tmp_path):
    path = tmp_path / "cut.json"
    path.write_bytes(text([host("aten::add", 0, 10)] * 50)[:2000])
    with watched_window(browser, app) as page:
        go_to(page, "Profiler")
        main(page).get_by_role("button", name="Upload a trace").click()
        give(page, path)
        page.get_by_text("This trace cannot be used").wait_for()
        page.get_by_text("an example to read, not your machine").wait_for()


def test_the_wheel_zooms_into_the_timeline(browser, app: str):
    with watched_window(browser, app) as page:
        go_to(page, "Profiler")
        choose(page, "Timeline")
        page.get_by_text("Time runs to the right").wait_for()
        drawn(page)
        chart = page.locator("[data-testid=stVegaLiteChart]").last
        box = settled_box(chart)
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        settled_box(chart)  # where the mouse is, it may say what is there
        before = chart.screenshot()
        page.mouse.wheel(0, -600)
        differs(chart, before)


def test_the_download_is_a_trace(browser, app: str):
    with watched_window(browser, app) as page:
        go_to(page, "Profiler")
        with page.expect_download() as waiting:
            main(page).get_by_role("button", name="Download trace").click()
        content = json.loads(gzip.decompress(waiting.value.path().read_bytes()))
        assert content["traceEvents"]
