"""Convolution: from pixels to features, one filter step by step, then a whole network, then what it costs."""

import streamlit as st

from eurosat_core.analysis.features import GUESSES
from pages.parts import lesson, room, session
from pages.parts.convolution import filters, layers, steps

words = lesson.text("convolution")

lesson.header(words["goal"], 9, words["task"])
st.markdown(words["intro"])
guess = lesson.guess("conv_multiplications", words["guess"], list(GUESSES))

tiles = session.lab().tiles().tile_set
if tiles is None:
    room.no_tiles("to look at", "The filter is shown here")
else:
    st.header("One filter, step by step", anchor=False)
    number = filters.choose_tile(tiles)
    steps.draw_steps(tiles, number, guess)

    st.header("What each layer sees", anchor=False)
    layers.draw(tiles, number)

st.header("Count the multiplications", anchor=False)
steps.draw_work()

lesson.misconception("Somebody chose what the filters look for", words["misconception"])

lesson.show_pytorch(
    """
import torch
from torch.nn import functional

edges = torch.tensor([[-1., 0., 1.],
                      [-1., 0., 1.],
                      [-1., 0., 1.]])
filters = edges.repeat(1, 3, 1, 1)        # [filters, channels, rows, columns]

maps = functional.conv2d(tiles, filters, padding=0, stride=1)
maps = functional.relu(maps)
maps = functional.max_pool2d(maps, 2)     # [B, 1, 62, 62] → [B, 1, 31, 31]
""",
    """
import torch
from torch.nn import functional

edges = torch.tensor([[-1., 0., 1.],
                      [-1., 0., 1.],
                      [-1., 0., 1.]])
filters = edges.repeat(1, 3, 1, 1).to("cuda")   # [filters, channels, rows, columns]
tiles = tiles.to("cuda")

maps = functional.conv2d(tiles, filters, padding=0, stride=1)
maps = functional.relu(maps)
maps = functional.max_pool2d(maps, 2)     # [B, 1, 62, 62] → [B, 1, 31, 31]
""",
)
lesson.next_page("model.py", "Next: build a network")
