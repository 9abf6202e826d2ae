"""The Train page's settings: what the next run is made with; further ones behind More."""

import streamlit as st

from eurosat_core.errors import LabError
from eurosat_core.lab import train
from eurosat_core.models.catalog import CATALOG
from eurosat_core.training import choices
from eurosat_core.training.config import SETTINGS, TrainConfig, recipe_config
from eurosat_core.wording import bytes_text, count
from pages.parts import forms, lesson, session
from pages.parts.train.state import EDITED, draft, entered, key, lesson_config, model, refill, take_recipe

# What has its own place on the page, and the layers, which are built on the Model page. Everything else, a setting that
# is new as well, stands behind More: first how tiles come.
_PLACED = {"model", "recipe", "epochs", "batch_size", "tiles", "split", "sealed_test", "optimizer", "learning_rate"}
_PLACED |= {"source", "keep_epochs", "network"}
_FURTHER = sorted((each for each in EDITED if each not in _PLACED), key=lambda name: SETTINGS[name].part != "feed")


def _more(form: TrainConfig) -> None:
    """The popover, and the way back to the lesson's settings beside it."""
    with st.container(horizontal=True):
        with st.popover("More", icon=":material/tune:"):
            pretrained = CATALOG[model()].is_pretrained
            sources = [name for name in SETTINGS["source"].choices if pretrained or name != "features"]
            forms.draw_segments("source", key, options=sources)
            with st.grid(2, min_column_width=140):
                for name in _FURTHER:
                    if not forms.is_switch(name):
                        forms.draw_setting(name, key, form)
            for name in filter(forms.is_switch, _FURTHER):
                forms.draw_setting(name, key, form)
            _keep_epochs(form)
        lesson.button("Back to the lesson’s settings", "undo", "train_reset", refill, lesson_config(), type="tertiary")


def _keep_epochs(form: TrainConfig) -> None:
    forms.draw_setting("keep_epochs", key, form)
    if not st.session_state[key("keep_epochs")]:
        return
    try:
        config = draft()
    except LabError:  # said under the button
        return
    if problem := train.kept_problem(config):
        st.warning(lesson.plain(problem), icon=":material/hard_drive:")
    else:
        taken = bytes_text(train.kept_bytes(config))
        st.caption(f"{count(config.epochs, 'epoch')}: about {taken} on disk.")


_TILE_CHOICES = (1500, 6000, 12000)


def draw_settings() -> None:
    """All settings; the Train button stands below them."""
    tiles = session.lab().tiles().tile_set
    there = len(tiles) if tiles else None
    _recipe()
    form = entered()
    left, right = st.columns(2, wrap=False)
    with left:
        forms.draw_setting("epochs", key, form)
    with right:
        forms.draw_setting("batch_size", key, form)
    _tiles(there)
    _split(form)
    left, right = st.columns(2, wrap=False)
    with left:
        forms.draw_setting("optimizer", key, form)
    with right:
        forms.draw_setting("learning_rate", key, form)
    _more(form)


def _recipe() -> None:
    recipe = forms.draw_recipe(key, take_recipe)
    config = recipe_config(model(), recipe, device=session.chosen_device())
    words = lesson.text("train")
    special = "pretrained" if CATALOG[model()].is_pretrained else model()
    text = words.get(f"recipe {recipe} {special}", words[f"recipe {recipe}"])
    st.caption(
        text.format(
            batch_size=config.batch_size,
            precision=choices.precision_text(config, session.lab().estimates.form_choice(config)),
            optimizer=SETTINGS["optimizer"].in_words(config.optimizer),
            learning_rate=f"{config.learning_rate:g}",
        )
    )


def _tiles(there: int | None) -> None:
    """How many tiles: a few round numbers below what there is, and all."""
    state = key("tiles")
    learnt = lesson_config().train_fraction
    if there is not None and st.session_state[state] >= there:
        st.session_state[state] = forms.ALL_TILES
    options = sorted(
        {*(each for each in _TILE_CHOICES if there is None or each < there), st.session_state[state] or 0} - {0}
    )
    st.segmented_control(
        "Tiles",
        [*options, forms.ALL_TILES],
        format_func=lambda number: f"{number:,}" if number else "All" + (f" {there:,}" if there else ""),
        key=state,
        required=True,
        persist_state="session",
        width="stretch",
        help=f"Drawn evenly from the classes. {100 * learnt:.0f} % are for training, {100 * (1 - learnt):.0f} % for "
        "validation.",
    )


def _split(form: TrainConfig) -> None:
    """How tiles are divided. A split that cannot be had is said under the Train button, with what to do."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        forms.draw_segments("split", key, titles=lambda name: lesson.text("train")[f"split {name}"])
        forms.draw_setting("sealed_test", key, form)
