"""The Tiles page: synthetic, real-like, own classes, still opening, none at all."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from eurosat_core.data.classes import CLASS_NAMES
from eurosat_core.lab.doctor import TilesState
from eurosat_core.lab.lab import Lab
from tests.pages.conftest import App, pills, shown


def pictures(test: AppTest) -> list[Any]:
    return list(test.get("image"))


def test_synthetic_tiles_are_labelled(lab: Lab, app: App) -> None:
    test = app("tiles.py")
    assert not test.exception
    assert any("Synthetic tiles" in str(each.title) for each in test.info)
    assert "behave like the real set" not in shown(test)
    assert "much easier to tell apart" in shown(test)
    assert "published" not in shown(test)
    assert "If it were real" in shown(test)
    # One of each class, a page of 24, one large, three channels.
    assert len(pictures(test)) == 10 + 24 + 1 + 3


def test_choosing_a_class_shows_its_tiles(lab: Lab, app: App) -> None:
    test = app("tiles.py")
    pills(test, -1).set_value("Forest").run()
    assert "closed tree cover" in shown(test)
    assert "Forest/synthetic_" in shown(test)


def test_pages_and_tile_numbers_lead_to_other_tiles(lab: Lab, app: App) -> None:
    test = app("tiles.py")

    def name() -> str:
        found = re.search(r"(\S+/\S+)\. If it were real", shown(test))
        assert found
        return found.group(1)

    first = name()
    test.number_input[0].set_value(5).run()
    fifth = name()
    test.session_state["tiles_page_AnnualCrop"] = 2
    test.run()
    assert len({first, fifth, name()}) == 3


def test_another_sample_is_drawn_and_repeats_for_its_seed(lab: Lab, app: App) -> None:
    test = app("tiles.py")
    before = shown(test)
    next(each for each in test.button if each.label == "Another sample").click().run()
    assert test.session_state["tiles_seed"] > 0
    assert shown(test) != before
    again = shown(test)
    test.run()
    assert shown(test) == again


def test_the_numbers_before_and_after_normalisation(lab: Lab, app: App) -> None:
    table = app("tiles.py").table[0].value
    assert list(table.columns) == ["Red", "Green", "Blue"]
    for channel in table.columns:
        numbers = {name: float(value) for name, value in table[channel].items()}
        assert numbers["lowest value"] == pytest.approx((numbers["lowest pixel"] / 255 - 0.5) / 0.5, abs=0.006)


def test_guess_stands_next_to_what_was_measured(lab: Lab, app: App) -> None:
    test = app("tiles.py")
    saw = next(each for each in test.info if str(each.title) == "What you just saw")
    assert "guessed" not in saw.value
    pills(test).set_value("9–10 of 10").run()
    saw = next(each for each in test.info if str(each.title) == "What you just saw")
    assert "You guessed 9–10 of 10" in saw.value


def test_incomplete_eurosat_is_shown_with_published_counts(
    make_lab: Callable[..., Lab], app: App, small_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = small_folder(tmp_path / "data", dict.fromkeys(CLASS_NAMES, 2))
    (folder / "Forest" / "Forest_9.jpg").write_bytes(b"")
    make_lab(data=folder)
    test = app("tiles.py")
    assert not test.exception
    assert "20 of 27,000 EuroSAT tiles" in shown(test).replace("\\", "")
    assert "published counts (27,000 in all)" in shown(test)
    assert "The bar is 200 m long" in shown(test)


def test_own_classes_with_markup_in_their_names(
    make_lab: Callable[..., Lab], app: App, small_folder: Callable[..., Path], tmp_path: Path
) -> None:
    make_lab(data=small_folder(tmp_path / "data", {"*wet* [land]": 5, "dry_land": 3, "$x$ :red[y]": 1}))
    test = app("tiles.py")
    assert not test.exception
    choice = pills(test, -1)
    assert [each.split(") ", 1)[1] for each in choice.options] == [
        r"\$x\$ \:red\[y\]",
        r"\*wet\* \[land\]",
        r"dry\_land",
    ]
    choice.set_value("dry_land").run()
    assert "3 tiles" in shown(test)
    assert "200 m" not in shown(test)  # how much ground own pictures show is not known
    assert not test.exception


def test_too_few_tiles_for_the_colour_test(
    make_lab: Callable[..., Lab], app: App, small_folder: Callable[..., Path], tmp_path: Path
) -> None:
    make_lab(data=small_folder(tmp_path / "data", {"a": 1, "b": 1}))
    assert "too few tiles" in shown(app("tiles.py"))


def test_a_named_place_without_tiles_is_said(make_lab: Callable[..., Lab], app: App, tmp_path: Path) -> None:
    make_lab(data=tmp_path / "nowhere")
    test = app("tiles.py")
    assert not test.exception
    assert "There is no folder" in shown(test)
    assert len(pictures(test)) > 30  # the synthetic ones


def test_while_tiles_are_opened(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "_tiles", TilesState(None, 5, 100))
    test = app("tiles.py")
    assert not test.exception
    assert any("being opened" in str(each.title) for each in test.info)
    assert any("Next" in each.label for each in test.button)


def test_when_not_even_synthetic_tiles_could_be_kept(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "_tiles", TilesState(None, problem="The disk is full."))
    test = app("tiles.py")
    assert not test.exception
    assert any("The disk is full" in each.value.replace("\\", "") for each in test.error)


def test_tiles_exchanged_for_others_between_two_clicks(
    make_lab: Callable[..., Lab], app: App, small_folder: Callable[..., Path], tmp_path: Path
) -> None:
    make_lab()
    test = app("tiles.py")
    pills(test, -1).set_value("River").run()
    make_lab(data=small_folder(tmp_path / "data", {"a": 4, "b": 4}))
    test.run()
    assert not test.exception
    assert "4 tiles" in shown(test)


def test_pictures_and_charts_have_names(lab: Lab, app: App) -> None:
    test = app("tiles.py")
    for chart in test.get("vega_lite_chart"):
        assert chart.proto.alt
        json.loads(chart.proto.spec)
    assert all(image.alt for each in pictures(test) for image in each.proto.imgs)


def test_the_page_keeps_the_contract(lab: Lab, app: App) -> None:
    test = app("tiles.py")
    assert test.subheader[0].value == "Know the data before you trust a network with it."
    assert len(test.warning) == 1
    code = "\n".join(each.value for each in test.code)
    assert "datasets.EuroSAT" in code
    assert "ssl" not in code
    test.button(key="next_page").click().run()
    assert test.title[0].value == "Train"
