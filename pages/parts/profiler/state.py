"""What the Profiler page is about: the settings of the next profile, and which one is looked at (in the address)."""

from contextlib import suppress

import streamlit as st

from eurosat_core.errors import LabError, TraceError
from eurosat_core.models.catalog import CATALOG
from eurosat_core.profiling.plan import ProfilePlan, profile_config
from eurosat_core.runs.profiles import RECORDED, Profile, recorded_profile
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.config import SETTINGS, TrainConfig
from eurosat_core.training.recipes import recipes_of
from pages.parts import forms, session

PART = "profiler_part"  # key of the choice of what is open
UPLOADS = "profiler_uploads"  # keys of the traces that were uploaded in this session
_TRACE = "profiler_trace"  # of what is no run: `recorded`, or an uploaded trace's key
OTHER = "profiler_other"  # key of the choice of what is put beside it
_FILLED = "profiler_filled"  # how often the form was filled in by a button: it opens then
_WHY = "profiler_why"
_EDITED = (
    "model",
    "recipe",
    "batch_size",
    "workers",
    "source",
    "precision",
    "channels_last",
    "stem_pool",
    "pin_memory",
)
_PLANNED = ("wait", "warmup", "active", "repeat", "memory", "details")
_SHOWN_RUNS = 30


def key(name: str) -> str:
    return f"profiler_{name}"


# -- the settings of the next profile


def prepare() -> None:
    """Fill in the tutorial's settings where there are none yet. Call it before the others."""
    if key("batch_size") not in st.session_state:
        refill(profile_config("baseline"))
        for name, value in ProfilePlan().to_dict().items():
            if name in _PLANNED:
                st.session_state[key(name)] = value


def refill(config: TrainConfig, why: str = "") -> None:
    """Put a config's values into the form, and open it. why: what is said above it. In a callback, or before it."""
    forms.fill(_EDITED, key, config)
    st.session_state[_WHY] = why
    st.session_state[_FILLED] = st.session_state.get(_FILLED, 0) + 1


def refilled() -> tuple[int, str]:
    """How often the form was filled in, and why it was last; empty when nobody asked for it."""
    return st.session_state.get(_FILLED, 0), st.session_state.get(_WHY, "")


def model() -> str:
    """The model that is chosen, by its name in the catalog."""
    name: str = st.session_state[key("model")]
    return name


def take_recipe() -> None:
    """A recipe sets everything in the form. For callbacks."""
    state = st.session_state
    if state[key("recipe")] not in recipes_of(model()):
        state[key("recipe")] = "tutorial"
    refill(profile_config(model(), state[key("recipe")]))


def entered(device: str = "") -> TrainConfig:
    """The form as it stands, whether or not its settings go together, on a device (the chosen one by default)."""
    return forms.entered(_EDITED, key, device or session.chosen_device())


def draft(device: str = "") -> TrainConfig:
    """The form as it stands, on a device (the chosen one by default). Raises `ConfigError` with a sentence."""
    form = entered(device)
    values = {name: getattr(form, name) for name in (*_EDITED, "device") if SETTINGS[name].applies(form)}
    if model() == "custom":
        values["network"] = st.session_state.get("train_network", "")
    if CATALOG[model()].is_pretrained:
        values["pretrained"] = st.session_state.get("train_pretrained", True)
    return profile_config(**values)


def plan() -> ProfilePlan:
    """The plan as it stands in the form. Raises `ConfigError` with a sentence."""
    return ProfilePlan.from_dict({name: st.session_state[key(name)] for name in _PLANNED})


def in_short() -> str:
    """The form in a line, for when it is folded away."""
    return f"{CATALOG[model()].title} · batch {st.session_state[key('batch_size')]}"


# -- asking for a profile


def submit(configs: list[TrainConfig]) -> None:
    """Ask the lab for a profile of each, look at the last one, and keep the one before beside it. For callbacks."""
    before: Profile | None = None
    with suppress(LabError):  # the run in the address may be gone
        before = current()[1]
    lab, me = session.lab(), session.me()
    made = session.submit("profiler", lambda: [lab.submit_profile(each, plan(), me) for each in configs])
    if not made:
        return
    choose(made[-1].id)
    if len(made) > 1:
        st.session_state[OTHER] = made[0].id
    elif before is not None and before.origin == "run":
        st.session_state[OTHER] = before.key
        st.session_state[PART] = "compare"  # what the second profile is recorded for
    st.session_state[_WHY] = ""


# -- what is looked at


def choose(name: str) -> None:
    """Look at a run (its id), an uploaded trace (its key) or the recorded example. For callbacks."""
    if "-" in name:
        _keep_trace("")
        session.open_run(name)
    else:
        session.leave_run()
        _keep_trace(name)


def current() -> tuple[RunRecord | None, Profile | None, str]:
    """The run that is looked at, if it is one; the profile, if there is one yet; and why there is none, if one asked.

    Without any choice it is the newest of one's own, else the recorded example. Puts it into the address.
    """
    lab = session.lab()
    asked = st.query_params.get("trace", "")[:40]
    if not asked and session.current_kind(gone="profile") != "profile":  # another page was open in between
        asked = st.session_state.get(_TRACE, "")
    if asked == RECORDED:
        _keep_trace(asked)
        return None, *_example()
    if asked:
        uploaded = lab.profiles.uploaded(asked)
        if uploaded is not None:
            _keep_trace(asked)
            return None, uploaded, ""
        _keep_trace("")
        return None, None, "The uploaded trace is no longer in the lab’s memory. Upload it again."
    _keep_trace("")  # a profile was chosen instead
    run_id = session.page_run("profile")
    if run_id is None:
        own = own_profiles()
        if not own:
            return None, *_example()
        run_id = own[0].key
        session.open_run(run_id)
    record = lab.store.get(run_id)
    profile = lab.profiles.of_run(record)
    return record, profile if profile.cycles and not record.is_active else None, ""


def _keep_trace(name: str) -> None:
    st.session_state[_TRACE] = name
    session.write("trace", name)


def _example() -> tuple[Profile | None, str]:
    """The recorded example, or why there is none: everything else works without it."""
    try:
        return recorded_profile(), ""
    except TraceError as error:
        return None, str(error)


def own_profiles() -> list[Profile]:
    """Own profiles that left a trace, the newest first."""
    lab = session.lab()
    ended = [each for each in session.own_runs("profile") if not each.is_active]
    found = [lab.profiles.of_run(each) for each in ended[:_SHOWN_RUNS]]
    return [each for each in found if each.cycles]


def earlier(shown: Profile | None) -> list[Profile]:
    """All that can be chosen: own ones, the newest first, what is shown, what was uploaded here, the example."""
    lab = session.lab()
    found = own_profiles()
    uploaded = [lab.profiles.uploaded(each) for each in st.session_state.get(UPLOADS, [])]
    found += [each for each in uploaded if each is not None]
    if shown is not None and shown.key not in [each.key for each in found] and shown.key != RECORDED:
        found.insert(0, shown)
    recorded, _ = _example()
    return [*found, recorded] if recorded is not None else found


def others(shown: Profile) -> dict[str, Profile]:
    """What can be put beside the shown profile, by key. The choice (`OTHER`) is then one of them."""
    found = {each.key: each for each in earlier(shown) if each.key != shown.key}
    if found and st.session_state.get(OTHER) not in found:
        st.session_state[OTHER] = next(iter(found))
    return found
