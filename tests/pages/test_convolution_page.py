"""The Convolution page in every state: tiles of all kinds, no runs, own runs, damaged ones, others' classes."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_engine import SPEEDS, FakeEngine, eventually
from streamlit.testing.v1 import AppTest
from torch.nn import functional

from eurosat_core.data import pictures
from eurosat_core.data.classes import CLASS_NAMES
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import RunError
from eurosat_core.lab.doctor import TilesState
from eurosat_core.lab.inspection import BEFORE, RECORDED
from eurosat_core.lab.lab import Lab
from eurosat_core.lab.train import epoch_file
from eurosat_core.models import recorded
from eurosat_core.models.convolution import FILTERS
from eurosat_core.models.recorded import recorded_network
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.network import make_network
from tests.pages.conftest import THREE, App, put, shown, unescaped, used

PAGE = "convolution.py"


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


def saw(test: AppTest) -> list[str]:
    return [unescaped(each.value) for each in test.info if str(each.title) == "What you just saw"]


def the_tile(lab: Lab) -> np.ndarray:
    tiles = lab.tiles().tile_set
    assert tiles is not None
    return tiles.array[0]


def normalised(tile: np.ndarray) -> torch.Tensor:
    """What the baseline gets of a tile, in double precision."""
    return torch.from_numpy(pictures.normalised(tile, (0.5,) * 3, (0.5,) * 3)).double().permute(2, 0, 1)


def trained(lab: Lab, state: str = "finished", weights: bytes | None = None, **changes: Any) -> RunRecord:
    """A run of mine with a network."""
    record = put(lab, state, THREE, summary={"val_accuracy": 0.62}, **changes)
    if weights is None:
        buffer = io.BytesIO()
        torch.save(make_network(record.config, len(record.tiles.class_names)).state_dict(), buffer)
        weights = buffer.getvalue()
    lab.store.save(record.id, {"model.pt": weights})
    return record


def choose(test: AppTest, key: str, value: Any) -> AppTest:
    test.get_by_key(key).set_value(value).run()
    assert not test.exception, test.exception[0].message
    return test


def with_layers(app: App) -> AppTest:
    """The page with what each layer sees opened under More."""
    return choose(app(PAGE), "conv_more", "layers")


def test_the_page_without_a_run_of_ones_own(lab: Lab, app: App) -> None:
    test = with_layers(app)
    assert not test.exception
    assert "recorded elsewhere, not trained on this machine" in shown(test)
    assert "On other tiles its answers mean little" in shown(test)  # synthetic ones
    assert all(image.alt for each in test.get("image") for image in each.proto.imgs)
    assert all(chart.proto.alt for chart in test.get("vega_lite_chart"))
    assert all(table.proto.alt for table in test.table)
    assert len(saw(test)) == 2
    assert len(test.warning) == 1


@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("name", ["Sharpen", "Strong blur (5 × 5)"])
def test_the_arithmetic_shown_is_torchs(lab: Lab, app: App, name: str, stride: int, padding: int) -> None:
    test = app(PAGE)
    for key, value in (("conv_filter", name), ("conv_padding", padding), ("conv_stride", stride)):
        choose(test, key, value)
    test.slider(key="conv_row").set_value(0).run()
    test.slider(key="conv_column").set_value(7).run()
    weights = torch.from_numpy(FILTERS[name]).double()
    values = normalised(the_tile(lab))
    oracle = functional.conv2d(values[None], weights.repeat(1, 3, 1, 1), padding=padding, stride=stride)[0, 0]
    assert sum_shown(test) == pytest.approx(oracle[0, 7].item(), abs=0.0006)
    side = weights.shape[0]
    ringed = functional.pad(values, (padding,) * 4)
    for channel, title in enumerate(("Red", "Green", "Blue")):
        choose(test, "conv_products", title)
        patch, shown_weights, products = (numbers(each) for each in test.table)
        left = 7 * stride
        wanted = ringed[channel, :side, left : left + side]
        np.testing.assert_allclose(patch, wanted.numpy(), atol=0.0006)
        np.testing.assert_allclose(shown_weights, weights.numpy(), atol=0.0006)
        np.testing.assert_allclose(products, (wanted * weights).numpy(), atol=0.0006)


def test_stepping_with_the_buttons(lab: Lab, app: App) -> None:
    test = app(PAGE)
    assert "row 31, column 31" in shown(test)
    for key, place in (
        ("conv_forward", (31, 32)),
        ("conv_down", (32, 32)),
        ("conv_back", (32, 31)),
        ("conv_up", (31, 31)),
    ):
        test.button(key=key).click().run()
        assert f"row {place[0]}, column {place[1]}" in shown(test)
    test.button(key="conv_strongest").click().run()
    assert "100% of the strongest value" in saw(test)[0]
    choose(test, "conv_stride", 4)  # fewer places: it stays within them
    assert test.slider(key="conv_row").value <= 15


def test_one_channel_alone(lab: Lab, app: App) -> None:
    test = choose(app(PAGE), "conv_channel", "Green")
    assert "conv_products" not in {each.key for each in test.get("button_group")}
    oracle = functional.conv2d(
        normalised(the_tile(lab))[None, 1:2], torch.from_numpy(FILTERS["Horizontal edges"]).double()[None, None]
    )
    assert sum_shown(test) == pytest.approx(oracle[0, 0, 31, 31].item(), abs=0.0006)
    assert "That took 9 products" in saw(test)[0]


def test_own_numbers_and_one_too_large(lab: Lab, app: App) -> None:
    test = choose(app(PAGE), "conv_filter", "Own numbers")
    test.number_input(key="conv_own_0_0").set_value(7.0).run()
    assert numbers(test.table[1])[0].tolist() == [7, 0, 1]
    test.number_input(key="conv_own_0_0").set_value(500.0).run()
    assert "larger than 100" in shown(test)
    assert not test.exception


def test_a_filter_of_the_recorded_network(lab: Lab, app: App) -> None:
    test = choose(app(PAGE), "conv_filter", "A trained network’s")
    test.number_input(key=f"conv_filter_number_{RECORDED}").set_value(4).run()
    with torch.no_grad():
        oracle = recorded_network().conv1.double()(normalised(the_tile(lab))[None])[0, 3]
    assert sum_shown(test) == pytest.approx(oracle[31, 31].item(), abs=0.0006)
    after = numbers(test.table[1])
    choose(test, "conv_filter_stage", BEFORE)
    assert not np.array_equal(after, numbers(test.table[1]))


def test_relu_and_pooling(lab: Lab, app: App) -> None:
    test = choose(app(PAGE), "conv_view", "2 · ReLU")
    values = functional.conv2d(
        normalised(the_tile(lab))[None], torch.from_numpy(FILTERS["Horizontal edges"]).double().repeat(1, 3, 1, 1)
    )[0, 0]
    zeros = (values <= 0).double().mean().item()
    assert f"ReLU makes {100 * zeros:.1f}" in saw(test)[0]
    choose(test, "conv_view", "3 · Pooling")
    for kind, pool in (("max", functional.max_pool2d), ("average", functional.avg_pool2d)):
        choose(test, "conv_pooling", kind)
        test.button(key="conv_pool_strongest").click().run()
        row, column = test.slider(key="conv_pool_row").value, test.slider(key="conv_pool_column").value
        oracle = pool(values.relu()[None, None], 2)[0, 0, row, column].item()
        found = re.search(r"\) (?:/ 4 )?= \*\*([+−]?[\d.]+)\*\*", shown(test))
        assert found
        assert number(found[1]) == pytest.approx(oracle, abs=0.0006)
    assert "3,844 values became 961" in saw(test)[0]


def test_the_guess_stands_beside_the_count(lab: Lab, app: App) -> None:
    test = app(PAGE)
    assert "You guessed" not in shown(test)
    choose(test, "guess_conv_multiplications", "about 10,000")
    assert "about 100,000" in saw(test)[0] and "103,788" in saw(test)[0]


def test_layers_and_answer_before_and_after_training(lab: Lab, app: App) -> None:
    test = with_layers(app)
    text = shown(test)
    for layer in ("Conv2d-1", "MaxPool2d-2", "Conv2d-3", "MaxPool2d-4", "Linear-5", "Linear-6", "Linear-7"):
        assert f"**{layer}**" in text
    assert "6 × 60 × 60" in text
    assert "Before training, its surest answer is" in saw(test)[1]
    assert "filters of Conv2d-1" in saw(test)[1]
    assert len(test.get("vega_lite_chart")) == 2


def test_a_run_of_mine_and_its_epochs(lab: Lab, app: App) -> None:
    record = trained(lab)
    others = trained(lab, owner="bob")
    test = with_layers(app)
    networks = test.selectbox(key="conv_layers_network")
    assert any(record.id in each for each in networks.options)
    assert not any(others.id in each for each in networks.options)
    networks.set_value(record.id).run()
    assert not test.exception
    assert "Every layer gives the same as before" in saw(test)[1]  # these weights were never trained
    weights = io.BytesIO()
    torch.save(recorded_network().state_dict(), weights)
    lab.store.save(record.id, {epoch_file(1): weights.getvalue()})
    test.run()
    assert "saved its network after some of the epochs" in shown(test)
    test.select_slider(key=f"conv_stage_{record.id}").set_value(1).run()
    assert not test.exception
    assert "After epoch 1" in shown(test)


def test_a_damaged_run_is_said(lab: Lab, app: App) -> None:
    record = trained(lab, weights=b"no weights")
    test = with_layers(app)
    test.selectbox(key="conv_layers_network").set_value(record.id).run()
    assert not test.exception
    assert "are damaged" in shown(test)
    choose(test, "conv_filter", "A trained network’s")
    test.selectbox(key="conv_filter_network").set_value(record.id).run()
    assert not test.exception
    assert shown(test).count("are damaged") == 2


def test_a_run_deleted_meanwhile(lab: Lab, app: App) -> None:
    test = app()
    test.session_state["conv_more"] = "layers"
    test.session_state["conv_layers_network"] = "20200101-000000-baseline-abcd"
    test.switch_page(PAGE).run()
    assert not test.exception
    assert test.selectbox(key="conv_layers_network").value == RECORDED


def test_without_the_recorded_network(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(recorded, "_FOLDER", tmp_path)
    recorded.recorded_baseline.cache_clear()
    test = with_layers(app)
    recorded.recorded_baseline.cache_clear()
    assert not test.exception
    assert "The recorded network cannot be shown" in shown(test)
    assert "Places of the filter" in shown(test)


def test_a_busy_lab_says_so(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_arguments: Any) -> None:
        raise RunError("The lab is looking into other networks just now.")

    monkeypatch.setattr(lab.inspector, "look", busy)
    test = with_layers(app)
    assert not test.exception
    assert "other networks just now" in shown(test)


def test_the_tile_of_the_tiles_page_and_others(lab: Lab, app: App) -> None:
    test = app(PAGE)
    tiles = lab.tiles().tile_set
    assert tiles is not None

    def name() -> str:
        found = re.search(r": (\S+/\S+)", shown(test))
        assert found
        return found[1]

    assert name() == tiles.names[0]
    test.session_state["tiles_large"] = (tiles.fingerprint, 777)
    test.run()
    assert name() == tiles.names[777]
    test.button(key="conv_another").click().run()
    other = name()
    assert other != tiles.names[777]
    assert other.split("/")[0] == tiles.names[777].split("/")[0]
    choose(test, f"conv_class_{tiles.fingerprint}", "River")
    assert name().startswith("River/")


def folder_lab(make_lab: Callable[..., Lab], small_folder: Callable[..., Path], place: Path, counts: dict) -> TileSet:
    tiles = make_lab(data=small_folder(place, counts)).tiles().tile_set
    assert tiles is not None
    return tiles


def test_own_classes(make_lab: Callable[..., Lab], app: App, small_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder_lab(make_lab, small_folder, tmp_path / "data", {"*wet* [land]": 5, "dry_land": 3})
    test = with_layers(app)
    assert not test.exception
    assert "never told of this tile’s class" in shown(test)


def test_real_tiles_need_no_warning(
    make_lab: Callable[..., Lab], app: App, small_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder_lab(make_lab, small_folder, tmp_path / "data", dict.fromkeys(CLASS_NAMES, 2))
    assert "On other tiles" not in shown(with_layers(app))


def test_a_hundred_classes_and_a_network_for_them(
    make_lab: Callable[..., Lab], app: App, small_folder: Callable[..., Path], tmp_path: Path
) -> None:
    lab = make_lab(data=small_folder(tmp_path / "data", {f"class {at:03d}": 1 for at in range(100)}))
    record = trained(lab)
    assert len(used(lab).class_names) == 100
    test = with_layers(app)
    test.selectbox(key="conv_layers_network").set_value(record.id).run()
    assert not test.exception
    assert "The 10 surest of 100 classes" in shown(test)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (TilesState(None, 5, 100), "shown here as soon as they are ready"),
        (TilesState(None, problem="The disk is full."), "The disk is full"),
    ],
)
def test_without_tiles(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch, state: TilesState, words: str) -> None:
    monkeypatch.setattr(lab.library, "_state", state)
    test = app(PAGE)
    assert not test.exception
    assert words in shown(test)
    assert "Places of the filter" in shown(test)  # counting needs none


def test_the_calculator(lab: Lab, app: App) -> None:
    test = app(PAGE)
    figures = {each.label: each.value for each in test.metric}
    assert figures["One filter"] == "1,741,932"
    assert figures["All filters"] == "111,483,648"
    assert "1,746,696" in shown(test)
    assert "This device has not been measured yet" in shown(test)  # the engine of `lab` measures nothing
    test.number_input(key="conv_work_stride").set_value(2).run()
    figures = {each.label: each.value for each in test.metric}
    assert figures["All filters"] == f"{127 * 127 * 27 * 64:,}"
    assert "1,746,696" not in shown(test)
    test.number_input(key="conv_work_filter_side").set_value(60).run()
    test.number_input(key="conv_work_side").set_value(50).run()
    assert "60 × 60 does not fit into 50 × 50 pixels" in shown(test)
    assert not test.metric
    test.number_input(key="conv_work_side").set_value(-1).run()
    assert "Choose 1 to 8,192 pixels" in shown(test)
    assert not test.exception


def test_the_seconds_rest_on_what_was_measured(make_lab: Callable[..., Lab], app: App) -> None:
    lab = make_lab(FakeEngine(speeds=SPEEDS))
    eventually(lambda: lab.estimates.multiplication_rate("cpu"))
    rate = lab.estimates.multiplication_rate("cpu")
    assert rate is not None
    test = app(PAGE)
    figures = {each.label: each.value for each in test.metric}
    assert figures["One picture forward, CPU"] == f"{111_483_648 / rate.per_second * 1e3:.3g} ms"
    assert "billion multiplications a second, measured on this device" in shown(test)
    assert "has not been measured yet" not in shown(test)


def test_the_page_keeps_the_contract(lab: Lab, app: App) -> None:
    test = app(PAGE)
    assert test.subheader[0].value.startswith("See how a network gets from pixels to features")
    assert "**Your task:**" in shown(test)
    code = "\n".join(each.value for each in test.code)
    assert "conv2d" in code
    assert "kernel" not in shown(test).lower()
    test.button(key="next_page").click().run()
    assert test.title[0].value.startswith("Model: ")
