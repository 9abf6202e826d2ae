"""The leak lens: the nearest training tiles of a tile, and how many validation tiles have a near-duplicate there."""

from collections.abc import Mapping, Sequence

import numpy as np
import streamlit as st

from eurosat_core.analysis import leaks
from eurosat_core.charts.leaks import similarity_curves, similarity_frame
from eurosat_core.data import pictures
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import LabError, RunError
from eurosat_core.lab.leak_lens import Judged, OneTile, Parts
from eurosat_core.models.recorded import RECORDED
from eurosat_core.runs.history import History
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.config import TrainConfig, workshop_config
from eurosat_core.training.transfer import TransferPlan
from eurosat_core.wording import device_name, duration, percent
from eurosat_core.words.say import say
from pages.parts import lesson, run_widget, session, tile_pictures

_COMPUTING = "leaks_run"  # the run that computes the features
_SEED = workshop_config().seed
_TILE_WIDTH = 104  # side by side: three are as wide as a phone shows
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
        if tiles is None or not _can_be_asked(run_id, tiles):
            return
        own = _goes_by_own()
        try:
            if _ready(tiles, run_id if own else ""):
                (_own_neighbours if own else _neighbours)(run_id, tiles, tile, number)
        except LabError as error:
            st.warning(lesson.plain(str(error)), icon=":material/visibility_off:")


def _goes_by_own() -> bool:
    """Whether a run's own features say what is alike, and not the bundled backbone's."""
    titles = {"backbone": "Backbone", "own": "Own features"}
    return lesson.one_of("Compare tiles by", titles, "leaks_by") == "own"


def _can_be_asked(run_id: str, tiles: TileSet, label: str = "") -> bool:
    """Whether a run's training tiles are known here; else it says why not. label: what it is called, among others."""
    words, which = lesson.text("leaks"), f"{lesson.plain(label)}: " if label else ""
    if run_id == RECORDED:
        st.caption(which + words["not noted"])
    elif session.lab().store.get(run_id).tiles.fingerprint != tiles.fingerprint:
        st.caption(which + words["other tiles"])
    else:
        return True
    return False


def _neighbours(run_id: str, tiles: TileSet, tile: pictures.Pixels, number: int | None) -> None:
    words, parts = lesson.text("leaks"), _parts()
    seen = _seen(run_id, tiles, tile, own=False)
    st.caption(words["tile"])
    _row(tiles, seen, parts)
    _lists(parts, number)
    st.markdown(lesson.plain(say(leaks.tile_finding(seen, tiles.labels, _titles(tiles), _label(tiles, number)))))
    st.caption(words["how"] if seen.near is not None else words["no limit"])


def _own_neighbours(run_id: str, tiles: TileSet, tile: pictures.Pixels, number: int | None) -> None:
    """By the run's own features; and by the backbone's below, where these are known."""
    lab, words, parts = session.lab(), lesson.text("leaks"), _parts()
    own, backbone = _seen(run_id, tiles, tile, own=True), None
    st.caption(words["own tile"])
    _row(tiles, own, parts)
    if lab.leak_lens.is_ready(tiles):
        backbone = _seen(run_id, tiles, tile, own=False)
        st.caption(words["beside"])
        _row(tiles, backbone, parts)
    _lists(parts, number)
    frozen = lab.store.get(run_id).config.is_pretrained
    found = leaks.own_tile_finding(own, backbone, tiles.labels, _titles(tiles), _label(tiles, number), frozen=frozen)
    st.markdown(lesson.plain(say(found)))
    st.caption(words["own how"])


def _seen(run_id: str, tiles: TileSet, tile: pictures.Pixels, *, own: bool) -> OneTile:
    with st.spinner("Looking for neighbours …", show_time=False):
        return session.lab().leak_lens.one(tiles, _parts(), run_id, tile, own=own)


def _titles(tiles: TileSet) -> tuple[str, ...]:
    return tuple(pictures.class_titles(tiles.class_names).values())


def _label(tiles: TileSet, number: int | None) -> int | None:
    return None if number is None else int(tiles.labels[number])


def _row(tiles: TileSet, seen: OneTile, parts: Parts | None) -> None:
    """The nearest tiles with how alike they are, and in which list each is."""
    titles = tile_pictures.titles_of(tiles)
    names = [tiles.class_names[int(tiles.labels[each])] for each in seen.numbers]
    captions = [f"{titles[name]} · {how:.2f}" for name, how in zip(names, seen.similarity, strict=True)]
    if parts is not None:
        where = [_LISTS.get(int(parts[each])) for each in seen.numbers]
        captions = [f"{said}  \n{part}" if part else said for said, part in zip(captions, where, strict=True)]
    alts = [
        f"Training tile {at}, similarity {how:.2f}: {name}"
        for at, (name, how) in enumerate(zip(names, seen.similarity, strict=True), 1)
    ]
    tile_pictures.row_of(tiles, list(seen.numbers), captions, alts)


def _lists(parts: Parts | None, number: int | None) -> None:
    """What a list is, and in which one a tile of the lab's set is."""
    if parts is not None:
        own = "" if number is None else _LISTS.get(int(parts[number]), "")
        st.caption(lesson.text("leaks")["lists"] + (f" This tile is in the {own}." if own else ""))


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
        own = bool(runs) and _goes_by_own()
        if not _ready(tiles):
            return
        try:
            _own_classes(tiles, runs or {}) if own else _splits(tiles, runs or {})
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


def _own_classes(tiles: TileSet, runs: Mapping[str, str]) -> None:
    """How often the nearest training tile is of the same class, by each run's own features and by the backbone's."""
    words = lesson.text("leaks")
    st.markdown(words["own split"])
    said = []
    for label, run_id in runs.items():
        if not _can_be_asked(run_id, tiles, label):
            continue
        try:
            if _ready(tiles, run_id, label):
                said.append(_own_class(tiles, label, run_id))
        except LabError as error:  # it left no network, or no predictions; others did
            st.warning(lesson.plain(f"{label}: {error}"), icon=":material/visibility_off:")
    lesson.saw_each(said)
    st.caption(words["own how"])


def _own_class(tiles: TileSet, label: str, run_id: str) -> str:
    """The figures of one run, some tiles, and what they say."""
    lens = session.lab().leak_lens
    with st.spinner("Comparing every validation tile with every training tile …", show_time=False):
        own, backbone = (lens.run(tiles, _parts(), run_id, own=each) for each in (True, False))
    st.markdown(f"**{lesson.plain(label)}**")
    with st.container(horizontal=True):
        for title, judged in (("by its own features", own), ("by the backbone’s", backbone)):
            share = float(leaks.same_class(judged, tiles.labels).float().mean())
            st.metric(f"Same class, {title}", percent(share), border=True)
    _disagreements(tiles, own, backbone)
    frozen = session.lab().store.get(run_id).config.is_pretrained
    return say(leaks.own_run_finding(own, backbone, tiles.labels, label, frozen=frozen))


def _disagreements(tiles: TileSet, own: Judged, backbone: Judged) -> None:
    """Tiles that only the run's own features put beside one of their class, with the nearest by either."""
    chosen = leaks.disagreements(own, backbone, tiles.labels)
    if chosen:
        st.caption(lesson.text("leaks")["disagreements"])
        _side_by_side(
            tiles, [[int(each) for each in (own.tiles[at], own.nearest[at], backbone.nearest[at])] for at in chosen]
        )


def _side_by_side(tiles: TileSet, groups: Sequence[Sequence[int]], ends: Sequence[str] = ()) -> None:
    """A picture for each group of tiles, the first of them a validation tile. ends: of the captions."""
    titles = tile_pictures.titles_of(tiles)
    with st.container(horizontal=True, gap="medium"):
        for at, numbers in enumerate(groups):
            names = [tiles.class_names[int(tiles.labels[each])] for each in numbers]
            joined = np.concatenate([tiles.array[each] for each in numbers], axis=1)
            label = titles[names[0]] if len(set(names)) == 1 else " | ".join(titles[each] for each in names)
            st.image(
                pictures.png_uri(pictures.enlarged(joined, 3)),
                caption=label + (ends[at] if ends else ""),
                alt=f"A validation tile ({names[0]}) beside its nearest: {', '.join(names[1:])}",
                width=_TILE_WIDTH * len(numbers),
            )


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
    pairs = [[int(judged.tiles[at]), int(judged.nearest[at])] for at in chosen]
    _side_by_side(tiles, pairs, [f" · {float(judged.similarity[at]):.2f}" for at in chosen])


# -- features that are not there yet


def _ready(tiles: TileSet, own: str = "", label: str = "") -> bool:
    """Whether the features are there; else what computes them is drawn: a button, or the run that is at it.

    own: a run, for its own features; label: what that is called, where there are others.
    """
    lab = session.lab()
    if lab.leak_lens.is_ready(tiles, own):
        return True
    which = f"{lesson.plain(label)}: " if label else ""
    st.info(which + lesson.text("leaks")["own missing" if own else "missing"], icon=":material/hourglass_empty:")
    record = _computing(own)
    if record is not None:
        run_widget.follow(record, _progress, key=f"leaks_follow_{own}", working="Computing features")
        if record.is_active:
            return False
        run_widget.ended(record)
    config, plan = lab.leak_lens.request(own, session.chosen_device())
    if problem := lab.library.missing_weights(config):
        st.caption(lesson.plain(problem))
        return False
    estimate = lab.estimates.transfer(config, plan)
    about = f" · about {duration(estimate.seconds)}" if estimate else ""
    text = f"Compute the features on {device_name(config.device)}{about}"
    key = f"leaks_compute_{own}" if own else "leaks_compute"
    lesson.button(text, "calculate", key, _compute, own, config, plan)
    lesson.problem(f"leaks_{own}")
    return False


def _computing(own: str) -> RunRecord | None:
    try:
        return session.lab().store.get(st.session_state[f"{_COMPUTING}_{own}"])
    except (KeyError, RunError):
        return None


def _progress(_record: RunRecord, history: History) -> None:
    if (known := history.features) is not None and known.total:
        left = (known.total - known.done) * known.seconds / max(known.done, 1)
        text = f"{known.done:,} of {known.total:,} tiles, about {duration(left)} left"
        st.progress(min(known.done / known.total, 1.0), text=text)


def _compute(own: str, config: TrainConfig, plan: TransferPlan) -> None:
    lab, me = session.lab(), session.me()
    record = session.submit(f"leaks_{own}", lambda: lab.submit_transfer(config, plan, me))
    if record is not None:
        st.session_state[f"{_COMPUTING}_{own}"] = record.id
