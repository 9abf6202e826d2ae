"""What each layer of a network makes of the tile, before and after training, and its answer."""

import streamlit as st

from eurosat_core import wording
from eurosat_core.analysis import features
from eurosat_core.data import pictures
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import LabError
from eurosat_core.lab.inspection import AFTER, BEFORE, MAPS, LayerSeen, NetworkSeen
from eurosat_core.models.recorded import RECORDED
from eurosat_core.words.say import say_each
from pages.parts import lesson, run_widget, session, tile_pictures
from pages.parts.convolution.filters import choose_network

_PER_PAGE = 8  # layers
_ACROSS, _CELL = 8, 56  # maps side by side, pixels of each
_NEURONS_ACROSS, _NEURON = 32, 11


@st.fragment
def draw(tiles: TileSet, number: int) -> None:
    """The choice of a network and a stage, its layers, its answer. A fragment: only this is drawn again."""
    words = lesson.text("convolution")
    st.markdown(words["layers"])
    run_id = choose_network("conv_layers_network")
    if run_id == RECORDED and (said := run_widget.about_recorded(words["recorded"])):
        st.caption(said if tiles.source == "eurosat" else f"{said} {words['other tiles']}")
    stage = _stage(run_id, words)
    name = tiles.class_names[int(tiles.labels[number])]
    tile = tiles.array[number]
    before, before_problem = _seen(run_id, tile, BEFORE)
    after, problem = _seen(run_id, tile, stage)
    if after is None:
        st.warning(lesson.plain(problem), icon=":material/visibility_off:")
        return
    title = "After training" if stage == AFTER else f"After epoch {stage}"
    sides = [(title, after)] if before is None else [("Before training", before), (title, after)]
    if before is None:
        st.caption(f"How it was before training cannot be shown. {lesson.plain(before_problem)}")
    _layers(run_id, sides, words)
    _answers(sides)
    found = [features.answer_finding(after, name, trained=True), features.silent_finding(after)]
    if before is not None:
        found.insert(0, features.answer_finding(before, name, trained=False))
        found.append(features.unchanged_finding(before, after))
    lesson.saw(lesson.plain(" ".join(say_each(found))))


def _stage(run_id: str, words: dict[str, str]) -> int:
    """After training, or one of the epochs that a run kept."""
    try:
        epochs = session.lab().inspector.epochs(run_id)
    except LabError:
        epochs = []
    if not epochs:
        return AFTER
    st.caption(words["kept"])
    chosen = st.select_slider(
        "The network after",
        [*epochs, AFTER],
        value=AFTER,
        format_func=lambda each: "training" if each == AFTER else f"epoch {each}",
        key=f"conv_stage_{run_id}",
    )
    return int(chosen)


def _seen(run_id: str, tile: pictures.Pixels, stage: int) -> tuple[NetworkSeen | None, str]:
    """What the network makes of the tile, or why it cannot be shown."""
    try:
        with st.spinner("Looking into the network …", show_time=False):
            return session.lab().inspector.look(run_id, tile, stage), ""
    except LabError as error:
        return None, str(error)


def _layers(run_id: str, sides: list[tuple[str, NetworkSeen]], words: dict[str, str]) -> None:
    """A row of small feature maps for each layer and side; eight layers a page."""
    count = len(sides[-1][1].layers)
    first = 0
    if count > _PER_PAGE:
        page = st.pagination(-(-count // _PER_PAGE), key=f"conv_layers_page_{run_id}")
        first = (page - 1) * _PER_PAGE
    st.caption(words["layers reading"].format(maps=MAPS))
    for at in range(first, min(first + _PER_PAGE, count)):
        layer = sides[-1][1].layers[at]
        path = f" · `{layer.path}`" if layer.path else ""
        st.markdown(f"**{layer.name}**{path} · {' × '.join(map(str, layer.shape))}")
        for column, (title, seen) in zip(st.columns(len(sides), gap="medium"), sides, strict=True):
            with column:
                _layer(seen.layers[at], title)


def _layer(layer: LayerSeen, title: str) -> None:
    if layer.maps is not None:
        picture = pictures.map_sheet(layer.maps, _ACROSS, _CELL)
        shown, what = len(layer.maps), "feature map"
    elif layer.neurons is not None:
        picture = pictures.map_sheet(layer.neurons.reshape(-1, 1, 1), _NEURONS_ACROSS, _NEURON)
        shown, what = len(layer.neurons), "value"
    else:
        return
    of = layer.shape[0]
    some = f"first {shown} of {of:,} {what}s" if shown < of else wording.count(of, what)
    st.image(pictures.png_uri(picture), alt=f"{title}, {layer.name}: {some}")
    low, high = wording.signed(layer.lowest), wording.signed(layer.highest)
    silent = f"; {layer.silent} without a value above zero" if layer.silent and layer.maps is not None else ""
    st.caption(f"{title}: {some}, from {low} to {high}{silent}")


def _answers(sides: list[tuple[str, NetworkSeen]]) -> None:
    """The probabilities as bars."""
    for at, (column, (title, seen)) in enumerate(zip(st.columns(len(sides), gap="medium"), sides, strict=True)):
        with column:
            st.markdown(f"**Its answer, {title.lower()}**")
            tile_pictures.probabilities(
                seen.probabilities, seen.class_names, f"conv_answer_{at}", f"Probability of each class, {title.lower()}"
            )
