"""The game "Be the classifier", on a page of its own: before the start, in the middle, at the end, on any tile set."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from fake_engine import raising
from streamlit.testing.v1 import AppTest

from eurosat_core.data.pictures import class_titles
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.lab.lab import Lab
from eurosat_core.runs import game
from tests.pages.conftest import (
    ME,
    THREE,
    alone,
    alts,
    charts,
    checked,
    click,
    keys,
    metrics,
    open_tiles,
    put,
    saw,
    shown,
    tells,
)
from tests.pages.test_markup import EVIL, assert_harmless

Exchange = Callable[..., TileSet]  # the fixture `exchange`
BUTTON = "tile_game_class_"
RIGHT = "You got right"  # label of a figure


@pytest.fixture(autouse=True)
def quick_clicks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests click faster than anybody can look."""
    monkeypatch.setattr(game, "_DOUBLE_CLICK", 0.0)


@pytest.fixture
def exchange(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Exchange:
    """Function: let the lab have a tile set with so many tiles per class instead, named by number."""
    own = open_tiles(lab)

    def put_in_place(counts: list[int], names: Callable[[int], str] = "class {}".format) -> TileSet:
        other = replace(
            own,
            array=own.array[: sum(counts)],
            label_array=np.repeat(np.arange(len(counts)), counts),
            class_names=tuple(names(number) for number in range(len(counts))),
            names=tuple(f"{EVIL}/{number}" for number in range(sum(counts))),
            source="folder",
            fingerprint=f"of {counts}",
        )
        monkeypatch.setattr(lab.library, "_state", replace(lab.tiles(), tile_set=other))
        return other

    return put_in_place


def page(who: str = ME) -> AppTest:
    def script() -> None:
        import streamlit as st

        from pages.parts import session
        from pages.parts.tiles import game as tile_game

        if st.checkbox("elsewhere"):
            st.stop()
        tile_game.draw(session.lab().tiles().tile_set)

    return alone(script, who)


def started(who: str = ME) -> AppTest:
    return click(page(who), "tile_game_start")


def true_label(test: AppTest) -> int:
    played = test.session_state["tile_game"]
    label: int = played.true[played.at]
    return label


def answer(test: AppTest, *, right: bool) -> AppTest:
    label = true_label(test)
    return click(test, f"{BUTTON}{label if right else (label + 1) % 10}")


def progress(test: AppTest) -> str:
    return str(test.get("progress")[0].proto.text)


def verdict(test: AppTest) -> str:
    """The symbol before what is said of the last answer."""
    (said,) = [each.value for each in test.markdown if "Tile " in each.value]
    return said.partition(":material/")[2].partition(":")[0]


def to_the_end(test: AppTest, rights: int = 10) -> AppTest:
    for at in range(10):
        assert progress(test) == f"Tile {at + 1} of 10"
        answer(test, right=at < rights)
    return test


def test_before_the_start_and_the_first_tile(lab: Lab) -> None:
    test = page()
    assert keys(test) == {"tile_game_start"}
    assert not alts(test) and not test.get("progress")
    click(test, "tile_game_start")
    assert progress(test) == "Tile 1 of 10"
    assert keys(test) == {"tile_game_skip", *(f"{BUTTON}{label}" for label in range(10))}
    assert test.button(key=f"{BUTTON}9").label.endswith(") Sea or lake")
    (alt,) = alts(test)  # it must not give the class away
    tiles = open_tiles(lab)
    assert not any(each in alt for each in class_titles(tiles.class_names).values())


def test_each_answer_gets_its_verdict(lab: Lab) -> None:
    test = answer(started(), right=True)
    assert progress(test) == "Tile 2 of 10"
    right = verdict(test)
    assert verdict(answer(test, right=False)) != right
    click(test, "tile_game_skip")
    assert "Skipped." in shown(test)
    assert progress(test) == "Tile 4 of 10"
    found = lab.results.guesses(ME)
    assert found is not None and (found.tiles, found.accuracy) == (2, 0.5)


def test_the_end_has_score_chance_and_confusions_which_outlive_the_session(lab: Lab) -> None:
    put(lab, "finished", THREE, owner="somebody", summary={"tiles_per_second": 1234.0, "val_accuracy": 0.6})
    test = to_the_end(started(), rights=7)
    figures = metrics(test)
    assert figures.pop("Time")
    assert figures == {RIGHT: "7 of 10", "Chance": "10\N{NO-BREAK SPACE}%", "Skipped": "0"}
    assert tells(saw(test), "game.better.some", "game.synthetic")
    assert tells(test, "game.mix_ups.some", accuracy=0.7) and tells(test, "game.phrase.all", tiles=10)
    assert tells(test, "game.meanwhile.alone", title="Baseline CNN", device="cpu", rate=1234.0)
    assert len(test.get("image")) == 1 + 3  # the last tile, and those named wrongly
    (chart,) = test.get("vega_lite_chart")
    json.loads(chart.proto.spec)
    assert all(alts(test))
    later = page()
    assert keys(later) == {"tile_game_start"}
    assert tells(later, "game.phrase.all", tiles=10) and charts(later) == 1
    assert not tells(page("somebody-else"), "game.phrase.all")


def test_all_right_needs_no_second_look_and_play_again_draws_others(lab: Lab) -> None:
    test = to_the_end(started())
    assert tells(saw(test), "game.better.all", right=10, answered=10) and tells(test, "game.mix_ups.none")
    assert len(test.get("image")) == 1
    assert not tells(test, "game.meanwhile")  # nothing was measured
    before = test.session_state["tile_game"].tiles
    click(test, "tile_game_start")
    assert test.session_state["tile_game"].tiles != before
    assert tells(to_the_end(test), "game.phrase.all", tiles=20)


def test_skipping_all_is_no_score_nor_is_a_double_click(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    test = started()
    for _ in range(10):
        click(test, "tile_game_skip")
    assert tells(saw(test), "game.skipped")
    assert metrics(test)[RIGHT] == "0 of 0"
    assert not charts(test)
    assert lab.results.guesses(ME) is None
    monkeypatch.setattr(game, "_DOUBLE_CLICK", 60.0)
    test = click(started(), f"{BUTTON}0")
    assert progress(test) == "Tile 1 of 10"
    assert lab.results.guesses(ME) is None


def test_leaving_the_page_keeps_the_game_and_other_tiles_start_it_over(lab: Lab, exchange: Exchange) -> None:
    test = answer(started(), right=True)
    test.checkbox[0].check().run()
    assert not test.get("progress")
    checked(test.checkbox[0].uncheck().run())
    assert progress(test) == "Tile 2 of 10"
    exchange([20, 20])
    click(test, f"{BUTTON}9")  # while the last one is looked at: a class that is no more
    assert keys(test) == {"tile_game_start"}
    assert not charts(test)  # the guesses were about other tiles
    assert keys(click(test, "tile_game_start")) == {"tile_game_skip", f"{BUTTON}0", f"{BUTTON}1"}


def test_few_tiles_an_empty_class_and_one_class(lab: Lab, exchange: Exchange) -> None:
    exchange([2, 0, 1])
    test = started()
    assert progress(test) == "Tile 1 of 3"
    assert keys(test) == {"tile_game_skip", f"{BUTTON}0", f"{BUTTON}2"}
    for _ in range(3):
        click(test, f"{BUTTON}{true_label(test)}")
    assert metrics(test)["Chance"] == "50\N{NO-BREAK SPACE}%" and metrics(test)[RIGHT] == "3 of 3"
    assert tells(saw(test), "game.luck.all", luck=0.125) and not tells(saw(test), "game.synthetic")
    exchange([0, 5])
    test = page()
    assert keys(test) == set() and tells(test, "game/too_few")


def test_a_hundred_classes_are_chosen_from_a_list(
    lab: Lab, exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.randbelow", lambda _: 1)  # some games have so few classes that a chart is drawn
    tiles = exchange([4] * 100)
    test = started()
    assert keys(test) == {"tile_game_skip"}
    for at in range(10):
        assert progress(test) == f"Tile {at + 1} of 10"
        (box,) = test.selectbox
        assert len(box.options) == 100 and box.value is None
        wrong = tiles.class_names[(true_label(test) + 1 + at) % 100]
        checked(box.select(wrong).run())
    assert metrics(test)["Chance"] == "1\N{NO-BREAK SPACE}%"
    assert not charts(test)
    assert test.table[-1].value.shape == (10, 3)


def test_markup_in_class_names_is_text(lab: Lab, exchange: Exchange) -> None:
    for classes in (3, 40):
        exchange([20] * classes, lambda number: f"{EVIL} {number}")
        test = started(EVIL)
        assert_harmless(test, mentions=classes == 3)  # a drop-down list draws its options as they are
        for at in range(10):
            label = (true_label(test) + at % 2) % classes
            if classes == 3:
                click(test, f"{BUTTON}{label}")
            else:
                test.selectbox[0].select(f"{EVIL} {label}").run()
            assert_harmless(test)
        assert RIGHT in metrics(test)


def test_a_disk_that_takes_nothing_does_not_stop_the_game(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.results._guess_book, "_write", raising(OSError(30, "Read-only file system")))
    test = to_the_end(started(), rights=8)
    assert metrics(test)[RIGHT] == "8 of 10" and tells(test, "game.phrase.all", tiles=10)


@pytest.mark.parametrize("is_shown", [False, True])
def test_while_the_room_is_a_training_set_some_tiles_come_to_several(
    lab: Lab, is_shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    new_game = game.new_game
    monkeypatch.setattr(game, "new_game", lambda *those: given.append(list(those[-1])) or new_game(*those))
    tiles = open_tiles(lab)
    lab.guide.show_labels(is_shown)
    for tile in range(0, len(tiles), 40):
        for who in ("bob", "cy"):
            lab.results.add_guess(who, tiles, tile, 0, 1.0)
    lab.results.add_guess(ME, tiles, 0, 0, 1.0)
    others = lab.results.named_by_others(ME, tiles, 0.0)
    assert others == list(range(40, len(tiles), 40))
    drawn = set(started().session_state["tile_game"].tiles)
    assert given == [others if is_shown else []]
    assert not is_shown or drawn & set(others)
