"""The room check in words and symbols, and what it says beside the buttons that start a run."""

from collections.abc import Sequence

import streamlit as st

from eurosat_core.lab.doctor import Check
from eurosat_core.training.config import TrainConfig
from pages.parts import lesson, session

_MARKS = {
    "ready": ":green[:material/check_circle:]",
    "missing": ":orange[:material/do_not_disturb_on:]",
    "problem": ":red[:material/error:]",
    "checking": ":gray[:material/hourglass_top:]",
}


def draw(checks: Sequence[Check]) -> None:
    """One line per check, and below it what to do about it."""
    with st.container(border=True, gap="xsmall"):
        for check in checks:
            st.markdown(f"{_MARKS[check.state]} **{check.name}** ({check.state}) · {lesson.plain(check.text)}")
            if check.remedy:
                st.caption(f":material/subdirectory_arrow_right: {lesson.plain(check.remedy)}")


def sentence(checks: Sequence[Check], source: str | None) -> str:
    """What the room check means for this session. source: where the tiles come from, None when there are none."""
    if any(each.state == "checking" for each in checks):
        return "This machine is still being looked at. You can go on meanwhile: every page works already."
    gpus = [each for each in checks if each.name == "GPU" and each.state == "ready"]
    problems = [each.name for each in checks if each.state == "problem"]
    if gpus:
        device = f"This machine has {'a GPU' if len(gpus) == 1 else f'{len(gpus)} GPUs'}: you can measure both sides."
    else:
        device = "This machine has no GPU that can be used, and no figure will be made up for a GPU that is not there."
        if "Runs" not in problems:
            device += " Everything works on the CPU."
    data = {
        "synthetic": " The tiles are synthetic, so accuracies say nothing about the real Earth.",
        None: " There are no tiles, so nothing can be browsed or trained until that is put right.",
    }.get(source, "")
    trouble = f" To be looked after: {', '.join(problems)} (see above)." if problems else ""
    return f"{device}{data}{trouble}"


def no_runs(config: TrainConfig | None = None) -> bool:
    """Whether no run can start here, whatever is clicked; then it is said, with what to do.

    config: what is to be trained, where its loader workers may be what this machine has no room for.
    """
    lab = session.lab()
    problem = lab.runs_problem or (lab.feed_problem(config) if config is not None else "")
    if problem:
        st.error(lesson.plain(problem), title="This cannot run here", icon=":material/error:")
    return bool(problem)


def no_tiles_yet(so: str = "") -> None:
    """Why there are no tiles to compute with, below a button that needs them. so: begins the sentence."""
    problem = session.lab().tiles().problem
    st.caption(f"{so}{lesson.plain(problem)}" if problem else "The tiles are still being opened.")


def no_tiles(what_for: str, where: str) -> None:
    """In place of what needs tiles: why there are none. what_for: "to show"; where: what stands there once they are."""
    problem = session.lab().tiles().problem
    if problem:
        st.error(lesson.plain(problem), title=f"There are no tiles {what_for}")
    else:
        st.info(f"{where} as soon as they are ready.", title="The tiles are being opened")
        st.skeleton(height=300)
