"""The Start page in every state of the room."""

from typing import Literal

import pytest
import torchvision
from fake_engine import GPU

from eurosat_core.lab.doctor import Check, TilesState
from eurosat_core.lab.lab import Lab
from eurosat_core.models.catalog import build_model
from pages.parts import room
from tests.pages.conftest import App, click, pills, shown


def test_the_page_keeps_the_contract_and_names_what_is_missing(lab: Lab, app: App) -> None:
    test = app()
    text = shown(test)
    assert "synthetic" in text
    assert "No GPU was found on this machine" in text and "no figure will be made up" in text
    assert test.subheader[0].value == "How much faster is a GPU, and when?"
    assert "Your task" in text and "What you just saw" in text and len(test.warning) == 1
    assert any(each.label == "Show the PyTorch" for each in test.expander)
    assert [each.value for each in test.metric] == ["64,516", "27", "1,741,932", "111,483,648"], "computed"
    vgg = torchvision.models.vgg11_bn(num_classes=10)
    small, large = (sum(each.numel() for each in net.parameters()) for net in (build_model("baseline"), vgg))
    assert f"({small:,} parameters)" in pills(test, 0).label
    assert f"({large / 1e6:.1f} million parameters)" in pills(test, 1).label
    remedies = [each.value for each in test.caption]
    assert any("`python -m eurosat_core prepare" in each for each in remedies), "a command is drawn as code"
    assert not any(r"\`" in each for each in remedies)
    click(test, "next_page")
    assert test.title[0].value.startswith("Tiles: ")


def test_with_a_gpu_both_sides_can_be_measured(gpu_lab: Lab, app: App) -> None:
    text = shown(app())
    assert "you can measure both sides" in text
    assert GPU.name in text


def test_while_tiles_are_opened_the_page_works(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.library, "_state", TilesState(None, 120, 2000))
    monkeypatch.setattr(lab, "_devices_known", False)
    test = app()
    assert not test.exception
    assert "still being looked at" in shown(test)
    assert "Looking for GPUs" in shown(test)
    assert test.progress[0].value == 6


def test_guesses_are_kept_for_other_pages(lab: Lab, app: App) -> None:
    test = app()
    pills(test).set_value("5×").run()
    test.switch_page("tiles.py").run()
    assert test.session_state["guess_speedup_baseline"] == "5×"
    test.switch_page("start.py").run()
    assert pills(test).value == "5×"


State = Literal["ready", "missing", "problem", "checking"]
READY: State = "ready"
MISSING: State = "missing"
CHECKING: State = "checking"
PROBLEM: State = "problem"


@pytest.mark.parametrize(
    ("checks", "source", "words"),
    [
        ([Check("Tiles", READY, ""), Check("GPU", CHECKING, "")], "eurosat", "still being looked at"),
        ([Check("Tiles", READY, ""), Check("GPU", READY, "")], "eurosat", "has a GPU"),
        ([Check("Tiles", READY, ""), Check("GPU", READY, ""), Check("GPU", READY, "")], "eurosat", "has 2 GPUs"),
        ([Check("Tiles", READY, ""), Check("GPU", MISSING, "")], "folder", "no GPU that can be used"),
        ([Check("Tiles", MISSING, ""), Check("GPU", MISSING, "")], "synthetic", "tiles are synthetic"),
        ([Check("Tiles", PROBLEM, ""), Check("GPU", MISSING, "")], None, "There are no tiles"),
        ([Check("Tiles", READY, ""), Check("Disk", PROBLEM, "")], "eurosat", "To be looked after: Disk"),
    ],
)
def test_the_sentence_follows_the_room(checks: list[Check], source: str | None, words: str) -> None:
    sentence = room.sentence(checks, source)
    assert words in sentence
    assert ("synthetic" in sentence) == (source == "synthetic")


def test_without_any_tiles_none_are_called_synthetic(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.library, "_state", TilesState(problem="The disk is full."))
    text = shown(app())
    assert "There are no tiles, so nothing can be browsed or trained" in text
    assert "The tiles are synthetic" not in text
