"""What the instructor asks of everybody, on whatever page they are: to come along, how it is going, a question."""

from collections.abc import Mapping

import streamlit as st

from eurosat_core.analysis import guesses
from eurosat_core.analysis.rounds import bars, gain, sureness
from eurosat_core.classroom.participants import Progress
from eurosat_core.classroom.rounds import Round, Vote
from eurosat_core.finding import Finding
from eurosat_core.wording import count
from eurosat_core.words.say import say
from pages.parts import dealt, lesson, looking, session
from pages.parts.classroom import guide

PROGRESS: dict[Progress, str] = {"done": "Done", "stuck": "Stuck", "hand": "Hand up"}
SURE = {1: "I am guessing", 2: "Fairly sure", 3: "Certain"}
_MOVES = "moves_seen"
_EVERY_LED, _EVERY = 2.0, 10.0  # seconds; with a passcode but nobody who leads, only to see that somebody does
TITLES = {"first": "First vote", "talk": "Talk", "second": "Second vote", "shown": "What was measured"}


def draw(page: str) -> None:
    """What the room is asked, again and again; nothing where no passcode is set, for then nobody can lead.

    page: the name of the script that is drawn below.
    """
    passcode = session.lab().passcode
    if passcode.is_set:
        is_led, is_closed = passcode.is_led, guide.is_closed(page)
        st.fragment(_strip, run_every=_EVERY_LED if is_led else _EVERY)(lesson.text("rounds"), page, is_led, is_closed)


def _strip(words: Mapping[str, str], page: str, was_led: bool, was_closed: bool) -> None:
    if session.lab().passcode.is_led != was_led or guide.is_closed(page) != was_closed:
        st.rerun()  # at the other pace; or the page comes, or goes
    if was_led and not session.leads():
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            _progress(page)
            looking.consent(page)
            _come_along(page)
    dealt.draw()
    asked = session.lab().rounds.current()
    if asked is None:
        return
    with st.container(border=True, key="asked"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge("The room is asked", icon=":material/campaign:")
            st.badge(TITLES[asked.phase], color="gray")
        st.markdown(f"**{lesson.plain(question(asked))}**")
        if asked.turn:
            _vote(words, asked)
        elif asked.phase == "talk":
            st.markdown(words["talk"])
            lesson.problem(_late(asked))
        else:
            draw_shown(asked)
            lesson.problem(_late(asked))


def _come_along(page: str) -> None:
    """Go where the instructor brought everybody: once, then by a link."""
    now = session.lab().guide.now
    seen = st.session_state.setdefault(_MOVES, now.moves)
    if not now.page or now.page == page:
        st.session_state[_MOVES] = now.moves
        return
    if seen != now.moves:
        st.session_state[_MOVES] = now.moves
        st.switch_page(f"{now.page}.py", query_params=session.url_parameters())
    title = lesson.pages()[now.page]["title"]
    st.page_link(f"{now.page}.py", label=f"The room is on {title}", icon=":material/groups:")


def _progress(page: str) -> None:
    key = f"progress_{page}"
    session.mirror(key, session.lab().participants.says(session.me()))  # another tab may have said something else
    st.segmented_control(
        "How is it going?",
        list(PROGRESS),
        format_func=lambda each: PROGRESS[each],
        key=key,
        persist_state="session",
        label_visibility="collapsed",
        on_change=lambda: session.lab().participants.say(session.me(), st.session_state.get(key)),
    )


def question(asked: Round) -> str:
    """The question in words."""
    return say(guesses.asked(asked.question)[0])


def _vote(words: Mapping[str, str], asked: Round) -> None:
    me, turn = session.me(), asked.turn
    guess_key, sure_key = (f"vote_{what}_{asked.number}_{turn}" for what in ("guess", "sure"))
    votes = session.lab().rounds.votes(asked.number, turn)
    own = votes.get(me)
    if own is not None:  # a refresh, or another tab
        st.session_state.setdefault(guess_key, own.guess)
        st.session_state.setdefault(sure_key, own.sure)
    st.markdown(words[asked.phase])
    given = (asked, guess_key, sure_key)
    choices = guesses.choices(asked.question)
    st.pills("Your answer", choices, key=guess_key, persist_state="session", on_change=_cast, args=given)
    st.segmented_control(
        "How sure are you?",
        list(SURE),
        format_func=lambda each: SURE[each],
        key=sure_key,
        persist_state="session",
        on_change=_cast,
        args=given,
    )
    st.caption(f"{words['not yet'] if own is None else words['counts']} {voted(len(votes))}")


def voted(votes: int) -> str:
    """How many have voted."""
    return f"{count(votes, 'person has', 'people have')} voted."


def _late(asked: Round) -> str:
    """Where it is kept that somebody answered when the vote was over."""
    return f"vote_{asked.number}"


def _cast(asked: Round, guess_key: str, sure_key: str) -> None:
    guess, sure = st.session_state.get(guess_key), st.session_state.get(sure_key)
    if guess is None or sure is None:
        if own := session.lab().rounds.votes(asked.number, asked.turn).get(session.me()):  # it still counts: show it
            st.session_state[guess_key], st.session_state[sure_key] = own.guess, own.sure
        return
    with session.attempt(_late(asked)):
        session.lab().rounds.vote(session.me(), asked.number, asked.turn, guess, sure)
        session.lab().lesson_guesses.put(session.me(), asked.question, guess)
        st.session_state[f"guess_{asked.question}"] = guess  # the page's own question has it, too


def _both_votes(asked: Round) -> tuple[dict[str, Vote], dict[str, Vote]]:
    """The first and the second vote, by owner."""
    rounds = session.lab().rounds
    return rounds.votes(asked.number, 1), rounds.votes(asked.number, 2)


def draw_votes(asked: Round, size: int = 16, title: str = "", below: str = "") -> None:
    """The votes of the room as bars. size: of the text, in pixels; title, below: over the chart."""
    from eurosat_core.charts.rounds import votes_chart, votes_frame  # loads pandas, which the first page does without

    first, second = _both_votes(asked)
    counted = bars(guesses.choices(asked.question), first, second, asked.right)
    st.vega_lite_chart(
        votes_frame(counted),
        votes_chart(counted, size=size, title=title, below=below),
        key=f"votes_{asked.number}_{size}",
        alt=f"How many people chose each answer to: {question(asked)}",
    )


def draw_shown(asked: Round) -> None:
    """The votes, what was measured, and what the talk changed."""
    draw_votes(asked)
    if asked.right:
        lesson.saw(lesson.plain(asked.measured))
    else:
        st.info(lesson.plain(asked.measured), icon=":material/help:")
    st.markdown(lesson.plain(outcome(asked)))


def outcome(asked: Round) -> str:
    """What came out of a round, in words."""
    first, second = _both_votes(asked)
    found = [gain(first, second, asked.right)]
    if certain := sureness(second or first, asked.right):
        found.append(Finding("rounds.certain", {"right": certain[0], "certain": certain[1]}))
    return " ".join(map(say, found))
