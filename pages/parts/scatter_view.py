"""The view of all tiles in one chart: choose points, see the tiles behind them."""

from collections import Counter

import pandas as pd
import streamlit as st

from eurosat_core import charts
from eurosat_core.data import pictures
from eurosat_core.data.classes import colours_for
from eurosat_core.data.frames import AXES, scatter_frame, tiles_in_box
from eurosat_core.data.tiles import TileSet
from eurosat_core.wording import count
from pages.parts import lesson
from pages.parts.tile_pictures import row_of, titles_of

__all__ = ["draw"]

_SHOWN = 24


@st.cache_data(show_spinner=False, max_entries=16)
def _frame(fingerprint: str, x: str, y: str, _tiles: TileSet) -> pd.DataFrame:
    return scatter_frame(_tiles, x, y)


def draw(tiles: TileSet) -> None:
    """Every tile as a point; the tiles in the box that was dragged."""
    words = lesson.text("tiles")
    st.markdown(words["scatter"])
    left, right = st.columns(2)
    x = left.selectbox("Across", list(AXES), format_func=AXES.__getitem__, key="tiles_x", persist_state="session")
    y = right.selectbox("Up", list(AXES), index=1, format_func=AXES.__getitem__, key="tiles_y", persist_state="session")
    own, colours = pictures.class_titles(tiles.class_names), colours_for(tiles.class_names)
    event = st.vega_lite_chart(
        _frame(tiles.fingerprint, x, y, tiles),
        charts.all_tiles(AXES[x], AXES[y], tuple((own[name], colours[name]) for name in tiles.class_names)),
        key=f"tiles_scatter_{tiles.fingerprint}_{x}_{y}",  # other axes, another selection
        on_select="rerun",
        selection_mode="box",
        alt=f"A point for every tile: {AXES[x]} and {AXES[y]}, coloured by class",
    )
    box = event["selection"].get("box")
    if not box:
        st.caption("Nothing is chosen yet. Drag a box over some points; a click beside it lets go again.")
        return
    found = tiles_in_box(tiles, x, y, box)
    titles = titles_of(tiles)
    if not len(found):
        st.caption("No tile lies in this box.")
        return
    labels = tiles.labels.numpy()[found]
    most = Counter(tiles.class_names[label] for label in labels.tolist()).most_common(5)
    per_class = ", ".join(f"{titles[name]} {number:,}" for name, number in most)
    st.markdown(f"**{count(len(found), 'tile')} chosen**: {per_class}{' …' if len(set(labels.tolist())) > 5 else ''}")
    shown = found[:_SHOWN].tolist()
    names = [tiles.class_names[label] for label in labels[:_SHOWN].tolist()]
    row_of(tiles, shown, [titles[name] for name in names], [f"Chosen tile of class {own[name]}" for name in names])
    if len(found) > _SHOWN:
        st.caption(f"The {_SHOWN} nearest to the middle of the box are shown.")
