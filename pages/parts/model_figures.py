"""How networks are shown on the Model page: blocks, bars of where the costs are, figures against the baseline's."""

from collections.abc import Sequence

import streamlit as st

from eurosat_core.charts.models import Block, network_diagram, share_bars
from eurosat_core.models.anatomy import Part, share_frame
from eurosat_core.models.check import Totals, check_network, totals
from eurosat_core.models.layers import parse_network
from eurosat_core.models.presets import BASELINE
from eurosat_core.wording import bytes_text

__all__ = ["BATCH", "bars", "baseline_totals", "diagram", "figures"]

BATCH = 40  # the tutorial's, for figures of memory


def baseline_totals(classes: int) -> Totals:
    """What the baseline costs, counted as every network of the builder is."""
    return totals(check_network(parse_network(BASELINE), classes))


def diagram(parts: Sequence[Part], title: str) -> None:
    """The network as a row of blocks, from the tile to the scores."""
    blocks = [Block("tile", "Tile", "RGB", (3, 64, 64))]
    blocks += [Block(each.kind, each.title, ", ".join(each.then), each.shape) for each in parts]
    st.html(network_diagram(blocks, f"The layers of {title}, from the tile to the scores"))


def bars(parts: Sequence[Part], key: str, title: str) -> None:
    """Which block has which share of the parameters and of the multiplications."""
    frame = share_frame(parts)
    if frame.empty:
        return
    st.vega_lite_chart(
        frame,
        share_bars(tuple(dict.fromkeys(frame["part"]))),
        key=key,
        alt=f"Share of each layer of {title} in its parameters and in its multiplications",
    )


def figures(now: Totals, base: Totals) -> None:
    """Parameters, multiplications and memory, each with its difference from the baseline."""
    memory, usual = now.memory_bytes(BATCH), base.memory_bytes(BATCH)
    with st.grid(3, min_column_width=125):
        st.metric("Parameters", f"{now.params:,}", _difference(now.params, base.params), delta_color="off", border=True)
        st.metric(
            "MACs",
            f"{now.macs / 1e6:,.2f} M",
            _difference(now.macs, base.macs),
            delta_color="off",
            border=True,
            help="Multiply-accumulates: the multiplications of one tile’s forward pass, in millions.",
        )
        st.metric(
            "Memory",
            bytes_text(memory),
            _difference(memory, usual),
            delta_color="off",
            border=True,
            help=f"What training holds at least, in batches of {BATCH}: all outputs and weights, each "
            "with its gradient.",
        )


def _difference(now: float, base: float) -> str | None:
    """Relative to the baseline; None where nothing differs."""
    if now == base:
        return None
    percent = 100 * (now / base - 1)
    return f"{percent:+,.0f} %" if abs(percent) >= 1 else f"{percent:+.1f} %"
