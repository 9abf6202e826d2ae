"""Recording a profile: what is recorded, the plan drawn as a strip of steps, and the buttons with their estimates."""

import streamlit as st

from eurosat_core import wording
from eurosat_core.charts import profiling as charts
from eurosat_core.errors import LabError
from eurosat_core.lab import choices, profile_frames, profile_words
from eurosat_core.models.catalog import CATALOG
from eurosat_core.profiling.plan import ProfilePlan
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.recipes import recipes_of
from pages.parts import lesson, missing_weights, profiler_state, room, session, train_more, train_start
from pages.parts.profiler_state import key

__all__ = ["draw", "strip"]

_SOURCES = ("loader", "memory")


def draw() -> None:
    """The form, the plan, and Record."""
    words = lesson.text("profiler")
    _count, why = profiler_state.refilled()
    if why:
        st.info(lesson.plain(why), icon=":material/edit:")
    left, right = st.columns(2, gap="medium")
    with left:
        _settings()
    with right:
        st.caption(words["record"])
        try:
            plan = profiler_state.plan()
        except LabError as error:
            plan = None
            st.error(lesson.plain(str(error)), icon=":material/edit:")
        if plan is not None:
            strip(plan)
            st.caption(words["plan"])
    _buttons(plan)


def strip(plan: ProfilePlan, done: int | None = None) -> None:
    """The steps of a plan. done: how many have been made; None before it begins."""
    st.vega_lite_chart(
        profile_frames.plan_frame(plan, done),
        charts.plan_strip(-(-plan.total_steps // plan.cycle_steps), plan.cycle_steps),
        key="profiler_plan" if done is None else "profiler_plan_live",
        alt=f"The steps of the recording, one line for each cycle. {profile_words.plan_words(plan)}",
    )
    if done is None:
        st.markdown(profile_words.plan_words(plan))


def _settings() -> None:
    st.selectbox(
        "Model",
        list(CATALOG),
        format_func=lambda name: CATALOG[name].title,
        key=key("model"),
        on_change=profiler_state.take_recipe,
        persist_state="session",
        help="Of “Your own network”, the one in the Train page’s settings.",
    )
    st.segmented_control(
        "Recipe",
        recipes_of(profiler_state.model()),
        format_func=lambda name: choices.RECIPE_NAMES[name],
        key=key("recipe"),
        on_change=profiler_state.take_recipe,
        required=True,
        persist_state="session",
        width="stretch",
        help="Tutorial’s way opens picture files with a DataLoader: that is what there is to see.",
    )
    left, right = st.columns(2, wrap=False)
    with left:
        st.number_input("Batch size", step=8, key=key("batch_size"), persist_state="session", help="Tiles of one step.")
    with right:
        st.number_input(
            "Loader workers",
            step=1,
            key=key("workers"),
            disabled=st.session_state[key("source")] != "loader",
            persist_state="session",
            help="Processes that open pictures ahead. 0: the training does it itself, and the trace shows all of it.",
        )
    _more()


def _more() -> None:
    with st.popover("More", icon=":material/tune:"):
        st.segmented_control(
            "Tiles come from",
            _SOURCES,
            format_func=lambda name: choices.in_words("source", name),
            key=key("source"),
            required=True,
            persist_state="session",
        )
        train_more.draw_form(key)
        with st.container(horizontal=True):
            st.toggle(
                "Pinned memory",
                key=key("pin_memory"),
                persist_state="session",
                disabled=not session.chosen_device().startswith("cuda"),
                help="For copies to a CUDA GPU that go on beside other work.",
            )
        st.markdown("**The plan of each cycle**")
        with st.grid(2, min_column_width=120):
            st.number_input("Pass by", step=1, key=key("wait"), persist_state="session")
            st.number_input("Warm-up", step=1, key=key("warmup"), persist_state="session")
            st.number_input("Recorded", step=1, key=key("active"), persist_state="session")
            st.number_input("Cycles", step=1, key=key("repeat"), persist_state="session")
        st.toggle(
            "Record memory", key=key("memory"), persist_state="session", help="What is taken and given back, and when."
        )


def _buttons(plan: ProfilePlan | None) -> None:
    lab = session.lab()
    tiles = lab.tiles()
    try:
        config = profiler_state.draft()
    except LabError as error:
        st.error(lesson.plain(str(error)), icon=":material/edit:")
        config = None
    if config is None or plan is None:
        st.button("Record", icon=":material/radio_button_checked:", type="primary", disabled=True, key="profiler_start")
        return
    lacking = missing_weights.draw(config)
    idle = room.no_runs(config) or tiles.tile_set is None or lacking
    with st.container(horizontal=True):
        record_button("profiler_start", [config], plan, disabled=idle)
        gpu = _gpu()
        if gpu:
            _both(gpu, plan, disabled=idle)
    if problem := st.session_state.get(profiler_state.PROBLEM):
        st.error(lesson.plain(problem), icon=":material/error:")
    estimate = lab.estimate_profile(config, plan)
    if tiles.tile_set is None:
        st.caption(lesson.plain(tiles.problem) if tiles.problem else "The tiles are still being opened.")
    elif estimate is not None:
        st.caption(lesson.plain(estimate.basis))
    else:
        st.fragment(_wait_for_estimate, run_every=1.0)(config, plan)


def record_button(
    name: str, configs: list[TrainConfig], plan: ProfilePlan, *, what: str = "Record", disabled: bool = False
) -> None:
    """A button that records a profile of each config, with the seconds that takes. name: its key."""
    estimates = [session.lab().estimate_profile(each, plan) for each in configs]
    seconds = sum(each.seconds for each in estimates if each is not None)
    about = f" · about {wording.duration(seconds)}" if None not in estimates else ""
    where = "" if len(configs) > 1 else f" on {wording.device_name(configs[0].device)}"
    st.button(
        f"{what}{where}{about}",
        icon=":material/radio_button_checked:",
        type="primary" if len(configs) == 1 else "secondary",
        key=name,
        on_click=profiler_state.submit,
        args=(configs,),
        disabled=disabled,
    )


def _gpu() -> str:
    """The GPU to record on after the CPU: the chosen one, else the first that is available; empty without any."""
    chosen = session.chosen_device()
    found = [each.id for each in session.lab().devices() if each.available and each.id != "cpu"]
    return chosen if chosen in found else found[0] if found else ""


def _both(gpu: str, plan: ProfilePlan, *, disabled: bool) -> None:
    configs = [profiler_state.draft(device) for device in ("cpu", gpu)]
    record_button("profiler_both", configs, plan, what=f"CPU, then {wording.device_name(gpu)}", disabled=disabled)


def _wait_for_estimate(config: TrainConfig, plan: ProfilePlan) -> None:
    """Draw the page again as soon as there is an estimate: it is being measured, unless something runs."""
    lab = session.lab()
    if lab.estimate_profile(config, plan) is not None:
        st.rerun()
    st.caption(train_start.no_estimate(config))
