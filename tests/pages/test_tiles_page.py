"""The Tiles page: synthetic, real-like, own classes, still opening, none at all; and other pages without tiles."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from eurosat_core.data.classes import CLASS_NAMES
from eurosat_core.lab.doctor import TilesState
from eurosat_core.lab.lab import Lab
from tests.pages.conftest import (
    App,
    FolderLab,
    alts,
    charts,
    checked,
    choose,
    click,
    keys,
    metrics,
    open_tiles,
    pills,
    saw,
    shown,
    tells,
    unescaped,
)

PAGE = "tiles.py"
VIEWS = {
    "Class averages": ("averages", 10),
    "All tiles in one chart": ("scatter", 0),
    "Typical and odd": ("typical", 12),
    "From picture to numbers": ("network", 4),
    "Splits": ("", 0),
}
"""View → the section of text that it begins with, and how many pictures it draws at least."""


def pictures(test: AppTest) -> int:
    return len(test.get("image"))


def view(test: AppTest, name: str) -> AppTest:
    """Open one of the views."""
    return choose(test, "tiles_view", name)


def test_the_page_on_synthetic_tiles(lab: Lab, app: App) -> None:
    test = app(PAGE)
    assert tells(test, "tiles/intro", "tiles/synthetic", "tiles/misconception")
    assert pictures(test) == 10 + 24 + 1  # one of each class, a page of them, one large
    assert all(alts(test)) and len(test.warning) == 1
    for chart in test.get("vega_lite_chart"):
        json.loads(chart.proto.spec)
    code = "\n".join(each.value for each in test.code)
    assert "datasets.EuroSAT" in code and "ssl" not in code
    choose(test, "tiles_class", "Forest")
    assert "Forest/synthetic_" in shown(test)
    assert tells(click(test, "next_page"), "convolution/goal")


def test_pages_tile_numbers_and_another_sample_lead_to_other_tiles(
    lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = app(PAGE)

    def name() -> str:
        found = re.search(r"^(\S+/synthetic_\d+\S*)\. ", shown(test), re.MULTILINE)
        assert found
        return found.group(1)

    first = name()
    test.number_input[0].set_value(5).run()
    fifth = name()
    test.session_state["tiles_page_AnnualCrop"] = 2
    test.run()
    assert len({first, fifth, name()}) == 3
    monkeypatch.setattr("secrets.randbelow", lambda _: 1)  # in one sample of two hundred the same tile comes first
    test = app(PAGE)
    before = shown(test)
    next(each for each in test.button if each.proto.icon == ":material/shuffle:").click().run()
    assert test.session_state["tiles_seed"] == 2
    again = shown(test)
    assert again != before
    assert shown(test.run()) == again


def test_the_pipeline_shows_the_same_pixels_at_every_step(lab: Lab, app: App) -> None:
    test = app(PAGE)
    test.number_input[0].set_value(5).run()
    view(test, "From picture to numbers")
    tile = open_tiles(lab).array[test.session_state["tiles_large"][1]]
    for key, value in {"tiles_channel": "Blue", "tiles_patch_row": 10, "tiles_patch_column": 20}.items():
        choose(test, key, value)
    patch = tile[10:16, 20:26, 2].astype(float)
    for step, form, oracle in (
        ("1 · Picture", "{:.0f}", patch),
        ("2 · Tensor", "{:.3f}", patch / 255),
        ("3 · Normalised", "{:+.3f}", (patch / 255 - 0.5) / 0.5),
    ):
        choose(test, "tiles_step", step)
        found = test.table[0].value.to_numpy()
        np.testing.assert_allclose(found.astype(float), oracle, atol=0.0011)
        assert found[0, 0] == form.format(float(found[0, 0]))
    table = test.table[1].value.astype(float)
    assert list(table.columns) == ["Red", "Green", "Blue"]
    for kind, figure in {"lowest": np.min, "mean": np.mean, "highest": np.max}.items():
        pixels = figure(tile.astype(float), axis=(0, 1))
        np.testing.assert_allclose(table.loc[f"{kind} pixel"], pixels, atol=0.051)
        np.testing.assert_allclose(table.loc[f"{kind} value"], (pixels / 255 - 0.5) / 0.5, atol=0.0051)


def test_each_view_opens_alone(lab: Lab, app: App) -> None:
    test = app(PAGE)
    for name, (section, there) in VIEWS.items():
        view(test, name)
        assert tells(test, f"tiles/{section}" if section else "splits/intro"), name
        assert pictures(test) >= 10 + there
        assert all(alts(test))


def test_the_views_in_detail(lab: Lab, app: App) -> None:
    test = view(app(PAGE), "Class averages")
    assert shown(test).count("27,000") == 1  # in the offer to fetch them; else among the published counts
    before = charts(test)
    checked(pills(test, -1).set_value([]).run())
    assert charts(test) == before - 3
    test, tiles = view(app(PAGE), "All tiles in one chart"), open_tiles(lab)
    key = f"tiles_scatter_{tiles.fingerprint}_brightness_contrast"
    brightness, contrast = tiles.statistics.brightness.round(1), tiles.statistics.contrast.round(1)
    inside = int(((brightness >= 60) & (brightness <= 90) & (contrast <= 30)).sum())
    test.session_state[key] = {"selection": {"box": {"x": [60.0, 90.0], "y": [0.0, 30.0]}}}
    checked(test.run())
    assert f"**{inside:,} tiles" in shown(test)
    assert pictures(test) == 10 + min(24, inside)
    test.session_state[key] = {"selection": {"box": {"x": [-9.0, -8.0], "y": [0.0, 1.0]}}}
    assert pictures(test.run()) == 10


def test_odd_tiles_of_a_class_and_none_that_are_near_uniform(
    lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pages.parts.tiles.views.near_uniform", lambda _: np.zeros(0, dtype=np.int64))
    test = view(app(PAGE), "Typical and odd")
    assert pictures(test) == 10 + 12
    pills(test, -1).set_value("SeaLake").run()
    assert shown(test).count("**: Sea or lake") == 2  # typical, odd


def test_the_guess_stands_next_to_what_was_measured(lab: Lab, app: App) -> None:
    test = app(PAGE)
    assert not tells(saw(test), "guesses.off") and tells(saw(test), "colour.sorted.synthetic")
    guess = "9–10 of 10"
    pills(test).set_value(guess).run()
    assert tells(saw(test), "guesses.off", guess=guess) or tells(saw(test), "guesses.right", guess=guess)


# -- other tiles


def test_views_with_an_empty_class_and_few_tiles(folder_lab: FolderLab, app: App) -> None:
    folder_lab({"a": 2, "b [c]": 1, "d": 1}, damaged="d/d_1.jpg")
    test = app(PAGE)
    assert not tells(saw(test), "colour.sorted")  # too few tiles
    for name in VIEWS:
        view(test, name)


def test_a_hundred_classes_are_all_within_reach(folder_lab: FolderLab, app: App) -> None:
    folder_lab({f"class {number:03}": 2 for number in range(100)})
    test = app(PAGE)
    assert "76 more" in shown(test)
    assert len(pills(test, -1).options) == 100
    for name in VIEWS:
        view(test, name)


def test_incomplete_eurosat_is_shown_with_published_counts(folder_lab: FolderLab, app: App) -> None:
    folder_lab(dict.fromkeys(CLASS_NAMES, 2), damaged="Forest/Forest_9.jpg")
    test = app(PAGE)
    assert "20 of 27,000" in shown(test) and "200 m" in shown(test)
    assert shown(view(test, "Class averages")).count("27,000") == 2


def test_own_classes_with_markup_in_their_names_come_between_two_clicks(
    lab: Lab, folder_lab: FolderLab, app: App
) -> None:
    test = app(PAGE)
    choose(test, "tiles_class", "River")
    folder_lab({"*wet* [land]": 5, "dry_land": 3, "$x$ :red[y]": 1})
    checked(test.run())
    choice = pills(test, -1)
    names = [each.split(") ", 1)[1] for each in choice.options]
    assert names == [r"\$x\$ \:red\[y\]", r"\*wet\* \[land\]", r"dry\_land"]
    checked(choice.set_value("dry_land").run())
    assert "3 tiles" in shown(test)
    assert "200 m" not in shown(test)  # how much ground own pictures show is not known


def test_a_named_place_without_tiles_is_said(make_lab: Callable[..., Lab], app: App, tmp_path: Path) -> None:
    make_lab(data=tmp_path / "nowhere")
    test = app(PAGE)
    assert str(tmp_path / "nowhere") in shown(test)
    assert pictures(test) > 30  # the synthetic ones


@pytest.mark.parametrize("state", [TilesState(None, 5, 100), TilesState(None, problem="Full.")])
@pytest.mark.parametrize("page", [PAGE, "convolution.py", "predict.py"])
def test_a_page_without_tiles_says_why_and_works_on(
    lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch, page: str, state: TilesState
) -> None:
    monkeypatch.setattr(lab.library, "_state", state)
    test = app(page)
    found = [each.value for each in (test.error if state.problem else test.info) if "tiles" in str(each.title)]
    assert any(state.problem in unescaped(each) for each in found)
    assert "next_page" in keys(test)
    if page == "convolution.py":
        assert metrics(test)  # counting needs none
