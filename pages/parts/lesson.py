"""The contract of every page as small functions, so that all pages keep it in the same way.

Goal and task, a guess that can be skipped, what you just saw, one misconception, the PyTorch behind it, next.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from eurosat_core.errors import RunError
from eurosat_core.folders import ASSETS
from eurosat_core.wording import sentences
from pages.parts import session

if TYPE_CHECKING:
    import pandas as pd

Option = TypeVar("Option")

_COMMAND = re.compile(r"(`[\w ./=-]+`)")  # in a sentence of ours; nothing in it could be markup
_HEBREW_TO_ARABIC = "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefe\U00010800-\U00010fff\U0001e800-\U0001efff]+"
_FROM_THE_RIGHT = re.compile(f"{_HEBREW_TO_ARABIC}(?: {_HEBREW_TO_ARABIC})*")
_DIRECTIONS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def parse_sections(markdown: str) -> dict[str, str]:
    """Heading → text of each `## heading` section. What stands before the first one is a note to the editor.

    A `## ` line within a fenced code block is code. Raises `ValueError` for a heading that comes twice.
    """
    sections: dict[str, list[str]] = {}
    lines: list[str] | None = None
    in_code = False
    for line in markdown.splitlines():
        if line.lstrip().startswith("```"):
            in_code = not in_code
        if line.startswith("## ") and not in_code:
            heading = line[3:].strip()
            if heading in sections:
                raise ValueError(f"The section '{heading}' comes twice.")
            lines = sections[heading] = []
        elif lines is not None:
            lines.append(line)
    return {heading: "\n".join(body).strip() for heading, body in sections.items()}


@st.cache_data(show_spinner=False, max_entries=50)
def text(name: str) -> dict[str, str]:
    """The sections of `assets/lessons/<name>.md`, by heading."""
    return parse_sections((ASSETS / "lessons" / f"{name}.md").read_text(encoding="utf-8"))


@st.cache_data(show_spinner=False)
def pages() -> dict[str, dict[str, str]]:
    """The pages in their order, by the name of their script: title, icon, question, about."""
    return sentences("pages")


def plain(words: str) -> str:
    """Words from outside (a name, a folder, a message that may hold one) with everything escaped that is markup.

    In one line, for a line of its own can be markup too. Raw, `![](//a.co/x)` in a nickname would make the browsers
    of all others fetch it. A command that a sentence names in backticks is drawn as code. Signs that turn the direction
    of what follows are left out, and letters that are read from the right turn nothing but themselves.
    """
    in_a_line = _DIRECTIONS.sub("", re.sub(r"\s*[\r\n]+\s*", " ", words)).strip(" \t")
    escaped = "".join(
        part if _COMMAND.fullmatch(part) else re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~$:&=^])", r"\\\1", part)
        for part in _COMMAND.split(in_a_line)
    )
    return _FROM_THE_RIGHT.sub("\u2068\\g<0>\u2069", escaped)


def plain_table(table: "pd.DataFrame") -> "pd.DataFrame":
    """A table with all its words escaped: a table draws Markdown, and an imported run brings its own."""
    return table.map(plain).rename(columns=plain)


def header(goal: str, minutes: int, task: str) -> None:
    """Goal in one line, then the task and how long it takes. The page's title stands above (the shell draws it)."""
    st.subheader(goal, anchor=False)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(f"{minutes} min", icon=":material/timer:", color="gray")
        st.markdown(f"**Your task:** {task}", width="stretch")


def guess(key: str, question: str, options: Sequence[str]) -> str | None:
    """Ask for a guess; nothing waits for it. It is kept on disk: `guessed(key)` finds it on other pages."""
    name = _guess_key(key)
    if name not in st.session_state and (kept := _kept_guesses().get(key)) in options:
        st.session_state[name] = kept  # a refresh begins a new session
    with st.container(border=True):
        return st.pills(
            f"**Your guess** (or skip it): {question}",
            list(options),
            key=name,
            persist_state="session",
            on_change=_keep_guess,
            args=(key,),
        )


def guessed(key: str) -> str | None:
    """What the participant guessed under `key`, on whatever page; None when skipped."""
    name = _guess_key(key)
    value: str | None = st.session_state[name] if name in st.session_state else _kept_guesses().get(key)
    return value


def guesses() -> dict[str, str]:
    """All that the participant guessed, by key; what was skipped or taken back is left out."""
    found: dict[str, str | None] = dict(_kept_guesses())
    start = _guess_key("")
    found |= {str(name)[len(start) :]: value for name, value in st.session_state.items() if str(name).startswith(start)}
    return {key: value for key, value in found.items() if isinstance(value, str) and value}


def _kept_guesses() -> dict[str, str]:
    try:
        return session.lab().lesson_guesses.of(session.me())
    except RunError:  # no lab is open: then nothing is kept
        return {}


def _keep_guess(key: str) -> None:
    with suppress(RunError):
        session.lab().lesson_guesses.put(session.me(), key, st.session_state.get(_guess_key(key)))


def _guess_key(key: str) -> str:
    return f"guess_{key}"


def one_of(
    label: str,
    options: Iterable[Option],
    key: str,
    *,
    default: Option | None = None,
    titles: Callable[[Option], str] | None = None,
    hidden: bool = False,
    pills: bool = False,
    help: str | None = None,
    where: DeltaGenerator | None = None,
) -> Option:
    """A choice of exactly one of a few, kept for the session; what is no option any more gives way to the default.

    Args:
        label: What is chosen, said aloud even where it is hidden.
        options: The options, or a mapping from them to their titles.
        key: Of the widget.
        default: Chosen at first; the first option if None.
        titles: What an option is called on screen.
        hidden: Whether the label is not drawn.
        pills: Whether they are drawn as pills, which wrap.
        help: Of the widget.
        where: The container to draw it in.
    """
    named = options if isinstance(options, Mapping) else {each: titles(each) if titles else each for each in options}
    if st.session_state.get(key) not in named:
        st.session_state[key] = next(iter(named)) if default is None else default
    into = where or st
    draw = partial(into.pills, wrap=True) if pills else into.segmented_control
    draw(
        label,
        list(named),
        format_func=lambda each: str(named[each]),
        key=key,
        required=True,
        persist_state="session",
        label_visibility="collapsed" if hidden else "visible",
        help=help,
    )
    chosen: Option = st.session_state[key]
    return chosen


def button(label: str, icon: str, key: str, do: Callable[..., None], *given: object, **look: Any) -> None:
    """A button that calls `do` with what is given. icon: a Material symbol's name. look: of `st.button`."""
    st.button(label, icon=f":material/{icon}:", key=key, on_click=do, args=given, **look)


def open_part(
    label: str,
    parts: Mapping[str, str],
    key: str,
    *,
    default: str | None = None,
    on_change: Callable[[], None] | None = None,
) -> str | None:
    """Pills of which one, or none, is open below them. parts: their titles, by what is returned for them."""
    return st.pills(
        label,
        list(parts),
        default=default,
        format_func=lambda name: parts[name],
        key=key,
        on_change=on_change,
        persist_state="session",
        label_visibility="collapsed",
    )


def saw(sentence: str) -> None:
    """*What you just saw*: a sentence computed from the participant's own numbers."""
    st.info(sentence, title="What you just saw", icon=":material/visibility:")


def saw_each(sentences: Iterable[str]) -> None:
    """*What you just saw* in sentences with words from outside; nothing where there is none."""
    if said := "\n\n".join(map(plain, sentences)):
        saw(said)


def misconception(title: str, body: str) -> None:
    """One thing that is often believed, and what is so."""
    st.warning(body, title=f"Often believed: “{title}”", icon=":material/psychology_alt:")


def problem(where: str, title: str | None = None, icon: str = ":material/error:") -> None:
    """What stood against the last `session.attempt(where)`, if anything."""
    if said := st.session_state.get(f"problem_{where}"):
        st.error(plain(said), title=title, icon=icon)


def show_listing(name: str) -> None:
    """The PyTorch of `assets/pytorch/<name>.diff`: `-` marks lines for a CPU only, `+` those for a GPU only."""
    listing = _listing(name)
    _show_code("\n".join(line[2:] for line in listing.splitlines() if not line.startswith("+ ")), listing)


@st.cache_data(show_spinner=False, max_entries=50)
def _listing(name: str) -> str:
    return (ASSETS / "pytorch" / f"{name}.diff").read_text(encoding="utf-8").rstrip()


def show_pytorch(cpu_code: str, gpu_code: str | None = None) -> None:
    """The few lines of PyTorch behind the page; where the GPU needs others, a second tab marks them as a diff."""
    _show_code(cpu_code, code_diff(cpu_code, gpu_code) if gpu_code not in (None, cpu_code) else "")


def _show_code(cpu_code: str, to_gpu: str) -> None:
    with st.expander("Show the PyTorch", icon=":material/code:"):
        if not to_gpu:
            st.code(cpu_code, language="python")
            return
        cpu, gpu = st.tabs(["CPU", "CPU → GPU: what changes"])
        cpu.code(cpu_code, language="python")
        gpu.code(to_gpu, language="diff")


def code_diff(before: str, after: str) -> str:
    """Both versions line by line: `-` only before, `+` only after, the rest indented by two."""
    lines = difflib.ndiff(before.strip().splitlines(), after.strip().splitlines())
    return "\n".join(line.rstrip() for line in lines if not line.startswith("?"))


def next_page(page: str, label: str) -> None:
    """The way on. page: the script's name, as in `next_page("tiles.py", "Look at the tiles")`."""
    if st.button(label, type="primary", icon=":material/arrow_forward:", icon_position="right", key="next_page"):
        st.switch_page(page, query_params=session.url_parameters())


@st.dialog("Glossary", width="medium", icon=":material/menu_book:")
def glossary() -> None:
    """The field's terms, each in a sentence or two."""
    for term, meaning in text("glossary").items():
        st.markdown(f"**{term}** · {meaning}")
