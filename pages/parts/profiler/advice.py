"""Advice and what to do with it, and the door to TensorBoard."""

from dataclasses import replace

import streamlit as st

from eurosat_core.errors import LabError
from eurosat_core.profiling.advice import Advice
from eurosat_core.runs.profiles import Profile, Reading
from eurosat_core.tensorboard.process import PATH_PREFIX, SHOWN_PROFILES, SHOWN_TRAININGS, plugin_problem
from eurosat_core.training.config import SETTINGS, TrainConfig, settings_of, workshop_config
from eurosat_core.training.recipes import RECIPE_SETTINGS
from eurosat_core.wording import count
from eurosat_core.words.say import say
from pages.parts import lesson, session
from pages.parts.profiler import record, state
from pages.parts.train import state as train_state


def draw_advice(profile: Profile, reading: Reading) -> None:
    """All advice, what matters most first; an honest sentence where there is none."""
    words = lesson.text("profiler")
    found = reading.advice(profile.config)
    if not found and reading.overview.unseen_device:
        reason = lesson.plain(profile.unseen_reason) or words["no advice unseen remedy"]
        st.info(f"{words['no advice unseen']} {reason}", icon=":material/visibility_off:")
        return
    if not found:
        st.success(words["no advice"], icon=":material/thumb_up:")
        return
    st.caption(words["advice"])
    for number, each in enumerate(found):
        with st.container(border=True):
            st.markdown(f"**{number + 1}. {lesson.plain(say(each.title))}**")
            st.markdown(f"{lesson.plain(say(each.evidence))} **{lesson.plain(say(each.remedy))}**")
            if each.change:
                _buttons(profile, each)


def _base(profile: Profile) -> TrainConfig | None:
    """The settings that the change goes on top of: the profile's own, on the device chosen now, else the form's."""
    device = session.chosen_device()
    try:
        if profile.config is None:
            return state.draft()
        pinned = profile.config.pin_memory and device.startswith("cuda")
        return replace(profile.config, device=device, pin_memory=pinned).checked()
    except LabError:
        return None


def _buttons(profile: Profile, advice: Advice) -> None:
    base = _base(profile)
    if base is None:
        return
    try:
        changed = replace(base, **advice.change).checked()
        trained = _training(changed)
        plan = state.plan()
    except LabError as error:
        st.caption(lesson.plain(str(error)))
        return
    what = ", ".join(
        f"{SETTINGS[name].title.lower()} {SETTINGS[name].in_words(value)}" for name, value in advice.change.items()
    )
    filled = st.session_state.get("profiler_advised") == advice.key
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"Change: *{what}*")
        st.button(
            "Set it for the next profile",
            icon=":material/tune:",
            key=f"profiler_advice_{advice.key}",
            on_click=_set,
            args=(changed, advice.key, what),
            help="Fills in the form at the top of the page with this profile’s settings and this change.",
        )
        if filled and _is_in_form(changed):
            record.record_button("profiler_start_advised", [changed], plan, what="Record it now")
        if st.button(
            "Train with it",
            icon=":material/model_training:",
            key=f"profiler_train_{advice.key}",
            help="Opens the Train page with this change already made.",
        ):
            train_state.set_up(trained)


def _is_in_form(config: TrainConfig) -> bool:
    try:
        return state.draft() == config
    except LabError:
        return False


def _set(config: TrainConfig, advice: str, what: str) -> None:
    state.refill(config, f"Set as advised: {what}. Press Record, then both profiles stand side by side.")
    st.session_state["profiler_advised"] = advice


def _training(config: TrainConfig) -> TrainConfig:
    """A training of the lesson's length with a profile's settings. Raises `ConfigError`."""
    kept = {name: getattr(config, name) for name in (*RECIPE_SETTINGS, *settings_of("feed"), "network")}
    return workshop_config(config.model, config.recipe, device=config.device, **kept)


def address() -> str:
    """Where this server shows TensorBoard, as the browser asks for it."""
    base = (st.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{base}{PATH_PREFIX}/" if base else f"{PATH_PREFIX}/"


def draw_tensorboard() -> None:
    """What is in it, a link that opens in a new tab, and what its profiler tab needs."""
    words = lesson.text("profiler")
    lab = session.lab()
    state = lab.tensorboard.state()
    with st.expander("The same in TensorBoard", icon=":material/open_in_new:"):
        no_tab = plugin_problem()
        st.markdown(words["tensorboard"] if no_tab else f"{words['tensorboard']} {words['tensorboard profiles']}")
        if state.phase == "failed":
            st.warning(lesson.plain(state.problem), title="Not available now", icon=":material/power_off:")
        elif no_tab:
            st.info(lesson.plain(no_tab), icon=":material/tab_close:")
        records = lab.store.all()[0]
        trainings = min(sum(each.kind == "train" for each in records), SHOWN_TRAININGS)
        profiles = min(sum(each.kind == "profile" and not each.is_active for each in records), SHOWN_PROFILES)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.link_button("Open TensorBoard", address(), icon=":material/open_in_new:", key="open_tensorboard")
            inside = (
                f"{count(trainings, 'training')} of this lab, the newest ones"
                if no_tab
                else f"{count(trainings, 'training')} and {count(profiles, 'profile')} of this lab, the newest ones, "
                "and the recorded example"
            )
            st.caption(f"In it: {inside}. {_ABOUT[state.phase]}")
        if not no_tab:
            st.caption(f":material/wifi: {words['tensorboard internet']}")


_ABOUT = {
    "stopped": "It starts when it is opened, which takes some seconds.",
    "starting": "It is starting.",
    "running": "It is running.",
    "failed": "",
}
