"""A network is selected or changed: its pieces, its table, its figures."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from eurosat_core import wording
from eurosat_core.analysis import guesses
from eurosat_core.charts.networks import Block, activation_curves, network_diagram, parameter_bars
from eurosat_core.errors import LabError
from eurosat_core.models.anatomy import (
    Part,
    activation_frame,
    compared,
    layer_table,
    parts_of_reports,
    parts_of_rows,
    share_frame,
    weighted_sum_text,
    where_most,
    where_sentence,
)
from eurosat_core.models.catalog import BASELINE, CATALOG, EXTRA_LAYERS, changed_baseline
from eurosat_core.models.check import LayerReport, Layers, Totals, check_network, first_problem, totals
from eurosat_core.models.layers import format_network, parse_network
from eurosat_core.models.summary import ModelSummary
from eurosat_core.training.config import Architecture, workshop_config
from eurosat_core.wording import bytes_text
from eurosat_core.words.say import say_each
from pages.parts import lesson, session
from pages.parts.model import state
from pages.parts.train import state as train_state

BATCH = 40  # the tutorial's, for figures of memory
_MANY_ROWS, _LONG_TABLE = 14, 640  # a longer table scrolls within so many pixels


def baseline_totals(classes: int) -> Totals:
    """What the baseline costs, counted as every network of the builder is."""
    return totals(check_network(parse_network(BASELINE), classes))


def diagram(parts: Sequence[Part], title: str) -> None:
    """The network as a row of blocks, from the tile to the scores."""
    blocks = [Block("tile", "Tile", "RGB", (3, 64, 64))]
    blocks += [Block(each.kind, each.title, ", ".join(each.then), each.shape) for each in parts]
    st.html(network_diagram(blocks, f"The layers of {title}, from the tile to the scores"))


def figures(now: Totals, base: Totals) -> None:
    """Parameters, multiplications and memory, each with its difference from the baseline."""
    memory, usual = now.memory_bytes(BATCH), base.memory_bytes(BATCH)
    macs = f"{now.macs / 1e6:,.2f} M"
    macs_help = "Multiply-accumulates: the multiplications of one tile’s forward pass, in millions."
    memory_help = f"The least that training holds, in batches of {BATCH}: all outputs and weights and their gradients."
    with st.grid(3, min_column_width=125):
        for label, value, mine, theirs, help in (
            ("Parameters", f"{now.params:,}", now.params, base.params, None),
            ("MACs", macs, now.macs, base.macs, macs_help),
            ("Memory", bytes_text(memory), memory, usual, memory_help),
        ):
            percent = 100 * (mine / theirs - 1)
            delta = f"{percent:+,.0f} %" if abs(percent) >= 1 else f"{percent:+.1f} %"
            st.metric(label, value, delta if mine != theirs else None, delta_color="off", border=True, help=help)


def button(text: str, key: str, problem: str = "") -> None:
    """`Train this network`; disabled with the reason while it has a problem."""
    if st.button(
        "Train this network",
        icon=":material/model_training:",
        type="primary",
        key=key,
        disabled=bool(problem),
        help=problem or "Opens the Train page with this network and the lesson’s settings.",
    ):
        train_state.set_up(workshop_config("custom", network=text))


def draw_table(network: Architecture) -> None:
    """The summary table of a network, and its totals."""
    summary = session.lab().estimates.model_summary(network)
    entry = CATALOG[network.model]
    st.markdown(f"**{entry.title}** · {entry.about}")
    table = pd.DataFrame(
        [
            (row.name, "×".join(str(side) for side in row.output_shape[1:]), row.params, row.macs / 1e6)
            for row in summary.layers
        ],
        columns=["Layer", "Output", "Parameters", "MACs (M)"],
    )
    about = {
        "Layer": st.column_config.TextColumn(width=100),
        "Output": st.column_config.TextColumn(width=80, help="Channels × height × width, for one tile."),
        "Parameters": st.column_config.NumberColumn(
            width=85, format="localized", help="Weights and biases that are learned."
        ),
        "MACs (M)": st.column_config.NumberColumn(
            width=75, format="%.2f", help="Multiply-accumulates for one tile, forward, in millions."
        ),
    }
    alt = f"The layers of {entry.title} with output shape, parameters and multiplications"
    st.dataframe(table, hide_index=True, height="content", key="model_table", column_config=about, alt=alt)
    st.caption(
        f"{summary.total_params:,} parameters, {summary.trainable_params:,} of them trainable · "
        f"{summary.macs / 1e6:.1f} million multiply-accumulates (MACs) per tile · memory for one tile: input "
        f"{summary.input_mb:.2f} MB, forward and backward pass {summary.forward_backward_mb:.2f} MB, parameters "
        f"{summary.params_mb:.2f} MB, in all {summary.total_mb:.2f} MB"
    )


def draw_selection(guess: str | None) -> None:
    """The choice of models and the one that is chosen; `guess`: the participant's, about the baseline."""
    names = [name for name in CATALOG if name != "custom"]  # has no layers of its own: it is what stands in the builder
    chosen = lesson.one_of("Model", names, "model_chosen", titles=lambda name: CATALOG[name].title, pills=True)
    entry = CATALOG[chosen]
    try:
        summary = session.lab().estimates.model_summary(Architecture(chosen))
    except LabError as error:
        st.markdown(f"**{entry.title}** · {entry.about}")
        st.error(lesson.plain(str(error)), icon=":material/cloud_off:")
        return
    parts = parts_of_rows(summary.layers)
    diagram(parts, entry.title)
    table, where = st.columns([5, 4], gap="medium")
    with where:
        st.markdown("**Where are the parameters, where are the multiplications?**")
        frame = share_frame(parts)
        st.vega_lite_chart(
            frame,
            parameter_bars(tuple(dict.fromkeys(frame["part"]))),
            key=f"model_shares_{chosen}",
            alt=f"Share of each layer of {entry.title} in its parameters and in its multiplications",
        )
    with table, st.container(height=_LONG_TABLE if len(summary.layers) > _MANY_ROWS else "content", border=False):
        draw_table(Architecture(chosen))
    sentences = [where_sentence(entry.title, parts), _frozen(summary)]
    if chosen == "baseline":
        most = where_most(parts)
        sentences += say_each([guesses.judge("model_where", guess, (most["params"][0], most["macs"][0]))])
    lesson.saw(" ".join(each for each in sentences if each))


def _frozen(summary: ModelSummary) -> str:
    if summary.trainable_params == summary.total_params:
        return ""
    share = wording.rounded(100 * summary.trainable_params / summary.total_params, 2)
    return (
        f"Only {summary.trainable_params:,} of its {summary.total_params:,} parameters ({share} %) are trained; "
        "the rest was learned elsewhere and stays as it is."
    )


_FILTERS = (2, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_SIZES = (3, 5, 7, 9)
_EXTRA = {"none": "no", "convolution": "a convolution", "linear": "a linear layer"}


@st.fragment
def draw_change() -> None:
    """The knobs, and at once shapes, parameters, multiplications and memory against the baseline's."""
    words = lesson.text("model")
    st.markdown(words["change"])
    knobs, result = st.columns([2, 3], gap="medium")
    with knobs:
        layers = _knobs(words["change filters"])
    classes = state.classes()
    with result:
        _result(layers, check_network(layers, classes), baseline_totals(classes))


def _knobs(about_filters: str) -> Layers:
    """The widgets; the network that they describe."""
    first = st.select_slider(
        "Filters of the first convolution",
        _FILTERS,
        value=6,
        key="model_filters_1",
        persist_state="session",
        help=about_filters,
    )
    second = st.select_slider(
        "Filters of the second convolution", _FILTERS, value=16, key="model_filters_2", persist_state="session"
    )
    size = lesson.one_of("Filter size", _SIZES, "model_size", default=5, titles=lambda side: f"{side} × {side}")
    extra = lesson.one_of("One more layer", EXTRA_LAYERS, "model_extra", default="none", titles=_EXTRA.__getitem__)
    dropout = st.slider(
        "Dropout before the last layer",
        0.0,
        0.8,
        0.0,
        0.1,
        key="model_dropout",
        persist_state="session",
        help="While training, this share of the values is set to 0 at random, so that no single one is relied on.",
    )
    return changed_baseline((first, second), size, extra, dropout)


def _result(layers: Layers, reports: tuple[LayerReport, ...], base: Totals) -> None:
    problem = ""
    if (found := first_problem(reports)) is not None:
        problem = found[1].sentence
        st.error(f"{problem} {lesson.text('model')['change invalid']}", icon=":material/build:")
    else:
        now = totals(reports)
        figures(now, base)
        lesson.saw(compared(now, base, BATCH))
    diagram(parts_of_reports(reports), "the changed baseline")
    with st.container(horizontal=True):
        button(format_network(layers), "model_change_train", problem)
        if st.button(
            "Open it in the builder",
            icon=":material/edit:",
            key="model_change_open",
            on_click=_open_in_builder,
            args=(layers,),
        ):
            st.rerun()  # the builder stands outside of this fragment
    with st.expander("All layers as a table", icon=":material/table_rows:"):
        st.dataframe(
            layer_table(reports),
            hide_index=True,
            height="content",
            key="model_change_table",
            column_config={
                "Parameters": st.column_config.NumberColumn(format="localized"),
                "MACs (M)": st.column_config.NumberColumn(format="%.2f"),
                "Memory (KB)": st.column_config.NumberColumn(
                    format="%.1f", help="What one tile keeps in memory for the backward pass."
                ),
            },
            alt="The layers of the changed baseline with output shape, parameters, multiplications and memory",
        )


def _open_in_builder(layers: Layers) -> None:
    state.put(layers)
    state.open_builder()


_FOUND = ("green", "straight edge", "open water")
_TILES = {"Highway": [0.4, 0.9, 0.1], "Forest": [0.9, 0.1, 0.1], "River": [0.5, 0.7, 0.8]}


@st.fragment
def activations() -> None:
    """The curves of ReLU, sigmoid and GELU with their slopes, and all of them at one value."""
    st.markdown(lesson.text("model")["activations"])
    x = st.slider("A value that comes in", -5.0, 5.0, -1.5, 0.1, key="model_activation_x", persist_state="session")
    frame = activation_frame(x)
    with st.grid(2, min_column_width=280):
        for figure, title in (("value", "What comes out"), ("slope", "Its slope")):
            st.vega_lite_chart(
                frame,
                activation_curves(figure, title),
                key=f"model_activation_{figure}",
                alt=f"{title}: curves of ReLU, sigmoid and GELU from -5 to 5, marked at {x:.1f}",
            )
    at_x = frame[frame["marked"]]
    found = [f"{row.function} gives **{row.value:.2f}** (slope {row.slope:.2f})" for row in at_x.itertuples()]
    st.markdown(f"At **{x:.1f}**: {' · '.join(found)}")
    if silent := at_x.loc[at_x["slope"] == 0, "function"].tolist():
        st.caption(f"{', '.join(silent)}: a slope of 0, so from this value nothing is learned.")
    elif faint := at_x.loc[at_x["slope"].abs() < 0.05, "function"].tolist():
        st.caption(f"{', '.join(faint)}: a slope close to 0, so from this value little is learned.")
    else:
        st.caption("Here all three let learning through.")


@st.fragment
def weighted_sum() -> None:
    """Three inputs, three weights and a bias that the participant turns; the sums of three tiles."""
    st.markdown(lesson.text("model")["linear"])
    sliders = [(f"Weight of “{name}”", f"model_weight_{at}") for at, name in enumerate(_FOUND)]
    with st.grid(4, min_column_width=170):
        *weights, bias = [
            st.slider(label, -2.0, 2.0, 0.0, 0.1, key=key, persist_state="session")
            for label, key in (*sliders, ("Bias", "model_bias"))
        ]
    sums: dict[str, float] = {}
    for tile, inputs in _TILES.items():
        text, sums[tile] = weighted_sum_text(inputs, weights, bias)
        st.markdown(f"**{tile}** {lesson.plain(text)}")
    highway = sums.pop("Highway")
    first = max(sums, key=lambda tile: sums[tile])
    if highway > sums[first]:
        lead = highway - sums[first]
        st.success(f"The highway scores highest, {lead:.2f} ahead. Training finds such weights by itself.")
    elif {highway} == set(sums.values()):
        st.info("All three score the same: these weights tell nothing apart yet.")
    else:
        st.info(f"Not yet: {first} scores at least as high. Which weight tells it from the highway?")
