"""What the next transfer is asked for, its costs, and the button; and the runs so far."""

import streamlit as st

from eurosat_core.analysis.guesses import asked
from eurosat_core.analysis.transfer import plan_of
from eurosat_core.data.decoding import TILE_SIDE
from eurosat_core.errors import LabError
from eurosat_core.models.catalog import CATALOG
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.transfer import TransferPlan, transfer_config
from eurosat_core.wording import device_name, duration, factor
from eurosat_core.words.say import say
from pages.parts import forms, lesson, room, run_widget, session

QUESTION = say(asked("transfer_labels")[0])
PLAN = TransferPlan()
_TILES = (1500, 6000)
_SIDES = (64, 96, 128)
_SPLIT, _USED, _SIDE = (f"transfer_{name}" for name in ("split", "tiles", "side"))


def draw() -> None:
    """The settings and the button."""
    tiles = session.lab().tiles().tile_set
    there = len(tiles) if tiles else None
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            titles = {"random": "At random", "place": "By place"}
            split = lesson.one_of("Judged on tiles divided", titles, _SPLIT)
            options = [*(each for each in _TILES if there is None or each < there), forms.ALL_TILES]
            used = lesson.one_of(
                "Tiles", options, _USED, default=_usual(options), titles=lambda each: f"{each:,}" if each else "All"
            )
            side = lesson.one_of("Input size (pixels)", _SIDES, _SIDE, default=transfer_config().input_side)
        try:
            config = _config(split, used, side)
        except LabError as error:
            st.error(lesson.plain(str(error)), icon=":material/edit:")
            return
        _costs(config)
        _button(config)


def _usual(options: list[int]) -> int:
    """Few enough that it is over in a minute or two."""
    return max((each for each in options if each), default=forms.ALL_TILES)


def _config(split: str, used: int, side: int) -> TrainConfig:
    return transfer_config(
        split=split,
        tiles=used or None,
        stratified=split == "random",
        input_side=side,
        device=session.chosen_device(),
    )


def _costs(config: TrainConfig) -> None:
    """Multiplications of a tile, beside those at its own size."""
    summary = session.lab().estimates.model_summary
    try:
        macs, usual = (
            summary(each).macs for each in (config.architecture, config.architecture._replace(input_side=TILE_SIDE))
        )
    except LabError:
        return
    words = lesson.text("transfer")["cost" if config.input_side != TILE_SIDE else "cost usual"]
    title, millions = CATALOG[config.model].title, f"{macs / 1e6:.0f}"
    st.caption(words.format(title=title, side=config.input_side, macs=millions, times=factor(macs / usual)))


def _button(config: TrainConfig) -> None:
    lab = session.lab()
    problem = lab.library.missing_weights(config)
    if problem:
        st.warning(lesson.plain(problem), title="Pretrained weights are missing", icon=":material/inventory_2:")
    refused = room.no_runs()
    estimate = lab.estimates.transfer(config, PLAN)
    about = f" · about {duration(estimate.seconds)}" if estimate else ""
    active = any(each.is_active for each in _own())
    no_tiles = lab.tiles().tile_set is None
    st.button(
        f"See what it knows on {device_name(config.device)}{about}",
        icon=":material/play_arrow:",
        type="primary",
        width="stretch",
        key="transfer_start",
        shortcut="Mod+Enter",
        on_click=_submit,
        args=(config,),
        disabled=bool(problem) or refused or active or no_tiles,
    )
    lesson.problem("transfer")
    if no_tiles:
        room.no_tiles_yet("There are no tiles to look at. ")
    elif estimate is None:
        run_widget.wait_for(lambda: lab.estimates.transfer(config, PLAN) is not None)
    else:
        st.caption(lesson.plain(estimate.basis))


def _submit(config: TrainConfig) -> None:
    lab, me = session.lab(), session.me()
    record = session.submit("transfer", lambda: lab.submit_transfer(config, PLAN, me))
    if record is not None:
        session.open_run(record.id)


def _own() -> list[RunRecord]:
    """One's own runs that learn; others only compute features."""
    return [each for each in session.own_runs("transfer") if plan_of(each).learns]


def newest() -> RunRecord | None:
    """One's own run that is under way, else the newest that found something; None without any."""
    runs = _own()
    found = session.lab().transfers.runs(session.me())
    return next((each for each in runs if each.is_active), next(iter(found), None))


def earlier(shown: RunRecord | None) -> None:
    """One's transfers so far, to be looked at again."""
    runs = _own()[:40]
    if len(runs) < 2:
        return
    run_widget.choose(
        f"Your transfers ({len(runs)})",
        {each.id: _title(each) for each in runs},
        shown.id if shown is not None else None,
        key=f"transfer_earlier_{''.join(each.state[:1] for each in runs)}",
        take=session.open_run,
        placeholder="Look at an earlier one",
    )


def _title(record: RunRecord) -> str:
    split = "by place" if record.config.split == "place" else "at random"
    used = f"{record.config.tiles:,} tiles" if record.config.tiles else "all tiles"
    how = "" if record.state == "finished" else f" · {record.state}"
    return f"{split} · {used} · {record.config.input_side} pixels{how} · {run_widget.made_at(record)} UTC"
