"""The button that starts a training, what it waits for, and its lines of PyTorch."""

from dataclasses import replace

import streamlit as st

from eurosat_core.data.weights import WEIGHTS
from eurosat_core.errors import LabError
from eurosat_core.models.catalog import CATALOG
from eurosat_core.training import choices
from eurosat_core.training.config import SETTINGS, TrainConfig, workshop_config
from eurosat_core.wording import count, device_name, duration, filled
from pages.parts import lesson, room, run_widget, session
from pages.parts.tiles import get
from pages.parts.train import state

_BUNDLED = "efficientnet_lite0"  # its weights come with the packages


def draw_missing_weights(config: TrainConfig) -> bool:
    """Whether weights are missing; then it is said, with a download, random ones and the bundled model to choose."""
    problem = session.lab().library.missing_weights(config)
    if not problem:
        return False
    with st.container(border=True):
        st.warning(lesson.plain(problem), title="Pretrained weights are missing", icon=":material/inventory_2:")
        megabytes = WEIGHTS[CATALOG[config.model].weights].megabytes
        get.button("weights", f"Download the weights ({megabytes} MB)")
        with st.container(horizontal=True):
            if config.model != _BUNDLED:
                st.button(
                    f"Take {CATALOG[_BUNDLED].title} instead",
                    icon=":material/swap_horiz:",
                    key="weights_bundled",
                    on_click=state.refill,
                    args=(workshop_config(_BUNDLED),),
                )
            st.button(
                "Train from random weights",
                icon=":material/casino:",
                key="weights_random",
                on_click=_take_random,
                help="The frozen part then knows nothing: see what pretraining is worth.",
            )
    return True


def _take_random() -> None:
    st.session_state["train_pretrained"] = False


def submit(config: TrainConfig | None = None) -> None:
    """Ask the lab for a run and look at it; what stands against it is shown under the button. For callbacks.

    Args:
        config: What to train; by default the settings as they stand.
    """
    lab, me = session.lab(), session.me()
    record = session.submit("train", lambda: lab.submit(config or state.draft(), me))
    if record is not None:
        session.open_run(record.id)


def draw_start() -> None:
    """What was changed, the button with its estimate, and a smaller version of a long training."""
    lab = session.lab()
    opened = lab.tiles()
    tiles = opened.tile_set
    try:
        config = state.draft()
    except LabError as error:
        st.button(
            "Train", icon=":material/play_arrow:", type="primary", disabled=True, width="stretch", key="train_start"
        )
        st.error(lesson.plain(str(error)), icon=":material/edit:")
        return
    _changes(config, len(tiles) if tiles else None)
    weights_missing = draw_missing_weights(config)
    refused = room.no_runs(config)
    estimate = lab.estimates.training(config)
    about = f" · about {duration(estimate.seconds)}" if estimate else ""
    st.button(
        f"Train on {device_name(config.device)} · {count(config.epochs, 'epoch')}{about}",
        icon=":material/play_arrow:",
        type="primary",
        width="stretch",
        key="train_start",
        shortcut="Mod+Enter",
        on_click=submit,
        disabled=tiles is None or weights_missing or refused,
    )
    lesson.problem("train")
    if tiles is None:
        room.no_tiles_yet("There are no tiles to train on. ")
    elif estimate is None:
        run_widget.wait_for(lambda: session.lab().estimates.training(config) is not None, lambda: no_estimate(config))
    else:
        if estimate.is_rough and lab.estimates.is_measuring(
            config
        ):  # until the network itself was measured, or will not be
            run_widget.wait_for(
                lambda: lab.estimates.sure_seconds(config) is not None or not lab.estimates.is_measuring(config)
            )
        words = [estimate.basis]
        if state.chosen_by_lab():
            words.append("Epochs and tiles are chosen so that it ends within a minute here.")
        if (choice := lab.estimates.form_choice(config)) is not None:
            words.append(f"Computed in {choices.form_text(choice)}.")
        st.caption(lesson.plain(" ".join(words)))
        _offer_smaller(config, len(tiles))


def no_estimate(config: TrainConfig) -> str:
    """Why there is no estimate of the time."""
    if session.lab().estimates.is_measuring(config):
        return "How long it takes is being tried for a moment; you need not wait for that."
    return "How long it takes is not known: this network was never measured on this device."


def _changes(config: TrainConfig, there: int | None) -> None:
    """What differs from the lesson's settings of this recipe, as badges."""
    lab, base = session.lab(), workshop_config(config.model, config.recipe, device=config.device)
    # What is left to the device is the same as what it would choose.
    base, config = lab.estimates.settled(base), lab.estimates.settled(config)
    if state.chosen_by_lab():
        base = replace(base, epochs=config.epochs, tiles=config.tiles, stratified=config.stratified)
    different = choices.changed(config, base, leave_out=("device", "recipe"))
    if config.tiles is None and base.tiles is not None and there is not None and there <= base.tiles:
        different.pop("tiles", None)  # the lesson's 6,000 are all there are
    if different:
        st.markdown(
            "Changed: "
            + " ".join(
                f":orange-badge[{SETTINGS[name].title} {now} (was {was})]" for name, (now, was) in different.items()
            )
        )


def _offer_smaller(config: TrainConfig, there: int) -> None:
    """Above two minutes: a shorter version, one click away."""

    def seconds(other: TrainConfig) -> float | None:
        estimate = session.lab().estimates.training(other)
        return estimate.seconds if estimate else None

    smaller = choices.smaller_version(config, seconds, there)
    if smaller is None:
        return
    shorter, needs = smaller
    st.button(
        f"{count(shorter.epochs, 'epoch')} on {count(shorter.tiles or there, 'tile')} · {duration(needs)}",
        icon=":material/timer:",
        help="Use this smaller version instead; its time is an estimate, too.",
        width="stretch",
        key="train_smaller",
        on_click=state.refill,
        args=(shorter,),
    )


def code(config: TrainConfig) -> tuple[str, str]:
    """On the CPU, which knows no CUDA graphs, and on a GPU.

    What `config` leaves to the device is shown as PyTorch does it by itself.
    """
    how = {name: getattr(config, name) for name in ("precision", "channels_last", "execution")}
    on_cpu, on_gpu = (filled("pytorch/train.py.j2", device=device, **how) for device in ("cpu", "cuda"))
    return on_cpu, on_gpu
