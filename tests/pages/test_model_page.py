"""The Model page in its states: a model is looked at, changed, built from a preset, broken, repaired, kept."""

from pathlib import Path

import pytest
from fake_engine import raising
from streamlit.testing.v1 import AppTest

from eurosat_core.errors import DataError
from eurosat_core.lab.lab import Lab
from eurosat_core.models.catalog import BASELINE, PRESETS
from eurosat_core.models.check import check_network, first_problem
from eurosat_core.models.layers import parse_network, url_text
from tests.pages.conftest import App, address, as_participant, charts, checked, choose, click, keys, shown, tells

PAGE = Path(__file__).parents[2] / "pages" / "model.py"
BROKEN = PRESETS["broken"].text
SMALL = "conv 8 3, relu, flatten, linear out"


def page(text: str = "", **parameters: str) -> AppTest:
    """The page alone; `text`: a network in its address, which opens the builder."""
    test = as_participant(AppTest.from_file(str(PAGE), default_timeout=60))
    if text:
        test.query_params["net"] = url_text(parse_network(text))
    for name, value in parameters.items():
        test.query_params[name] = value
    return checked(test.run())


def built(test: AppTest) -> str:
    """The network in the builder."""
    text: str = test.session_state["model_history"][test.session_state["model_at"]]
    return text


def diagrams(test: AppTest) -> list[str]:
    return [each.proto.body for each in test.get("html")]


# --- select, and change


def test_the_baseline_is_explained_with_figures_that_are_computed(lab: Lab) -> None:
    test = page()
    words = shown(test)
    assert tells(test, "model/goal", "model/misconception")
    assert all(each in words for each in ("338,486 parameters", "**99 %**", "**91 %**"))
    assert charts(test) == 1 and len(diagrams(test)) == 2
    assert "next_page" in keys(test) and "model_undo" not in keys(test)
    right, wrong = "Linear, then convolutions", "Convolutions for both"
    assert tells(choose(test, "guess_model_where", wrong), "guesses.off", guess=wrong, answer=right)
    assert tells(choose(test, "guess_model_where", right), "guesses.right", guess=right)


def test_a_model_that_cannot_be_had_says_so(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.estimates, "model_summary", raising(DataError("[Not](here)")))
    assert [each.value for each in page().error] == [r"\[Not\]\(here\)"]


def test_every_knob_changes_the_figures_at_once_and_leads_to_the_builder(lab: Lab) -> None:
    test = page()
    before = shown(test)
    choose(test, "model_filters_1", 64)
    assert shown(test) != before
    assert "64 × 60 × 60" in diagrams(test)[1]
    choose(test, "model_size", 3)
    assert "Convolution 3\N{NO-BREAK SPACE}×" in diagrams(test)[1]
    for key, value in (("model_extra", "convolution"), ("model_dropout", 0.5), ("model_filters_2", 2)):
        before = diagrams(test)[1]
        choose(test, key, value)
        assert diagrams(test)[1] != before
    assert "Dropout" in diagrams(test)[1]
    assert built(click(test, "model_change_open")).startswith("conv 64 3, relu")
    assert "model_undo" in keys(test)


# --- the free builder


def test_a_network_in_the_address_opens_the_builder_and_goes_to_the_train_page(lab: Lab, app: App) -> None:
    test = page(SMALL)
    assert built(test) == SMALL
    assert "8 filters" in shown(test) and "3 × 3" in shown(test)
    assert {"model_open_0", "model_open_3"} <= keys(test)
    codes = [each.value for each in test.code]
    assert any("?net=conv-8-3_relu_flatten_linear-out" in each for each in codes)
    assert any("nn.Conv2d(3, 8, 3)" in each for each in codes)
    test = click(app("model.py", net=url_text(parse_network(SMALL))), "model_train")
    assert test.session_state["train_model"] == "custom"
    assert test.session_state["train_network"] == SMALL


def test_an_address_that_holds_no_network_is_only_text(lab: Lab) -> None:
    test = page(net="relu_" * 1000)
    assert len(test.error) == 1
    assert built(test) == BASELINE
    test = page(net="![x](//a.co/x),:red[hi],linear-out")
    assert built(test).startswith("![x](//a.co/x)")
    texts = [*(each.value for each in (*test.markdown, *test.error)), *(each.label for each in test.button)]
    assert not [each for each in texts if "![x](//a" in each]


def test_each_preset_is_one_click_and_can_be_undone(lab: Lab) -> None:
    test = choose(page(), "model_more", "builder")
    for name, preset in PRESETS.items():
        assert built(choose(test, "model_preset", name)) == preset.text
    assert test.button(key="model_redo").disabled
    assert built(click(test, "model_undo")) == PRESETS["linear"].text
    assert address(test, "net") == url_text(parse_network(PRESETS["linear"].text))
    assert built(click(test, "model_redo")) == BROKEN


def test_a_broken_network_is_repaired_click_by_click_or_at_once(lab: Lab) -> None:
    test = page(BROKEN)
    assert not test.get("download_button")  # no source before it can be trained
    seen = []
    while found := first_problem(check_network(parse_network(built(test)))):
        row, problem = found
        assert problem.sentence in shown(test)
        assert len(test.error) == 1 and f"Layer {row + 1} " in shown(test)
        assert test.button(key="model_train").disabled
        seen.append(row)
        click(test, f"model_repair_{row}")
    assert len(seen) == 5
    assert "model_repair_all" not in keys(test)
    assert not test.error
    for _ in seen:
        click(test, "model_undo")
    assert built(test) == BROKEN
    click(test, "model_repair_all")
    assert first_problem(check_network(parse_network(built(test)))) is None
    assert built(click(test, "model_undo")) == BROKEN


def test_layers_are_added_moved_and_removed(lab: Lab) -> None:
    test = page(SMALL)
    choose(test, "model_add", "dropout")  # before the scores
    assert built(test) == "conv 8 3, relu, flatten, dropout 0.5, linear out"
    assert built(click(test, "model_up_3")) == "conv 8 3, relu, dropout 0.5, flatten, linear out"
    assert built(click(test, "model_down_2")) == "conv 8 3, relu, flatten, dropout 0.5, linear out"
    assert built(click(test, "model_remove_3")) == SMALL
    click(test, "model_open_0")
    assert test.button(key="model_up_0").disabled
    choose(test, "model_add", "batchnorm")  # after the open one
    assert built(test).startswith("conv 8 3, batchnorm, relu")
    test = click(click(page("linear out"), "model_open_0"), "model_remove_0")
    assert built(test) == ""
    assert built(click(test, "model_repair_0")) == BASELINE


def test_layers_are_edited_as_text_or_in_fields_that_follow_undo(lab: Lab) -> None:
    test = click(page(SMALL), "model_open_0")
    choose(test, "model_conv_0_filters", 12)
    assert built(test).startswith("conv 12 3, relu")
    choose(test, "model_conv_0_pad_word", True)
    assert built(test).startswith("conv 12 3 pad same, relu")
    click(click(test, "model_undo"), "model_undo")
    assert test.number_input(key="model_conv_0_filters").value == 8
    choose(test, "model_conv_0_filters", 5000)
    assert "5,000" in test.error[0].value and "512" in test.button(key="model_repair_0").label
    choose(test, "model_kind_0", "residual")
    assert built(test).startswith("residual 16, relu")
    test = page(SMALL)
    choose(test, "model_text", "flatten, linear 30; relu\nlinear OUT")
    assert built(test) == "flatten, linear 30, relu, linear out"
    choose(test, "model_text", "relu, " * 2000)
    assert len(test.error) == 1
    assert built(test) == "flatten, linear 30, relu, linear out"


@pytest.mark.parametrize("text", ["conv 6.4 5", "conv 999999999999 5", "lstm", "softmax", "dropout -0.5"])
def test_every_odd_layer_can_be_opened(text: str, lab: Lab) -> None:
    test = click(page(f"{text}, flatten, linear out"), "model_open_0")
    assert built(test).startswith(text)
    assert built(choose(test, "model_kind_0", "relu")) == "relu, flatten, linear out"


# --- keep, share, export


def test_networks_are_kept_under_a_name(lab: Lab) -> None:
    test = page(SMALL)
    assert len(click(test, "model_save").error) == 1  # it has no name
    choose(test, "model_name", "*mine*")
    click(test, "model_save")
    assert "Saved as" in test.success[0].value and "*mine*" not in test.success[0].value.replace("\\*", "")
    again = choose(page(), "model_more", "builder")
    choose(again, "model_saved", "*mine*")
    assert built(click(again, "model_saved_open")) == SMALL
    click(again, "model_saved_delete")
    assert not [each for each in again.selectbox if each.key == "model_saved"]


# --- the pieces


def test_activations_are_followed_by_a_value(lab: Lab) -> None:
    test = choose(page(), "model_more", "activations")
    assert charts(test) == 3
    assert "**0.00**" in shown(test) and "slope 0.00" in shown(test)
    told = {str([each.value for each in choose(test, "model_activation_x", x).caption]) for x in (-1.5, 4.5, 0.5)}
    assert len(told) == 3, "one learns nothing, one hardly, all do"


def test_weights_are_found_by_hand(lab: Lab) -> None:
    test = choose(page(), "model_more", "linear")
    infos = len(test.info)
    for weights, first in (
        ((1.0, 0.0, 0.0), "Forest"),
        ((-0.5, 1.0, -1.0), ""),
        ((-0.9, 0.6, 0.3), "River"),  # 0.21 both
    ):
        for at, weight in enumerate(weights):
            choose(test, f"model_weight_{at}", weight)
        assert (len(test.success), len(test.info)) == ((0, infos) if first else (1, infos - 1))
        assert first in test.info[-1].value
