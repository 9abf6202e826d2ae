"""The shell: nickname, device switch, dataset badge, my runs, start over; and that the run survives in the URL."""

import asyncio
import json
import re
import runpy
import tomllib
from collections.abc import Callable

import httpx
import pytest
import streamlit as st
from fake_engine import NO_GPU, FakeEngine, eventually
from own_loop import apart
from starlette.applications import Starlette
from streamlit.testing.v1 import AppTest

from eurosat_core.analysis.lineup import MAX_BUNDLE_MB
from eurosat_core.data.classes import CLASS_COLOURS
from eurosat_core.data.uploads import MOST_BYTES
from eurosat_core.errors import RunError
from eurosat_core.lab.lab import Lab, current_lab
from eurosat_core.lab.messages import OWNER
from eurosat_core.runs.profiles import MAX_UPLOAD_MB
from eurosat_core.training.config import workshop_config
from eurosat_core.wording import percent
from pages.parts import lesson, session
from tests.charts.test_specs import contrast
from tests.pages.conftest import MAIN, ME, App, checked, click, pills, shown, tells, unescaped


def links(test: AppTest) -> list[str]:
    return [each.value for each in test.page_link]


def submit(lab: Lab, owner: str = ME) -> str:
    return lab.submit(workshop_config(), owner).id


def test_what_nobody_asked_for_waits_until_a_page_ends(lab: Lab, app: App) -> None:
    lab.calm.clear()  # as before the workers are there
    app()
    assert lab.calm.is_set()
    test = app()
    lab.calm.clear()
    test.button(key="next_page").click().run()
    assert lab.calm.is_set()


# Nickname


def test_a_friendly_nickname_at_first(lab: Lab) -> None:
    test = AppTest.from_file(str(MAIN), default_timeout=60).run()
    name = test.text_input(key="nickname_input").value
    assert name
    assert len(name.split("-")) == 3
    test.run()
    assert test.text_input(key="nickname_input").value == name


@pytest.mark.hostile
def test_nobody_becomes_another_by_an_address_and_renaming_reaches_other_pages(lab: Lab, app: App) -> None:
    app(who="ada")
    test = app()
    test.query_params["who"] = "ada"
    checked(test.run())
    assert test.text_input(key="nickname_input").value == ME
    assert dict(test.query_params) == {}
    test.text_input(key="nickname_input").set_value("  Grace   H.\t").run()
    for empty in ("", "   ", "\u200b\x00"):
        test.text_input(key="nickname_input").set_value(empty).run()
        assert test.text_input(key="nickname_input").value == "Grace H."
        assert len(test.error) == 1
    test.switch_page("tiles.py").run()
    assert test.text_input(key="nickname_input").value == "Grace H."


@pytest.mark.parametrize("name", [OWNER, " Command   LINE ", "ADA"])
def test_the_command_lines_name_and_anothers_are_not_to_be_had(lab: Lab, app: App, name: str) -> None:
    app(who="ada")
    test = app()
    test.text_input(key="nickname_input").set_value(name).run()
    assert test.text_input(key="nickname_input").value == ME
    assert len(test.error) == 1
    test.text_input(key="nickname_input").set_value("bob").run()
    assert not test.error


def test_a_recovery_code_brings_a_participant_and_the_runs_back(lab: Lab, app: App) -> None:
    run_id = submit(lab, "ada")
    ada, test = app(who="ada"), app()
    assert links(test) == []
    test.text_input(key="code_input").set_value("AAAA-BBBB")
    click(test, "code_enter")
    assert test.text_input(key="nickname_input").value == ME and len(test.error) == 1
    code = re.search(r"[A-Z2-7]{4}-[A-Z2-7]{4}", shown(ada))
    assert code is not None
    test.text_input(key="code_input").set_value(code[0].lower())
    click(test, "code_enter")
    assert test.text_input(key="nickname_input").value == "ada" and not test.error
    assert len(links(test)) == 1
    lab.control(run_id, lab.participants.enter(f"of {ME}").id, "stop")
    click(test, "code_anew")
    assert code[0] not in shown(test)


def test_a_session_without_cookies_is_told_so(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tells(app(), "classroom/no cookies")
    monkeypatch.setattr(session, "secret_in", lambda _cookies: "s" * 43)
    one, other = (AppTest.from_file(str(MAIN), default_timeout=60).run() for _tab in range(2))
    assert not tells(one, "classroom/no cookies")
    assert one.text_input(key="nickname_input").value == other.text_input(key="nickname_input").value


# Devices


def test_a_missing_gpu_is_shown_with_its_reason_and_cannot_be_chosen(lab: Lab, app: App) -> None:
    test = app()
    choice, missing = test.sidebar.radio
    assert (choice.options, missing.options, missing.disabled) == (["CPU"], ["GPU"], True)
    assert NO_GPU.reason in shown(test) and not links(test), "no runs either"


def test_a_gpu_stays_chosen_until_it_goes_away(gpu_lab: Lab, app: App, make_lab: Callable[..., Lab]) -> None:
    test = app()
    assert test.radio(key="device").value == "cpu"
    assert test.radio(key="device").options == ["CPU", "GPU 0"]
    test.radio(key="device").set_value("cuda:0").run()
    test.switch_page("tiles.py").run()
    assert test.radio(key="device").value == "cuda:0"
    make_lab()
    checked(test.run())
    assert test.radio(key="device").value == "cpu"


# Runs


def test_my_runs_newest_first_and_others_as_a_number(lab: Lab, app: App, engine: FakeEngine) -> None:
    first = submit(lab, "somebody else")
    eventually(lambda: lab.store.get(first).state == "running")
    mine = [submit(lab) for _ in range(2)]
    eventually(lambda: first in engine.jobs)
    engine.die(first, "The worker died.")
    eventually(lambda: lab.store.get(mine[0]).state == "running")
    test = app()
    assert links(test) == ["Baseline CNN · CPU · queued", "Baseline CNN · CPU · running"]
    before = shown(test)
    lab.store.update(first, state="running")
    test.run()
    assert "1 run" in shown(test).replace(before, "") and "1 run" not in before


def test_a_finished_run_shows_its_accuracy_and_a_failed_one_why(lab: Lab, app: App) -> None:
    done, failed = submit(lab), submit(lab)
    eventually(lambda: lab.store.get(done).state == "running")
    lab.store.update(done, state="finished", summary={"val_accuracy": 0.7362})
    lab.store.update(failed, state="failed", message="NaN!")
    test = app(run=done)
    assert links(test) == ["Baseline CNN · CPU · failed", f"**Baseline CNN · CPU · {percent(0.7362)}**"]
    assert "NaN!" in unescaped(test.page_link[0].proto.help)


def test_the_run_in_the_url_survives_a_page_switch_and_a_refresh(lab: Lab, app: App) -> None:
    run_id = submit(lab)
    test = app("train.py", run=run_id)
    query = test.page_link[0].proto.query_string
    assert query == f"run={run_id}"
    del test.query_params["run"]  # as the navigation's links do
    test.switch_page("tiles.py").run()
    assert test.query_params["run"] == run_id
    assert app("tiles.py", run=run_id).query_params["run"] == run_id


def test_many_runs_do_not_flood_the_sidebar_and_damaged_ones_are_named(lab: Lab, app: App) -> None:
    first = submit(lab)
    eventually(lambda: lab.store.get(first).state == "running")
    for number in range(41):
        record = lab.store.create(workshop_config(), ME, lab.store.get(first).tiles)
        lab.store.update(record.id, state="finished", created=float(number))
    (lab.store.folder_of(record.id) / "run.json").write_text("{", encoding="utf-8")
    test = app()
    assert len(links(test)) == 35
    assert any("36 earlier" in each.label for each in test.expander)
    assert any("1 damaged" in each.label for each in test.expander)
    assert record.id in shown(test)


@pytest.mark.hostile
@pytest.mark.parametrize("run", ["nonsense", "../../etc/passwd", "20260101-000000-baseline-aaaa", "x" * 5000])
def test_a_run_that_does_not_exist_breaks_no_page_and_synthetic_tiles_are_labelled(
    lab: Lab, app: App, run: str
) -> None:
    test = app(run=run)
    for page in ("start.py", "tiles.py", "train.py"):
        test.switch_page(page)
        test.query_params["run"] = run
        assert not test.run().exception
        assert any("Synthetic tiles" in each.value for each in test.sidebar.markdown), page


# Start over, glossary, errors


def test_the_glossary_opens_and_start_over_forgets_all_but_the_nickname(lab: Lab, app: App) -> None:
    run_id = submit(lab)
    test = app("tiles.py", run=run_id)
    click(test, "glossary")
    assert tells(test, "glossary/Epoch")
    pills(test).set_value("3–4 of 10").run()
    test.session_state["tiles_class"] = "damaged"
    click(test, "start_over")
    assert tells(test, "start/question")
    assert dict(test.query_params) == {} and test.text_input(key="nickname_input").value == ME
    assert test.session_state.get("guess_colour_alone") is None
    assert links(test) in (["Baseline CNN · CPU · running"], ["Baseline CNN · CPU · queued"])


def test_without_a_lab_there_is_a_sentence() -> None:
    with pytest.raises(RunError, match=r"streamlit run streamlit_app\.py"):
        current_lab()


# The server


@pytest.mark.parametrize("base", ["", "lab", "/a/b/"])
def test_health_answers_json_below_whatever_path_the_app_is_served(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, base: str
) -> None:
    option = st.get_option
    monkeypatch.setattr(st, "get_option", lambda name: base if name == "server.baseUrlPath" else option(name))
    monkeypatch.setattr(st, "App", lambda _script, *, routes, **_others: Starlette(routes=routes))
    app = runpy.run_path(str(MAIN.parents[1] / "streamlit_app.py"))["app"]

    async def ask(path: str) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://lab.example") as client:
            return await client.get(path)

    # The second where a server in front takes the path away.
    for path in (f"/{base.strip('/')}/api/health".replace("//", "/"), "/api/health"):
        assert apart(asyncio.run, ask(path)).json() == {"status": "ok", "tiles_ready": True}


# Configuration


def config() -> dict[str, dict[str, object]]:
    return tomllib.loads((MAIN.parents[1] / ".streamlit" / "config.toml").read_text(encoding="utf-8"))


def test_chart_colours_are_the_class_colours_and_the_app_phones_nobody() -> None:
    values = config()
    assert tuple(values["theme"]["chartCategoricalColors"]) == CLASS_COLOURS  # type: ignore[arg-type]
    assert values["browser"]["gatherUsageStats"] is values["server"]["showEmailPrompt"] is False
    assert (values["server"]["fileWatcherType"], values["client"]["showErrorDetails"]) == ("none", "none")


def test_the_server_takes_the_largest_file_that_a_page_asks_for() -> None:
    """It refuses a larger request before the page's own limit is asked."""
    asked_for = max(MAX_UPLOAD_MB, MAX_BUNDLE_MB, MOST_BYTES / 1024**2)
    assert config()["server"]["maxUploadSize"] == asked_for


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize(
    ("name", "least"),
    [("textColor", 10), ("linkColor", 4.5), ("primaryColor", 3), ("redTextColor", 4.5), ("grayTextColor", 4.5)],
)
def test_colours_can_be_read_on_a_projector(mode: str, name: str, least: float) -> None:
    theme = json.loads(json.dumps(config()["theme"]))[mode]
    for ground in ("backgroundColor", "secondaryBackgroundColor"):
        assert contrast(theme[name], theme[ground]) >= least, f"{name} on {ground}"


def test_every_page_of_the_navigation_exists() -> None:
    assert {path.stem for path in MAIN.parent.glob("*.py")} - {"main", "__init__", "projector"} == set(lesson.pages())
