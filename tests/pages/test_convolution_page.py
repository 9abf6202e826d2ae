"""The Convolution page in every state: tiles of all kinds, no runs, own runs, damaged ones, others' classes."""

import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from fake_engine import SPEEDS, FakeEngine, eventually
from streamlit.testing.v1 import AppTest
from torch.nn import functional

from eurosat_core.data import pictures
from eurosat_core.data.classes import CLASS_NAMES
from eurosat_core.lab.inspection import BEFORE
from eurosat_core.lab.lab import Lab
from eurosat_core.lab.train import epoch_file
from eurosat_core.models.convolution import FILTERS
from eurosat_core.models.recorded import RECORDED, recorded_network
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
    put_network,
    saw,
    shown,
    tells,
)

PAGE = "convolution.py"
TRAINED = "A trained network’s"


def numbers(table: Any) -> np.ndarray:
    """The numbers that stand in a table."""
    return table.value.map(number).to_numpy().astype(float)


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def sum_shown(test: AppTest) -> float:
    """The value that is said to land in the feature map."""
    found = re.search(r"Products added up:.*\*\*([+−]?[\d.]+)\*\*", shown(test))
    assert found
    return number(found[1])


def normalised(lab: Lab) -> torch.Tensor:
    """What the baseline gets of the first tile, in double precision."""
    values = pictures.normalised(open_tiles(lab).array[0], (0.5,) * 3, (0.5,) * 3)
    return torch.from_numpy(values).double().permute(2, 0, 1)


def plane(name: str) -> torch.Tensor:
    return torch.from_numpy(FILTERS[name]).double()


def with_layers(app: App) -> AppTest:
    """The page with what each layer sees opened under More."""
    return choose(app(PAGE), "conv_more", "layers")


def test_the_page_without_a_run_of_ones_own(lab: Lab, app: App) -> None:
    test = with_layers(app)
    text = shown(test)
    assert tells(test, *(f"convolution/{each}" for each in ("goal", "recorded", "other tiles")))  # synthetic ones
    assert all(alts(test)) and charts(test) == 2 and len(test.warning) == 1
    for layer in ("Conv2d-1", "MaxPool2d-2", "Conv2d-3", "MaxPool2d-4", "Linear-5", "Linear-6", "Linear-7"):
        assert f"**{layer}**" in text
    assert "6 × 60 × 60" in text
    assert tells(saw(test), "features.untrained") and tells(saw(test), "features.silent", layer="Conv2d-1")
    assert "conv2d" in "\n".join(each.value for each in test.code)
    assert "kernel" not in text.lower()
    assert tells(click(test, "next_page"), "model/goal")


@pytest.mark.parametrize(
    ("name", "stride", "padding"),
    [("Sharpen", 1, 0), ("Sharpen", 4, 2), ("Strong blur (5 × 5)", 1, 2), ("Strong blur (5 × 5)", 4, 0)],
)
def test_the_arithmetic_shown_is_torchs(lab: Lab, app: App, name: str, stride: int, padding: int) -> None:
    test = app(PAGE)
    for key, value in {
        "conv_filter": name,
        "conv_padding": padding,
        "conv_stride": stride,
        "conv_row": 0,
        "conv_column": 7,
    }.items():
        choose(test, key, value)
    weights, values = plane(name), normalised(lab)
    oracle = functional.conv2d(values[None], weights.repeat(1, 3, 1, 1), padding=padding, stride=stride)[0, 0]
    assert sum_shown(test) == pytest.approx(oracle[0, 7].item(), abs=0.0006)
    side, left = weights.shape[0], 7 * stride
    ringed = functional.pad(values, (padding,) * 4)
    for channel, title in enumerate(("Red", "Green", "Blue")):
        choose(test, "conv_products", title)
        wanted = ringed[channel, :side, left : left + side]
        for table, right in zip(test.table, (wanted, weights, wanted * weights), strict=True):
            np.testing.assert_allclose(numbers(table), right.numpy(), atol=0.0006)


def test_stepping_with_the_buttons_one_channel_alone_the_guess_and_own_numbers(lab: Lab, app: App) -> None:
    test = choose(app(PAGE), "conv_channel", "Green")
    assert "conv_products" not in {each.key for each in test.get("button_group")}
    oracle = functional.conv2d(normalised(lab)[None, 1:2], plane("Horizontal edges")[None, None])
    assert sum_shown(test) == pytest.approx(oracle[0, 0, 31, 31].item(), abs=0.0006)
    assert tells(saw(test), "features.products.inside", each=9) and not tells(test, "guesses.off")
    guess = "about 10,000"
    choose(test, "guess_conv_multiplications", guess)
    assert tells(saw(test), "guesses.off", guess=guess, answer="about 100,000")
    assert tells(saw(test), "features.multiplications", multiplications=103_788)
    choose(test, "conv_filter", "Own numbers")
    choose(test, "conv_own_0_0", 7.0)
    assert numbers(test.table[1])[0].tolist() == [7, 0, 1]
    choose(test, "conv_own_0_0", 500.0)
    assert len(test.warning) == 2 and not test.table
    test = app(PAGE)
    for key, place in (
        ("conv_forward", (31, 32)),
        ("conv_down", (32, 32)),
        ("conv_back", (32, 31)),
        ("conv_up", (31, 31)),
    ):
        click(test, key)
        assert f"row {place[0]}, column {place[1]}" in shown(test)
    click(test, "conv_strongest")
    assert tells(saw(test), "features.match.full") or tells(saw(test), "features.opposite.full")
    choose(test, "conv_stride", 4)  # fewer places: it stays within them
    assert test.slider(key="conv_row").value <= 15


def test_a_filter_of_the_recorded_network(lab: Lab, app: App) -> None:
    test = choose(app(PAGE), "conv_filter", TRAINED)
    choose(test, f"conv_filter_number_{RECORDED}", 4)
    with torch.no_grad():
        oracle = recorded_network().conv1.double()(normalised(lab)[None])[0, 3]
    assert sum_shown(test) == pytest.approx(oracle[31, 31].item(), abs=0.0006)
    after = numbers(test.table[1])
    choose(test, "conv_filter_stage", BEFORE)
    assert not np.array_equal(after, numbers(test.table[1]))


def test_relu_and_pooling(lab: Lab, app: App) -> None:
    test = choose(app(PAGE), "conv_view", "2 · ReLU")
    values = functional.conv2d(normalised(lab)[None], plane("Horizontal edges").repeat(1, 3, 1, 1))[0, 0]
    zeros = (values <= 0).double().mean().item()
    assert tells(saw(test), "features.relu", zeros=zeros)
    choose(test, "conv_view", "3 · Pooling")
    for kind, pool in (("max", functional.max_pool2d), ("average", functional.avg_pool2d)):
        choose(test, "conv_pooling", kind)
        click(test, "conv_pool_strongest")
        row, column = test.slider(key="conv_pool_row").value, test.slider(key="conv_pool_column").value
        oracle = pool(values.relu()[None, None], 2)[0, 0, row, column].item()
        found = re.search(r"\) (?:/ 4 )?= \*\*([+−]?[\d.]+)\*\*", shown(test))
        assert found
        assert number(found[1]) == pytest.approx(oracle, abs=0.0006)
    assert "3,844" in saw(test) and "961" in saw(test)


def test_a_run_of_mine_and_its_epochs(lab: Lab, app: App) -> None:
    record, others = put_network(lab), put_network(lab, owner="bob")
    test = with_layers(app)
    options = " ".join(test.selectbox(key="conv_layers_network").options)
    assert record.id in options and others.id not in options
    choose(test, "conv_layers_network", record.id)
    assert tells(saw(test), "features.unchanged.all")  # these weights were never trained
    weights = io.BytesIO()
    torch.save(recorded_network().state_dict(), weights)
    lab.store.save(record.id, {epoch_file(1): weights.getvalue()})
    test.run()
    assert tells(test, "convolution/kept")
    choose(test, f"conv_stage_{record.id}", 1)
    assert "epoch 1" in shown(test)


def test_a_damaged_run_and_one_deleted_meanwhile(lab: Lab, app: App) -> None:
    record = put_network(lab, weights=b"no weights")
    test = choose(with_layers(app), "conv_layers_network", record.id)
    assert len(test.warning) == 2
    choose(test, "conv_filter", TRAINED)
    choose(test, "conv_filter_network", record.id)
    assert len(test.warning) == 3
    test = app()
    test.session_state["conv_more"] = "layers"
    test.session_state["conv_layers_network"] = "20200101-000000-baseline-abcd"
    checked(test.switch_page(PAGE).run())
    assert test.selectbox(key="conv_layers_network").value == RECORDED


@pytest.mark.usefixtures("no_recorded_network")
@pytest.mark.parametrize("page", [PAGE, "predict.py"])
def test_without_the_recorded_network(lab: Lab, app: App, page: str) -> None:
    test = with_layers(app) if page == PAGE else app(page)
    assert len(test.warning) == 2 and "next_page" in keys(test)


def test_the_tile_of_the_tiles_page_and_others(lab: Lab, app: App) -> None:
    test, tiles = app(PAGE), open_tiles(lab)

    def name() -> str:
        found = re.search(r": (\S+/\S+)", shown(test))
        assert found
        return found[1]

    assert name() == tiles.names[0]
    test.session_state["tiles_large"] = (tiles.fingerprint, 777)
    test.run()
    assert name() == tiles.names[777]
    click(test, "conv_another")
    other = name()
    assert other != tiles.names[777]
    assert other.split("/")[0] == tiles.names[777].split("/")[0]
    choose(test, f"conv_class_{tiles.fingerprint}", "River")
    assert name().startswith("River/")


def test_real_tiles_need_no_warning(folder_lab: FolderLab, app: App) -> None:
    folder_lab(dict.fromkeys(CLASS_NAMES, 2))
    assert not tells(with_layers(app), "convolution/other tiles")


def test_a_hundred_classes_and_a_network_for_them(folder_lab: FolderLab, app: App) -> None:
    lab = folder_lab({f"class {at:03d}": 1 for at in range(100)})
    record = put_network(lab)
    test = with_layers(app)
    assert tells(saw(test), "features.unknown_class")
    choose(test, "conv_layers_network", record.id)
    assert "10 surest of 100" in shown(test)


def test_the_calculator(lab: Lab, app: App) -> None:
    test = app(PAGE)
    assert {"1,741,932", "111,483,648"} <= set(metrics(test).values())
    assert "1,746,696" in shown(test)
    assert tells(test, "convolution/no rate")  # the engine of `lab` measures nothing
    choose(test, "conv_work_stride", 2)
    assert f"{127 * 127 * 27 * 64:,}" in metrics(test).values()
    assert "1,746,696" not in shown(test)
    choose(test, "conv_work_filter_side", 60)
    choose(test, "conv_work_side", 50)
    assert "60 × 60" in test.warning[0].value and "50 × 50" in test.warning[0].value and not metrics(test)
    choose(test, "conv_work_side", -1)
    assert "8,192" in test.warning[0].value


def test_the_seconds_rest_on_what_was_measured(make_lab: Callable[..., Lab], app: App) -> None:
    lab = make_lab(FakeEngine(speeds=SPEEDS))
    eventually(lambda: lab.estimates.multiplication_rate("cpu"))

    def shows_the_rate() -> bool:
        """It may change in between: the lab goes on measuring."""
        test, rate = app(PAGE), lab.estimates.multiplication_rate("cpu")
        assert rate is not None and not tells(test, "convolution/no rate")
        return f"{111_483_648 / rate.per_second * 1e3:.3g} ms" in metrics(test).values() and rate.basis in shown(test)

    eventually(shows_the_rate)
