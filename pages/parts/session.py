"""What one participant's session knows: whose it is, chosen device, current run.

Who it is says the browser's cookie, or the provider that somebody signed in through, and nothing that somebody could
write into an address. The run also stands in the URL (`?run=…`), so a refresh, a second tab and a page switch find it
again: a refresh starts a new session that reads it from the URL, a page switch drops it from the URL and `keep_in_url`
puts it back from the session.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import streamlit as st

from eurosat_core.classroom.cookie import new_secret, secret_in
from eurosat_core.classroom.looking import View
from eurosat_core.errors import LabError, RunError
from eurosat_core.lab.instructor import Instructor
from eurosat_core.lab.lab import Lab, current_lab
from eurosat_core.lab.onlooker import onlooker
from eurosat_core.runs.record import RunRecord
from pages.parts import account

T = TypeVar("T")

_SECRET = "secret"
_RUN = "run"
_LAST = "last_runs"  # by kind of run, which one was looked at last
_SEES = "sees"  # whose page this session shows
_DEVICE = "device"  # also the key of the device switch in the sidebar


def lab() -> Lab:
    """The lab of this server (tests inject theirs with `set_current_lab`); one to look at on somebody else's page."""
    whose = seen()
    if not whose:
        return current_lab()
    look_at(whose)  # whether that may still be
    return onlooker(current_lab())


def seen() -> str:
    """Id of the participant whose page this session shows; empty for one's own."""
    whose: str = st.session_state.get(_SEES, "")
    return whose


def look_at(participant_id: str) -> View:
    """What somebody sees; this session shows it from now on. Raises `RunError` where that is not allowed."""
    view = current_lab().instructor(_leading()).view(participant_id)
    st.session_state[_SEES] = participant_id
    return view


def show_to_instructor() -> None:
    """Let the instructor see this participant's page. Raises `RunError` while the hand is down."""
    lab().views.allow(me())


def show_no_more() -> None:
    """Take that back."""
    lab().views.withdraw(me())


def secret() -> str:
    """What this browser proves who it is with: whoever signed in, else its cookie, else a secret of this session."""
    return account.secret() or _of_browser()


def _of_browser() -> str:
    """The secret of this browser alone, whoever signed in."""
    kept: str = secret_in(st.context.cookies) or st.session_state.setdefault(_SECRET, new_secret())
    return kept


def keeps_cookies() -> bool:
    """Whether a reload of the page, or another tab, is the same participant."""
    return bool(account.secret() or secret_in(st.context.cookies))


def me() -> str:
    """Id of the participant: owner of the own runs, guesses and networks."""
    return seen() or lab().participants.enter(secret(), wanted=_suggested()).id


def _suggested() -> str:
    """What the provider calls whoever signed in."""
    signed_in = account.current()
    return signed_in.name if signed_in else ""


def nickname() -> str:
    """How this participant is called, by everybody."""
    return lab().participants.name(me())


def rename(name: str) -> None:
    """Take another nickname. Raises `RunError` for one that cannot be had."""
    lab().participants.rename(me(), name)


def recovery_code() -> str:
    """What brings this participant back in another browser."""
    return lab().participants.code(secret())


def new_recovery_code() -> None:
    """Make the code so far worthless, and another one."""
    lab().participants.new_code(secret())


def recover(code: str) -> None:
    """This browser belongs to whom the code belongs to from now on. Raises `RunError` for a wrong one."""
    lab().participants.recover(secret(), code)
    kept = _of_browser()
    st.session_state.clear()  # what was chosen and looked at was another's
    leave_run()
    st.session_state[_SECRET] = kept


def _leading() -> str:
    """What leads: the account that was let in, in this browser alone; else the browser, whether it leads or not."""
    both = _of_account_here()
    return both if current_lab().passcode.leads(both) else _of_browser()


def _of_account_here() -> str:
    return f"{account.secret()} {_of_browser()}"


def leads() -> bool:
    """Whether this browser leads the room, and shows nobody else's page."""
    return not seen() and lab().passcode.leads(_leading())


def leads_for() -> float:
    """Seconds until that ends by itself."""
    return lab().passcode.seconds_left(_leading())


def sign_in(passcode: str) -> None:
    """Lead the room from now on. Raises `RunError` for a wrong passcode."""
    lab().passcode.sign_in(_of_browser(), me(), passcode)


def is_instructor() -> bool:
    """Whether whoever signed in may lead without the passcode."""
    return lab().passcode.names(account.current())


def sign_in_named() -> None:
    """Lead the room from now on, as `is_instructor` allows it. Raises `RunError` for everybody else."""
    lab().passcode.sign_in_named(_of_account_here(), account.current())


def sign_out() -> None:
    """Lead it no longer."""
    lab().passcode.sign_out(_leading())


def instructor() -> Instructor:
    """What whoever leads may do. Raises `RunError` when this browser does not lead."""
    return lab().instructor(_leading())


def lead(where: str, what: Callable[[Instructor], object]) -> None:
    """Attempt what only the instructor may do: whether this browser leads is asked at each click. For callbacks."""
    with attempt(where):
        what(instructor())


def mirror(key: str, value: object) -> None:
    """Have the widget of this key show what is kept elsewhere: call it before the widget, which has a `persist_state`.

    Only what differs is set. A browser takes what is set as the widget's value, also over a click on its way.
    """
    if st.session_state.get(key) != value:
        st.session_state[key] = value


def here(page: str) -> None:
    """Note that this participant is there now. page: the name of its script."""
    lab().participants.enter(secret(), page, _suggested())


def name_of(record: RunRecord) -> str:
    """How the owner of a run is called."""
    return lab().participants.name(record.owner)


def chosen_device() -> str:
    """Id of the device to compute on ("cpu", "cuda:0", …); the CPU when the chosen one is not available."""
    wanted: str = st.session_state.get(_DEVICE) or "cpu"
    available = {each.id for each in lab().devices() if each.available}
    return wanted if wanted in available else "cpu"


def chosen_gpu() -> str:
    """The device to compute on beside the CPU: the chosen one, else the first that is available; empty without any."""
    chosen = chosen_device()
    there = [each.id for each in lab().devices() if each.available and each.id != "cpu"]
    return chosen if chosen in there else next(iter(there), "")


def tf32_devices() -> list[str]:
    """The devices that multiply TF32."""
    return [each.id for each in lab().devices() if each.has_tf32]


def own_runs(kind: str) -> list[RunRecord]:
    """This participant's runs of one kind, the newest first."""
    own = me()
    return [each for each in lab().store.all()[0] if each.kind == kind and each.owner == own]


def current_run() -> str | None:
    """Id of the run that this participant looks at. It may be gone meanwhile: `lab().store.get` says so."""
    in_url = st.query_params.get("run", "")[:80]
    if in_url:
        st.session_state[_RUN] = in_url
    run_id: str | None = st.session_state.get(_RUN)
    return run_id


def current_kind(gone: str) -> str:
    """Kind of the current run; empty without one; `gone` when it is not there any more."""
    run_id = current_run()
    try:
        return lab().store.get(run_id).kind if run_id is not None else ""
    except RunError:
        return gone


def page_run(kind: str) -> str | None:
    """Id of the run that a page for runs of one kind looks at: the current one, else the last one of that kind."""
    run_id, last = current_run(), st.session_state.setdefault(_LAST, {})
    found = current_kind(gone=kind)  # the page says what is wrong with one that is gone
    if found != kind:
        if run_id is not None:
            last[found] = run_id  # for the page that it belongs to
        run_id = last.get(kind)
        if run_id is None:
            leave_run()
        else:
            open_run(run_id)
    last[kind] = run_id
    return run_id


def open_run(run_id: str | None) -> None:
    """Look at another run, or at none."""
    if run_id is None:
        last = st.session_state.get(_LAST, {})
        st.session_state[_LAST] = {kind: each for kind, each in last.items() if each != current_run()}
        leave_run()
        return
    st.session_state[_RUN] = run_id
    st.query_params["run"] = run_id


def leave_run() -> None:
    """Look at none for now; a page for its kind finds it again."""
    st.session_state[_RUN] = None
    if "run" in st.query_params:
        del st.query_params["run"]


def leave_last(kind: str) -> None:
    """Look at none for now; a page for this kind of runs does not find its last one again, either."""
    st.session_state.get(_LAST, {}).pop(kind, None)
    leave_run()


def url_parameters(run_id: str | None = None) -> dict[str, str]:
    """Query parameters for a link to another page; `run_id`: the run it should open, else the current one."""
    run = run_id or current_run()
    return {"run": run} if run else {}


def keep_in_url() -> None:
    """Write the current run into the URL where it is missing or another; who that is stands in no URL."""
    st.query_params.pop("who", None)  # older links
    for name, value in url_parameters().items():
        if st.query_params.get(name) != value:
            st.query_params[name] = value


def asked(name: str) -> str:
    """What a link or a refresh asks for in a parameter of the address; empty for what the page wrote there itself."""
    value = st.query_params.get(name, "")
    return "" if value == st.session_state.get(f"wrote_{name}") else value


def write(name: str, value: str) -> None:
    """Put a parameter into the address, or take it out of it when it is empty."""
    st.session_state[f"wrote_{name}"] = value
    if value:
        if st.query_params.get(name) != value:
            st.query_params[name] = value
    elif name in st.query_params:
        del st.query_params[name]


@contextmanager
def attempt(where: str) -> Iterator[None]:
    """Do what a click asked for; what stands against it is kept for `lesson.problem(where)`. For callbacks."""
    try:
        yield
    except LabError as error:
        st.session_state[f"problem_{where}"] = str(error)
    else:
        forget_problem(where)


def forget_problem(where: str) -> None:
    """Nothing stands against it any more. For callbacks."""
    st.session_state.pop(f"problem_{where}", None)


def submit(where: str, ask: Callable[[], T]) -> T | None:
    """Attempt to put something in the queue: once, for a double click is one wish. For callbacks."""
    key, made = f"submitted_{where}", None
    if time.monotonic() - st.session_state.get(key, -9.0) >= 1.0:
        with attempt(where):
            made = ask()
            st.session_state[key] = time.monotonic()
    return made


def start_over() -> None:
    """Forget everything but who that is: the participant's runs would be locked to them otherwise."""
    lab().lesson_guesses.forget(me())
    kept = _of_browser()
    st.session_state.clear()
    st.query_params.clear()
    st.session_state[_SECRET] = kept
