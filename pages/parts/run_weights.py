"""A run's trained weights to take away, with the lines of PyTorch that load them."""

import streamlit as st

from eurosat_core import wording
from eurosat_core.lab import trained_weights
from eurosat_core.lab.run_record import RunRecord
from pages.parts import lesson, session

__all__ = ["draw"]


def draw(record: RunRecord) -> None:
    """Nothing, when the run kept no weights. The file is read when its button is clicked."""
    lab = session.lab()  # a download runs outside the session
    size = lab.file_size(record.id, trained_weights.FILE)
    if size is None:
        return
    classes = len(record.tiles.class_names)
    with st.expander("Take the trained network with you", icon=":material/download:", key="result_weights"):
        st.markdown(lesson.plain(trained_weights.contents(record.config)))
        with st.container(horizontal=True):
            st.download_button(
                f"Download {trained_weights.FILE} · {wording.bytes_text(size)}",
                lambda: lab.file(record.id, trained_weights.FILE),
                file_name=trained_weights.FILE,
                mime="application/octet-stream",
                icon=":material/download:",
                key="result_weights_file",
                on_click="ignore",
            )
            if source := trained_weights.source(record.config, classes):
                st.download_button(
                    "Download net.py",
                    source,
                    file_name="net.py",
                    mime="text/x-python",
                    icon=":material/code:",
                    key="result_weights_source",
                    on_click="ignore",
                )
        st.code(trained_weights.loading_code(record.config, classes), language="python")
