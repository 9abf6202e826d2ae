"""The Compare page in a real browser: a cell's tiles, a replay that moves, runs that go out and come in again."""

import io
import re
from pathlib import Path

import numpy as np
import pytest

from eurosat_core.classroom.cookie import NAME
from eurosat_core.classroom.participants import Participants
from eurosat_core.data.tiles import open_tiles
from eurosat_core.runs.record import TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.training.config import workshop_config
from eurosat_core.training.events import EpochDone, Finished, Started, StepDone
from tests.browser.participant import alerts, choose, give, keyed, main, press, saw, told
from tests.browser.waiting import changes, click_in, drawn

pytestmark = pytest.mark.browser
PAGE = "compare"
SECRET = "s" * 43  # of the participant whose runs they are
SECONDS = 20.0


def predictions(labels: np.ndarray, wrong: int) -> bytes:
    """Answers to every fifth tile; the first `wrong` of the first class are taken for the second one."""
    numbers = np.arange(0, len(labels), 5)
    true = labels[numbers]
    said = true.copy()
    said[:wrong] = 1
    target = io.BytesIO()
    np.savez(target, tiles=numbers, true=true, predicted=said, confidence=np.linspace(0.99, 0.5, len(numbers)))
    return target.getvalue()


@pytest.fixture(scope="module")
def runs(app: str, app_folder: Path) -> list[str]:
    """Two finished runs on the app's tiles, as workers would have left them; their ids."""
    tiles = open_tiles(None, app_folder / "cache")
    used = TilesUsed(tiles.fingerprint, tiles.source, tiles.place, len(tiles), tiles.class_names)
    store, ids = RunStore(app_folder / "runs"), []
    owner = Participants(app_folder / "runs" / "participants.jsonl").enter(SECRET).id
    for model, wrong, accuracy in (("baseline", 30, 0.925), ("efficientnet_lite0", 6, 0.985)):
        run = store.create(workshop_config(model), owner, used)
        events = [Started(2, 40, 4, 1600, 400, 338_486, 338_486, "cpu", 2)]
        for epoch in (1, 2):
            at = SECONDS * epoch / 2
            events += [StepDone("train", epoch, step, at - 10 + step / 5, 1.0, 0.5, 900.0, 2**28) for step in (10, 30)]
            value = accuracy * epoch / 2
            events += [EpochDone(epoch, 1.0, value, 1.1, value, 10.0, 8.0, 2.0, 900.0, at)]
        store.append(run.id, [*events, Finished(2, SECONDS, 1.1, accuracy)])
        store.save(run.id, {"predictions.npz": predictions(tiles.labels.numpy(), wrong)})
        figures = {"val_accuracy": accuracy, "seconds": SECONDS}
        machine = {"device_name": "A CPU", "threads": 2}
        store.update(run.id, state="finished", started=run.created, summary=figures, machine=machine)
        ids.append(run.id)
    return ids


@pytest.fixture
def compare(page, app: str, runs: list[str]):
    """The page with both runs side by side."""
    page.context.add_cookies([{"name": NAME, "value": SECRET, "url": app}])
    page.goto(f"{app}/compare")
    saw(page, "accuracy.better").wait_for()
    drawn(page)
    return page


def test_a_click_on_a_cell_opens_its_tiles(compare, runs):
    page = compare
    page.wait_for_url(re.compile(f"runs={runs[0]}"))
    matrix = main(page).locator("[data-testid=stVegaLiteChart]").filter(has_text="Baseline CNN")
    # Sharing a row with the right answers of its class: the only mix-up there is.
    click_in(
        matrix.locator("svg text", has_text=re.compile("^30$")).first, page.get_by_text(re.compile("30 tiles")).first
    )
    tiles = page.get_by_role("img", name=re.compile("Tile .*cell"))
    tiles.nth(11).wait_for()  # they come one after the other
    drawn(page)
    assert tiles.count() == 12
    main(page).get_by_text("EfficientNet-Lite0 · CPU: ").first.wait_for()


def test_a_replay_moves_pauses_and_ends(compare):
    page = compare
    press(page, "compare_play")
    clock = main(page).locator("[data-testid=stProgress]").filter(has_text=" s of ")
    changes(clock, how=lambda clock: clock.inner_text())
    press(page, "compare_pause")
    keyed(page, "compare_play").wait_for()
    drawn(page)
    stopped = clock.inner_text()
    page.wait_for_timeout(1500)
    assert clock.inner_text() == stopped
    choose(page, "50×", "compare_speed")
    drawn(page)
    press(page, "compare_play")
    told(page, "race.over.done").wait_for()
    keyed(page, "compare_play").wait_for()


def test_runs_go_out_and_come_in_again(compare, app, runs, tmp_path, app_folder):
    page = compare
    choose(page, "Take runs along", "compare_part")
    with page.expect_download() as waiting:
        press(page, "compare_export")
    bundle = tmp_path / "runs.zip"
    waiting.value.save_as(bundle)
    give(page, bundle)
    alerts(page, "Success").wait_for()
    for each in runs:
        RunStore(app_folder / "runs").delete(each)
    page.reload()
    choose(page, "Take runs along", "compare_part")
    give(page, bundle)
    main(page).get_by_role("button", name="Compare", exact=True).first.click()
    main(page).get_by_text(re.compile("on A CPU")).first.wait_for()
    (tmp_path / "broken.zip").write_bytes(b"this is no zip")
    give(page, tmp_path / "broken.zip")
    alerts(page, "Error").wait_for()


def test_the_recorded_runs_are_there_before_the_first_own_one(page):
    told(page, "compare/nothing").wait_for()
    for part in ("Learning curves", "Time and cost", "Random or by place", "Take runs along", "Accuracy"):
        choose(page, part, "compare_part")
        drawn(page)
