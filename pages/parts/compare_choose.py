"""The choice of runs on the Compare page, and the ways on where there are too few."""

import streamlit as st

from eurosat_core import wording
from eurosat_core.lab.lineup import MOST_RUNS
from eurosat_core.lab.run_record import RunRecord
from eurosat_core.lab.side_by_side import role
from eurosat_core.training.config import workshop_config
from pages.parts import compare_state, lesson, session, train_state

__all__ = ["draw"]


def draw() -> list[str]:
    """Choose; the ids of the chosen runs, the first is what the others are held against."""
    words = lesson.text("compare")
    ids, choices, missing = compare_state.chosen()
    titles = {each.id: compare_state.title(each) for each in choices}  # no Markdown: a multiselect draws plain text
    records = {each.id: each for each in choices}
    with st.container(border=True):
        st.multiselect(
            "Runs to compare",
            list(titles),
            format_func=lambda each: titles.get(each, each),
            key=compare_state.KEY,
            max_selections=MOST_RUNS,
            on_change=compare_state.take_choice,
            placeholder="Choose runs",
            select_all=False,
            persist_state="session",
            help="Your own, the newest first; then those of the command line, and those recorded elsewhere. "
            + words["first"],
        )
        if missing:
            names = lesson.plain(wording.listed(missing))
            st.warning(f"Not there any more, or without a result: {names}.", icon=":material/search_off:")
        _under_way()
        own = [each for each in choices if each.owner == session.nickname() and not each.recorded_on]
        if not choices:
            st.info(words["nothing at all"], icon=":material/compare_arrows:")
            _train(None)
        elif not own:
            st.info(words["nothing"], icon=":material/history:")
            _train(None)
        elif len(ids) == 1:
            st.info(words["one"], icon=":material/compare_arrows:")
            _train(records[ids[0]])
        if problem := session.lab().lineup.recorded_problem():
            st.caption(problem)
    return ids


def _under_way() -> None:
    mine = [each for each in session.lab().runs()[0] if each.owner == session.nickname() and each.kind == "train"]
    active = sum(each.is_active for each in mine)
    if active:
        st.caption(f":material/hourglass_top: {wording.count(active, 'run')} of yours not done yet: to be chosen then.")


def _train(record: RunRecord | None) -> None:
    """Set up the training that is missing: of the other kind than `record`, with its epochs and tiles."""
    small = record is not None and role(record) != "small"
    model = "baseline" if small else "efficientnet_lite0"
    config = workshop_config(model)
    if record is not None:
        same = {name: getattr(record.config, name) for name in ("epochs", "tiles", "stratified", "split", "seed")}
        config = workshop_config(model, **same)
    with st.container(horizontal=True):
        label = "Train the small network, too" if small else "Train the pretrained network, too"
        if record is None:
            label = "Train a network"
            config = workshop_config("baseline")
        if st.button(label, icon=":material/model_training:", key="compare_train"):
            train_state.set_up(config)
        if record is not None and (bundled := _bundled()):
            st.button(
                "Look at the recorded runs",
                icon=":material/history:",
                key="compare_recorded",
                on_click=compare_state.choose,
                args=(bundled,),
            )


def _bundled() -> list[str]:
    lineup = session.lab().lineup
    return [each.id for each in lineup.choices("") if lineup.is_bundled(each.id)]
