"""The free builder, and the shelf of saved networks."""

import streamlit as st

from eurosat_core.models.anatomy import compared, layer_words, parts_of_reports
from eurosat_core.models.build import network_source
from eurosat_core.models.catalog import PRESETS
from eurosat_core.models.check import LayerReport, Layers, check_network, first_problem, repaired, replaced, totals
from eurosat_core.models.designs import MAX_NAME
from eurosat_core.models.layers import (
    KINDS,
    OUT,
    UNREADABLE,
    Field,
    new_layer,
    parse_network,
    shape_text,
    url_text,
)
from eurosat_core.wording import count
from pages.parts import lesson, session
from pages.parts.model import choose, state

_SAVED = "model_shelf_saved"


def _start_from() -> None:
    """Presets, and the participant's own networks."""
    st.pills(
        "Start from",
        list(PRESETS),
        format_func=lambda name: PRESETS[name].title,
        key="model_preset",
        on_change=_take_preset,
        wrap=True,
        help="  \n".join(f"**{each.title}**: {each.about}" for each in PRESETS.values()),
    )
    mine = session.lab().designs.of(session.me())
    if not mine:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox("Your saved networks", list(reversed(mine)), index=None, key="model_saved", width=280)
        for label, icon, action, argument in (
            ("Open", "folder_open", _open, mine.get(chosen or "", "")),
            ("Delete", "delete", _delete, chosen),
        ):
            st.button(
                label,
                icon=f":material/{icon}:",
                key=f"model_saved_{label.lower()}",
                disabled=chosen not in mine,
                on_click=action,
                args=(argument,),
            )


def _clicked(key: str) -> str | None:
    """What was clicked of pills that stand for actions: none of them stays chosen."""
    name: str | None = st.session_state[key]
    st.session_state[key] = None
    return name


def _take_preset() -> None:
    if name := _clicked("model_preset"):
        state.put(parse_network(PRESETS[name].text))


def _open(text: str) -> None:
    state.put(parse_network(text))


def _delete(name: str) -> None:
    with session.attempt("model_shelf"):
        session.lab().designs.delete(session.me(), name)


def _keep_and_share(valid: bool) -> None:
    """Save, share, write as text; the PyTorch source of a network that can be trained."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input(
            "Save it as", max_chars=MAX_NAME, key="model_name", width=280, placeholder="a name", on_change=_forget
        )
        st.button("Save", icon=":material/save:", key="model_save", on_click=_save)
    lesson.problem("model_shelf")
    if saved := st.session_state.get(_SAVED):
        st.success(f"Saved as {lesson.plain(saved)}.", icon=":material/check:")
    with st.expander("As text, to share or to edit", icon=":material/share:"):
        st.session_state["model_text"] = state.text()
        st.text_area(
            "The network as text",
            key="model_text",
            persist_state="session",
            on_change=_take_text,
            help="One layer after the other: kind, then its numbers. “out” means one output per class.",
        )
        st.markdown(lesson.text("model")["share"])
        here = (st.context.url or "").partition("?")[0]
        st.code(f"{here}?net={url_text(state.layers())}", language=None, wrap_lines=True)
    with st.expander("As PyTorch source", icon=":material/code:"):
        if not valid:
            st.caption("The source appears once the network can be trained.")
            return
        source = network_source(state.text(), state.classes())
        st.download_button(
            "Download net.py",
            source,
            file_name="net.py",
            mime="text/x-python",
            icon=":material/download:",
            key="model_download",
            on_click="ignore",
        )
        st.code(source, language="python", height=420)


def _forget() -> None:
    session.forget_problem("model_shelf")
    st.session_state.pop(_SAVED, None)


def _save() -> None:
    _forget()
    with session.attempt("model_shelf"):
        st.session_state[_SAVED] = session.lab().designs.save(
            session.me(), st.session_state["model_name"], state.text()
        )


def _take_text() -> None:
    _forget()
    with session.attempt("model_shelf"):
        state.put(parse_network(st.session_state["model_text"]))


_OFFERED = [name for name in KINDS if name != "softmax"]
_FAR = 1_000_000  # a number field takes anything up to here; what is too much is explained at the row


@st.fragment
def draw() -> None:
    """Presets and saved networks, the layers, and what they cost."""
    st.markdown(lesson.text("model")["builder"])
    _start_from()
    classes = state.classes()
    layers = state.layers()
    reports = check_network(layers, classes)
    found = first_problem(reports)
    rows, result = st.columns([5, 4], gap="medium")
    with rows:
        _toolbar(layers, classes, found is not None)
        if not layers:
            _problem(reports[0], 0)
        with st.container(gap="xxsmall"):
            for number, report in enumerate(reports if layers else ()):
                _row(layers, number, report)
        _add(layers)
        if found is not None and layers:  # the row may be out of sight here
            st.caption(f":material/build: Layer {found[0] + 1} has a problem: its row says what, and how to repair it.")
    with result:
        base = choose.baseline_totals(classes)
        if found is None:
            now = totals(reports)
            choose.figures(now, base)
            st.caption(compared(now, base, choose.BATCH))
        elif layers:
            st.info(
                f"Layer {found[0] + 1} has a problem. The layers after it are counted once it is repaired.",
                icon=":material/build:",
            )
        choose.button(state.text(), "model_train", f"Repair layer {found[0] + 1} first." if found is not None else "")
        choose.diagram(parts_of_reports(reports), "your network")
    _keep_and_share(found is None)


def _toolbar(layers: Layers, classes: int, broken: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        for label, by, shortcut in (("Undo", -1, "Mod+Z"), ("Redo", 1, "Mod+Shift+Z")):
            st.button(
                label,
                icon=f":material/{label.lower()}:",
                key=f"model_{label.lower()}",
                disabled=not state.can_move(by),
                on_click=state.move,
                args=(by,),
                shortcut=shortcut,
            )
        if broken:
            st.button(
                "Repair everything",
                icon=":material/auto_fix_high:",
                key="model_repair_all",
                on_click=lambda: state.put(repaired(layers, classes)),
            )
        st.caption(count(len(layers), "layer"))


def _row(layers: Layers, number: int, report: LayerReport) -> None:
    """One layer in a line; its numbers below when it is open, its problem below that."""
    is_open = state.row() == number
    with st.container(border=is_open or report.problem is not None, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", wrap=False):
            st.markdown(_in_a_line(number, report), width="stretch")
            st.button(
                "Close" if is_open else "Change",
                icon=":material/expand_less:" if is_open else ":material/edit:",
                key=f"model_open_{number}",
                type="tertiary",
                on_click=state.select_row,
                args=(number,),
            )
        if report.problem is not None:
            _problem(report, number)
        elif report.hint:
            st.caption(f":material/lightbulb: {report.hint}")
        if is_open:
            _editor(layers, number)


def _in_a_line(number: int, report: LayerReport) -> str:
    """`1 **Convolution** 6 filters of 5 × 5 → 6 × 60 × 60 · 456 parameters`."""
    layer = report.layer
    title = "?" if layer.kind == UNREADABLE else KINDS[layer.kind].title
    numbers = lesson.plain(layer_words(layer))
    gives = f" → {shape_text(report.output_shape)}" if report.output_shape is not None else ""
    costs = f" :gray[· {count(report.params, 'parameter')}]" if report.params else ""
    return f":gray[{number + 1}] **{title}** {numbers}{gives}{costs}"


def _problem(report: LayerReport, number: int) -> None:
    problem = report.problem
    if problem is None:
        return
    st.error(lesson.plain(problem.sentence), icon=":material/build:")
    st.button(
        lesson.plain(problem.advice.rstrip(".")),
        icon=":material/auto_fix_high:",
        key=f"model_repair_{number}",
        on_click=state.put,
        args=(problem.repair,),
    )


def _editor(layers: Layers, number: int) -> None:
    """Kind, numbers, and moving."""
    layer = layers[number]
    kind = KINDS.get(layer.kind)  # none for what cannot be read
    if kind is not None:
        st.caption(kind.about)
    key = f"model_kind_{number}"
    st.session_state[key] = layer.kind if layer.kind in _OFFERED else None
    with st.grid(3, min_column_width=130, vertical_alignment="bottom"):
        st.selectbox(
            "Kind",
            _OFFERED,
            index=0 if layer.kind in _OFFERED else None,
            format_func=lambda name: KINDS[name].title,
            key=key,
            persist_state="session",
            on_change=_change_kind,
            args=(layers, number, key),
        )
        for field in kind.fields if kind is not None else ():
            _field(layers, number, field)
    rest = replaced(layers, number)
    with st.container(horizontal=True):
        for label, icon, target in (("Up", "arrow_upward", number - 1), ("Down", "arrow_downward", number + 1)):
            st.button(
                label,
                icon=f":material/{icon}:",
                key=f"model_{label.lower()}_{number}",
                disabled=target not in range(len(layers)),
                on_click=state.put,
                args=((*rest[:target], layer, *rest[target:]), target),
            )
        st.button(
            "Remove",
            icon=":material/delete:",
            key=f"model_remove_{number}",
            on_click=state.put,
            args=(rest,),
        )


def _field(layers: Layers, number: int, field: Field) -> None:
    """One number of a layer, with a switch where it may be a word."""
    layer = layers[number]
    value = layer.value(field.name)
    is_word = isinstance(value, str)
    bounded = 0 if isinstance(value, str) else min(max(value, -_FAR), _FAR)
    key = f"model_{layer.kind}_{number}_{field.name}"
    st.session_state[key] = round(bounded) if field.whole else float(bounded)
    with st.container(gap="xsmall"):
        st.number_input(
            field.title,
            step=1 if field.whole else 0.05,
            key=key,
            persist_state="session",
            disabled=is_word,
            on_change=_change_number,
            args=(layers, number, field.name, key),
        )
        if field.word:
            word_key = f"{key}_word"
            st.session_state[word_key] = is_word
            st.toggle(
                "one per class" if field.word == OUT else f"“{field.word}”: keeps the size",
                key=word_key,
                persist_state="session",
                on_change=_change_word,
                args=(layers, number, field, word_key),
            )


def _change_kind(layers: Layers, number: int, key: str) -> None:
    kind = st.session_state[key]
    if kind is not None:
        state.put(replaced(layers, number, new_layer(kind)), number)


def _change_number(layers: Layers, number: int, name: str, key: str) -> None:
    value = st.session_state[key]
    if value is not None:
        exact = value if isinstance(value, int) else round(value, 4)
        state.put(replaced(layers, number, layers[number].changed(**{name: exact})), number)


def _change_word(layers: Layers, number: int, field: Field, key: str) -> None:
    usual = new_layer(layers[number].kind).value(field.name)
    value = field.word if st.session_state[key] else usual
    state.put(replaced(layers, number, layers[number].changed(**{field.name: value})), number)


def _add(layers: Layers) -> None:
    """A new layer after the open one; else before the scores, where most layers belong, or at the end."""
    chosen = state.row()
    at = chosen + 1 if chosen is not None else len(layers)
    if chosen is None and layers and layers[-1].kind == "linear" and layers[-1].value("units") == OUT:
        at = len(layers) - 1
    where = "at the end" if at == len(layers) else f"before layer {at + 1}"
    st.pills(
        f"Add a layer {where}",
        _OFFERED,
        format_func=lambda name: KINDS[name].title,
        key="model_add",
        on_change=_add_chosen,
        args=(layers, at),
        wrap=True,
    )


def _add_chosen(layers: Layers, at: int) -> None:
    if kind := _clicked("model_add"):
        state.put((*layers[:at], new_layer(kind), *layers[at:]), at)
