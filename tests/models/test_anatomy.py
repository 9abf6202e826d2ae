"""Where a network's parameters and multiplications are, in figures and in words; activations against PyTorch."""

import math
import re

import pytest
import torch

from eurosat_core.charts.networks import BLOCK_COLOURS, Block, network_diagram
from eurosat_core.models.anatomy import (
    Part,
    activation,
    activation_frame,
    compared,
    layer_table,
    layer_words,
    parts_of_reports,
    parts_of_rows,
    share_frame,
    slope,
    weighted_sum_text,
    where_most,
    where_sentence,
)
from eurosat_core.models.catalog import BASELINE, PRESETS
from eurosat_core.models.check import Totals, check_network
from eurosat_core.models.layers import parse_network, read_layer
from eurosat_core.models.networks import Net
from eurosat_core.models.summary import LayerRow, summarize

BASELINE_PARTS = parts_of_rows(summarize(Net()).layers)


def test_the_baselines_sentence_has_the_tutorials_figures() -> None:
    assert re.findall(r"\*\*(\d+ %)\*\*", where_sentence("Baseline", BASELINE_PARTS)) == ["99 %", "91 %"]


def test_networks_with_both_in_one_place_get_their_own_sentence() -> None:
    for preset, kind in (("residual", "convolutions"), ("linear", "linear layers")):
        parts = parts_of_reports(check_network(parse_network(PRESETS[preset].text)))
        assert kind in where_sentence("It", parts)


def test_the_reason_is_given_only_where_it_applies() -> None:
    turned = [Part("convolution", "Convolution", (), (8, 4, 4), 90, 10), Part("linear", "Linear", (), (10,), 10, 90)]
    given, reason = (where_sentence("It", each).count(".") for each in (turned, BASELINE_PARTS))
    assert given < reason


def test_where_most_of_both_is() -> None:
    assert {figure: kind for figure, (kind, _) in where_most(BASELINE_PARTS).items()} == {
        "params": "linear",
        "macs": "convolution",
    }


def test_both_ways_of_looking_at_the_baseline_agree() -> None:
    built = parts_of_reports(check_network(parse_network(BASELINE)))
    assert [(each.kind, each.shape, each.params, each.macs) for each in built] == [
        (each.kind, each.shape, each.params, each.macs) for each in BASELINE_PARTS
    ]
    assert [each.then for each in built] == [("ReLU",), (), ("ReLU",), ("Flatten",), ("ReLU",), ("ReLU",), ()]


def test_deep_networks_are_gathered_into_few_blocks() -> None:
    rows = [LayerRow(f"Conv2d-{at}", (-1, 8, 64 >> at // 10, 64 >> at // 10), 10, 100) for at in range(40)]
    parts = parts_of_rows([*rows, LayerRow("Linear-41", (-1, 10), 5, 5)])
    assert [(each.title, each.count, each.params) for each in parts] == [
        *([("10 convolutions", 10, 100)] * 4),
        ("Linear", 1, 5),
    ]


def test_shares_add_up() -> None:
    frame = share_frame(BASELINE_PARTS)
    assert frame.groupby("figure")["share"].sum().round(9).tolist() == [1.0, 1.0]
    assert len(frame) == 10
    assert share_frame([Part("pooling", "Max pooling", (), (3, 32, 32), 0, 0)]).empty


@pytest.mark.parametrize(
    ("now", "figures"),
    [
        (Totals(100, 1000, 10), []),
        (Totals(230, 1000, 10), ["2.3 times", "1.6 times"]),
        (Totals(50, 1050, 10), ["50 %", "5 % more", "75 %"]),
        (Totals(100, 5, 10), ["0.5 %"]),
        (Totals(100, 1002, 10), []),
    ],
)
def test_comparisons_for_each_outcome(now: Totals, figures: list[str]) -> None:
    assert re.findall(r"\*\*(.+?)\*\*", compared(now, Totals(100, 1000, 10), 40)) == figures


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("conv 6 5", "6 filters of 5 × 5"),
        ("conv 1 3 stride 2 pad 1", "1 filter of 3 × 3, stride 2, padding 1"),
        ("conv 8 3 pad same", "8 filters of 3 × 3, padding same"),
        ("conv 6.5 5", "6.5 filters of 5 × 5"),
        ("residual 32 stride 2", "32 filters, stride 2"),
        ("maxpool 2", "2 × 2"),
        ("avgpool 3 stride 1", "3 × 3, stride 1"),
        ("adaptiveavgpool 1", "to 1 × 1"),
        ("dropout 0.25", "25 %"),
        ("linear 120", "120 outputs"),
        ("linear out", "one output per class"),
        ("relu", ""),
    ],
)
def test_layers_in_words(text: str, words: str) -> None:
    assert layer_words(read_layer(text)) == words


def test_an_unreadable_layer_stays_what_was_written() -> None:
    assert layer_words(parse_network("lstm 4")[0]) == "lstm 4"


def test_layer_table_ends_where_the_problem_is() -> None:
    table = layer_table(check_network(parse_network("conv 6 5, linear out")))
    assert table["Output"].tolist() == ["6×60×60", ""]
    assert table["Parameters"].tolist() == [456, 0]


@pytest.mark.parametrize("name", ["relu", "sigmoid", "gelu"])
def test_activations_and_slopes_are_pytorchs(name: str) -> None:
    x = torch.linspace(-5, 5, 41, dtype=torch.float64, requires_grad=True)
    function = {"relu": torch.relu, "sigmoid": torch.sigmoid, "gelu": torch.nn.functional.gelu}[name]
    values = function(x)
    values.sum().backward()
    assert x.grad is not None
    for at, value, grad in zip(x.tolist(), values.tolist(), x.grad.tolist(), strict=True):
        assert math.isclose(activation(name, at), value, abs_tol=1e-9)
        assert math.isclose(slope(name, at), grad, abs_tol=1e-9)


def test_activation_frame_marks_one_value_each() -> None:
    frame = activation_frame(1.5)
    assert frame[frame["marked"]]["x"].tolist() == [1.5] * 3
    assert len(frame) <= 500


def test_weighted_sum_is_written_out() -> None:
    assert weighted_sum_text([0.5, 1.0], [2.0, -1.0], -0.5) == ("0.5 × 2.0 + 1.0 × (-1.0) + (-0.5) = -0.50", -0.5)


def test_weighted_sums_that_are_alike_are_equal() -> None:
    weights = [-0.9, 0.6, 0.3]
    one, other = (weighted_sum_text(inputs, weights, 0.0) for inputs in ([0.4, 0.9, 0.1], [0.5, 0.7, 0.8]))
    assert one[1] == other[1] == 0.21  # 0.21 and 0.20999999999999996 when they are added up
    assert weighted_sum_text([0.3, 0.1, 0.2], [1.0, -1.0, -1.0], 0.0)[0].endswith("= 0.00")  # -0.00 when added up


def test_text_in_a_diagram_is_never_markup() -> None:
    drawn = network_diagram([Block("convolution", "<img src=x onerror=y>", "a & b", (3, 4, 4))], 'say "hi"')
    assert "<img src=x" not in drawn and "&lt;img src=x" in drawn and "a &amp; b" in drawn and "&quot;hi&quot;" in drawn


def test_diagrams_of_any_shape_can_be_drawn() -> None:
    shapes = ((1, 1, 1), (512, 104, 104), (1,), (2_000_000,))
    blocks = [Block(kind, kind, "", shape) for kind in BLOCK_COLOURS for shape in shapes]
    drawn = network_diagram(blocks, "everything")
    assert drawn.count('role="listitem"') == len(blocks) and "nan" not in drawn
