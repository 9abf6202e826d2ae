"""The tutorial's conclusion and figures, as it recorded them, beside the participant's."""

import streamlit as st

from eurosat_core.lab.evidence import Evidence
from eurosat_core.lab.tutorial_beside import KNOWN_RESULTS, beside_tutorial, conclusion
from pages.parts import lesson

__all__ = ["draw"]


def draw(evidence: Evidence) -> None:
    """What it says, whether one's own figures agree, and both side by side."""
    words = lesson.text("wrapup")
    st.markdown(words["tutorial"])
    st.markdown(lesson.plain(conclusion(evidence)))
    st.table(
        beside_tutorial(evidence).map(lesson.plain).set_index("Figure"),
        border="horizontal",
        alt="The tutorial’s figures and one’s own",
    )
    st.caption(words["tutorial recorded"])
    with st.expander("What others reached", icon=":material/leaderboard:"):
        st.table(
            {f"{what} ({source})": accuracy for what, accuracy, source in KNOWN_RESULTS},
            border="horizontal",
            alt="Accuracies that others reached on EuroSAT",
        )
        st.caption(words["known"])
