"""The calculator: how many multiplications a convolution layer takes, and how long these are on this device."""

import streamlit as st

from eurosat_core import wording
from eurosat_core.errors import LabError
from eurosat_core.lab.workload import TRAINING_SHARE, Rate, short_time, tutorials_slip
from eurosat_core.models.arithmetic import ConvolutionWork
from eurosat_core.models.convolution import LayerWork, layer_work
from pages.parts import lesson, session

__all__ = ["draw"]

_EPOCH = 20_250  # tiles: the training part of EuroSAT
_FIELDS = {
    "side": "Picture’s side",
    "channels": "Channels",
    "filter_side": "Filter’s side",
    "filters": "Filters",
    "padding": "Padding",
    "stride": "Stride",
}


@st.fragment
def draw() -> None:
    """Six numbers in, multiplications and seconds out. A fragment: only this is drawn again."""
    words = lesson.text("convolution")
    st.markdown(words["work"])
    start = LayerWork()
    with st.grid(3, min_column_width=150):
        values = {
            name: st.number_input(
                title, value=getattr(start, name), step=1, key=f"conv_work_{name}", persist_state="session"
            )
            for name, title in _FIELDS.items()
        }
    layer = LayerWork(**values)
    try:
        work = layer_work(layer)
    except LabError as error:
        st.warning(lesson.plain(str(error)), icon=":material/edit:")
        return
    _work(layer, work)
    if slip := tutorials_slip(layer):
        st.caption(slip)
    device = session.chosen_device()
    rate = session.lab().multiplication_rate(device)
    if rate is None:
        st.info(words["no rate"], icon=":material/timer_off:")
        return
    _seconds(work, rate, wording.device_name(device))
    st.caption(lesson.plain(f"{rate.basis} {words['rate']}"))


def _work(layer: LayerWork, work: ConvolutionWork) -> None:
    across = round(work.places**0.5)
    with st.grid(4, min_column_width=170):
        st.metric("Places of the filter", f"{work.places:,}", border=True, help=f"{across:,} × {across:,}")
        st.metric(
            "Products per place",
            f"{work.products_per_place:,}",
            border=True,
            help=f"{layer.filter_side} × {layer.filter_side} pixels × {layer.channels:,} channels",
        )
        st.metric("One filter", f"{work.per_filter:,}", border=True, help="Multiplications for one picture")
        st.metric("All filters", f"{work.layer:,}", border=True, help="Multiplications for one picture, forward")
    st.markdown(lesson.text("convolution")["work after"].format(share=TRAINING_SHARE))


def _seconds(work: ConvolutionWork, rate: Rate, device: str) -> None:
    forward = work.layer / rate.per_second
    with st.grid(3, min_column_width=200):
        st.metric(f"One picture forward, {device}", short_time(forward), border=True)
        st.metric("Forward and backward", short_time(TRAINING_SHARE * forward), border=True)
        st.metric(
            f"An epoch of {_EPOCH:,} pictures",
            short_time(_EPOCH * TRAINING_SHARE * forward),
            border=True,
            help="As many as EuroSAT’s training part has; this one layer only.",
        )
