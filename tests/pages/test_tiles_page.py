"""The Tiles page: synthetic, real-like, own classes, still opening, none at all."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from eurosat_core.data.classes import CLASS_NAMES
from eurosat_core.lab.doctor import TilesState
from eurosat_core.lab.lab import Lab
from tests.pages.conftest import App, pills, shown


def pictures(test: AppTest) -> list[Any]:
    return list(test.get("image"))


def view(test: AppTest, name: str) -> AppTest:
    """Open one of the views."""
    test.get_by_key("tiles_view").set_value(name).run()
    assert not test.exception, test.exception[0].message
    return test


def test_synthetic_tiles_are_labelled(lab: Lab, app: App) -> None:
    test = app("tiles.py")
    assert not test.exception
    assert any("Synthetic tiles" in str(each.title) for each in test.info)
    assert "behave like the real set" not in shown(test)
    assert "much easier to tell apart" in shown(test)
    assert "published counts" not in shown(view(app("tiles.py"), "Class averages"))
    assert "If it were real" in shown(test)
    # One of each class, a page of 24, one large.
    assert len(pictures(test)) == 10 + 24 + 1


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


def test_another_sample_is_drawn_and_repeats_for_its_seed(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.randbelow", lambda _: 1)  # in one sample of two hundred the same tile comes first
    test = app("tiles.py")
    before = shown(test)
    next(each for each in test.button if each.label == "Another sample").click().run()
    assert test.session_state["tiles_seed"] == 2
    assert shown(test) != before
    again = shown(test)
    test.run()
    assert shown(test) == again


def test_the_numbers_before_and_after_normalisation(lab: Lab, app: App) -> None:
    table = view(app("tiles.py"), "From picture to numbers").table[1].value
    assert list(table.columns) == ["Red", "Green", "Blue"]
    for channel in table.columns:
        numbers = {name: float(value) for name, value in table[channel].items()}
        assert numbers["lowest value"] == pytest.approx((numbers["lowest pixel"] / 255 - 0.5) / 0.5, abs=0.006)


def test_the_pipeline_shows_the_same_pixels_at_every_step(lab: Lab, app: App) -> None:
    test = app("tiles.py")
    test.number_input[0].set_value(5).run()
    test = view(test, "From picture to numbers")
    tiles = lab.tiles().tile_set
    assert tiles is not None
    tile = tiles.array[test.session_state["tiles_large"][1]]
    test.get_by_key("tiles_channel").set_value("Blue").run()
    test.slider(key="tiles_patch_row").set_value(10).run()
    test.slider(key="tiles_patch_column").set_value(20).run()
    patch = tile[10:16, 20:26, 2].astype(float)
    for step, form, oracle in (
        ("1 · Picture", "{:.0f}", patch),
        ("2 · Tensor", "{:.3f}", patch / 255),
        ("3 · Normalised", "{:+.3f}", (patch / 255 - 0.5) / 0.5),
    ):
        test.get_by_key("tiles_step").set_value(step).run()
        assert not test.exception
        shown_numbers = test.table[0].value.to_numpy().tolist()
        wanted = [[form.format(value) for value in row] for row in oracle.tolist()]
        far = max(
            abs(float(a) - float(b))
            for row, other in zip(shown_numbers, wanted, strict=True)
            for a, b in zip(row, other, strict=True)
        )
        assert far <= 0.0011


@pytest.mark.parametrize(
    ("name", "words", "there"),
    [
        ("Class averages", "Stack all tiles of a class", 10),
        ("All tiles in one chart", "Drag a box around points", 0),
        ("Typical and odd", "Most typical", 12),
        ("From picture to numbers", "three tables of 64", 4),
        ("Splits", "leakage", 0),
    ],
)
def test_each_view_opens_alone(name: str, words: str, there: int, lab: Lab, app: App) -> None:
    test = view(app("tiles.py"), name)
    assert words in shown(test)
    assert "Look at one closely" not in [each.label for each in test.number_input]
    assert len(pictures(test)) >= 10 + there
    assert all(image.alt for each in pictures(test) for image in each.proto.imgs)
    assert all(chart.proto.alt for chart in test.get("vega_lite_chart"))


def test_averages_without_a_choice_say_so(lab: Lab, app: App) -> None:
    test = view(app("tiles.py"), "Class averages")
    charts_before = len(test.get("vega_lite_chart"))
    pills(test, -1).set_value([]).run()
    assert not test.exception
    assert len(test.get("vega_lite_chart")) == charts_before - 3
    assert "Choose one class or more" in shown(test)


def test_a_class_is_chosen_for_its_odd_tiles(lab: Lab, app: App) -> None:
    test = view(app("tiles.py"), "Typical and odd")
    pills(test, -1).set_value("SeaLake").run()
    assert "**Oddest**: Sea or lake" in shown(test)


def test_chosen_points_show_their_tiles(lab: Lab, app: App) -> None:
    test = view(app("tiles.py"), "All tiles in one chart")
    assert "Nothing is chosen yet" in shown(test)
    tiles = lab.tiles().tile_set
    assert tiles is not None
    key = f"tiles_scatter_{tiles.fingerprint}_brightness_contrast"
    brightness, contrast = tiles.statistics.brightness, tiles.statistics.contrast
    box = {"x": [60.0, 90.0], "y": [0.0, 30.0]}
    inside = (brightness.round(1) >= 60) & (brightness.round(1) <= 90) & (contrast.round(1) <= 30)
    test.session_state[key] = {"selection": {"box": box}}
    test.run()
    assert not test.exception
    assert f"**{int(inside.sum()):,} tiles chosen**" in shown(test)
    assert len(pictures(test)) == 10 + min(24, int(inside.sum()))
    test.session_state[key] = {"selection": {"box": {"x": [-9.0, -8.0], "y": [0.0, 1.0]}}}
    test.run()
    assert "No tile lies in this box" in shown(test)


def test_views_with_an_empty_class_and_few_tiles(
    make_lab: Callable[..., Lab], app: App, small_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = small_folder(tmp_path / "data", {"a": 2, "b [c]": 1, "d": 1})
    (folder / "d" / "d_1.jpg").write_bytes(b"")
    make_lab(data=folder)
    test = app("tiles.py")
    for name in ("Class averages", "All tiles in one chart", "Typical and odd", "From picture to numbers", "Splits"):
        assert not view(test, name).exception


def test_a_hundred_classes_are_all_within_reach(
    make_lab: Callable[..., Lab], app: App, small_folder: Callable[..., Path], tmp_path: Path
) -> None:
    make_lab(data=small_folder(tmp_path / "data", {f"class {number:03}": 2 for number in range(100)}))
    test = app("tiles.py")
    assert "76 more classes can be chosen below" in shown(test)
    assert len(pills(test, -1).options) == 100
    for name in ("Class averages", "All tiles in one chart", "Typical and odd", "From picture to numbers", "Splits"):
        assert not view(test, name).exception


def test_a_set_without_near_uniform_tiles_says_so(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pages.parts.tiles.views.near_uniform", lambda _: np.zeros(0, dtype=np.int64))
    assert "This set has no such tile" in shown(view(app("tiles.py"), "Typical and odd"))


def test_guess_stands_next_to_what_was_measured(lab: Lab, app: App) -> None:
    test = app("tiles.py")
    saw = next(each for each in test.info if str(each.title) == "What you just saw")
    assert "guessed" not in saw.value
    pills(test).set_value("9–10 of 10").run()
    saw = next(each for each in test.info if str(each.title) == "What you just saw")
    assert "You guessed “9–10 of 10”" in saw.value


def test_incomplete_eurosat_is_shown_with_published_counts(
    make_lab: Callable[..., Lab], app: App, small_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = small_folder(tmp_path / "data", dict.fromkeys(CLASS_NAMES, 2))
    (folder / "Forest" / "Forest_9.jpg").write_bytes(b"")
    make_lab(data=folder)
    test = app("tiles.py")
    assert not test.exception
    assert "20 of 27,000 EuroSAT tiles" in shown(test).replace("\\", "")
    assert "The bar is 200 m long" in shown(test)
    assert "published counts (27,000 in all)" in shown(view(test, "Class averages"))


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
    monkeypatch.setattr(lab.library, "_state", TilesState(None, 5, 100))
    test = app("tiles.py")
    assert not test.exception
    assert any("being opened" in str(each.title) for each in test.info)
    assert any("Next" in each.label for each in test.button)


def test_when_not_even_synthetic_tiles_could_be_kept(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.library, "_state", TilesState(None, problem="The disk is full."))
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
    assert test.title[0].value.startswith("Convolution: ")
