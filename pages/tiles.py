"""Tiles: browse the examples class by class, and see what a network gets of one."""

import streamlit as st

from eurosat_core.data.colour import GUESSES
from pages.parts import lesson, room, session
from pages.parts.tiles import game, get, views

words = lesson.text("tiles")

lesson.header(
    goal="Know the data before you trust a network with it.",
    minutes=8,
    task="Name ten tiles yourself. Then look through two classes that you mixed up, and find what tells them apart.",
)
st.markdown(words["intro"])
guess = lesson.guess(
    "colour_alone", "Going by a tile’s average colour alone, how many of 10 tiles can be sorted rightly?", list(GUESSES)
)

tiles = session.lab().tiles().tile_set
get.draw()
if tiles is None:
    room.no_tiles("to show", "They are shown here")
else:
    if tiles.source == "synthetic":
        st.info(words["synthetic"], icon=":material/science:", title="Synthetic tiles")

    st.header("Be the classifier", anchor=False)
    game.draw(tiles)

    st.header("All classes at a glance", anchor=False)
    views.one_of_each(tiles)

    st.header("Look closer", anchor=False)
    views.views(tiles)

    views.saw_colours(tiles, guess)

lesson.misconception("With more zoom one would see more", words["misconception"])

lesson.show_pytorch(
    """
import torch
from torch.utils.data import DataLoader, random_split
from torchvision import datasets, transforms

preprocess = transforms.Compose([
    transforms.Resize((64, 64)),
    transforms.ToTensor(),                                  # 0…255 → 0…1, channels first
    transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # → -1…1
])
tiles = datasets.EuroSAT("data", transform=preprocess, download=True)
train, validation = random_split(tiles, [0.75, 0.25])
loader = DataLoader(train, batch_size=40, shuffle=True, num_workers=2)

for pictures, labels in loader:                             # [40, 3, 64, 64], [40]
    ...
""",
    """
import torch
from torch.utils.data import DataLoader, random_split
from torchvision import datasets, transforms

preprocess = transforms.Compose([
    transforms.Resize((64, 64)),
    transforms.ToTensor(),                                  # 0…255 → 0…1, channels first
    transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # → -1…1
])
tiles = datasets.EuroSAT("data", transform=preprocess, download=True)
train, validation = random_split(tiles, [0.75, 0.25])
loader = DataLoader(train, batch_size=40, shuffle=True, num_workers=2, pin_memory=True)

for pictures, labels in loader:                             # [40, 3, 64, 64], [40]
    pictures = pictures.to("cuda", non_blocking=True)
    labels = labels.to("cuda", non_blocking=True)
    ...
""",
)
lesson.next_page("convolution.py", "Next: see a convolution")
