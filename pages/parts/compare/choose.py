"""Which runs are compared, kept in the page's address; runs taken from one lab to another."""

import hashlib
import io

import streamlit as st

from eurosat_core.analysis.lineup import MAX_BUNDLE_MB, MOST_RUNS, SideBySide, lineup_of, role
from eurosat_core.errors import LabError
from eurosat_core.models.catalog import CATALOG
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.config import workshop_config
from eurosat_core.wording import count, device_name, listed, percent
from pages.parts import lesson, run_widget, session
from pages.parts.train import state

KEY = "compare_runs"  # of the choice's widget: run ids in their order
_IN_URL = "runs"
_BY_HAND = "compare_by_hand"  # the participant chose, or an address did


def chosen() -> tuple[list[str], list[RunRecord], list[str]]:
    """The ids to compare, all runs that can be chosen, and which of those asked for are not there any more.

    Until somebody chooses, it is the lineup's own choice, which follows the newest runs.
    """
    state, lineup, me = st.session_state, lineup_of(session.lab()), session.me()
    if asked := [each for each in session.asked(_IN_URL)[:600].split(",") if each][:MOST_RUNS]:
        state[KEY], state[_BY_HAND] = asked, True
    wanted = list(state.get(KEY) or []) if state.get(_BY_HAND) else []
    choices = lineup.choices(me, also=wanted)
    there = {each.id for each in choices}
    ids = [each for each in wanted if each in there]
    missing = [each for each in wanted if each not in there]
    if not ids and (not state.get(_BY_HAND) or missing):
        ids = lineup.default(me)
        state[_BY_HAND] = False
    state[KEY] = ids
    session.write(_IN_URL, ",".join(ids))
    return ids, choices, missing


def take_choice() -> None:
    """What the widget was set to counts from now on. For callbacks."""
    st.session_state[_BY_HAND] = True
    session.write(_IN_URL, ",".join(st.session_state[KEY]))


def choose(run_ids: list[str]) -> None:
    """Compare these runs. For callbacks."""
    st.session_state[KEY] = run_ids[:MOST_RUNS]
    take_choice()


def current(ids: list[str]) -> SideBySide | None:
    """The chosen runs brought together; None when none is chosen, or one vanished at this very moment."""
    try:
        return lineup_of(session.lab()).side_by_side(ids) if ids else None
    except LabError:
        return None


def title(record: RunRecord) -> str:
    """A run in the list of choices, told apart from all others."""
    entry = CATALOG.get(record.config.model)
    accuracy = record.summary.get("val_accuracy")
    parts = [entry.title if entry else record.config.model, device_name(record.config.device)]
    if isinstance(accuracy, int | float):
        parts.append(percent(accuracy))
    parts.append(count(record.config.epochs, "epoch"))
    if record.state != "finished":
        parts.append(record.state)
    if record.recorded_on:
        return " · ".join([*parts, f"recorded on {record.recorded_on}"])
    whose = [] if record.owner == session.me() else [session.name_of(record)]
    return " · ".join([*parts, *whose, run_widget.made_at(record)])


def mark(ids: list[str]) -> str:
    """A short name for this choice of runs, for keys of widgets that belong to it."""
    return hashlib.sha256(",".join(ids).encode()).hexdigest()[:10]


def draw_choice() -> list[str]:
    """Choose; the ids of the chosen runs, the first is what the others are held against."""
    words = lesson.text("compare")
    ids, choices, missing = chosen()
    titles = {each.id: title(each) for each in choices}  # no Markdown: a multiselect draws plain text
    records = {each.id: each for each in choices}
    with st.container(border=True):
        st.multiselect(
            "Runs to compare",
            list(titles),
            format_func=lambda each: titles.get(each, each),
            key=KEY,
            max_selections=MOST_RUNS,
            on_change=take_choice,
            placeholder="Choose runs",
            select_all=False,
            persist_state="session",
            help="Your own, the newest first; then those of the command line, and those recorded elsewhere. "
            + words["first"],
        )
        if missing:
            names = lesson.plain(listed(missing))
            st.warning(f"No longer here, or without a result: {names}.", icon=":material/search_off:")
        _under_way()
        own = [each for each in choices if each.owner == session.me() and not each.recorded_on]
        if not choices:
            st.info(words["nothing at all"], icon=":material/compare_arrows:")
            _train(None)
        elif not own:
            st.info(words["nothing"], icon=":material/history:")
            _train(None)
        elif len(ids) == 1:
            st.info(words["one"], icon=":material/compare_arrows:")
            _train(records[ids[0]])
        if problem := lineup_of(session.lab()).recorded_problem():
            st.caption(problem)
    return ids


def _under_way() -> None:
    active = sum(each.is_active for each in session.own_runs("train"))
    if active:
        st.caption(f":material/hourglass_top: {count(active, 'run')} of yours not done yet: to be chosen then.")


def _train(record: RunRecord | None) -> None:
    """Set up the training that is missing: of the other kind than `record`, with its epochs and tiles."""
    if record is None:
        label, config = "Train a network", workshop_config("baseline")
    else:
        small = role(record) != "small"
        label = f"Train the {'small' if small else 'pretrained'} network, too"
        same = {name: getattr(record.config, name) for name in ("epochs", "tiles", "stratified", "split", "seed")}
        config = workshop_config("baseline" if small else "efficientnet_lite0", **same)
    with st.container(horizontal=True):
        if st.button(label, icon=":material/model_training:", key="compare_train"):
            state.set_up(config)
        if record is not None and (bundled := _bundled()):
            lesson.button("Look at the recorded runs", "history", "compare_recorded", choose, bundled)


def _bundled() -> list[str]:
    lineup = lineup_of(session.lab())
    return [each.id for each in lineup.choices("") if lineup.is_bundled(each.id)]


_SEEN, _SAID = "compare_upload_seen", "compare_upload_said"


def draw_bundles(side: SideBySide | None) -> None:
    """Export and import side by side, then the imported ones."""
    st.markdown(lesson.text("compare")["bundles"])
    left, right = st.columns(2, gap="medium")
    with left:
        _export(side)
    with right:
        _import()
    _imported()


def _export(side: SideBySide | None) -> None:
    lineup = lineup_of(session.lab())
    ids = [each.record.id for each in side.runs if not lineup.is_bundled(each.record.id)] if side else []
    st.markdown("**Export**")
    if not ids:
        st.caption("Choose runs of this lab above. Those that come with the lab are in every other one, too.")
        return
    weights = st.toggle(
        "With the trained networks",
        key="compare_weights",
        help="Larger, but the networks can then be used there as well.",
    )

    def bundle() -> bytes:  # made when it is asked for
        return lineup.exported(ids, weights=weights)

    st.download_button(
        f"Export {count(len(ids), 'run')}",
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
        st.session_state[_SAID] = ""
        with session.attempt("compare_bundle"), st.spinner("Checking the bundle…", show_time=True):
            bundle = io.BytesIO(file.getvalue())
            st.session_state[_SAID] = lineup_of(session.lab()).taken_in(bundle, session.me()).text
        st.rerun()  # what came is in the lists above, too
    if said := st.session_state.get(_SAID):
        st.success(lesson.plain(said), icon=":material/inventory_2:")
    lesson.problem("compare_bundle", "This bundle cannot be used", ":material/broken_image:")


def _imported() -> None:
    records = [each for each in session.lab().store.all()[0] if each.recorded_on and each.kind == "train"]
    if not records:
        st.caption("No imported runs yet.")
        return
    st.markdown("**Imported runs**")
    for record in records[:40]:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(lesson.plain(title(record)), width="stretch")
            lesson.button("Compare", "compare_arrows", f"compare_take_{record.id}", _add, record.id, type="tertiary")
            lost = "This removes it from this lab; the bundle file stays where it is."
            run_widget.delete(record, f"compare_delete_{record.id}", "Delete", lost, _deleted)


def _add(run_id: str) -> None:
    choose([*[each for each in st.session_state[KEY] if each != run_id][:5], run_id])


def _deleted(run_id: str) -> None:
    st.session_state[KEY] = [each for each in st.session_state.get(KEY, []) if each != run_id]
    st.session_state[_SAID] = "The imported run is gone."
