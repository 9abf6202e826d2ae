"""The Model page in a real browser: select, change, build from a preset, break it, repair it by a click, undo."""

import re

import pytest

from tests.browser.test_browser import badge, set_epochs, start_training
from tests.browser.waiting import drawn

pytestmark = pytest.mark.browser


def open_model(page) -> None:
    # By its address: the icon of the Train page has "model" in its name.
    page.wait_for_load_state("networkidle")
    page.locator("[data-testid=stSidebarNavLink][href$='/model']").click()
    page.get_by_role("heading", name="Select a model").wait_for()


def choice(page, group: str, name: str):
    """One of a group of pills, or of a segmented control, by the group's key."""
    return page.locator(f".st-key-{group}").get_by_text(name, exact=True).first


def button(page, key: str):
    return page.locator(f".st-key-{key} button").first


def network(page) -> str:
    """The network in the page's address."""
    found = re.search(r"[?&]net=([^&]*)", page.url)
    return found.group(1) if found else ""


def open_builder(page) -> None:
    open_model(page)
    choice(page, "model_more", "Free builder").click()
    page.get_by_text("Start from", exact=True).wait_for()


def test_a_model_is_selected_and_explained(page):
    open_model(page)
    page.get_by_text("338,486 parameters, 338,486 of them trainable").wait_for()
    choice(page, "guess_model_where", "Linear, then convolutions").click()
    page.get_by_text("and that is right").wait_for()
    diagram = page.get_by_role("list", name="The layers of Baseline CNN, from the tile to the scores")
    assert diagram.get_by_role("listitem").count() == 8
    assert diagram.get_by_role("img").or_(diagram.locator("img")).count() == 8  # drawn, not sanitized away
    page.locator("[data-testid=stVegaLiteChart] :is(canvas, svg)").first.wait_for()


def test_a_change_shows_its_cost_at_once(page):
    open_model(page)
    page.get_by_text("The same parameters, multiplications and memory as the baseline.").wait_for()
    choice(page, "model_size", "9 × 9").click()
    page.get_by_text(re.compile("Compared with the baseline: .* of the parameters")).wait_for()
    page.get_by_role("slider", name="Filters of the second convolution").press("ArrowRight")
    page.get_by_text("24 × 20 × 20").first.wait_for()
    button(page, "model_change_open").click()
    page.get_by_text("24 filters of 9 × 9").wait_for()
    assert network(page).startswith("conv-6-9_relu_maxpool-2_conv-24-9")


def test_a_network_is_built_broken_repaired_and_taken_back(page):
    open_builder(page)
    choice(page, "model_preset", "Deeper").click()
    page.get_by_text("128 outputs").first.wait_for()
    assert button(page, "model_train").is_visible()
    choice(page, "model_preset", "Broken: repair it").click()
    page.get_by_text("A filter of 15 × 15 does not fit into a picture of 12 × 12").wait_for()
    drawn(page)  # the button comes after the text
    assert button(page, "model_train").is_disabled()
    button(page, "model_repair_3").click()
    page.get_by_text("16 filters of 11 × 11").wait_for()
    assert "conv-16-11" in network(page)
    drawn(page)  # the key belongs to a button, which may be drawn after the text
    page.keyboard.press("Control+z")
    page.get_by_text("16 filters of 15 × 15").wait_for()
    drawn(page)
    page.keyboard.press("Control+Shift+z")
    page.get_by_text("16 filters of 11 × 11").wait_for()
    button(page, "model_repair_all").click()
    page.get_by_text("has a problem").first.wait_for(state="detached")
    assert page.locator("[data-testid=stException]").count() == 0


def test_a_layer_is_added_and_changed_and_the_network_survives_a_refresh(page):
    open_builder(page)
    choice(page, "model_preset", "All linear").click()
    page.get_by_text("1,474,680 parameters").wait_for()
    button(page, "model_open_1").click()
    box = page.locator(".st-key-model_linear_1_units").get_by_role("spinbutton")
    box.fill("200")
    box.press("Enter")
    page.get_by_text("200 outputs").wait_for()
    choice(page, "model_add", "Dropout").click()
    page.get_by_text("Share set to 0").wait_for()
    drawn(page)
    kept = network(page)
    assert kept == "flatten_linear-200_dropout-0.5_relu_linear-84_relu_linear-out"
    page.reload()
    page.get_by_text("200 outputs").first.wait_for()
    assert network(page) == kept


def test_an_own_network_is_trained(page):
    open_builder(page)
    choice(page, "model_preset", "All linear").click()
    page.get_by_text("1,474,680 parameters").wait_for()
    button(page, "model_train").click()
    page.get_by_role("heading", name="Train: ").wait_for()
    page.get_by_text("Your own network").first.wait_for()
    set_epochs(page, 1)
    start_training(page)
    badge(page, "Finished").wait_for(timeout=120_000)


def test_a_network_is_saved_and_opened_again(page):
    open_builder(page)
    choice(page, "model_preset", "Small residual").click()
    page.get_by_text("32 filters of 3 × 3").wait_for()
    page.get_by_role("textbox", name="Save it as").fill("mine")
    page.get_by_role("textbox", name="Save it as").press("Enter")
    button(page, "model_save").click()
    page.get_by_text("Saved as mine.").wait_for()
    choice(page, "model_preset", "Wider").click()
    page.get_by_text("24 filters of 5 × 5").wait_for()
    page.get_by_role("combobox", name="Your saved networks").click()
    page.get_by_role("option", name="mine").click()
    button(page, "model_saved_open").click()
    page.get_by_text("32 filters of 3 × 3").wait_for()
    page.get_by_text("As PyTorch source").click()
    page.get_by_text("class ResidualBlock").first.wait_for()
    with page.expect_download() as download:
        button(page, "model_download").click()
    assert download.value.suggested_filename == "net.py"


def test_the_pieces_answer(page):
    open_model(page)
    choice(page, "model_more", "Activation functions").click()
    page.get_by_text("ReLU gives").wait_for()
    choice(page, "model_more", "Linear layers").click()
    page.get_by_text("All three score the same").wait_for()
    for _ in range(3):
        page.get_by_role("slider", name="Weight of “green”").press("ArrowLeft")
    page.get_by_text("The highway scores highest").wait_for()
