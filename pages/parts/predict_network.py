"""Which network the Predict page asks: a run's, or the recorded one. It stands in the address (`?network=…`)."""

import streamlit as st

from eurosat_core import wording
from eurosat_core.errors import LabError
from eurosat_core.lab.inspection import RECORDED
from eurosat_core.lab.run_record import RunRecord
from eurosat_core.models.catalog import model_entry
from eurosat_core.models.recorded import recorded_baseline
from pages.parts import lesson, session

__all__ = ["choose"]

_KEY = "predict_network"
_IN_URL = "network"


def choose() -> str:
    """Draw the choice; the id of the chosen run, or `RECORDED`."""
    runs, problem = _runs()
    titles = {each.id: _title(each) for each in runs} | {RECORDED: "Recorded baseline"}
    if st.session_state.get(_KEY) not in titles:  # the first time, or deleted meanwhile
        asked = st.query_params.get(_IN_URL, "")
        st.session_state[_KEY] = asked if asked in titles else next(iter(titles))
    chosen = st.selectbox(
        "Network",
        list(titles),
        format_func=lambda each: titles.get(each, each),
        key=_KEY,
        required=True,
        persist_state="session",
    )
    run_id = chosen if chosen in titles else RECORDED
    if problem:
        st.warning(lesson.plain(problem), icon=":material/search_off:")
    if st.query_params.get(_IN_URL) != run_id:
        st.query_params[_IN_URL] = run_id
    _about(run_id, {each.id: each for each in runs})
    return run_id


def _runs() -> tuple[list[RunRecord], str]:
    """Runs that can be asked; and why the one that the address names cannot."""
    predictor, me = session.lab().predictor, session.nickname()
    named = st.session_state.get(_KEY) or st.query_params.get(_IN_URL, "")[:80]
    try:
        runs = predictor.networks(me, named)
    except LabError as error:
        return predictor.networks(me), f"{error} Another network is asked instead."
    if named and named != RECORDED and named not in (each.id for each in runs):
        return runs, f"The run {named} left no network to ask. Another one is asked instead."
    return runs, ""


def _title(record: RunRecord) -> str:
    accuracy = record.summary.get("val_accuracy")
    how_good = f", {wording.percent(accuracy)}" if isinstance(accuracy, float) else ""
    whose = "my run" if record.owner == session.nickname() else "run"
    return f"{model_entry(record.config.model).title}{how_good} · {whose} {record.id}"


def _about(run_id: str, runs: dict[str, RunRecord]) -> None:
    """What it learned from, as far as that says what its answers are worth."""
    words = lesson.text("predict")
    if run_id in runs:
        tiles = session.lab().tiles().tile_set
        if runs[run_id].tiles.source == "synthetic":
            st.caption(words["synthetic"])
        elif tiles is not None and tiles.fingerprint != runs[run_id].tiles.fingerprint:
            st.caption(words["other tiles"])
        return
    try:
        record = recorded_baseline()
    except LabError:
        return  # asking it says so
    st.caption(
        words["recorded"].format(
            title=model_entry(record.model).title,
            epochs=record.epochs,
            judged=f"{record.tiles:,}",
            accuracy=wording.percent(record.accuracy),
        )
    )
