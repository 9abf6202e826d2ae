"""The text of a network and its layers; what cannot be trained is explained at its row, and repaired."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eurosat_core.errors import ConfigError
from eurosat_core.models.catalog import BASELINE, EXTRA_LAYERS, PRESETS, changed_baseline
from eurosat_core.models.check import (
    MAX_LAYERS,
    breaks_channels_last,
    check_network,
    checked_network,
    first_problem,
    repaired,
    totals,
)
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
from eurosat_core.training.config import TrainConfig
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
        ("con 6 5", "“con”"),
        ("conv six", "“six”"),
        ("linear many", "“out”"),
        ("linear nan", "number"),
        ("conv 6 5 7", "“7”"),
        ("conv 6 5 stride", "“stride”"),
        ("relu 3", "relu"),
        ("conv 6 5 stride 1 stride 2", "too much"),
    ],
)
def test_what_cannot_be_read_says_why(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
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


# Text (… is the usual end), row of the first problem (from 1), words of its sentence, and the text after its repair.
INVALID = [
    ("", 1, "no layer", BASELINE),
    ("con 6 5 …", 1, "“con”", "conv 6 5 …"),
    ("flatten, dense 30, linear out", 2, "“dense”", "flatten, linear 30, linear out"),
    ("lstm 4 …", 1, "“lstm”", "flatten, linear out"),
    ("conv six 5 …", 1, "“six”", "conv 16 3 …"),
    ("conv 0 5 …", 1, "1 to 512", "conv 1 5 …"),
    ("conv 6.4 5 …", 1, "6.4", "conv 6 5 …"),
    ("conv 999 5 …", 1, "999", "conv 512 5 …"),
    ("flatten, linear 0, linear out", 2, " 0", "flatten, linear 1, linear out"),
    ("conv 6 4 pad same …", 1, "middle", "conv 6 5 pad same …"),
    ("conv 6 3 stride 2 pad same …", 1, "smaller", "conv 6 3 stride 2 pad 1 …"),
    ("conv 6 3 pad 2 …", 1, "half", "conv 6 3 pad 1 …"),
    ("flatten, dropout 1, linear out", 2, " 1", "flatten, dropout 0.5, linear out"),
    ("flatten, dropout -0.5, linear out", 2, "0 to 0.95", "flatten, dropout 0, linear out"),
    ("conv 6 5, relu, maxpool 2, linear out", 4, "6 × 30 × 30 = 5,400", "conv 6 5, relu, maxpool 2 …"),
    ("maxpool 8, conv 6 15 …", 2, "15 × 15 .* of 8 × 8: .* -6 pixels", "maxpool 8, conv 6 7 …"),
    ("maxpool 32, conv 6 5 pad 1 …", 2, "4 × 4", "maxpool 32, conv 6 1 …"),
    ("maxpool 16, maxpool 8 …", 2, "4 × 4", "maxpool 16, maxpool 4 …"),
    ("maxpool 64, avgpool 2 …", 2, "one pixel", "maxpool 64 …"),
    ("flatten, maxpool 2, linear out", 2, "12,288", "maxpool 2 …"),
    ("flatten, linear 30, conv 6 5, linear out", 3, "filters", "conv 6 5, flatten, linear 30, linear out"),
    ("flatten, residual 8, linear out", 2, "input", "residual 8 …"),
    ("flatten, linear 120, relu, linear 84", 4, "84", "flatten, linear 120, relu, linear out"),
    ("flatten, linear 10", 2, "tiles", "flatten, linear out"),
    ("conv 6 5, relu", 2, "per class", "conv 6 5, relu …"),
    ("maxpool 2, flatten, relu", 3, "weights", "maxpool 2, flatten, relu, linear out"),
    ("flatten, linear out, relu, linear out", 2, "after", "flatten, linear 64, relu, linear out"),
    ("flatten, linear out, relu", 3, "distort", "flatten, linear out"),
    ("flatten, linear out, softmax", 3, "softmax", "flatten, linear out"),
    ("flatten, softmax, linear out", 2, "middle", "flatten, linear out"),
    ("flatten, linear 10000, linear out", 2, "122,890,000.*20,000,000", "flatten, linear 1024, linear out"),
    (
        "conv 64 3 pad same, flatten, linear 500, linear out",
        3,
        "262,144 × 500 + 500 = 131,072,500",
        "conv 64 3 pad same, maxpool 2, flatten, linear 500, linear out",
    ),
    (
        "maxpool 16, conv 512 1, conv 512 11 pad same …",
        3,
        "512 × 512 × 11 × 11 + 512 = 31,719,936",
        "maxpool 16, conv 512 1, conv 512 3 pad same …",
    ),
    (
        "conv 128 3 pad same, conv 128 3 pad same …",
        2,
        "604 million",
        "conv 128 3 pad same, conv 64 3 pad same …",
    ),
    (
        "conv 256 3 pad same, relu, relu, maxpool 4 …",
        1,
        "1,048,576 .*× 256 ",
        "conv 128 3 pad same, relu, relu, maxpool 4 …",
    ),
    (f"{'relu, ' * 41}flatten, linear out", 41, "40 layers.*43", f"{'relu, ' * 37}linear out"),
]
USUAL_END = ", flatten, linear out"


@pytest.mark.parametrize(("text", "row", "words", "after"), INVALID, ids=[each[0][:40] for each in INVALID])
def test_each_mistake_is_explained_at_its_row_and_repaired(text: str, row: int, words: str, after: str) -> None:
    text, after = (each.replace(" …", USUAL_END) for each in (text, after))
    layers = parse_network(text)
    with pytest.raises(ConfigError, match=words.replace("(", r"\(").replace("+", r"\+")):
        checked_network(text)
    reports = check_network(layers)
    found = first_problem(reports)
    assert found is not None
    assert found[0] + 1 == row
    assert format_network(found[1].repair) == after
    assert found[1].advice.endswith(".")
    assert all(each.output_shape is not None for each in reports[: row - 1])
    assert first_problem(check_network(repaired(layers))) is None


@given(networks())
@settings(max_examples=300)
def test_repairs_always_end_in_a_valid_network(layers: tuple[Layer, ...]) -> None:
    ends = repaired(layers)
    assert 0 < len(ends) <= MAX_LAYERS
    assert checked_network(format_network(ends)) == ends


def test_the_broken_preset_has_the_five_mistakes_it_promises() -> None:
    layers, seen = parse_network(PRESETS["broken"].text), []
    while found := first_problem(check_network(layers)):
        seen.append(found[1].advice)
        layers = found[1].repair
    assert len(seen) == 5, seen


@pytest.mark.parametrize(
    ("text", "row", "words"),
    [
        ("conv 6 5, relu, sigmoid, flatten, linear out", 3, "activations"),
        ("conv 6 5, conv 6 5, relu, flatten, linear out", 2, "activation"),
        ("conv 6 5, relu, flatten, flatten, linear out", 4, "nothing"),
        ("dropout 0, flatten, linear out", 1, " 0"),
        ("maxpool 32, adaptiveavgpool 7, flatten, linear out", 2, "2 × 2"),
        ("maxpool 2 stride 3, flatten, linear out", 1, "never"),
    ],
)
def test_what_does_little_gets_a_hint_and_may_be_trained(text: str, row: int, words: str) -> None:
    reports = check_network(parse_network(text))
    assert first_problem(reports) is None
    assert [at for at, each in enumerate(reports, 1) if each.hint] == [row]
    assert words in reports[row - 1].hint


def test_figures_of_the_baseline_are_the_tutorials() -> None:
    reports = check_network(parse_network(BASELINE))
    assert [each.params for each in reports if each.params] == [456, 2_416, 324_600, 10_164, 850]
    found = totals(reports)
    assert (found.params, found.macs) == (338_486, 3_577_800)
    assert found.memory_bytes(256) == 2 * 4 * (256 * 76_058 + 338_486)
    assert not any(each.hint for each in reports)


def test_as_many_scores_as_classes() -> None:
    assert check_network(parse_network("flatten, linear out"), 4)[-1].output_shape == (4,)


def test_the_unchanged_baseline_is_the_baseline() -> None:
    assert format_network(changed_baseline()) == BASELINE


@pytest.mark.parametrize("extra", EXTRA_LAYERS)
def test_every_change_of_the_baseline_can_be_trained(extra: str) -> None:
    for size in (3, 5, 7, 9, 11):
        layers = changed_baseline((64, 64), size, extra, 0.5)
        assert first_problem(check_network(layers)) is None
        assert "dropout 0.5" in format_network(layers)


BREAKS = ["conv 4 3, residual 8 stride 2", "conv 15 3, relu, conv 8 1 stride 2", "conv 8 1 stride 2"]
SAFE = ["conv 16 3, residual 8 stride 2", "conv 4 3, residual 8", "conv 4 3, conv 8 1 stride 3", "conv 4 3 stride 2"]


@pytest.mark.parametrize("network", BREAKS)
def test_networks_that_would_kill_their_process(network: str) -> None:
    text = f"{network}{USUAL_END}"
    assert breaks_channels_last(parse_network(text))
    config = TrainConfig(model="custom", network=text)
    config.checked()
    for changes in ({"precision": "bfloat16", "channels_last": True}, {"precision": "float32"}):
        TrainConfig.from_dict({**config.to_dict(), **changes})


@pytest.mark.parametrize("network", SAFE)
def test_networks_that_any_layout_suits(network: str) -> None:
    assert not breaks_channels_last(parse_network(f"{network}{USUAL_END}"))
    TrainConfig(model="custom", network=f"{network}{USUAL_END}", channels_last=True).checked()
