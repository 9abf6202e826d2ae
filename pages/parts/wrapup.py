"""The sections of the Wrap-up page."""

import re
from collections.abc import Sequence

import streamlit as st

from eurosat_core.analysis.achievements import achievements
from eurosat_core.analysis.guesses import GuessOutcome
from eurosat_core.analysis.lineup import MOST_RUNS
from eurosat_core.analysis.tutorial import KNOWN_RESULTS, beside_tutorial, conclusion
from eurosat_core.analysis.wrapup import Evidence, NextStep, Point, Sentence, next_steps
from eurosat_core.errors import LabError
from eurosat_core.finding import Finding
from eurosat_core.runs.certificate import Certificate, public_key
from eurosat_core.wording import count, duration, listed
from eurosat_core.words.certificate import certificate_page, signed_certificate
from eurosat_core.words.report import Guessed, report_html
from eurosat_core.words.say import say, say_each
from pages.parts import lesson, run_widget, session, take_home
from pages.parts.train import state


def draw_next(evidence: Evidence) -> None:
    """A card for each."""
    lab, words = session.lab(), lesson.text("wrapup")
    best = evidence.best
    base = words["next base"] if best is None else f"your best training, {best.label}"
    st.markdown(words["next"].format(base=lesson.plain(base)))
    steps = next_steps(evidence, by_place=not lab.library.place_problem())
    with st.grid(min(len(steps), 4), min_column_width=220):
        for each in steps:
            with st.container(border=True):
                _card(each)


def _card(step: NextStep) -> None:
    st.markdown(f"**{say(step.title)}**")
    st.caption(say(step.why))
    try:
        estimate = session.lab().estimates.training(step.config)
    except LabError:
        estimate = None
    about = f" · about {duration(estimate.seconds)}" if estimate else ""
    if st.button(f"Set it up{about}", icon=":material/tune:", key=f"wrapup_next_{step.key}"):
        state.set_up(step.config)


_KEY = "wrapup_runs"
_BY_HAND = "wrapup_by_hand"  # the participant chose


def draw_report(evidence: Evidence, outcomes: Sequence[GuessOutcome], sentences: Sequence[Sentence]) -> None:
    """What it is, which runs it holds, and the button."""
    words = lesson.text("wrapup")
    st.markdown(words["report"])
    runs = {each.record.id: each for each in (*evidence.runs, *evidence.recorded)}
    if runs:
        _choice({run_id: each.label for run_id, each in runs.items()})
    else:
        st.caption(words["report empty"])
    chosen = [runs[each] for each in st.session_state.get(_KEY, []) if each in runs]
    guesses = [Guessed(f"{each.label}: {say(each.question)}", each.guess, say(each.measured)) for each in outcomes]
    said = [(say(each.sentence), _told(each)) for each in sentences]
    profiles = [(f"Profile: {each.profile.title}", each.record) for each in evidence.profiles]
    experiments = [
        (f"Experiment: {run_widget.sweep_title(each.result.name)}", each.record) for each in evidence.measurements
    ]

    nickname = session.nickname()  # what makes the file knows no session

    def made() -> bytes:
        page = report_html(
            nickname,
            chosen,
            guesses=guesses,
            tile_guesses=evidence.tile_guesses,
            said=said,
            measured=[*profiles, *experiments],
        )
        return page.encode()

    name = re.sub(r"[^A-Za-z0-9-]+", "-", nickname).strip("-") or "participant"
    st.download_button(
        "Download the report",
        made,
        f"eurosat-lab-{name}.html",
        "text/html",
        key="wrapup_report",
        type="primary",
        icon=":material/download:",
        on_click="ignore",
    )


def _told(sentence: Sentence) -> list[str]:
    """Its points for the report; what is missing is said once."""
    told = [
        f"{each.about}: {' '.join(say_each([each.found, each.basis]))}"
        for each in sentence.points
        if each.kind != "missing"
    ]
    return told or ["No figure of my own yet."]


def _choice(titles: dict[str, str]) -> None:
    """Which runs, by id; until somebody chooses, the newest ones."""
    state = st.session_state
    kept = [each for each in state.get(_KEY, []) if each in titles]
    if not state.get(_BY_HAND) or (state.get(_KEY) and not kept):  # nobody chose, or all that was chosen is gone
        kept = list(titles)[:MOST_RUNS]
        state[_BY_HAND] = False
    state[_KEY] = kept
    st.multiselect(
        "Trainings in it",
        list(titles),
        format_func=lambda each: titles.get(each, each),
        key=_KEY,
        on_change=lambda: state.update({_BY_HAND: True}),
        max_selections=MOST_RUNS,
        select_all=False,
        placeholder="Choose trainings",
        persist_state="session",
        help="The others are compared with the first one.",
    )


def draw_more(evidence: Evidence, outcomes: Sequence[GuessOutcome]) -> None:
    """Files of one run, and the certificate."""
    words = lesson.text("wrapup")
    with st.expander("More to take home", icon=":material/luggage:"):
        if evidence.runs:
            st.markdown(words["run files"])
            runs = {each.record.id: each for each in evidence.runs}
            titles = {run_id: each.label for run_id, each in runs.items()}
            chosen = st.selectbox(
                "Training", list(titles), format_func=lambda each: titles.get(each, each), key="wrapup_run"
            )
            take_home.run_files(runs[chosen].record, "wrapup")
        else:
            st.caption(words["run files none"])
        if not session.seen():  # whoever looks on signs nothing in another's name
            st.divider()
            _certificate(evidence, outcomes)


def _certificate(evidence: Evidence, outcomes: Sequence[GuessOutcome]) -> None:
    """What would stand on it, the files, and by which key they are checked."""
    words, found = lesson.text("wrapup"), achievements(evidence, outcomes)
    if not found:
        st.caption(words["certificate none"])
        return
    st.markdown(words["certificate"])
    st.markdown("\n".join(f"- {lesson.plain(each)}" for each in say_each(found)))
    settings, nickname = session.lab().settings, session.nickname()
    try:
        key = public_key(settings.runs, make=True)
    except LabError as error:
        st.error(lesson.plain(str(error)), icon=":material/key_off:")
        return

    def made() -> Certificate:
        return signed_certificate(found, nickname, settings.lab_name, settings.runs)

    with st.container(horizontal=True):
        st.download_button(
            "Download the certificate",
            lambda: certificate_page(made()).encode(),
            "eurosat-lab-certificate.html",
            "text/html",
            key="wrapup_certificate",
            icon=":material/workspace_premium:",
            on_click="ignore",
            help="A page to print. The signed data are in it.",
        )
        st.download_button(
            "Its data alone",
            lambda: made().text().encode(),
            "eurosat-lab-certificate.json",
            "application/json",
            key="wrapup_certificate_data",
            icon=":material/data_object:",
            on_click="ignore",
        )
    st.caption(words["certificate proves"])
    st.code(key, language=None)


_ICONS = {
    "found": ":green[:material/check_circle:]",
    "recorded": ":violet[:material/history:]",
    "missing": ":gray[:material/radio_button_unchecked:]",
}
_GUESS_ICONS = {
    "right": ":green[:material/check_circle:]",
    "off": ":orange[:material/lightbulb:]",
    "open": ":gray[:material/help:]",
}


def saw(evidence: Evidence, about_guesses: Sequence[Finding | None]) -> None:
    """How much was done, and how the guesses did."""
    done = [
        count(number, one)
        for number, one in (
            (len(evidence.runs), "training"),
            (len(evidence.profiles), "profile"),
            (len(evidence.measurements), "experiment"),
        )
        if number
    ]
    first = f"You have {listed(done)} of your own." if done else "Nothing of your own is measured yet."
    lesson.saw_each([" ".join([first, *say_each(about_guesses)])])


def draw_sentences(sentences: Sequence[Sentence]) -> None:
    """Each in a frame of its own, with its points below."""
    for number, each in enumerate(sentences, 1):
        with st.container(border=True):
            st.markdown(f"**{number}. “{say(each.sentence)}”**")
            for point in each.points:
                _point(point)


def _point(point: Point) -> None:
    with st.container(gap="xxsmall"):
        st.markdown(f"{_ICONS[point.kind]} *{point.about}*: {lesson.plain(say(point.found))}")
        if point.basis:
            st.caption(lesson.plain(say(point.basis)))
        if point.page:
            st.page_link(
                point.page,
                label=point.link,
                icon=":material/arrow_forward:",
                query_params={**session.url_parameters(), **dict(point.parameters)},
            )


def guesses(outcomes: Sequence[GuessOutcome]) -> None:
    """A line for each guess: what was asked, guessed, measured."""
    if not outcomes:
        st.caption(lesson.text("wrapup")["guesses none"])
        return
    with st.container(border=True):
        for each in outcomes:
            st.markdown(
                f"{_GUESS_ICONS[each.kind]} **{each.label}** · {lesson.plain(say(each.question))}  \n"
                f"You: **{lesson.plain(each.guess)}** · {lesson.plain(say(each.measured))}"
            )
            if each.kind == "open":
                st.page_link(
                    each.page,
                    label=f"Find out on {each.label}",
                    icon=":material/arrow_forward:",
                    query_params=session.url_parameters(),
                )


def draw_tutorial(evidence: Evidence) -> None:
    """What it says, whether one's own figures agree, and both side by side."""
    words = lesson.text("wrapup")
    st.markdown(words["tutorial"])
    st.markdown(lesson.plain(say(conclusion(evidence))))
    st.table(
        beside_tutorial(evidence).map(lesson.plain).set_index("Figure"),
        border="horizontal",
        alt="The tutorial’s figures and one’s own",
    )
    st.caption(words["tutorial recorded"])
    with st.expander("What others reached", icon=":material/leaderboard:"):
        st.table(
            {f"{what} ({source})": accuracy for what, accuracy, source in KNOWN_RESULTS},
            border="horizontal",
            alt="Accuracies that others reached on EuroSAT",
        )
        st.caption(words["known"])
