"""Start: the question, whether the room is ready, and the first guess."""

import streamlit as st

from eurosat_core.analysis import guesses
from eurosat_core.models.convolution import LayerWork, layer_work
from pages.parts import lesson, room, session

words = lesson.text("start")
# Of the networks with ten classes, VGG's in place of ImageNet's thousand; a test counts. Counted here, the first page
# would wait for PyTorch.
BASELINE_PARAMETERS, VGG_PARAMETERS = 338_486, 128_812_810
# The worked example: a square picture with its colours, and one layer of square filters.
PICTURE, COLOURS, FILTER, FILTERS = 256, 3, 3, 64

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
    tiles = session.lab().tiles().tile_set
    lesson.saw(room.sentence(checks, tiles.source if tiles else None))


checking = any(each.state == "checking" for each in session.lab().room())
st.fragment(check_room, run_every=1.0 if checking else None)()

st.header("Your first guess", anchor=False)
st.markdown(words["guess"])
speed_ups = guesses.choices("speedup_baseline")
lesson.guess("speedup_baseline", f"The small CNN ({BASELINE_PARAMETERS:,} parameters) on a GPU is …", speed_ups)
lesson.guess(
    "speedup_vgg",
    f"The large VGG11-BN ({VGG_PARAMETERS / 1e6:.1f} million parameters) on a GPU is …",
    speed_ups,
)

st.header("Why CPUs struggle", anchor=False)
st.markdown(words["why"].format(side=PICTURE, colours=COLOURS, filters=FILTERS, filter_side=FILTER))
work = layer_work(LayerWork(PICTURE, COLOURS, FILTER, FILTERS))
across = PICTURE - FILTER + 1
pixels = f"{FILTER} × {FILTER} pixels × {COLOURS} colours"
with st.container(horizontal=True):
    st.metric(
        "Places of the filter", f"{work.places:,}", border=True, help=f"{across} × {across}: no padding, stride 1"
    )
    st.metric("Products per place", f"{work.products_per_place}", border=True, help=pixels)
    st.metric("One filter", f"{work.per_filter:,}", border=True, help="Multiplications for one filter")
    st.metric(f"All {FILTERS} filters", f"{work.layer:,}", border=True, help="Multiplications for the whole layer")
st.markdown(words["why_after"])

lesson.misconception("A GPU makes the network smarter", words["misconception"])

lesson.show_listing("start")
lesson.next_page("tiles.py", "Next: look at the tiles")
