"""What a network is made of: its layers with output shapes, parameters and multiply-accumulates, and its sizes."""

import pandas as pd
import streamlit as st

from eurosat_core.models.catalog import CATALOG
from eurosat_core.training.config import Architecture
from pages.parts import session

__all__ = ["draw"]


def draw(network: Architecture) -> None:
    """The summary table of a network, and its totals."""
    summary = session.lab().model_summary(network)
    entry = CATALOG[network.model]
    st.markdown(f"**{entry.title}** · {entry.about}")
    table = pd.DataFrame(
        [
            (row.name, "×".join(str(side) for side in row.output_shape[1:]), row.params, row.macs / 1e6)
            for row in summary.layers
        ],
        columns=["Layer", "Output", "Parameters", "MACs (M)"],
    )
    st.dataframe(
        table,
        hide_index=True,
        height="content",
        key="model_table",
        column_config={
            "Layer": st.column_config.TextColumn(width=100),
            "Output": st.column_config.TextColumn(width=80, help="Channels × height × width, for one tile."),
            "Parameters": st.column_config.NumberColumn(
                width=85, format="localized", help="Weights and biases that are learned."
            ),
            "MACs (M)": st.column_config.NumberColumn(
                width=75,
                format="%.2f",
                help="Multiply-accumulates for one tile, forward, in millions.",
            ),
        },
        alt=f"The layers of {entry.title} with output shape, parameters and multiplications",
    )
    st.caption(
        f"{summary.total_params:,} parameters, {summary.trainable_params:,} of them trainable · "
        f"{summary.macs / 1e6:.1f} million multiply-accumulates (MACs) per tile · memory for one tile: input "
        f"{summary.input_mb:.2f} MB, forward and backward pass {summary.forward_backward_mb:.2f} MB, parameters "
        f"{summary.params_mb:.2f} MB, in all {summary.total_mb:.2f} MB"
    )
