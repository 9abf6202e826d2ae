"""The Train page's further settings, behind More: how tiles come, how the optimizer goes, what is kept.

The Train page's settings: what the next run is made with.
"""

from collections.abc import Callable
from functools import partial

import streamlit as st

from eurosat_core import wording
from eurosat_core.errors import LabError
from eurosat_core.lab import train
from eurosat_core.models.catalog import CATALOG
from eurosat_core.training import choices
from eurosat_core.training import choices as form_words
from eurosat_core.training.config import AUTO, OPTIMIZERS, PRECISIONS, SCHEDULES, SOURCES, recipe_config, recipes_of
from pages.parts import lesson, session
from pages.parts.train.state import ALL_TILES, back_to_lesson, draft, key, lesson_config, model, take_recipe


def draw_form(key: Callable[[str], str]) -> None:
    """Precision and memory layout, which may be left to the device. key: of a setting's widget."""
    for name, values in (("precision", PRECISIONS), ("channels_last", (AUTO, False, True))):
        st.selectbox(
            choices.SETTING_NAMES[name],
            values,
            format_func=partial(choices.in_words, name),
            key=key(name),
            persist_state="session",
            help="Automatic: tried on this device in half a second, and the faster one is taken.",
        )


def draw_more() -> None:
    """The popover, and the way back to the lesson's settings beside it."""
    on_gpu = session.chosen_device() != "cpu"
    with st.container(horizontal=True):
        with st.popover("More", icon=":material/tune:"):
            pretrained = CATALOG[model()].is_pretrained
            st.segmented_control(
                "Tiles come from",
                [name for name in SOURCES if pretrained or name != "features"],
                format_func=lambda name: choices.in_words("source", name),
                key=key("source"),
                required=True,
                persist_state="session",
            )
            from_files = st.session_state[key("source")] == "loader"
            with st.grid(2, min_column_width=140):
                st.number_input(
                    "Loader workers",
                    step=1,
                    key=key("workers"),
                    disabled=not from_files,
                    persist_state="session",
                    help="Processes that open pictures. 0: the training does it itself.",
                )
                st.number_input(
                    "Prefetched batches",
                    step=1,
                    key=key("prefetch"),
                    disabled=not from_files,
                    persist_state="session",
                    help="Batches that each loader worker keeps ready.",
                )
                st.number_input(
                    "Momentum",
                    step=0.05,
                    format="%g",
                    key=key("momentum"),
                    persist_state="session",
                    disabled=st.session_state[key("optimizer")] != "sgd",
                    help="Of SGD only.",
                )
                st.number_input(
                    "Weight decay", step=0.0005, format="%g", key=key("weight_decay"), persist_state="session"
                )
                st.number_input(
                    "Seed",
                    step=1,
                    key=key("seed"),
                    persist_state="session",
                    help="The same seed gives the same split and the same start.",
                )
                st.number_input(
                    "Label smoothing",
                    step=0.05,
                    format="%g",
                    key=key("label_smoothing"),
                    persist_state="session",
                    help="The share of a label that is spread over all classes: the network learns not to be too sure.",
                )
                st.number_input(
                    "Shift (pixels)",
                    step=1,
                    key=key("shift"),
                    persist_state="session",
                    disabled=not st.session_state[key("symmetries")],
                    help="Turned and mirrored tiles are moved by up to so many pixels as well.",
                )
                st.number_input(
                    "Colour jitter",
                    step=0.1,
                    format="%g",
                    key=key("colour_jitter"),
                    persist_state="session",
                    help="Contrast and brightness of every tile change by chance, those of its three colours a little "
                    "apart, so the network goes less by colour. With tilenet that cost accuracy on the random split, "
                    "where tiles have the colours of their neighbours, and changed nothing on tiles from elsewhere.",
                )
                draw_form(key)
                st.selectbox(
                    "Learning rate over time",
                    SCHEDULES,
                    format_func=lambda name: choices.SCHEDULE_NAMES[name],
                    key=key("schedule"),
                    persist_state="session",
                )
            st.toggle(
                "Turn and mirror the tiles",
                key=key("symmetries"),
                persist_state="session",
                help="A satellite tile has no up and no left: in every epoch it is seen in another one of eight ways.",
            )
            st.toggle(
                "Smaller pictures first",
                key=key("growing_sizes"),
                persist_state="session",
                help="Half a side for half of the training, three quarters for a quarter: quick first, precise last. "
                "Only for networks that take any size.",
            )
            st.toggle(
                "Pool after the stem",
                key=key("stem_pool"),
                persist_state="session",
                disabled=model() != "tilenet",
                help="tilenet halves its pictures once more before its first stage. Off: all stages see twice the "
                "side, with as many parameters and about four times the work, in two to three times the time.",
            )
            st.toggle(
                "Nesterov’s look ahead",
                key=key("nesterov"),
                persist_state="session",
                disabled=st.session_state[key("optimizer")] != "sgd",
                help="SGD takes the slope where its momentum leads, not where it stands.",
            )
            st.toggle(
                "Start from ImageNet weights",
                key=key("pretrained"),
                persist_state="session",
                disabled=not pretrained,
                help="Off: the frozen part stays random, and what it knows is nothing.",
            )
            st.toggle(
                "Keep BatchNorm statistics",
                key=key("frozen_norms"),
                persist_state="session",
                disabled=not pretrained,
                help="On: the frozen part stays what it was. Off, as in the tutorial: its statistics drift.",
            )
            st.toggle(
                "Same share of each class in both parts (stratified)",
                key=key("stratified"),
                persist_state="session",
                disabled=st.session_state[key("split")] != "random",
            )
            st.toggle(
                "Pinned memory",
                key=key("pin_memory"),
                disabled=not (on_gpu and from_files),
                persist_state="session",
                help="Faster copies to a GPU." if on_gpu else "Only for a GPU: it speeds up the copies to it.",
            )
            _keep_epochs()
        st.button(
            "Back to the lesson’s settings",
            icon=":material/undo:",
            type="tertiary",
            key="train_reset",
            on_click=back_to_lesson,
        )


def _keep_epochs() -> None:
    st.toggle(
        "Keep the weights of every epoch",
        key=key("keep_epochs"),
        persist_state="session",
        help="The Convolution page then shows what the network saw after each of them.",
    )
    if not st.session_state[key("keep_epochs")]:
        return
    try:
        config = draft()
    except LabError:  # said under the button
        return
    if problem := train.kept_problem(config):
        st.warning(lesson.plain(problem), icon=":material/hard_drive:")
    else:
        taken = wording.bytes_text(train.kept_bytes(config))
        st.caption(f"{wording.count(config.epochs, 'epoch')}: about {taken} on disk.")


_TILE_CHOICES = (1500, 6000, 12000)


def draw_settings() -> None:
    """All settings; Train stands below them (`train_start`)."""
    tiles = session.lab().tiles().tile_set
    there = len(tiles) if tiles else None
    _recipe()
    left, right = st.columns(2, wrap=False)
    with left:
        st.number_input(
            "Epochs", step=1, key=key("epochs"), persist_state="session", help="Passes over the training tiles."
        )
    with right:
        st.number_input(
            "Batch size",
            step=8,
            key=key("batch_size"),
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
            key=key("optimizer"),
            persist_state="session",
        )
    with right:
        st.number_input(
            "Learning rate",
            step=0.005,
            format="%g",
            key=key("learning_rate"),
            persist_state="session",
            help="How large a step the optimizer takes.",
        )
    draw_more()


def _recipe() -> None:
    st.selectbox(
        "Model",
        list(CATALOG),
        format_func=lambda name: CATALOG[name].title,
        key=key("model"),
        on_change=take_recipe,
        persist_state="session",
    )
    recipe = st.segmented_control(
        "Recipe",
        recipes_of(model()),
        format_func=lambda name: choices.RECIPE_NAMES[name],
        key=key("recipe"),
        on_change=take_recipe,
        required=True,
        persist_state="session",
        width="stretch",
    )
    config = recipe_config(model(), recipe, device=session.chosen_device())
    words = lesson.text("train")
    special = "pretrained" if CATALOG[model()].is_pretrained else model()
    text = words.get(f"recipe {recipe} {special}", words[f"recipe {recipe}"])
    st.caption(
        text.format(
            batch_size=config.batch_size,
            precision=form_words.precision_text(config, session.lab().form_choice(config)),
            optimizer=choices.OPTIMIZER_NAMES[config.optimizer],
            learning_rate=f"{config.learning_rate:g}",
        )
    )


def _tiles(there: int | None) -> None:
    """How many tiles: a few round numbers below what there is, and all."""
    state = key("tiles")
    learnt = lesson_config().train_fraction
    if there is not None and st.session_state[state] >= there:
        st.session_state[state] = ALL_TILES
    options = sorted(
        {*(each for each in _TILE_CHOICES if there is None or each < there), st.session_state[state] or 0} - {0}
    )
    st.segmented_control(
        "Tiles",
        [*options, ALL_TILES],
        format_func=lambda count: f"{count:,}" if count else "All" + (f" {there:,}" if there else ""),
        key=state,
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
            key=key("split"),
            required=True,
            persist_state="session",
            help="At random: a shuffled quarter of the tiles. By place: tiles from another longitude, as published by "
            "torchgeo for EuroSAT. The Tiles page shows both.",
        )
        st.toggle(
            "Sealed test part",
            key=key("sealed_test"),
            persist_state="session",
            help="A fifth of the tiles is kept apart. The finished network is scored on it once; you open the result "
            "when everything is decided.",
        )
