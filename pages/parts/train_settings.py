"""The Train page's settings: what the next run is made with."""

import streamlit as st

from eurosat_core.lab import choices
from eurosat_core.models.catalog import CATALOG
from eurosat_core.training.config import (
    OPTIMIZERS,
    PRECISIONS,
    PRETRAINED_FAST,
    RECIPES,
    SCHEDULES,
    SOURCES,
    TrainConfig,
    recipe_config,
    workshop_config,
)
from pages.parts import lesson, session

__all__ = ["draft", "draw", "in_short", "model", "network", "prepare", "refill"]

_EDITED = (
    "model",
    "recipe",
    "epochs",
    "tiles",
    "batch_size",
    "optimizer",
    "learning_rate",
    "momentum",
    "weight_decay",
    "seed",
    "split",
    "stratified",
    "sealed_test",
    "source",
    "workers",
    "prefetch",
    "pin_memory",
    "channels_last",
    "precision",
    "schedule",
    "pretrained",
    "frozen_norms",
    "network",
)
_ALL_TILES = 0  # a widget's option cannot be None
_TILE_CHOICES = (1500, 6000, 12000)


def _key(name: str) -> str:
    return f"train_{name}"


def refill(config: TrainConfig) -> None:
    """Put a config's values into the settings. Call it before they are drawn, or in a callback."""
    for name in _EDITED:
        value = getattr(config, name)
        st.session_state[_key(name)] = _ALL_TILES if name == "tiles" and value is None else value


def _lesson_config() -> TrainConfig:
    return workshop_config("baseline")


def _back_to_lesson() -> None:
    refill(_lesson_config())


def _take_recipe() -> None:
    """A recipe sets everything that belongs to it; what to train on (epochs, tiles) stays."""
    chosen = recipe_config(st.session_state[_key("model")], st.session_state[_key("recipe")])
    for name in {name for settings in (*RECIPES.values(), PRETRAINED_FAST) for name in settings}:
        st.session_state[_key(name)] = getattr(chosen, name)


def model() -> str:
    """The model that is chosen, by its name in the catalog."""
    name: str = st.session_state[_key("model")]
    return name


def network() -> str:
    """The layers of one's own network; empty for the baseline's."""
    layers: str = st.session_state[_key("network")]
    return layers


def in_short() -> str:
    """The settings in a line, for when they are folded away."""
    state = st.session_state
    tiles = state[_key("tiles")]
    return " · ".join(
        (
            choices.RECIPE_NAMES[state[_key("recipe")]],
            f"{state[_key('epochs')]} epochs",
            f"{tiles:,} tiles" if tiles else "all tiles",
            f"batch {state[_key('batch_size')]}",
        )
    )


def prepare() -> None:
    """Fill in the lesson's settings where there are none yet. Call it before the others."""
    if _key("epochs") not in st.session_state:
        refill(_lesson_config())


def draft() -> TrainConfig:
    """The settings as they stand, on the chosen device. Raises `ConfigError` with a sentence."""
    values = {name: st.session_state[_key(name)] for name in _EDITED}
    device = session.chosen_device()
    values["tiles"] = values["tiles"] or None
    values["pin_memory"] = values["pin_memory"] and device != "cpu"  # it has no meaning without a GPU
    if values["model"] != "custom":
        values["network"] = ""  # kept in the session for when one's own network is chosen again
    return TrainConfig.from_dict({**values, "device": device})


def draw() -> None:
    """All settings; Train stands below them (`train_start`)."""
    tiles = session.lab().tiles().tile_set
    there = len(tiles) if tiles else None
    _recipe()
    left, right = st.columns(2, wrap=False)
    with left:
        st.number_input(
            "Epochs", step=1, key=_key("epochs"), persist_state="session", help="Passes over the training tiles."
        )
    with right:
        st.number_input(
            "Batch size",
            step=8,
            key=_key("batch_size"),
            persist_state="session",
            help="Tiles per step of the optimizer.",
        )
    _tiles(there)
    _split()
    left, right = st.columns(2, wrap=False)
    with left:
        st.selectbox(
            "Optimizer",
            OPTIMIZERS,
            format_func=lambda name: choices.OPTIMIZER_NAMES[name],
            key=_key("optimizer"),
            persist_state="session",
        )
    with right:
        st.number_input(
            "Learning rate",
            step=0.005,
            format="%g",
            key=_key("learning_rate"),
            persist_state="session",
            help="How large a step the optimizer takes.",
        )
    _more()


def _recipe() -> None:
    st.selectbox(
        "Model",
        list(CATALOG),
        format_func=lambda name: CATALOG[name].title,
        key=_key("model"),
        on_change=_take_recipe,
        persist_state="session",
    )
    recipe = st.segmented_control(
        "Recipe",
        list(choices.RECIPE_NAMES),
        format_func=lambda name: choices.RECIPE_NAMES[name],
        key=_key("recipe"),
        on_change=_take_recipe,
        required=True,
        persist_state="session",
        width="stretch",
    )
    config = recipe_config(model(), recipe)
    words = lesson.text("train")[f"recipe {recipe}"]
    st.caption(
        words.format(
            batch_size=config.batch_size,
            precision=config.precision,
            optimizer=choices.OPTIMIZER_NAMES[config.optimizer],
            learning_rate=f"{config.learning_rate:g}",
        )
    )


def _tiles(there: int | None) -> None:
    """How many tiles: a few round numbers below what there is, and all."""
    key = _key("tiles")
    learnt = _lesson_config().train_fraction
    if there is not None and st.session_state[key] >= there:
        st.session_state[key] = _ALL_TILES
    options = sorted(
        {*(each for each in _TILE_CHOICES if there is None or each < there), st.session_state[key] or 0} - {0}
    )
    st.segmented_control(
        "Tiles",
        [*options, _ALL_TILES],
        format_func=lambda count: f"{count:,}" if count else "All" + (f" {there:,}" if there else ""),
        key=key,
        required=True,
        persist_state="session",
        width="stretch",
        help=f"Drawn evenly from the classes. {100 * learnt:.0f} % are for training, {100 * (1 - learnt):.0f} % for "
        "validation.",
    )


def _split() -> None:
    """How tiles are divided. A split that cannot be had is said under the Train button, with what to do."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control(
            "Judged on",
            list(choices.SPLIT_NAMES),
            format_func=lambda name: lesson.text("train")[f"split {name}"],
            key=_key("split"),
            required=True,
            persist_state="session",
            help="At random: a shuffled quarter of the tiles. By place: tiles from another longitude, as published by "
            "torchgeo for EuroSAT. The Tiles page shows both.",
        )
        st.toggle(
            "Sealed test part",
            key=_key("sealed_test"),
            persist_state="session",
            help="A fifth of the tiles is kept apart. The finished network is scored on it once; you open the result "
            "when everything is decided.",
        )


def _more() -> None:
    on_gpu = session.chosen_device() != "cpu"
    with st.container(horizontal=True):
        with st.popover("More", icon=":material/tune:"):
            pretrained = CATALOG[model()].is_pretrained
            st.segmented_control(
                "Tiles come from",
                [name for name in SOURCES if pretrained or name != "features"],
                format_func=lambda name: choices.in_words("source", name),
                key=_key("source"),
                required=True,
                persist_state="session",
            )
            from_files = st.session_state[_key("source")] == "loader"
            with st.grid(2, min_column_width=140):
                st.number_input(
                    "Loader workers",
                    step=1,
                    key=_key("workers"),
                    disabled=not from_files,
                    persist_state="session",
                    help="Processes that open pictures. 0: the training does it itself.",
                )
                st.number_input(
                    "Prefetched batches",
                    step=1,
                    key=_key("prefetch"),
                    disabled=not from_files,
                    persist_state="session",
                    help="Batches that each loader worker keeps ready.",
                )
                st.number_input(
                    "Momentum",
                    step=0.05,
                    format="%g",
                    key=_key("momentum"),
                    persist_state="session",
                    disabled=st.session_state[_key("optimizer")] != "sgd",
                    help="Of SGD only.",
                )
                st.number_input(
                    "Weight decay", step=0.0005, format="%g", key=_key("weight_decay"), persist_state="session"
                )
                st.number_input(
                    "Seed",
                    step=1,
                    key=_key("seed"),
                    persist_state="session",
                    help="The same seed gives the same split and the same start.",
                )
                st.selectbox("Precision", PRECISIONS, key=_key("precision"), persist_state="session")
                st.selectbox(
                    "Learning rate over time",
                    SCHEDULES,
                    format_func=lambda name: choices.SCHEDULE_NAMES[name],
                    key=_key("schedule"),
                    persist_state="session",
                )
            st.toggle(
                "Start from ImageNet weights",
                key=_key("pretrained"),
                persist_state="session",
                disabled=not pretrained,
                help="Off: the frozen part stays random, and what it knows is nothing.",
            )
            st.toggle(
                "Keep BatchNorm statistics",
                key=_key("frozen_norms"),
                persist_state="session",
                disabled=not pretrained,
                help="On: the frozen part stays what it was. Off, as in the tutorial: its statistics drift.",
            )
            st.toggle("Channels-last layout", key=_key("channels_last"), persist_state="session")
            st.toggle(
                "Same share of each class in both parts (stratified)",
                key=_key("stratified"),
                persist_state="session",
                disabled=st.session_state[_key("split")] != "random",
            )
            st.toggle(
                "Pinned memory",
                key=_key("pin_memory"),
                disabled=not (on_gpu and from_files),
                persist_state="session",
                help="Faster copies to a GPU." if on_gpu else "Only for a GPU: it speeds up the copies to it.",
            )
        st.button(
            "Back to the lesson’s settings",
            icon=":material/undo:",
            type="tertiary",
            key="train_reset",
            on_click=_back_to_lesson,
        )
