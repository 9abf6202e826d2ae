"""Charts of the Model page: a network as a row of blocks, where its costs are, activation functions."""

import base64
import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import altair as alt

from eurosat_core.charts.spec import Spec, bare_spec

__all__ = ["BLOCK_COLOURS", "Block", "activation_curves", "network_diagram", "share_bars"]

# Pale enough to stand out on dark ground, dark-edged enough for light ground; every block is also named in words.
BLOCK_COLOURS = {
    "tile": "#B9C2C6",
    "convolution": "#5AA9E6",
    "pooling": "#44AA99",
    "linear": "#E0902F",
    "other": "#8A8F98",
}
_FIGURE_COLOURS = {"parameters": "#2A8CD6", "multiplications": "#DB7B0B"}
_CURVE_COLOURS = ("#2A8CD6", "#DB7B0B", "#44AA99")
_PICTURE = 60  # pixels, of a block's drawing


@dataclass(frozen=True)
class Block:
    """One block of the diagram: its kind (a key of `BLOCK_COLOURS`), title, a smaller line, and its output shape."""

    kind: str
    title: str
    below: str
    shape: tuple[int, ...]


def network_diagram(blocks: Sequence[Block], alt_text: str) -> str:
    """The blocks as HTML that wraps on a narrow screen and takes its text colour from the page."""
    cards = '<span aria-hidden="true" style="align-self:center;opacity:.6;font-size:.8rem">→</span>'.join(
        _card(each) for each in blocks
    )
    return (
        f'<div role="list" aria-label="{html.escape(alt_text)}" '
        f'style="display:flex;flex-wrap:wrap;gap:.25rem;align-items:stretch">{cards}</div>'
    )


def _card(block: Block) -> str:
    shape = " × ".join(f"{side:,}" for side in block.shape)
    below = f'<div style="opacity:.75">{html.escape(block.below)}</div>' if block.below else ""
    return (
        '<div role="listitem" style="border:1px solid rgba(138,143,152,.5);border-radius:.6rem;padding:.4rem .2rem;'
        'width:94px;text-align:center;font-size:.8rem;line-height:1.3">'
        f"{_picture(block)}<div><b>{html.escape(block.title)}</b></div>{below}<div>{shape}</div></div>"
    )


def _picture(block: Block) -> str:
    """Feature maps as a stack of squares, a row of numbers as a bar; larger and more for larger shapes."""
    colour = BLOCK_COLOURS.get(block.kind, BLOCK_COLOURS["other"])
    style = f'fill="{colour}" stroke="#10202B" stroke-opacity=".55"'
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
def share_bars(parts: tuple[str, ...]) -> Spec:
    """Two bars per block, its share of the parameters and of the multiplications, over a table with part, figure,
    share, number.

    parts: the blocks' names, in their order.
    """
    y = alt.Y("part:N", sort=list(parts), title=None, axis=alt.Axis(labelLimit=170, ticks=False))
    offset = alt.YOffset("figure:N", sort=list(_FIGURE_COLOURS))
    x = alt.X(
        "share:Q",
        title="share of the whole network",
        scale=alt.Scale(domain=[0, 1.12], nice=False),
        axis=alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1]),
    )
    tooltip = [
        alt.Tooltip("part:N", title="Layer"),
        alt.Tooltip("figure:N", title="Of the"),
        alt.Tooltip("share:Q", title="Share", format=".1%"),
        alt.Tooltip("number:Q", title="Number", format=",d"),
    ]
    colour = alt.Color(
        "figure:N",
        sort=list(_FIGURE_COLOURS),
        scale=alt.Scale(domain=list(_FIGURE_COLOURS), range=list(_FIGURE_COLOURS.values())),
        legend=alt.Legend(orient="top", title=None),
    )
    base = alt.Chart().encode(y=y, yOffset=offset, x=x, tooltip=tooltip)
    bars = base.mark_bar(cornerRadiusEnd=2).encode(color=colour)
    figures = base.mark_text(align="left", dx=4, fontSize=12, color="#8A8F98").encode(
        text=alt.Text("share:Q", format=".1%")
    )
    return bare_spec(alt.layer(bars, figures).properties(height=46 * len(parts) + 80))


@lru_cache(maxsize=8)
def activation_curves(figure: str, title: str) -> Spec:
    """`value` or `slope` of every activation function, with a point where `marked`; over `activation_frame`."""
    names = ["ReLU", "Sigmoid", "GELU"]
    colour = alt.Color(
        "function:N",
        sort=names,
        scale=alt.Scale(domain=names, range=list(_CURVE_COLOURS)),
        legend=alt.Legend(orient="top", title=None, symbolType="stroke", symbolStrokeWidth=3),
    )
    x = alt.X("x:Q", title="what comes in", scale=alt.Scale(domain=[-5, 5]), axis=alt.Axis(tickCount=5))
    y = alt.Y(f"{figure}:Q", title=None, axis=alt.Axis(tickCount=5))
    tooltip = [
        alt.Tooltip("function:N", title="Function"),
        alt.Tooltip("x:Q", format=".2f"),
        alt.Tooltip(f"{figure}:Q", title=title, format=".3f"),
    ]
    base = alt.Chart().encode(x=x, y=y, color=colour, tooltip=tooltip)
    lines = (
        base.mark_line(strokeWidth=2.5)
        .encode(strokeDash=alt.StrokeDash("function:N", sort=names, legend=None))
        .transform_filter("!datum.marked")
    )
    points = base.mark_point(filled=True, size=110, opacity=1).transform_filter("datum.marked")
    return bare_spec(alt.layer(lines, points).properties(height=320, title=alt.TitleParams(title, anchor="start")))
