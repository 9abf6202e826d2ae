"""The text of a network and its layers: one the inverse of the other, and nothing in a text can do harm."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eurosat_core.errors import ConfigError
from eurosat_core.models.catalog import BASELINE, PRESETS
from eurosat_core.models.layers import (
    KINDS,
    UNREADABLE,
    Layer,
    format_network,
    new_layer,
    parse_network,
    read_layer,
    url_text,
)
from tests.models.network_makers import networks


@given(networks())
def test_text_and_layers_are_inverse(layers: tuple[Layer, ...]) -> None:
    text = format_network(layers)
    assert parse_network(text) == layers
    assert parse_network(url_text(layers)) == layers


@given(st.text(max_size=200))
@example("conv 0000000006 0000000005 stride 0000000001 pad 000000000000 zz")
@example("conv -3 5, foo--bar_1, linear 1e400, linear nan, conv 6.5, ½, ,,;")
def test_any_text_is_read_and_stays_what_it_is(text: str) -> None:
    layers = parse_network(text)
    assert parse_network(format_network(layers)) == layers


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_presets_are_written_tidily(preset: object) -> None:
    assert format_network(parse_network(preset.text)) == preset.text  # type: ignore[attr-defined]


def test_numbers_left_out_get_their_defaults() -> None:
    assert read_layer("conv") == Layer("conv", (16, 3, 1, 0))
    assert read_layer("maxpool 3") == Layer("maxpool", (3, 3))
    assert read_layer("CONV 8 5 pad same stride 2") == Layer("conv", (8, 5, 2, "same"))


def test_address_needs_no_escapes() -> None:
    assert url_text(parse_network(BASELINE)).startswith("conv-6-5_relu_maxpool-2_conv-16-5")
    assert all(each.isalnum() or each in "-_." for each in url_text(parse_network(BASELINE)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("con 6 5", "no layer called “con”"),
        ("conv six", "Filters must be a number, not “six”"),
        ("linear many", "or “out”"),
        ("linear nan", "must be a number"),
        ("conv 6 5 7", "“7” is too much in this layer. It reads: conv FILTERS FILTER SIZE stride STRIDE pad PADDING"),
        ("conv 6 5 stride", "A number is missing after “stride”"),
        ("relu 3", "It reads: relu."),
        ("conv 6 5 stride 1 stride 2", "too much"),
    ],
)
def test_what_cannot_be_read_says_why(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("?", r"\?")):
        read_layer(text)
    assert parse_network(text)[0].kind == UNREADABLE


@pytest.mark.parametrize("text", [None, 3, "relu, " * 2000])
def test_what_is_no_network_is_refused(text: object) -> None:
    with pytest.raises(ConfigError):
        parse_network(text)  # type: ignore[arg-type]


def test_stride_of_a_pooling_follows_its_window() -> None:
    pool = new_layer("maxpool")
    assert pool.changed(size=3) == Layer("maxpool", (3, 3))
    assert pool.changed(stride=1).changed(size=3) == Layer("maxpool", (3, 1))
    assert new_layer("conv").changed(size=5) == Layer("conv", (16, 5, 1, 0))


def test_every_kind_has_a_default_that_can_be_used() -> None:
    for name, kind in KINDS.items():
        assert kind.about.endswith(".")
        for field, value in zip(kind.fields, new_layer(name).values, strict=True):
            assert field.low <= value <= field.high  # type: ignore[operator]
