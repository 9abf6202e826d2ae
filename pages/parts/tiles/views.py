"""Ways to look at the tiles: by class, as averages, all in one chart, by split, and as a network gets them."""

import secrets
from collections import Counter

import numpy as np
import pandas as pd
import streamlit as st

from eurosat_core.analysis import guesses, verdicts
from eurosat_core.charts import tiles as tile_charts
from eurosat_core.charts.tiles import AXES, class_histogram_frame, scatter_frame, split_bars, tiles_in_box
from eurosat_core.data import pictures
from eurosat_core.data.classes import CLASSES, EUROSAT_TILES, colours_for
from eurosat_core.data.decoding import TILE_SIDE
from eurosat_core.data.statistics import UNIFORM, ColourTest, colour_finding, colour_test, near_uniform, unusualness
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.models.catalog import model_entry
from eurosat_core.training.config import SETTINGS, workshop_config
from eurosat_core.wording import count, listed
from eurosat_core.words.say import say, say_each
from pages.parts import leaks, lesson, session
from pages.parts.tile_pictures import (
    SMALL_WIDTH,
    class_label,
    class_pills,
    classes_there,
    framed,
    large,
    row_of,
    titles_of,
)
from pages.parts.tiles import get
from pages.parts.train import state

_ENLARGED = 4
_COMPARED = 3  # classes whose histograms are drawn at first
_EACH = 6


def _seed() -> int:
    """Which sample of the tiles this session looks at; 0 is the set's own order."""
    chosen: int = st.session_state.setdefault("tiles_seed", 0)
    return chosen


def averages(tiles: TileSet) -> None:
    """Mean tile of every class, histograms of some, and how many tiles each has."""
    words, titles = lesson.text("tiles"), pictures.class_titles(tiles.class_names)
    colours, there = colours_for(tiles.class_names), classes_there(tiles)
    st.markdown(words["averages"])
    with st.container(horizontal=True, gap="xsmall"):
        for name in there:
            mean = np.round(tiles.statistics.class_tiles[tiles.class_names.index(name)]).astype(np.uint8)
            picture = pictures.png_uri(pictures.enlarged(mean, _ENLARGED))
            alt = f"Mean of all tiles of {titles[name]}"
            st.image(picture, caption=lesson.plain(titles[name]), alt=alt, width=SMALL_WIDTH)
    key, some = f"tiles_compared_{tiles.fingerprint}", there[:_COMPARED]
    chosen = class_pills("Compare the histograms of", tiles, key, selection_mode="multi", default=some)
    if chosen:
        frame = class_histogram_frame(tiles, tuple(chosen))
        shades = [(titles[name], colours[name]) for name in chosen]
        with st.grid(3, min_column_width=220):
            for channel in pictures.CHANNELS:
                st.altair_chart(
                    tile_charts.class_histogram(frame[frame["channel"] == channel], channel, shades),
                    key=f"tiles_class_histogram_{channel}",
                    alt=f"Histograms of the {channel.lower()} channel of {listed([titles[name] for name in chosen])}",
                )
    else:
        st.caption("Choose one class or more to see how bright their pixels are.")
    st.markdown(f"**How many tiles per class?** {words['counts']}")
    real = tiles.source == "eurosat"
    counts = tile_charts.class_counts_frame(tiles.counts, published=real)
    st.altair_chart(
        tile_charts.class_counts(counts, counts["class"].tolist(), [colours[name] for name in tiles.class_names]),
        key="tiles_counts",
        alt="Bar chart of the number of tiles per class",
    )
    marks = f" The grey marks are EuroSAT's published counts ({EUROSAT_TILES:,} in all)." if real else ""
    st.caption(f"{len(tiles):,} tiles in {len(tiles.class_names)} classes.{marks}")


def typical_and_odd(tiles: TileSet) -> None:
    """The most usual and the most unusual tiles of a class, tiles that show next to nothing, and mixed ones."""
    words = lesson.text("tiles")
    st.markdown(words["typical"])
    key = f"tiles_odd_{tiles.fingerprint}"
    name = class_pills("Class", tiles, key, default=classes_there(tiles)[0], required=True)
    title = pictures.class_titles((name,))[name]
    members = pictures.tiles_of_class(tiles.labels.numpy(), tiles.class_names.index(name))
    distance = unusualness(tiles.statistics, members)
    order = np.argsort(distance, kind="stable")
    for kind, places in (("Most typical", order[:_EACH]), ("Oddest", order[::-1][:_EACH])):
        st.markdown(f"**{kind}**: {lesson.plain(title)}")
        row_of(
            tiles,
            members[places].tolist(),
            [f"{far:.1f}" for far in distance[places]],
            [f"{kind} tile {at} of {title}" for at in range(1, len(places) + 1)],
        )
    st.caption(words["typical measure"])
    st.markdown(f"**Next to nothing to see.** {words['uniform'].format(limit=f'{UNIFORM:g}')}")
    _uniform(tiles)
    st.markdown(f"**Two things in one tile.** {words['mixed']}")


def _uniform(tiles: TileSet) -> None:
    """The most uniform tile of every class that has such tiles, and how many there are."""
    titles, uniform = titles_of(tiles), near_uniform(tiles.statistics)
    names = [tiles.class_names[label] for label in tiles.labels[uniform].tolist()]
    numbers = Counter(names)  # in the order of the classes' most uniform tiles
    row_of(
        tiles,
        [int(uniform[names.index(name)]) for name in numbers],
        [f"{titles[name]}: {number:,}" for name, number in numbers.items()],
        [f"The most uniform tile of class {name}" for name in numbers],
    )
    if names:
        found = count(len(names), "near-uniform tile")
        st.caption(f"{found} of {len(tiles):,} in this set; the most uniform one of each class is shown.")
    else:
        st.caption("This set has no such tile.")


_SHOWN = 24  # tiles in the box, and
_NAMED = 5  # classes, at most


@st.cache_data(show_spinner=False, max_entries=16)
def _frame(fingerprint: str, x: str, y: str, _tiles: TileSet) -> pd.DataFrame:
    return scatter_frame(_tiles, x, y)


def draw_scatter(tiles: TileSet) -> None:
    """Every tile as a point; the tiles in the box that was dragged."""
    words = lesson.text("tiles")
    st.markdown(words["scatter"])
    left, right = st.columns(2)
    x = left.selectbox("Across", list(AXES), format_func=AXES.__getitem__, key="tiles_x", persist_state="session")
    y = right.selectbox("Up", list(AXES), index=1, format_func=AXES.__getitem__, key="tiles_y", persist_state="session")
    own, colours = pictures.class_titles(tiles.class_names), colours_for(tiles.class_names)
    event = st.vega_lite_chart(
        _frame(tiles.fingerprint, x, y, tiles),
        tile_charts.all_tiles(AXES[x], AXES[y], tuple((own[name], colours[name]) for name in tiles.class_names)),
        key=f"tiles_scatter_{tiles.fingerprint}_{x}_{y}",  # other axes, another selection
        on_select="rerun",
        selection_mode="box",
        alt=f"A point for every tile: {AXES[x]} and {AXES[y]}, coloured by class",
    )
    box = event["selection"].get("box")
    if not box:
        st.caption("Nothing is chosen yet. Drag a box around some points; click outside it to clear it.")
        return
    found = tiles_in_box(tiles, x, y, box)
    if not len(found):
        st.caption("No tile lies in this box.")
        return
    titles = titles_of(tiles)
    names = [tiles.class_names[label] for label in tiles.labels.numpy()[found].tolist()]
    numbers = Counter(names)
    per_class = ", ".join(f"{titles[name]} {number:,}" for name, number in numbers.most_common(_NAMED))
    st.markdown(f"**{count(len(found), 'tile')} chosen**: {per_class}{' …' if len(numbers) > _NAMED else ''}")
    shown = names[:_SHOWN]
    captions, alts = [titles[name] for name in shown], [f"Chosen tile of class {own[name]}" for name in shown]
    row_of(tiles, found[:_SHOWN].tolist(), captions, alts)
    if len(found) > _SHOWN:
        st.caption(f"The {_SHOWN} nearest to the middle of the box are shown.")


_SEED = workshop_config().seed


@st.fragment
def draw_split(tiles: TileSet) -> None:
    """Both splits with their parts, the sealed part, and what the same recipe reached on each."""
    words = lesson.text("splits")
    st.markdown(words["intro"])
    st.markdown(words["place"])
    chosen = lesson.one_of("Split", SETTINGS["split"].choices, "tiles_split", default="random")
    library = session.lab().library
    problem = library.place_problem() if chosen == "place" else ""
    if problem:
        text = words["synthetic"] if tiles.source == "synthetic" else lesson.plain(problem)
        st.info(text, title="Not on these tiles yet", icon=":material/wrong_location:")
        if tiles.source == "eurosat" and not library.has_place_lists():
            get.button("lists", "Fetch the lists (0.6 MB)")
    else:
        _parts(tiles, chosen)
    leaks.draw_splits(tiles)
    st.markdown(words["sealed"])
    _both(tiles)


def _parts(tiles: TileSet, chosen: str) -> None:
    parts = session.lab().library.place_parts() if chosen == "place" else None
    frame = verdicts.parts_frame(tiles, parts, _SEED)
    with st.container(horizontal=True):
        for name in verdicts.PART_NAMES:
            there = int(frame.loc[frame["part"] == name, "tiles"].sum())
            st.metric(name, f"{there:,}", border=True, help=f"{100 * there / len(tiles):.0f} % of the tiles here")
    st.vega_lite_chart(
        frame,
        split_bars(verdicts.PART_NAMES, len(tiles.class_names)),
        key="tiles_split_bars",
        alt="Tiles per class in the training, validation and sealed test part of the split "
        + SETTINGS["split"].in_words(chosen),
    )
    missing = len(tiles) - int(frame["tiles"].sum())
    if missing:
        st.caption(f"{count(missing, 'tile')} in none of this split’s lists: left out.")


def _both(tiles: TileSet) -> None:
    """The two accuracies: the participant's own, else those recorded elsewhere; and how to get one's own."""
    lab, me = session.lab(), session.me()
    own = verdicts.both_splits(each for each in lab.store.all()[0] if each.owner == me)
    if own is not None:
        lesson.saw(say(verdicts.compare_splits(own)))
    elif (recorded := verdicts.recorded_both_splits()) is not None:
        found, made = recorded
        st.info(
            f"{say(verdicts.compare_splits(found))} {made['how']}",
            title="Recorded elsewhere, not on this machine",
            icon=":material/history:",
        )
    if tiles.source == "synthetic":
        return
    st.markdown(lesson.text("splits")["try"])
    with st.container(horizontal=True):
        for split, title in SETTINGS["split"].choices.items():
            problem = lab.library.place_problem() if split == "place" else ""
            if st.button(
                f"Set up a training: {title.lower()}",
                icon=":material/model_training:",
                key=f"tiles_train_{split}",
                disabled=bool(problem),
                help=lesson.plain(problem) or None,
            ):
                state.set_up(workshop_config(split=split, sealed_test=True))


_LARGE_TILE, _PLANE, _PATCH = 6, 3, 6
_STEPS = ("1 · Picture", "2 · Tensor", "3 · Normalised")


def draw_pipeline(tiles: TileSet) -> None:
    """A tile with a marked patch, and the numbers of that patch at the step that is chosen."""
    words = lesson.text("tiles")
    st.markdown(words["network"])
    fingerprint, number = st.session_state.get("tiles_large", ("", 0))  # the one last looked at closely, else the first
    tile = tiles.array[number if fingerprint == tiles.fingerprint else 0]
    entry = model_entry("baseline")
    values = pictures.normalised(tile, entry.mean, entry.std)
    step = st.segmented_control("Step", _STEPS, default=_STEPS[0], key="tiles_step", required=True)
    channel = st.segmented_control("Channel", pictures.CHANNELS, default="Red", key="tiles_channel", required=True)
    at = pictures.CHANNELS.index(channel)
    left, right = st.columns([2, 3], gap="medium")
    with left:
        top = st.slider("Patch: row", 0, TILE_SIDE - _PATCH, 29, key="tiles_patch_row")
        start = st.slider("Patch: column", 0, TILE_SIDE - _PATCH, 29, key="tiles_patch_column")
        alt = f"The tile with a frame around {_PATCH} by {_PATCH} pixels at row {top}, column {start}"
        framed(tile, _LARGE_TILE, (top, start, _PATCH), alt)
    scaled = tile.astype(np.float32) / 255
    now, form, shape, kind = {
        _STEPS[0]: (tile, "{:.0f}", f"[{TILE_SIDE}, {TILE_SIDE}, 3]", "uint8, 0 … 255"),
        _STEPS[1]: (scaled, "{:.3f}", f"[3, {TILE_SIDE}, {TILE_SIDE}]", "float32, 0 … 1"),
        _STEPS[2]: (values, "{:+.3f}", f"[3, {TILE_SIDE}, {TILE_SIDE}]", "float32, around 0"),
    }[step]
    with right:
        st.markdown(words[f"step {step[0]}"].format(mean=f"{entry.mean[at]:g}", std=f"{entry.std[at]:g}"))
        with st.container(horizontal=True):
            st.metric("Shape", shape, border=True)
            st.metric("Values", kind, border=True)
        st.table(
            pd.DataFrame(
                now[top : top + _PATCH, start : start + _PATCH, at],
                index=[str(row) for row in range(top, top + _PATCH)],  # as text, both are shown
                columns=[str(column) for column in range(start, start + _PATCH)],
            ).map(form.format),
            alt=f"The numbers of the framed pixels, {channel.lower()} channel, {step[4:]}",
        )
        pixel, share, value = tile[top, start, at], scaled[top, start, at], values[top, start, at]
        st.caption(
            f"Its first pixel: {pixel} → {pixel} / 255 = {share:.3f} → "
            f"({share:.3f} − {entry.mean[at]:g}) / {entry.std[at]:g} = {value:+.3f}"
        )
    st.markdown("**What the network gets: three tables of numbers**")
    limit = max((1 - mean) / std for mean, std in zip(entry.mean, entry.std, strict=True))
    with st.container(horizontal=True, gap="small"):
        planes = pictures.value_planes(values, _PLANE, limit)
        for name, plane in zip(pictures.CHANNELS, planes, strict=True):
            alt = f"{name} channel after normalisation"
            st.image(pictures.png_uri(plane), caption=name, alt=alt, width=TILE_SIDE * _PLANE)
    st.caption("Blue is below zero, orange above.")
    rows = {}
    for what, numbers, whole, mean in (("pixel", tile, "{:.0f}", "{:.1f}"), ("value", values, "{:+.2f}", "{:+.2f}")):
        for which, figure, form in (("lowest", np.min, whole), ("mean", np.mean, mean), ("highest", np.max, whole)):
            rows[f"{which} {what}"] = [form.format(each) for each in figure(numbers, axis=(0, 1))]
    st.table(
        pd.DataFrame.from_dict(rows, orient="index", columns=pictures.CHANNELS),
        alt="Lowest, mean and highest number of each channel before and after normalisation",
    )
    st.caption(
        f"value = (pixel / 255 − mean) / std, with mean {entry.mean[0]:g} and std {entry.std[0]:g} for each channel: "
        f"the preprocessing of the {entry.title}."
    )


_PER_PAGE = 24
_LARGE = 8  # times enlarged
_AT_A_GLANCE = 24  # classes of which an example is shown above the views
_ACROSS = f"the tile is 640 m wide: {TILE_SIDE} pixels of {pictures.METRES_PER_PIXEL} m."
_SCALE = {
    "eurosat": f"The bar is 200 m long; {_ACROSS}",
    "synthetic": f"If it were real: the bar is 200 m long; {_ACROSS}",
    "folder": f"{TILE_SIDE} × {TILE_SIDE} pixels.",
}
_SHOWS = {each.name: each.shows for each in CLASSES}


@st.cache_data(show_spinner=False, max_entries=8)
def _colours(fingerprint: str, _tiles: TileSet) -> ColourTest | None:
    return colour_test(_tiles.statistics.means, _tiles.labels.numpy(), _tiles.class_names)


def one_of_each(tiles: TileSet) -> None:
    """One example tile of each class that has any, of the first ones where there are many."""
    labels, there = tiles.labels.numpy(), classes_there(tiles)
    shown = there[:_AT_A_GLANCE]
    row_of(
        tiles,
        [int(pictures.tiles_of_class(labels, tiles.class_names.index(name), _seed())[0]) for name in shown],
        [titles_of(tiles)[name] for name in shown],
        [f"A tile of {pictures.class_titles((name,))[name]}" for name in shown],
    )
    if len(there) > len(shown):
        st.caption(f"{len(there) - len(shown)} more classes can be chosen below, under Browse.")


@st.fragment
def views(tiles: TileSet) -> None:
    """The choice of views and the one that is open. A fragment: only this is drawn again."""
    drawn = {
        "Browse": _browse,
        "Class averages": averages,
        "All tiles in one chart": draw_scatter,
        "Typical and odd": typical_and_odd,
        "From picture to numbers": draw_pipeline,
        "Splits": draw_split,
    }
    chosen = lesson.one_of("View", list(drawn), "tiles_view", default="Browse", hidden=True)
    drawn[chosen](tiles)


def _browse(tiles: TileSet) -> None:
    """Pills for the class, a page of its tiles, and one of them large."""
    name = lesson.one_of(
        "Class", tiles.class_names, "tiles_class", titles=lambda each: class_label(tiles, each), pills=True
    )
    title = pictures.class_titles((name,))[name]
    members = pictures.tiles_of_class(tiles.labels.numpy(), tiles.class_names.index(name), _seed())
    if not len(members):
        st.info("This class has no tiles in this set.")
        return
    shows = f": {_SHOWS[name]}" if name in _SHOWS else ""
    st.markdown(f"**{lesson.plain(title)}**{shows}. {len(members):,} tiles.")

    slot = st.container()
    with st.container(horizontal=True, vertical_alignment="center"):
        page = st.pagination(-(-len(members) // _PER_PAGE), key=f"tiles_page_{name}", persist_state="session")
        if st.button(
            "Another sample",
            icon=":material/shuffle:",
            help="Draws other tiles at random, here and where all classes are shown.",
        ):
            st.session_state["tiles_seed"] = secrets.randbelow(9999) + 1
            st.rerun()  # the whole page, for the view of all classes stands outside of this fragment
    shown = members[(page - 1) * _PER_PAGE : page * _PER_PAGE].tolist()
    with slot:
        captions = [str(at) for at in range(1, len(shown) + 1)]
        row_of(tiles, shown, captions, [f"{title}, tile {at} of this page" for at in captions])
    at = st.number_input(
        "Look at one closely: its number on this page",
        min_value=1,
        max_value=len(shown),
        value=1,
        key=f"tiles_at_{name}_{page}_{_seed()}",
        width=320,
    )
    number = shown[int(at) - 1]
    st.session_state["tiles_large"] = (tiles.fingerprint, number)  # the view of the pipeline takes it up
    left, right = st.columns([1, 1], gap="medium")
    with left:
        # How much ground a picture of the user's own shows is not known: no scale bar then.
        large(tiles.array[number], _LARGE, f"Tile {number}, {title}", scaled=tiles.source != "folder")
        st.caption(f"{lesson.plain(tiles.names[number])}. {_SCALE[tiles.source]}")
    with right:
        st.markdown("**How bright is each colour channel?**")
        st.altair_chart(
            tile_charts.channel_histograms(tile_charts.channel_histograms_frame(tiles.array[number])),
            key="tiles_histograms",
            alt="Histogram of pixel values of the red, green and blue channel",
        )


def saw_colours(tiles: TileSet, guess: str | None) -> None:
    """The page's computed sentence: how far average colour alone gets on these tiles."""
    test = _colours(tiles.fingerprint, tiles)
    if test is None:
        lesson.saw("These classes hold too few tiles to try how far colour alone gets.")
        return
    judged = guesses.judge("colour_alone", guess, test.accuracy)
    found = colour_finding(test, titles_of(tiles), synthetic=tiles.source == "synthetic")
    lesson.saw(" ".join(say_each([found, judged])))
