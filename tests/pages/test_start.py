"""The Start page in every state of the room."""

from typing import Literal

import pytest
import torchvision
from fake_engine import GPU, NO_GPU

from eurosat_core.lab.doctor import Check, TilesState
from eurosat_core.lab.lab import Lab
from eurosat_core.models.catalog import build_model
from pages.parts import room
from tests.pages.conftest import App, click, pills, saw, shown, tells


def test_the_page_keeps_the_contract_and_names_what_is_missing(lab: Lab, app: App) -> None:
    test = app()
    assert NO_GPU.reason in shown(test) and saw(test) and tells(test, "start/question", "start/misconception")
    assert len(test.warning) == 1 and test.code
    assert [each.value for each in test.metric] == ["64,516", "27", "1,741,932", "111,483,648"], "computed"
    vgg = torchvision.models.vgg11_bn(num_classes=10)
    small, large = (sum(each.numel() for each in net.parameters()) for net in (build_model("baseline"), vgg))
    assert f"({small:,} parameters)" in pills(test, 0).label
    assert f"({large / 1e6:.1f} million parameters)" in pills(test, 1).label
    remedies = [each.value for each in test.caption]
    assert any("`python -m eurosat_core prepare" in each for each in remedies), "a command is drawn as code"
    assert not any(r"\`" in each for each in remedies)
    click(test, "next_page")
    assert tells(test, "tiles/intro")


def test_with_a_gpu_both_sides_can_be_measured(gpu_lab: Lab, app: App) -> None:
    assert GPU.name in shown(app())


def test_without_tiles_the_page_works_and_none_are_called_synthetic(
    lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab.library, "_state", TilesState(None, 120, 2000))
    monkeypatch.setattr(lab, "_devices_known", False)
    test = app()
    assert room.sentence(lab.room(), None) in saw(test)
    assert test.progress[0].value == 6
    monkeypatch.setattr(lab.library, "_state", TilesState(problem="Full."))
    assert saw(app()) == room.sentence(lab.room(), None)


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
    ("checks", "source", "seen"),
    [
        ([Check("Tiles", READY, ""), Check("GPU", CHECKING, "")], "eurosat", ""),
        ([Check("Tiles", READY, ""), Check("GPU", READY, "")], "eurosat", "a GPU"),
        ([Check("Tiles", READY, ""), Check("GPU", READY, ""), Check("GPU", READY, "")], "eurosat", "2 GPUs"),
        ([Check("Tiles", READY, ""), Check("GPU", MISSING, "")], "folder", "no GPU"),
        ([Check("Tiles", MISSING, ""), Check("GPU", MISSING, "")], "synthetic", "synthetic"),
        ([Check("Tiles", PROBLEM, ""), Check("GPU", MISSING, "")], None, "no tiles"),
        ([Check("Tiles", READY, ""), Check("Disk", PROBLEM, "")], "eurosat", "Disk"),
    ],
)
def test_the_sentence_follows_the_room(checks: list[Check], source: str | None, seen: str) -> None:
    sentence = room.sentence(checks, source)
    assert seen in sentence
    assert ("synthetic" in sentence) == (source == "synthetic")
