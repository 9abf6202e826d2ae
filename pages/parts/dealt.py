"""What the room's experiment dealt to a participant, above every page: the value, one button, and the own dot."""

import streamlit as st

from eurosat_core.classroom.experiment import Dealt
from eurosat_core.training.config import SETTINGS
from pages.parts import lesson, session

_WHERE = "dealt"
TITLES: dict[Dealt, str] = {
    "seed": "Seed",
    "batch_size": SETTINGS["batch_size"].title,
    "learning_rate": SETTINGS["learning_rate"].title,
    "width": "Filters in the first layer",
}


def draw() -> None:
    """Nothing while no experiment is open, and for whoever leads."""
    experiments, me = session.lab().experiments, session.me()
    deal = experiments.current()
    if deal is None or session.leads():
        return
    hand = experiments.deal_to(me)
    if hand is None or hand.deal != deal.number:
        return
    words = lesson.text("experiment")
    value, seed = deal.hand(hand.place)
    record = session.lab().hand_run(hand)
    with st.container(border=True, key="dealt"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge("One room, one experiment", icon=":material/science:")
            with_seed = "" if deal.setting == "seed" else f" (seed {seed})"
            st.markdown(f"Your {TITLES[deal.setting].lower()}: **{value:g}**{with_seed}", width="stretch")
            if record is None or not (record.is_active or record.state == "finished"):
                label = "Train it" if record is None else "Train it again"
                lesson.button(label, "play_arrow", "dealt_train", _train, type="primary")
            else:
                st.page_link(
                    "train.py", label="Your training", icon=":material/model_training:", query_params={"run": record.id}
                )
        lesson.problem(_WHERE)
        if record is None:
            st.caption(words["yours"])
            return
        # They load pandas, which the first page does without.
        from pages.parts import room_scatter, run_widget

        label, icon, colour = run_widget.BADGES[record.state]
        st.badge(label or "Running", icon=icon, color=colour)  # type: ignore[arg-type]
        place = session.lab().place(record.id)
        if place is not None:
            st.caption(f"Place {place.position} of {place.waiting} in the queue.")
        if record.message:
            st.caption(lesson.plain(record.message))
        if not record.is_active:
            found = room_scatter.current(deal)
            room_scatter.draw(deal, found, own=me)
            st.caption(room_scatter.says(deal, found))


def _train() -> None:
    session.submit(_WHERE, lambda: session.lab().train_hand(session.me()))
