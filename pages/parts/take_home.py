"""Files of one run to take home: a notebook in plain PyTorch, and its network as ONNX. Made when they are asked for."""

import streamlit as st

from eurosat_core.lab.onnx_file import FILE as ONNX
from eurosat_core.lab.onnx_file import export_problem, served_onnx, too_large
from eurosat_core.runs.record import RunRecord
from eurosat_core.words.notebook import notebook, told_by
from pages.parts import lesson, session


def run_files(record: RunRecord, key: str) -> None:
    """The buttons, and why there is none where there is none. key: of the widgets, each with a word more."""
    lab, name = session.lab(), session.name_of(record)  # a download runs outside the session
    problem = export_problem() or too_large(record)
    with st.container(horizontal=True):
        if lab.results.history(record.id).epochs:
            st.download_button(
                "Download the notebook",
                lambda: notebook(record, told_by(lab.store, record.id), name),
                file_name=f"{record.id}.ipynb",
                mime="application/x-ipynb+json",
                icon=":material/menu_book:",
                key=f"{key}_notebook",
                on_click="ignore",
                help="Your settings, network and figures as plain PyTorch, without this lab.",
            )
        if lab.store.size(record.id, "model.pt") is not None and not problem:
            st.download_button(
                f"Download {ONNX}",
                lambda: served_onnx(lab.store, lab.inspector, record.id),
                file_name=ONNX,
                mime="application/octet-stream",
                icon=":material/deployed_code:",
                key=f"{key}_onnx",
                on_click="ignore",
                help="For other programs and languages: pictures of 64 × 64 pixels in, a probability per class out.",
            )
    if problem:
        st.caption(lesson.plain(problem))
