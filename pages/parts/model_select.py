"""The Model page's first part: a model of the catalog, its layers, and where its parameters and its work are."""

import streamlit as st

from eurosat_core import wording
from eurosat_core.errors import LabError
from eurosat_core.models.anatomy import guess_sentence, parts_of_rows, where_sentence
from eurosat_core.models.catalog import CATALOG
from eurosat_core.models.summary import ModelSummary
from eurosat_core.training.config import Architecture
from pages.parts import lesson, model_figures, model_table, session

__all__ = ["draw", "names"]

_MANY_ROWS, _LONG_TABLE = 14, 640  # a longer table scrolls within so many pixels
_BUILT = "custom"  # has no layers of its own: it is what stands in the builder


def names() -> list[str]:
    """The models that have layers to look at."""
    return [name for name in CATALOG if name != _BUILT]


def draw(guess: tuple[str, str] | None) -> None:
    """The choice of models and the one that is chosen; `guess`: the participant's, about the baseline."""
    chosen = st.pills(
        "Model",
        names(),
        default=names()[0],
        format_func=lambda name: CATALOG[name].title,
        required=True,
        key="model_chosen",
        persist_state="session",
        wrap=True,
    )
    entry = CATALOG[chosen]
    try:
        summary = session.lab().model_summary(Architecture(chosen))
    except LabError as error:
        st.markdown(f"**{entry.title}** · {entry.about}")
        st.error(lesson.plain(str(error)), icon=":material/cloud_off:")
        return
    parts = parts_of_rows(summary.layers)
    model_figures.diagram(parts, entry.title)
    table, where = st.columns([5, 4], gap="medium")
    with where:
        st.markdown("**Where are the parameters, where are the multiplications?**")
        model_figures.bars(parts, f"model_shares_{chosen}", entry.title)
    with table, st.container(height=_LONG_TABLE if len(summary.layers) > _MANY_ROWS else "content", border=False):
        model_table.draw(Architecture(chosen))
    sentences = [where_sentence(entry.title, parts), _frozen(summary)]
    if guess is not None and chosen == "baseline":
        sentences.append(guess_sentence(guess, parts))
    lesson.saw(" ".join(each for each in sentences if each))


def _frozen(summary: ModelSummary) -> str:
    if summary.trainable_params == summary.total_params:
        return ""
    share = wording.rounded(100 * summary.trainable_params / summary.total_params, 2)
    return (
        f"Only {summary.trainable_params:,} of its {summary.total_params:,} parameters ({share} %) are trained; "
        "the rest was learned elsewhere and stays as it is."
    )
