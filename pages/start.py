"""Start: the question, whether the room is ready, and the first guess."""

import streamlit as st

from eurosat_core.models.arithmetic import convolution_work
from pages.parts import lesson, room, session

words = lesson.text("start")
SPEED_GUESSES = ("slower", "about the same", "2×", "5×", "10×", "50× or more")

lesson.header(
    goal="How much faster is a GPU, and when?",
    minutes=4,
    task="Check that this machine is ready, then put down your guess.",
)
st.markdown(words["question"])
with st.expander("What you will be able to do at the end", icon=":material/checklist:"):
    st.markdown(words["objectives"])

st.header("Is this room ready?", anchor=False)


def check_room() -> None:
    checks = session.lab().room()
    room.draw(checks)
    lesson.saw(room.sentence(checks))


checking = any(each.state == "checking" for each in session.lab().room())
st.fragment(check_room, run_every=1.0 if checking else None)()

st.header("Your first guess", anchor=False)
st.markdown(words["guess"])
lesson.guess("speedup_baseline", "The small CNN (338,486 parameters) on a GPU is …", SPEED_GUESSES)
lesson.guess("speedup_vgg", "The large VGG11-BN (128.8 million parameters) on a GPU is …", SPEED_GUESSES)

st.header("Why CPUs struggle", anchor=False)
st.markdown(words["why"])
work = convolution_work(side=256, channels=3, filter_side=3, filters=64)
with st.container(horizontal=True):
    st.metric("Places of the filter", f"{work.places:,}", border=True, help="254 × 254: no padding, stride 1")
    st.metric("Products per place", f"{work.products_per_place}", border=True, help="3 × 3 pixels × 3 colours")
    st.metric("One filter", f"{work.per_filter:,}", border=True, help="Multiplications for one filter")
    st.metric("All 64 filters", f"{work.layer:,}", border=True, help="Multiplications for the whole layer")
st.markdown(words["why_after"])

lesson.misconception("A GPU makes the network smarter", words["misconception"])

lesson.show_pytorch(
    """
import torch

device = torch.device("cpu")

model = Net().to(device)              # the weights live there
tiles = tiles.to(device)              # and so must the data
scores = model(tiles)
""",
    """
import torch

device = torch.accelerator.current_accelerator(check_available=True)   # None without a GPU

model = Net().to(device)              # the weights live there
tiles = tiles.to(device)              # and so must the data
scores = model(tiles)
""",
)
lesson.next_page("tiles.py", "Next: look at the tiles")
