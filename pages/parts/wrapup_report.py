"""The report to take home: which trainings stand in it, and its download."""

import re
from collections.abc import Sequence

import streamlit as st

from eurosat_core.lab.evidence import Evidence
from eurosat_core.lab.guess_outcomes import GuessOutcome
from eurosat_core.lab.lineup import MOST_RUNS
from eurosat_core.lab.report import Guessed, report_html
from eurosat_core.lab.wrapup import Sentence
from eurosat_core.speed.experiments import EXPERIMENTS
from pages.parts import lesson

__all__ = ["draw"]

_KEY = "wrapup_runs"
_BY_HAND = "wrapup_by_hand"  # the participant chose


def draw(evidence: Evidence, outcomes: Sequence[GuessOutcome], sentences: Sequence[Sentence]) -> None:
    """What it is, which runs it holds, and the button."""
    words = lesson.text("wrapup")
    st.markdown(words["report"])
    runs = {each.record.id: each for each in (*evidence.runs, *evidence.recorded)}
    if runs:
        _choice({run_id: each.label for run_id, each in runs.items()})
    else:
        st.caption(words["report empty"])
    chosen = [runs[each] for each in st.session_state.get(_KEY, []) if each in runs]
    guesses = [Guessed(f"{each.label}: {each.question}", each.guess, each.measured) for each in outcomes]
    said = [(each.text, _told(each)) for each in sentences]
    profiles = [(f"Profile: {each.profile.title}", each.record) for each in evidence.profiles]
    experiments = [(f"Experiment: {_title(each.result.name)}", each.record) for each in evidence.measurements]

    def made() -> bytes:
        page = report_html(
            evidence.owner,
            chosen,
            guesses=guesses,
            tile_guesses=evidence.tile_guesses,
            said=said,
            measured=[*profiles, *experiments],
        )
        return page.encode()

    name = re.sub(r"[^A-Za-z0-9-]+", "-", evidence.owner).strip("-") or "participant"
    st.download_button(
        "Download the report",
        made,
        f"eurosat-lab-{name}.html",
        "text/html",
        key="wrapup_report",
        type="primary",
        icon=":material/download:",
        on_click="ignore",
    )


def _told(sentence: Sentence) -> list[str]:
    """Its points for the report; what is missing is said once."""
    told = [f"{each.about}: {each.text} {each.basis}".strip() for each in sentence.points if each.kind != "missing"]
    return told or ["No figure of my own yet."]


def _title(name: str) -> str:
    more = {"free": "Free sweep", "limits": "Limits of the devices", "race": "The race"}
    return EXPERIMENTS[name].title if name in EXPERIMENTS else more.get(name, name)


def _choice(titles: dict[str, str]) -> None:
    """Which runs, by id; until somebody chooses, the newest ones."""
    state = st.session_state
    kept = [each for each in state.get(_KEY, []) if each in titles]
    if not state.get(_BY_HAND) or (state.get(_KEY) and not kept):  # nobody chose, or all that was chosen is gone
        kept = list(titles)[:MOST_RUNS]
        state[_BY_HAND] = False
    state[_KEY] = kept
    st.multiselect(
        "Trainings in it",
        list(titles),
        format_func=lambda each: titles.get(each, each),
        key=_KEY,
        on_change=_take_choice,
        max_selections=MOST_RUNS,
        select_all=False,
        placeholder="Choose trainings",
        persist_state="session",
        help="The first one is what the others are held against.",
    )


def _take_choice() -> None:
    st.session_state[_BY_HAND] = True
