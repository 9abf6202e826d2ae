"""The Model page's second part: the baseline with a few numbers changed, and what that costs."""

import streamlit as st

from eurosat_core.models.anatomy import compared, layer_table, parts_of_reports
from eurosat_core.models.check import LayerReport, check_network, first_problem, totals
from eurosat_core.models.layers import Layer, format_network
from eurosat_core.models.presets import EXTRA_LAYERS, changed_baseline
from pages.parts import lesson, model_figures, model_state, model_train

__all__ = ["draw"]

_FILTERS = (2, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_SIZES = (3, 5, 7, 9)
_EXTRA = {"none": "no", "convolution": "a convolution", "linear": "a linear layer"}


@st.fragment
def draw() -> None:
    """The knobs, and at once shapes, parameters, multiplications and memory against the baseline's."""
    words = lesson.text("model")
    st.markdown(words["change"])
    knobs, result = st.columns([2, 3], gap="medium")
    with knobs:
        layers = _knobs(words["change filters"])
    classes = model_state.classes()
    reports = check_network(layers, classes)
    with result:
        _result(layers, reports, classes)


def _knobs(about_filters: str) -> tuple[Layer, ...]:
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
    size = st.segmented_control(
        "Filter size",
        _SIZES,
        default=5,
        format_func=lambda side: f"{side} × {side}",
        required=True,
        key="model_size",
        persist_state="session",
    )
    extra = st.segmented_control(
        "One more layer",
        EXTRA_LAYERS,
        default="none",
        format_func=lambda name: _EXTRA[name],
        required=True,
        key="model_extra",
        persist_state="session",
    )
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


def _result(layers: tuple[Layer, ...], reports: tuple[LayerReport, ...], classes: int) -> None:
    base = model_figures.baseline_totals(classes)
    found = first_problem(reports)
    if found is not None:
        st.error(f"{found[1].sentence} {lesson.text('model')['change invalid']}", icon=":material/build:")
    else:
        now = totals(reports)
        model_figures.figures(now, base)
        lesson.saw(compared(now, base, model_figures.BATCH))
    model_figures.diagram(parts_of_reports(reports), "the changed baseline")
    with st.container(horizontal=True):
        model_train.button(format_network(layers), "model_change_train", found[1].sentence if found else "")
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
                    format="%.1f", help="What one tile leaves behind for the backward pass."
                ),
            },
            alt="The layers of the changed baseline with output shape, parameters, multiplications and memory",
        )


def _open_in_builder(layers: tuple[Layer, ...]) -> None:
    model_state.put(layers)
    model_state.open_builder()
