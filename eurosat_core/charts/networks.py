"""Charts of networks: layers, parameters, and what they answer."""

import base64
import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import altair as alt
import numpy as np
import pandas as pd

from eurosat_core.charts.marks import (
    FIGURE,
    Colours,
    Spec,
    bare_spec,
    coloured,
    legend,
    share_bars,
    tooltips,
    up_to,
)
from eurosat_core.charts.palette import BLUE, GREY, INK, ORANGE
from eurosat_core.data.pictures import Values, class_titles
from eurosat_core.data.uploads import Layout

# Pale enough to stand out on dark ground, dark-edged enough for light ground; every block is also named in words.
BLOCK_COLOURS = {
    "tile": "#B9C2C6",
    "convolution": "#5AA9E6",
    "pooling": "#44AA99",
    "linear": "#E0902F",
    "other": GREY,
}
_FIGURE_COLOURS = {"parameters": BLUE, "multiplications": ORANGE}
_CURVE_COLOURS = {"ReLU": BLUE, "Sigmoid": ORANGE, "GELU": "#44AA99"}
_PICTURE = 60  # pixels, of a block's drawing


@dataclass(frozen=True)
class Block:
    """One block of the diagram: its kind (a key of `BLOCK_COLOURS`), title, a smaller line, and its output shape."""

    kind: str
    title: str
    below: str
    shape: tuple[int, ...]


def network_diagram(blocks: Sequence[Block], alt_text: str) -> str:
    """The blocks as HTML in the text colour of the page; rows that wrap are about equally long."""
    cards = "".join(_card(each, arrow="→" if at else "") for at, each in enumerate(blocks))
    return (
        f'<div role="list" aria-label="{html.escape(alt_text)}" style="text-wrap:balance;line-height:0">{cards}</div>'
    )


def _card(block: Block, arrow: str) -> str:
    shape = " × ".join(f"{side:,}" for side in block.shape)
    below = html.escape(block.below) or "&nbsp;"
    return (
        '<div role="listitem" style="display:inline-flex;align-items:center;vertical-align:top;margin:.1rem;'
        'font-size:.8rem;line-height:1.3">'
        f'<span aria-hidden="true" style="opacity:.6;width:.7rem">{arrow}</span>'
        '<div style="border:1px solid rgba(138,143,152,.5);border-radius:.6rem;padding:.4rem .2rem;width:92px;'
        'text-align:center">'
        f"{_picture(block)}<div><b>{html.escape(block.title)}</b></div>"
        f'<div style="opacity:.75">{below}</div><div>{shape}</div></div></div> '
    )


def _picture(block: Block) -> str:
    """Feature maps as a stack of squares, a row of numbers as a bar; larger and more for larger shapes."""
    colour = BLOCK_COLOURS.get(block.kind, BLOCK_COLOURS["other"])
    style = f'fill="{colour}" stroke="{INK}" stroke-opacity=".55"'
    if len(block.shape) == 1:
        tall = min(14 + 3.4 * math.log2(max(block.shape[0], 1) + 1), _PICTURE - 2)
        body = f'<rect x="25" y="{(_PICTURE - tall) / 2:.1f}" width="10" height="{tall:.1f}" rx="2" {style}/>'
    else:
        side = 8 + 30 * math.sqrt(min(block.shape[1], 64) / 64)
        sheets = min(2 + int(math.log2(max(block.shape[0], 1)) / 1.5), 7)
        step = min(3.2, (_PICTURE - 2 - side) / sheets)
        start = (_PICTURE - side - step * (sheets - 1)) / 2
        body = "".join(
            f'<rect x="{start + step * at:.1f}" y="{start + step * (sheets - 1 - at):.1f}" width="{side:.1f}" '
            f'height="{side:.1f}" rx="1.5" {style}/>'
            for at in reversed(range(sheets))
        )
    size = f'width="{_PICTURE}" height="{_PICTURE}" viewBox="0 0 {_PICTURE} {_PICTURE}"'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{body}</svg>'
    uri = f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
    return f'<img src="{uri}" alt="" width="{_PICTURE}" height="{_PICTURE}">'  # inline SVG would be sanitized away


@lru_cache(maxsize=64)
def parameter_bars(parts: tuple[str, ...]) -> Spec:
    """Two bars per block, its share of the parameters and of the multiplications, over a table with part, figure,
    share, number.

    parts: the blocks' names, in their order.
    """
    y = alt.Y("part:N", sort=list(parts), title=None, axis=alt.Axis(labelLimit=170, ticks=False))
    offset = alt.YOffset("figure:N", sort=list(_FIGURE_COLOURS))
    x = up_to(alt.X, "share", "share of the whole network", 1.12, format="%", values=[0, 0.25, 0.5, 0.75, 1])
    tooltip = tooltips(
        ("part:N", "Layer"), ("figure:N", "Of the"), ("share:Q", "Share", ".1%"), ("number:Q", "Number", ",d")
    )
    base = alt.Chart().encode(y=y, yOffset=offset, x=x, tooltip=tooltip)
    bars = base.mark_bar(cornerRadiusEnd=2).encode(color=coloured("figure", _FIGURE_COLOURS, legend()))
    figures = base.mark_text(dx=4, **FIGURE).encode(text=alt.Text("share:Q", format=".1%"))
    return bare_spec(alt.layer(bars, figures), height=46 * len(parts) + 80)


@lru_cache(maxsize=8)
def activation_curves(figure: str, title: str) -> Spec:
    """`value` or `slope` of every activation function, with a point where `marked`; over `activation_frame`."""
    colour = coloured("function", _CURVE_COLOURS, legend(symbolType="stroke", symbolStrokeWidth=3))
    x = alt.X("x:Q", title="what comes in", scale=alt.Scale(domain=[-5, 5]), axis=alt.Axis(tickCount=5))
    y = alt.Y(f"{figure}:Q", title=None, axis=alt.Axis(tickCount=5))
    tooltip = tooltips(("function:N", "Function"), ("x:Q", "x", ".2f"), (f"{figure}:Q", title, ".3f"))
    base = alt.Chart().encode(x=x, y=y, color=colour, tooltip=tooltip)
    dash = alt.StrokeDash("function:N", sort=list(_CURVE_COLOURS), legend=None)
    lines = base.mark_line(strokeWidth=2.5).encode(strokeDash=dash).transform_filter("!datum.marked")
    points = base.mark_point(filled=True, size=110, opacity=1).transform_filter("datum.marked")
    return bare_spec(alt.layer(lines, points), height=320, title=alt.TitleParams(title, anchor="start"))


def probability_frame(probabilities: Values, class_names: Sequence[str], most: int = 10) -> pd.DataFrame:
    """The surest classes, best first, for a chart: name, title, probability."""
    titles = class_titles(tuple(class_names))
    order = np.argsort(-probabilities, kind="stable")[:most]
    rows = [(class_names[at], titles[class_names[at]], float(probabilities[at])) for at in order]
    return pd.DataFrame(rows, columns=["name", "title", "probability"])


@lru_cache(maxsize=64)
def probability_bars(colours: Colours) -> Spec:
    """The probability of each class as bars in the class colours, over a table with name, title, probability.

    colours: (class name, colour) of the classes in the table.
    """
    lines = [("title:N", "Class"), ("probability:Q", "Probability", ".2%")]
    return _shares("probability", "probability (softmax)", lines, colours)


@lru_cache(maxsize=64)
def area_shares(colours: Colours) -> Spec:
    """Each class's share of the area as bars, over a table with name, title, share, tiles."""
    lines = [("title:N", "Class"), ("share:Q", "Share of the area", ".1%"), ("tiles:Q", "Tiles", ",d")]
    return _shares("share", "share of the area", lines, colours)


def _shares(field: str, title: str, lines: Sequence[tuple[str, ...]], colours: Colours) -> Spec:
    return share_bars(field, title, lines, colours, end=1.3, ticks=(0, 0.5, 1), number=".1%", row=28, around=50)


def map_frame(probabilities: Values, class_names: Sequence[str], layout: Layout) -> pd.DataFrame:
    """A row for each tile that was asked about: number, row, column (from 1), its edges, class, probability."""
    titles = class_titles(tuple(class_names))
    numbers = np.arange(len(probabilities))
    rows, columns = np.divmod(numbers, layout.columns)
    said = probabilities.argmax(1)
    xs, ys = np.array(layout.xs), np.array(layout.ys)
    return pd.DataFrame(
        {
            "number": numbers,
            "row": rows + 1,
            "column": columns + 1,
            "left": xs[columns],
            "right": xs[columns + 1],
            "top": ys[rows],
            "bottom": ys[rows + 1],
            "name": [class_names[label] for label in said],
            "title": [titles[class_names[label]] for label in said],
            "probability": probabilities.max(1, initial=0).astype(float),
        }
    )


def class_map(
    picture: str,
    width: int,
    height: int,
    colours: Sequence[tuple[str, str]],
    *,
    most_height: int,
    strength: float,
) -> Spec:
    """A picture under its tiles in the colours of their classes; a click selects one (the selection is called `tile`).

    Over a table with number, left, right, top, bottom, title, row, column, probability, chosen (that one is framed).
    picture: its address; width, height: in
    the table's pixels. colours: (class in words, colour) of the classes in the table. most_height: on the screen; it is
    as wide as there is room, and never out of shape. strength: how much of the picture the colours cover, 0…1.
    """
    # The browser knows how much room there is: one scale for both directions, by the direction that is tight.
    fit = f"min(width / {width}, height / {height})"
    x = alt.Scale(domain=[0, alt.ExprRef(f"width / {fit}")], nice=False, zero=False)
    y = alt.Scale(domain=[alt.ExprRef(f"height / {fit}"), 0], nice=False, zero=False)
    base = alt.Chart().encode(
        x=alt.X("left:Q", scale=x, axis=None), x2="right:Q", y=alt.Y("top:Q", scale=y, axis=None), y2="bottom:Q"
    )
    tiles = base.mark_rect(strokeOpacity=1, cursor="pointer").encode(
        color=coloured("title", colours),
        fillOpacity=alt.value(strength),
        stroke=alt.condition("datum.chosen", alt.value("#FFFFFF"), alt.value("#00000055")),
        strokeWidth=alt.condition("datum.chosen", alt.value(3), alt.value(0.5)),
        tooltip=tooltips(
            ("title:N", "Class"), ("probability:Q", "Probability", ".1%"), ("row:Q", "Row"), ("column:Q", "Column")
        ),
    )
    click = alt.selection_point(name="tile", fields=["number"], toggle=False)
    ground = base.mark_image(aspect=False).encode(url="url:N")
    spec = bare_spec(alt.layer(ground, tiles.add_params(click)), height=most_height)
    corners = {"left": 0, "right": width, "top": 0, "bottom": height}
    spec["layer"][0]["data"] = {"values": [{"url": picture, **corners}]}
    return spec
