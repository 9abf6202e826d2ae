"""The leak lens: the nearest training tiles of a tile, and how many validation tiles have a near-duplicate there."""

from collections.abc import Mapping

import numpy as np
import streamlit as st

from eurosat_core.analysis import leaks
from eurosat_core.charts.leaks import similarity_curves, similarity_frame
from eurosat_core.data import pictures
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import LabError, RunError
from eurosat_core.lab.leak_lens import PLAN, Judged, Parts
from eurosat_core.models.recorded import RECORDED
from eurosat_core.runs.history import History
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.config import TrainConfig, workshop_config
from eurosat_core.training.transfer import TransferPlan, transfer_config
from eurosat_core.wording import device_name, duration, percent
from eurosat_core.words.say import say
from pages.parts import lesson, run_widget, session, tile_pictures

_COMPUTING = "leaks_run"  # the run that computes the features
_SEED = workshop_config().seed
_LISTS = dict(enumerate(("training list", "validation list", "test list")))


def _parts() -> Parts | None:
    """The part of each tile in the split by place; None where these tiles cannot be split so."""
    try:
        return session.lab().library.place_parts()
    except LabError:
        return None


def draw_neighbours(run_id: str, tile: pictures.Pixels, number: int | None = None) -> None:
    """The five nearest training tiles of a run; worked out when it is opened. number: of a tile of the lab's set."""
    opened = st.expander(
        "Its nearest training tiles", icon=":material/join_inner:", key="leaks_neighbours", on_change="rerun"
    )
    if not opened.open:
        return
    with opened:
        tiles = session.lab().tiles().tile_set
        if tiles is None or not _can_be_asked(run_id, tiles) or not _ready(tiles):
            return
        try:
            _neighbours(run_id, tiles, tile, number)
        except LabError as error:
            st.warning(lesson.plain(str(error)), icon=":material/visibility_off:")


def _can_be_asked(run_id: str, tiles: TileSet) -> bool:
    words = lesson.text("leaks")
    if run_id == RECORDED:
        st.caption(words["not noted"])
    elif session.lab().store.get(run_id).tiles.fingerprint != tiles.fingerprint:
        st.caption(words["other tiles"])
    else:
        return True
    return False


def _neighbours(run_id: str, tiles: TileSet, tile: pictures.Pixels, number: int | None) -> None:
    lab, words = session.lab(), lesson.text("leaks")
    parts = _parts()
    with st.spinner("Looking for neighbours …", show_time=False):
        seen = lab.leak_lens.one(tiles, parts, run_id, tile)
    st.caption(words["tile"])
    titles = tile_pictures.titles_of(tiles)
    names = [tiles.class_names[int(tiles.labels[each])] for each in seen.numbers]
    captions = [f"{titles[name]} · {how:.2f}" for name, how in zip(names, seen.similarity, strict=True)]
    if parts is not None:
        where = [_LISTS.get(int(parts[each])) for each in seen.numbers]
        captions = [f"{said} · {part}" if part else said for said, part in zip(captions, where, strict=True)]
    alts = [
        f"Training tile {at}, similarity {how:.2f}: {name}"
        for at, (name, how) in enumerate(zip(names, seen.similarity, strict=True), 1)
    ]
    tile_pictures.row_of(tiles, list(seen.numbers), captions, alts)
    if parts is not None:
        own = "" if number is None else _LISTS.get(int(parts[number]), "")
        st.caption(words["lists"] + (f" This tile is in the {own}." if own else ""))
    true = None if number is None else int(tiles.labels[number])
    own_titles = tuple(pictures.class_titles(tiles.class_names).values())
    st.markdown(lesson.plain(say(leaks.tile_finding(seen, tiles.labels, own_titles, true))))
    st.caption(words["how"] if seen.near is not None else words["no limit"])


def draw_splits(tiles: TileSet, runs: Mapping[str, str] | None = None) -> None:
    """Both splits: how alike, how many near-duplicates, the most suspicious pairs; and some runs.

    runs: what they are called → their ids.
    """
    opened = st.expander(
        "Leak lens: has the network seen it next door?",
        icon=":material/join_inner:",
        key="leaks_splits",
        on_change="rerun",
    )
    if not opened.open:
        return
    with opened:
        if not _ready(tiles):
            return
        try:
            _splits(tiles, runs or {})
        except LabError as error:
            st.warning(lesson.plain(str(error)), icon=":material/visibility_off:")
    lesson.show_listing("leaks")


def _splits(tiles: TileSet, runs: Mapping[str, str]) -> None:
    lab, words = session.lab(), lesson.text("leaks")
    parts = _parts()
    with st.spinner("Comparing every validation tile with every training tile …", show_time=False):
        judged = {"random": lab.leak_lens.split(tiles, parts, "random", _SEED)}
        if parts is not None:
            judged["place"] = lab.leak_lens.split(tiles, parts, "place", _SEED)
    st.markdown(words["split"])
    shares = {name: each.share for name, each in judged.items()}
    if shares["random"] is not None:
        with st.container(horizontal=True):
            for name, title in (("random", "Random split"), ("place", "Split by place")):
                share = shares.get(name)
                if share is not None:
                    st.metric(f"Near-duplicates, {title.lower()}", percent(share), border=True)
    frame = similarity_frame(
        {name: (each.similarity.numpy(), tiles.label_array[each.tiles.numpy()]) for name, each in judged.items()}
    )
    st.vega_lite_chart(
        frame,
        similarity_curves(tuple(judged)),
        key="leaks_curves",
        alt="Share of validation tiles whose nearest training tile is at least so similar, a line per split",
    )
    _pairs(tiles, judged["random"])
    found = leaks.shares_finding(judged["random"], judged.get("place"))
    said = [say(found)] if found else []
    said += filter(None, (_of_run(tiles, label, run_id) for label, run_id in runs.items()))
    lesson.saw_each(said)
    st.caption(words["how"] if found else words["no limit"])


def _of_run(tiles: TileSet, label: str, run_id: str) -> str:
    """What near-duplicates made of a run's accuracy; empty where that is not known."""
    lab = session.lab()
    try:
        judged = lab.leak_lens.run(tiles, _parts(), run_id)
    except RunError:  # of other tiles, or it noted no predictions
        return ""
    found = leaks.run_finding(judged, tiles.labels, label)
    return say(found) if found else ""


def _pairs(tiles: TileSet, judged: Judged) -> None:
    """The most suspicious pairs, side by side."""
    chosen = leaks.suspicious(judged, tiles.labels)
    if not chosen:
        return
    st.caption(lesson.text("leaks")["pairs"])
    titles = tile_pictures.titles_of(tiles)
    with st.container(horizontal=True, gap="medium"):
        for at in chosen:
            numbers = [int(judged.tiles[at]), int(judged.nearest[at])]
            names = [tiles.class_names[int(tiles.labels[each])] for each in numbers]
            both = np.concatenate([tiles.array[each] for each in numbers], axis=1)
            label = titles[names[0]] if names[0] == names[1] else f"{titles[names[0]]} | {titles[names[1]]}"
            st.image(
                pictures.png_uri(pictures.enlarged(both, 3)),
                caption=f"{label} · {float(judged.similarity[at]):.2f}",
                alt=f"A validation tile ({names[0]}) beside its nearest training tile ({names[1]})",
                width=250,
            )


# -- features that are not there yet


def _ready(tiles: TileSet) -> bool:
    """Whether the features are there; else what computes them is drawn: a button, or the run that is at it."""
    lab = session.lab()
    if lab.leak_lens.is_ready(tiles):
        return True
    st.info(lesson.text("leaks")["missing"], icon=":material/hourglass_empty:")
    record = _computing()
    if record is not None:
        run_widget.follow(record, _progress, key="leaks_follow", working="Computing features")
        if record.is_active:
            return False
        run_widget.ended(record)
    config = transfer_config(device=session.chosen_device())
    if problem := lab.library.missing_weights(config):
        st.caption(lesson.plain(problem))
        return False
    estimate = lab.estimates.transfer(config, PLAN)
    about = f" · about {duration(estimate.seconds)}" if estimate else ""
    label = f"Compute the features on {device_name(config.device)}{about}"
    lesson.button(label, "calculate", "leaks_compute", _compute, config, PLAN)
    lesson.problem("leaks")
    return False


def _computing() -> RunRecord | None:
    try:
        return session.lab().store.get(st.session_state[_COMPUTING])
    except (KeyError, RunError):
        return None


def _progress(_record: RunRecord, history: History) -> None:
    if (known := history.features) is not None and known.total:
        left = (known.total - known.done) * known.seconds / max(known.done, 1)
        text = f"{known.done:,} of {known.total:,} tiles, about {duration(left)} left"
        st.progress(min(known.done / known.total, 1.0), text=text)


def _compute(config: TrainConfig, plan: TransferPlan) -> None:
    lab, me = session.lab(), session.me()
    record = session.submit("leaks", lambda: lab.submit_transfer(config, plan, me))
    if record is not None:
        st.session_state[_COMPUTING] = record.id
