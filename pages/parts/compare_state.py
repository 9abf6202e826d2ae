"""Which runs the Compare page puts side by side: the choice is kept in the session and stands in the address."""

import hashlib
import time

import streamlit as st

from eurosat_core import wording
from eurosat_core.errors import LabError
from eurosat_core.lab.lineup import MOST_RUNS
from eurosat_core.lab.run_record import RunRecord
from eurosat_core.lab.side_by_side import SideBySide
from eurosat_core.models.catalog import CATALOG
from pages.parts import session

__all__ = ["KEY", "choose", "chosen", "current", "mark", "take_choice", "title"]

KEY = "compare_runs"  # of the choice's widget: run ids in their order
_IN_URL = "runs"
_BY_HAND = "compare_by_hand"  # the participant chose, or an address did
_WRITTEN = "compare_written"  # what this page itself put into the address


def chosen() -> tuple[list[str], list[RunRecord], list[str]]:
    """The ids to compare, all runs that can be chosen, and which of those asked for are not there any more.

    Until somebody chooses, it is the lineup's own choice, which follows the newest runs.
    """
    state, lineup, me = st.session_state, session.lab().lineup, session.nickname()
    asked = [each for each in st.query_params.get(_IN_URL, "")[:600].split(",") if each][:MOST_RUNS]
    if asked and asked != state.get(_WRITTEN):  # a link, or a refresh
        state[KEY], state[_BY_HAND], state[_WRITTEN] = asked, True, asked
    wanted = list(state.get(KEY) or []) if state.get(_BY_HAND) else []
    choices = lineup.choices(me, also=wanted)
    there = {each.id for each in choices}
    ids = [each for each in wanted if each in there]
    missing = [each for each in wanted if each not in there]
    if not ids and (not state.get(_BY_HAND) or missing):
        ids = lineup.default(me)
        state[_BY_HAND] = False
    state[KEY] = ids
    _into_url(ids)
    return ids, choices, missing


def _into_url(ids: list[str]) -> None:
    st.session_state[_WRITTEN] = ids
    words = ",".join(ids)
    if words:
        if st.query_params.get(_IN_URL) != words:
            st.query_params[_IN_URL] = words
    elif _IN_URL in st.query_params:
        del st.query_params[_IN_URL]


def take_choice() -> None:
    """What the widget was set to counts from now on. For callbacks."""
    st.session_state[_BY_HAND] = True
    _into_url(list(st.session_state[KEY]))


def choose(run_ids: list[str]) -> None:
    """Compare these runs. For callbacks."""
    st.session_state[KEY] = run_ids[:MOST_RUNS]
    take_choice()


def current(ids: list[str]) -> SideBySide | None:
    """The chosen runs brought together; None when none is chosen, or one vanished at this very moment."""
    try:
        return session.lab().lineup.side_by_side(ids) if ids else None
    except LabError:
        return None


def title(record: RunRecord) -> str:
    """A run in the list of choices, told apart from all others."""
    entry = CATALOG.get(record.config.model)
    accuracy = record.summary.get("val_accuracy")
    parts = [entry.title if entry else record.config.model, wording.device_name(record.config.device)]
    if isinstance(accuracy, int | float):
        parts.append(wording.percent(accuracy))
    parts.append(wording.count(record.config.epochs, "epoch"))
    if record.state != "finished":
        parts.append(record.state)
    if record.recorded_on:
        return " · ".join([*parts, f"recorded on {record.recorded_on}"])
    when = time.strftime("%d %b %H:%M:%S", time.gmtime(record.created))
    whose = [] if record.owner == session.nickname() else [record.owner]
    return " · ".join([*parts, *whose, when])


def mark(ids: list[str]) -> str:
    """A short name for this choice of runs, for keys of widgets that belong to it."""
    return hashlib.sha256(",".join(ids).encode()).hexdigest()[:10]
