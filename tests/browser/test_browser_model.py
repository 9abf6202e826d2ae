"""The Model page in a real browser: select, change, build from a preset, break it, repair it by a click, undo."""

import re

import pytest

from tests.browser.participant import (
    MINUTES,
    alerts,
    badge,
    choose,
    fill,
    go_to,
    keyed,
    main,
    press,
    saw,
    set_epochs,
    start_training,
    told,
    unfold,
)
from tests.browser.waiting import drawn, settled_box

pytestmark = pytest.mark.browser
PAGE = "model"


def network(page) -> str:
    """The network in the page's address."""
    found = re.search(r"[?&]net=([^&]*)", page.url)
    return found.group(1) if found else ""


def preset(page, name: str, seen: str) -> None:
    """Begin with a preset, and see this in one of its layers."""
    choose(page, name, "model_preset")
    main(page).get_by_text(seen).first.wait_for()
    drawn(page)  # the buttons come after the text


def test_a_model_is_selected_explained_and_changed(page):
    main(page).get_by_text("338,486 parameters").first.wait_for()
    choose(page, "Linear, then convolutions", "guess_model_where")
    told(page, "guesses.right").wait_for()
    drawn(page)
    diagram = main(page).get_by_role("list").filter(has=page.get_by_role("listitem")).first
    assert diagram.get_by_role("listitem").count() == 8
    assert diagram.get_by_role("img").or_(diagram.locator("img")).count() == 8  # drawn, not sanitized away
    page.locator("[data-testid=stVegaLiteChart]").locator("canvas, svg").first.wait_for()
    choose(page, "9 × 9", "model_size")
    main(page).get_by_text("6 × 56 × 56").first.wait_for()
    drawn(page)
    keyed(page, "model_filters_2").get_by_role("slider").press("ArrowRight")
    main(page).get_by_text("24 × 20 × 20").first.wait_for()
    drawn(page)
    press(page, "model_change_open")
    main(page).get_by_text("24 filters").first.wait_for()
    page.wait_for_url(re.compile("[?&]net=conv-6-9_relu_maxpool-2_conv-24-9"))
    choose(page, "Activation functions", "model_more")
    told(page, "model/activations").wait_for()
    choose(page, "Linear layers", "model_more")
    told(page, "model/linear").wait_for()
    drawn(page)
    for _ in range(3):
        keyed(page, "model_weight_0").get_by_role("slider").press("ArrowLeft")
    alerts(page, "Success").wait_for()


def test_a_network_is_built_broken_repaired_and_survives_a_refresh(page):
    choose(page, "Free builder", "model_more")
    preset(page, "Deeper", "128 outputs")
    assert keyed(page, "model_train").get_by_role("button").is_enabled()
    preset(page, "Broken: repair it", "12 × 12")
    assert keyed(page, "model_train").get_by_role("button").is_disabled()
    press(page, "model_repair_3")
    filters = main(page).get_by_text(re.compile(r"16 filters of \d+ × \d+"))
    filters.filter(has_text="11 × 11").first.wait_for()
    page.wait_for_url(re.compile("[?&]net=[^&]*conv-16-11"))
    drawn(page)  # the key belongs to a button, which may be drawn after the text
    page.keyboard.press("Control+z")
    filters.filter(has_text="15 × 15").first.wait_for()
    drawn(page)
    page.keyboard.press("Control+Shift+z")
    filters.filter(has_text="11 × 11").first.wait_for()
    press(page, "model_repair_all")
    alerts(page, "Error").first.wait_for(state="detached")
    preset(page, "All linear", "1,474,680 parameters")
    press(page, "model_open_1")
    fill(page, "model_linear_1_units", 200)
    main(page).get_by_text("200 outputs").wait_for()
    choose(page, "Dropout", "model_add")
    page.wait_for_url(re.compile("dropout"))
    drawn(page)
    kept = network(page)
    assert kept == "flatten_linear-200_dropout-0.5_relu_linear-84_relu_linear-out"
    page.reload()
    main(page).get_by_text("200 outputs").first.wait_for()
    assert network(page) == kept


def test_a_network_is_saved_opened_again_trained_and_asked(page):
    choose(page, "Free builder", "model_more")
    preset(page, "Small residual", "32 filters")
    box = keyed(page, "model_name").get_by_role("textbox")
    box.fill("mine")
    box.press("Enter")
    press(page, "model_save")
    alerts(page, "Success").wait_for()
    preset(page, "All linear", "1,474,680 parameters")
    saved = keyed(page, "model_saved").get_by_role("combobox")
    settled_box(saved)  # a list that was opened before closes again when the page moves
    saved.click()
    page.get_by_role("option", name="mine").click()
    press(page, "model_saved_open")
    main(page).get_by_text("32 filters").first.wait_for()
    unfold(page, "PyTorch source")
    main(page).get_by_text("class ResidualBlock").first.wait_for()
    with page.expect_download() as download:
        press(page, "model_download")
    assert download.value.suggested_filename == "net.py"
    preset(page, "All linear", "1,474,680 parameters")
    press(page, "model_train")
    page.get_by_role("heading", name="Train: ").wait_for()
    set_epochs(page, 1)
    run_id = start_training(page)
    badge(page, "Finished").wait_for(timeout=MINUTES)
    go_to(page, "Predict")
    page.wait_for_url(re.compile(f"network={run_id}"))
    told(page, "predict/synthetic").wait_for()
    drawn(page)
    press(page, "predict_wrong")
    saw(page, "prediction.truth.wrong").wait_for()
    page.reload()
    page.wait_for_url(re.compile(f"network={run_id}"))
    told(page, "predict/synthetic").wait_for()
