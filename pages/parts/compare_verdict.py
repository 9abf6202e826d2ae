"""Who wins, by how much: the figures of every chosen run, and the sentences computed from them."""

import streamlit as st

from eurosat_core import wording
from eurosat_core.lab.comparison import RunFigures
from eurosat_core.lab.comparison_frames import figures_note
from eurosat_core.lab.side_by_side import SideBySide, guess_verdict
from pages.parts import compare_guesses, lesson

__all__ = ["draw"]


def draw(side: SideBySide, guess: str | None) -> None:
    """A card per run, then the verdict in sentences."""
    with st.grid(min(len(side.figures), 3), min_column_width=230):
        for figures in side.figures:
            _card(figures)
    sentences = [each.text for each in side.verdicts]
    if found := guess_verdict(guess, side.runs):
        sentences.append(found.text)
    if own := compare_guesses.against_best(side):
        sentences.append(own)
    if len(side.runs) > 1 and side.same.kind == "other_part":
        sentences.append(side.same.text)
    if sentences:
        lesson.saw("\n\n".join(lesson.plain(each) for each in sentences))


def _card(figures: RunFigures) -> None:
    with st.container(border=True, gap="xsmall"):
        st.markdown(f"**{lesson.plain(figures.label)}**")
        with st.container(horizontal=True, gap="medium"):
            st.metric(
                "Accuracy",
                wording.percent(figures.accuracy) if figures.accuracy is not None else None,
                help=f"Share of the {wording.count(figures.validation_tiles, 'validation tile')} named correctly after "
                "the last complete epoch.",
            )
            st.metric(
                "Training time",
                wording.duration(figures.seconds) if figures.seconds is not None else None,
                help="All of it without pauses: epochs with their validation, and the frozen part as far as this run "
                "computed it.",
            )
        if figures.tiles_per_second:
            low, high = figures.tiles_per_second_low, figures.tiles_per_second_high
            spread = f", {low:,.0f} to {high:,.0f}" if low and high and figures.measured_epochs > 1 else ""
            epochs = wording.count(figures.measured_epochs, "epoch")
            st.caption(f"{wording.rate(figures.tiles_per_second)} while training (median of {epochs}{spread})")
        if figures.state != "finished":
            st.badge(figures.state.capitalize(), icon=":material/warning:", color="orange")
        if figures.tiles_source == "synthetic":
            st.badge("Synthetic tiles", icon=":material/science:", color="orange")
        if figures.recorded_on:
            st.badge("Recorded elsewhere", icon=":material/history:", color="violet")
        st.caption(lesson.plain(figures_note(figures)))
