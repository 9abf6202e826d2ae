"""TensorBoard through the real app's port: it answers and is drawn, and nothing else listens beyond this machine."""

import json
import urllib.request
from contextlib import suppress
from urllib.parse import urlsplit

import psutil
import pytest
from fake_engine import epoch_done, eventually, finished, started, step

from eurosat_core.profiling.plan import ProfilePlan, profile_config
from eurosat_core.runs.profiles import recorded_trace
from eurosat_core.runs.record import TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.training.config import TrainConfig
from tests.browser.conftest import watched_window
from tests.browser.participant import go_to, unfold

pytestmark = pytest.mark.browser
PATIENCE = 120.0
USED = TilesUsed("print", "synthetic", "", 2000, ("a", "b"))


@pytest.fixture(scope="module")
def runs(app_folder, app):
    """A training and a profile, as workers leave them, in the app's store."""
    store = RunStore(app_folder / "runs")
    training = store.create(TrainConfig(source="memory"), "ada", USED)
    store.append(training.id, [started(), step(5), epoch_done(1), epoch_done(2), finished()])
    store.update(training.id, state="finished")
    plan = ProfilePlan(repeat=1).to_dict()
    profile = store.create(profile_config("baseline"), "ada", USED, "profile", plan)
    store.save(profile.id, {"trace_1.json.gz": recorded_trace()})
    store.update(profile.id, state="finished")
    return training, profile


def ask(app, path):
    with urllib.request.urlopen(f"{app}/tensorboard/{path}", timeout=PATIENCE) as answer:
        return json.loads(answer.read())


def server_of(port):
    """The process that serves the app."""
    for each in psutil.Process().children():
        with suppress(psutil.Error):
            if f"--server.port={port}" in each.cmdline():
                return each
    raise AssertionError("the server has no process")


def listening_below(process):
    """Addresses on which a process or one that it started takes connections."""
    found = []
    for each in [process, *process.children(recursive=True)]:
        with suppress(psutil.Error):
            found += [one.laddr for one in each.net_connections("inet") if one.status == psutil.CONN_LISTEN]
    return found


def test_scalars_answer_and_nothing_else_listens(runs, app):
    training, _ = runs
    tags = eventually(lambda: ask(app, "data/plugin/scalars/tags"), PATIENCE)
    assert {"step/loss", "epoch/loss", "epoch/accuracy"} <= set(tags[f"{training.id}/train"])
    values = ask(app, f"data/plugin/scalars/scalars?run={training.id}%2Fvalidation&tag=epoch%2Faccuracy")
    assert [(at, value) for _, at, value in values] == [(1, 0.5), (2, 0.75)]
    assert_nothing_else_listens(app)


def test_the_profiler_tab_answers_and_nothing_else_listens(runs, app):
    pytest.importorskip("torch_tb_profiler")
    _, profile = runs
    profiler = "data/plugin/pytorch_profiler"
    eventually(lambda: profile.id in ask(app, f"{profiler}/runs")["runs"], PATIENCE)
    assert ask(app, f"{profiler}/workers?run={profile.id}&view=Overview") == ["cpu"]
    overview = ask(app, f"{profiler}/overview?run={profile.id}&worker=cpu&span=1")
    shares = {each["name"]: each["value"] for each in overview["performance"][0]["children"]}
    assert float(shares["DataLoader"]) > 0, "which the plug-in makes 0 of a trace as it is"
    table = ask(app, f"{profiler}/operation/table?run={profile.id}&worker=cpu&span=1&group_by=Operation")
    assert "aten::conv2d" in {row["name"] for row in table["data"]}
    assert_nothing_else_listens(app)


def assert_nothing_else_listens(app):
    listening = listening_below(server_of(urlsplit(app).port))
    assert urlsplit(app).port in {each.port for each in listening}
    assert {each.ip for each in listening} == {"127.0.0.1"}


def test_the_page_leads_there_and_its_curves_are_drawn(runs, app, browser):
    training, _ = runs
    with watched_window(browser, app) as window:
        go_to(window, "Profiler")
        unfold(window, "TensorBoard")
        with window.expect_popup() as opened:
            window.get_by_role("link", name="TensorBoard").click()
        board = opened.value
        board.get_by_text("TensorBoard", exact=True).first.wait_for()
        board.get_by_text(f"{training.id}/validation").first.wait_for()
        board.locator("tb-app, app-root, tb-webapp").first.wait_for()
        assert urlsplit(board.url).path == "/tensorboard/"
