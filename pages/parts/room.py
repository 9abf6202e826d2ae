"""The room check in words and symbols."""

from collections.abc import Sequence

import streamlit as st

from eurosat_core.lab.doctor import Check
from pages.parts import lesson

__all__ = ["draw", "sentence"]

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
        device = (
            "This machine has no GPU that can be used. Everything works on the CPU, and no figure will be made up for "
            "a GPU that is not there."
        )
    data = {
        "synthetic": " The tiles are synthetic, so accuracies say nothing about the real Earth.",
        None: " There are no tiles, so nothing can be browsed or trained until that is put right.",
    }.get(source, "")
    trouble = f" To be looked after: {', '.join(problems)} (see above)." if problems else ""
    return f"{device}{data}{trouble}"
