"""The Convolution page in a real browser: a filter is stepped by mouse, key and slider, and its numbers are read."""

import re
import time

import numpy as np
import pytest
import torch
from torch.nn import functional

from eurosat_core.data import pictures
from eurosat_core.data.tiles import open_tiles
from eurosat_core.models.convolution import FILTERS
from eurosat_core.runs.history import HistoryReader
from tests.browser.participant import LONG, MINUTES, badge, go_to, set_epochs, start_training, stop
from tests.browser.waiting import drawn, settled_box

pytestmark = pytest.mark.browser


def choose(page, name: str) -> None:
    page.get_by_role("radio", name=name, exact=True).or_(
        page.get_by_role("button", name=name, exact=True)
    ).first.click()


def press(page, name: str) -> None:
    page.locator("[data-testid=stMain]").get_by_role("button", name=re.compile(name)).first.click()


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def landed(page, row: int, column: int) -> float:
    """The value that is said to land at this place, once it is shown."""
    line = page.get_by_text(re.compile(rf"Products added up.*row {row}, column {column}$"))
    line.wait_for()
    return number(re.search(r"=\s*([+−]?[\d.]+) →", line.inner_text())[1])


@pytest.fixture
def vertical(app_folder) -> np.ndarray:
    """PyTorch's feature map of the first tile for vertical edges."""
    tile = open_tiles(None, app_folder / "cache").array[0]
    values = torch.from_numpy(pictures.normalised(tile, (0.5,) * 3, (0.5,) * 3)).permute(2, 0, 1)
    return functional.conv2d(values[None], torch.from_numpy(FILTERS["Vertical edges"]).repeat(1, 3, 1, 1))[0, 0].numpy()


def test_a_filter_is_stepped_and_its_numbers_are_torchs(page, vertical):
    go_to(page, "Convolution")
    choose(page, "Vertical edges")
    weights = page.locator("[data-testid=stTable] table").nth(1)
    weights.locator("td").nth(1).get_by_text("0.000").wait_for()
    drawn(page)  # else the numbers may be the last filter's still
    assert landed(page, 31, 31) == pytest.approx(vertical[31, 31], abs=0.0006)
    press(page, "Forward")
    assert landed(page, 31, 32) == pytest.approx(vertical[31, 32], abs=0.0006)
    drawn(page)  # the key belongs to a button, which may be drawn after the text, as the slider may
    page.keyboard.press("s")
    assert landed(page, 32, 32) == pytest.approx(vertical[32, 32], abs=0.0006)
    drawn(page)
    page.keyboard.press("a")
    assert landed(page, 32, 31) == pytest.approx(vertical[32, 31], abs=0.0006)
    drawn(page)
    page.get_by_role("slider", name="Row").press("ArrowUp")
    assert landed(page, 33, 31) == pytest.approx(vertical[33, 31], abs=0.0006)
    press(page, "Strongest")
    row, column = divmod(int(np.abs(vertical).argmax()), vertical.shape[1])
    assert landed(page, row, column) == pytest.approx(vertical[row, column], abs=0.0006)
    drawn(page)
    tables = page.locator("[data-testid=stTable] table")
    cells = [[number(each) for each in tables.nth(at).locator("td").all_inner_texts()] for at in range(3)]
    assert cells[1] == FILTERS["Vertical edges"].flatten().tolist()
    np.testing.assert_allclose(np.multiply(cells[0], cells[1]), cells[2], atol=0.001)


def test_relu_pooling_and_a_learned_filter(page):
    go_to(page, "Convolution")
    choose(page, "2 · ReLU")
    page.get_by_text(re.compile("of these values into zero")).wait_for()
    choose(page, "3 · Pooling")
    page.get_by_text(re.compile("3,844 values became 961")).wait_for()
    choose(page, "1 · Convolution")
    choose(page, "A trained network’s")
    page.get_by_text(re.compile("Nobody designed these filters")).wait_for()
    page.get_by_text(re.compile("That took 75 products")).wait_for()
    assert page.locator("[data-testid=stException]").count() == 0


def test_a_step_while_a_training_runs_and_its_network_afterwards(page, app_folder):
    go_to(page, "Train")
    set_epochs(page, LONG)
    run_id = start_training(page)
    badge(page, "Training").wait_for()
    go_to(page, "Convolution")
    choose(page, "What each layer sees")
    page.get_by_text(re.compile("Before training, its surest answer")).wait_for()
    drawn(page)
    press(page, "Forward")
    landed(page, 31, 32)
    press(page, "Down")
    landed(page, 32, 32)
    go_to(page, "Train")
    folder = app_folder / "runs" / run_id
    told = HistoryReader(folder / "events.jsonl")
    deadline = time.monotonic() + MINUTES / 1000
    while not told.read().epochs:
        assert time.monotonic() < deadline, "no epoch has come to its end"
        page.wait_for_timeout(200)
    stop(page)
    assert (folder / "model.pt").exists()
    go_to(page, "Convolution")
    page.get_by_text(re.compile("Before training, its surest answer")).wait_for()
    drawn(page)
    networks = page.get_by_role("combobox", name=re.compile("Network"))
    settled_box(networks)  # a list that was opened before closes again when the page moves
    networks.click()
    page.get_by_role("option", name=re.compile(run_id)).click()
    drawn(page)
    page.get_by_text("Its answer, after training").wait_for()
    assert page.locator("[data-testid=stException]").count() == 0


def test_the_multiplications_are_counted(page):
    go_to(page, "Convolution")
    page.get_by_text("1,741,932", exact=True).wait_for()
    page.get_by_text(re.compile("1,746,696")).wait_for()
    box = page.get_by_role("spinbutton", name="Stride")
    box.fill("2")
    box.press("Enter")
    page.get_by_text(f"{127 * 127 * 27 * 64:,}", exact=True).wait_for()
    page.get_by_text(re.compile("billion multiplications a second, measured on this device")).wait_for()
