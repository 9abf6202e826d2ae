"""The Start page in every state of the room."""

from collections.abc import Callable
from typing import Literal

import pytest
import torchvision
from fake_engine import CPU, GPU, FakeEngine

from eurosat_core.lab.doctor import Check, TilesState
from eurosat_core.lab.lab import Lab
from eurosat_core.models.catalog import build_model
from pages.parts import room
from tests.pages.conftest import App, pills, shown


def test_synthetic_tiles_and_no_gpu_are_named(lab: Lab, app: App) -> None:
    text = shown(app())
    assert "synthetic" in text
    assert "No GPU was found on this machine" in text
    assert "no figure will be made up" in text


def test_with_a_gpu_both_sides_can_be_measured(make_lab: Callable[..., Lab], app: App) -> None:
    make_lab(FakeEngine((CPU, GPU), speeds=()))
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


def test_the_worked_example_is_computed(lab: Lab, app: App) -> None:
    values = [each.value for each in app().metric]
    assert values == ["64,516", "27", "1,741,932", "111,483,648"]


def test_the_guesses_name_both_networks_with_their_sizes(lab: Lab, app: App) -> None:
    vgg = torchvision.models.vgg11_bn(num_classes=10)
    sizes = [sum(each.numel() for each in net.parameters()) for net in (build_model("baseline"), vgg)]
    labels = [pills(app(), at).label for at in range(2)]
    assert f"({sizes[0]:,} parameters)" in labels[0]
    assert f"({sizes[1] / 1e6:.1f} million parameters)" in labels[1]


def test_commands_of_the_room_check_are_drawn_as_code(lab: Lab, app: App) -> None:
    remedies = [each.value for each in app().caption]
    assert any("`python -m eurosat_core prepare" in each for each in remedies)
    assert not any(r"\`" in each for each in remedies)


def test_guesses_are_kept_for_other_pages(lab: Lab, app: App) -> None:
    test = app()
    pills(test).set_value("5×").run()
    test.switch_page("tiles.py").run()
    assert test.session_state["guess_speedup_baseline"] == "5×"
    test.switch_page("start.py").run()
    assert pills(test).value == "5×"


def test_the_page_keeps_the_contract(lab: Lab, app: App) -> None:
    test = app()
    assert test.subheader[0].value == "How much faster is a GPU, and when?"
    assert any("Your task" in each.value for each in test.markdown)
    assert any("What you just saw" in str(each.title) for each in test.info)
    assert len(test.warning) == 1
    assert any(each.label == "Show the PyTorch" for each in test.expander)
    assert any("Next" in each.label for each in test.button)


def test_next_leads_to_the_tiles(lab: Lab, app: App) -> None:
    test = app()
    test.button(key="next_page").click().run()
    assert test.title[0].value.startswith("Tiles: ")


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
