"""Runs as a file: export the chosen ones, import those of another lab, and be rid of imported ones again."""

import io

import streamlit as st

from eurosat_core import wording
from eurosat_core.errors import LabError
from eurosat_core.lab.lineup import MAX_BUNDLE_MB
from eurosat_core.lab.side_by_side import SideBySide
from pages.parts import compare_state, lesson, session

__all__ = ["draw"]

_SEEN, _PROBLEM, _SAID = "compare_upload_seen", "compare_upload_problem", "compare_upload_said"


def draw(side: SideBySide | None) -> None:
    """Export and import side by side, then the imported ones."""
    st.markdown(lesson.text("compare")["bundles"])
    left, right = st.columns(2, gap="medium")
    with left:
        _export(side)
    with right:
        _import()
    _imported()


def _export(side: SideBySide | None) -> None:
    lineup = session.lab().lineup
    ids = [each.record.id for each in side.runs if not lineup.is_bundled(each.record.id)] if side else []
    st.markdown("**Export**")
    if not ids:
        st.caption("Choose runs of this lab above. Those that come with the lab are in every other one, too.")
        return
    weights = st.toggle(
        "With the trained networks",
        key="compare_weights",
        help="Larger, but then the networks can be asked there, too.",
    )

    def bundle() -> bytes:  # made when it is asked for
        return lineup.exported(ids, weights=weights)

    st.download_button(
        f"Export {wording.count(len(ids), 'run')}",
        bundle,
        "eurosat_runs.zip",
        "application/zip",
        key="compare_export",
        icon=":material/download:",
        on_click="ignore",
        help="The chosen runs with their curves, figures and answers.",
    )


def _import() -> None:
    st.markdown("**Import**")
    file = st.file_uploader(
        "A bundle of runs",
        type=["zip"],
        key="compare_bundle",
        max_upload_size=MAX_BUNDLE_MB,
        label_visibility="collapsed",
    )
    if file is not None and st.session_state.get(_SEEN) != file.file_id:
        st.session_state[_SEEN] = file.file_id
        st.session_state[_SAID] = st.session_state[_PROBLEM] = ""
        try:
            with st.spinner("Checking the bundle…", show_time=True):
                result = session.lab().lineup.taken_in(io.BytesIO(file.getvalue()), session.nickname())
        except LabError as error:
            st.session_state[_PROBLEM] = str(error)
        else:
            st.session_state[_SAID] = result.text
        st.rerun()  # what came is in the lists above, too
    if said := st.session_state.get(_SAID):
        st.success(lesson.plain(said), icon=":material/inventory_2:")
    if problem := st.session_state.get(_PROBLEM):
        st.error(lesson.plain(problem), title="This bundle cannot be used", icon=":material/broken_image:")


def _imported() -> None:
    lab, me = session.lab(), session.nickname()
    records = [each for each in lab.runs()[0] if each.recorded_on and each.kind == "train"]
    if not records:
        st.caption("No imported runs yet.")
        return
    st.markdown("**Imported runs**")
    for record in records[:40]:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(lesson.plain(compare_state.title(record)), width="stretch")
            st.button(
                "Compare",
                icon=":material/compare_arrows:",
                key=f"compare_take_{record.id}",
                type="tertiary",
                on_click=_add,
                args=(record.id,),
            )
            if record.owner == me:
                with st.popover("Delete", icon=":material/delete:", type="tertiary", key=f"compare_delete_{record.id}"):
                    st.markdown("It is gone from this lab then; the bundle stays where it is.")
                    st.button(
                        "Yes, delete it",
                        type="primary",
                        key=f"compare_sure_{record.id}",
                        on_click=_delete,
                        args=(record.id,),
                    )


def _add(run_id: str) -> None:
    compare_state.choose([*[each for each in st.session_state[compare_state.KEY] if each != run_id][:5], run_id])


def _delete(run_id: str) -> None:
    try:
        session.lab().delete(run_id, session.nickname())
    except LabError as error:
        st.session_state[_PROBLEM] = str(error)
        return
    left = [each for each in st.session_state.get(compare_state.KEY, []) if each != run_id]
    st.session_state[compare_state.KEY] = left
    st.session_state[_SAID] = "The imported run is gone."
