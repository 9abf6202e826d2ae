"""The arithmetic by hand against PyTorch's own convolution, ReLU and pooling."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from eurosat_core.errors import ConfigError
from eurosat_core.models.convolution import (
    FILTERS,
    ConvolutionWork,
    LayerWork,
    Values,
    checked_plane,
    convolve,
    layer_work,
    moved,
    over_channels,
    pool,
    pool_window,
    relu,
    step_at,
)


def torchs(values: Values, weights: Values, bias: float, padding: int, stride: int) -> Values:
    """PyTorch's feature map of one filter, in double precision."""
    maps = functional.conv2d(
        torch.from_numpy(values).double()[None],
        torch.from_numpy(weights).double()[None],
        torch.tensor([bias], dtype=torch.float64),
        stride=stride,
        padding=padding,
    )
    found: Values = maps[0, 0].float().numpy()
    return found


def noise(*shape: int, seed: int = 0) -> Values:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


@pytest.mark.processor
@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_by_hand_is_torchs(name: str) -> None:
    values, weights = noise(3, 64, 64), over_channels(FILTERS[name], 3)
    ours = convolve(values, weights, 0.25, padding=1, stride=2)
    oracle = torchs(values, weights, 0.25, padding=1, stride=2)
    assert ours.dtype == np.float32
    assert ours.shape == oracle.shape
    np.testing.assert_allclose(ours, oracle, rtol=0, atol=1e-6)


@given(data=st.data())
def test_any_convolution_is_torchs_and_so_is_each_of_its_steps(data: st.DataObject) -> None:
    side = data.draw(st.integers(1, 7))
    padding, stride = data.draw(st.integers(0, 4)), data.draw(st.integers(1, 5))
    height = data.draw(st.integers(max(side - 2 * padding, 1), 20))
    width = data.draw(st.integers(max(side - 2 * padding, 1), 20))
    channels, seed = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 999))
    bias = data.draw(st.floats(-3, 3, width=32))
    values, weights = noise(channels, height, width, seed=seed), noise(channels, side, side, seed=seed + 1)
    oracle = torchs(values, weights, bias, padding, stride)
    ours = convolve(values, weights, bias, padding, stride)
    np.testing.assert_allclose(ours, oracle, rtol=0, atol=1e-5)
    row, column = data.draw(st.integers(0, oracle.shape[0] - 1)), data.draw(st.integers(0, oracle.shape[1] - 1))
    step = step_at(values, weights, bias, padding, stride, row, column)
    assert step.value == pytest.approx(float(oracle[row, column]), abs=1e-5)
    assert sum(step.sums) + step.bias == pytest.approx(step.value)
    np.testing.assert_array_equal(step.products, step.patch * weights)
    assert np.abs(step.patch[:, ~step.inside]).sum() == 0
    for at_row in range(side):
        for at_column in range(side):
            y, x = step.top + at_row, step.left + at_column
            assert step.inside[at_row, at_column] == (0 <= y < height and 0 <= x < width)
            if step.inside[at_row, at_column]:
                np.testing.assert_array_equal(step.patch[:, at_row, at_column], values[:, y, x])


def test_a_filter_that_does_not_fit_is_refused_with_a_sentence() -> None:
    with pytest.raises(ConfigError, match=r"5 × 5 .* 4 × 4"):
        convolve(noise(1, 4, 4), noise(1, 5, 5))


def test_known_filters_do_what_their_names_say() -> None:
    values = noise(1, 8, 8)
    np.testing.assert_allclose(convolve(values, FILTERS["Identity"][None]), values[0, 1:-1, 1:-1])
    even = np.full((1, 8, 8), 0.7, dtype=np.float32)
    for name in ("Horizontal edges", "Vertical edges", "Edges in all directions (Laplacian)"):
        np.testing.assert_allclose(convolve(even, FILTERS[name][None]), 0, atol=1e-6)
    for name in ("Blur", "Strong blur (5 × 5)", "Sharpen"):
        np.testing.assert_allclose(convolve(even, FILTERS[name][None]), 0.7, atol=1e-6)
    step = np.zeros((1, 8, 8), dtype=np.float32)
    step[:, :, 4:] = 1  # a vertical line between dark and bright
    assert convolve(step, FILTERS["Vertical edges"][None]).max() == 3
    assert np.abs(convolve(step, FILTERS["Horizontal edges"][None])).max() == 0


def test_relu_is_torchs() -> None:
    values = noise(9, 9)
    np.testing.assert_array_equal(relu(values), torch.from_numpy(values).relu().numpy())


@pytest.mark.parametrize("shape", [(62, 62), (13, 13), (2, 2), (5, 8)])
def test_pooling_is_torchs_and_so_is_each_of_its_windows(shape: tuple[int, int]) -> None:
    values = noise(*shape)
    tensor = torch.from_numpy(values)[None, None]
    oracles = {"max": functional.max_pool2d(tensor, 2), "average": functional.avg_pool2d(tensor, 2)}
    for kind in ("max", "average"):
        oracle = oracles[kind][0, 0].numpy()
        np.testing.assert_allclose(pool(values, kind), oracle, atol=1e-6)
        for row, column in ((0, 0), (oracle.shape[0] - 1, oracle.shape[1] - 1)):
            window = pool_window(values, kind, row, column)
            assert window.value == pytest.approx(float(oracle[row, column]), abs=1e-6)
            np.testing.assert_array_equal(
                window.values, values[window.top : window.top + 2, window.left : window.left + 2]
            )


@pytest.mark.parametrize(
    ("move", "start", "end"),
    [
        ("forward", (0, 0), (0, 1)),
        ("forward", (0, 3), (1, 0)),
        ("forward", (2, 3), (2, 3)),
        ("back", (1, 0), (0, 3)),
        ("back", (0, 0), (0, 0)),
        ("down", (1, 2), (2, 2)),
        ("down", (2, 2), (2, 2)),
        ("up", (1, 2), (0, 2)),
        ("up", (0, 2), (0, 2)),
        ("strongest", (0, 0), (1, 3)),
    ],
)
def test_moves(move: str, start: tuple[int, int], end: tuple[int, int]) -> None:
    values = np.ones((3, 4), dtype=np.float32)
    values[1, 3] = -5
    assert moved((3, 4), *start, move, values) == end


def test_own_numbers() -> None:
    np.testing.assert_array_equal(checked_plane([[1, 0], [-2.5, 3]]), np.array([[1, 0], [-2.5, 3]], np.float32))
    for numbers, words in (([[None]], "missing"), ([[float("nan")]], "missing"), ([[101.0]], "100")):
        with pytest.raises(ConfigError, match=words):
            checked_plane(numbers)


def test_the_calculators_start_is_the_tutorials_example() -> None:
    assert layer_work(LayerWork()) == ConvolutionWork(64_516, 27, 1_741_932, 111_483_648)


@given(data=st.data())
def test_the_work_is_what_a_convolution_does(data: st.DataObject) -> None:
    filter_side, padding = data.draw(st.integers(1, 5)), data.draw(st.integers(0, 3))
    side = data.draw(st.integers(max(filter_side - 2 * padding, 1), 20))
    stride, channels, filters = (data.draw(st.integers(1, 4)) for _ in range(3))
    layer = LayerWork(side, channels, filter_side, filters, padding, stride)
    with torch.no_grad():
        maps = torch.nn.Conv2d(channels, filters, filter_side, stride, padding)(torch.zeros(1, channels, side, side))
    work = layer_work(layer)
    assert work.places == maps[0, 0].numel()
    assert work.layer == maps.numel() * filter_side**2 * channels


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"side": None}, "side .*whole number"),
        ({"side": 0}, "0.* 1 to 8,192"),
        ({"filters": 10**9}, "1,000,000,000.* 1 to 65,536"),
        ({"stride": 2.5}, "stride .*number"),
        ({"stride": True}, "stride .*number"),
        ({"padding": float("inf")}, "padding .*number"),
        ({"side": 2}, "3 × 3 .* 2 × 2"),
    ],
)
def test_a_layer_that_cannot_be_is_refused_with_a_sentence(changes: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        layer_work(LayerWork(**changes))
