"""What a training found: its outcome, its weights, and its sealed test part."""

import time

import streamlit as st

from eurosat_core import wording
from eurosat_core.analysis import pace, training
from eurosat_core.charts import training as charts
from eurosat_core.data import pictures
from eurosat_core.data.classes import colours_for
from eurosat_core.errors import LabError
from eurosat_core.lab import trained_weights
from eurosat_core.runs.history import History
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.sealed import against_validation
from eurosat_core.training import choices
from eurosat_core.training import choices as form_words
from eurosat_core.training.evaluation import Evaluation
from eurosat_core.words.say import say
from pages.parts import lesson, live_run, session
from pages.parts.train import start, state


def draw_weights(record: RunRecord) -> None:
    """Nothing, when the run kept no weights. The file is read when its button is clicked."""
    lab = session.lab()  # a download runs outside the session
    size = lab.file_size(record.id, trained_weights.FILE)
    if size is None:
        return
    classes = len(record.tiles.class_names)
    with st.expander("Take the trained network with you", icon=":material/download:", key="result_weights"):
        st.markdown(lesson.plain(trained_weights.contents(record.config)))
        with st.container(horizontal=True):
            st.download_button(
                f"Download {trained_weights.FILE} · {wording.bytes_text(size)}",
                lambda: lab.file(record.id, trained_weights.FILE),
                file_name=trained_weights.FILE,
                mime="application/octet-stream",
                icon=":material/download:",
                key="result_weights_file",
                on_click="ignore",
            )
            if source := trained_weights.source(record.config, classes):
                st.download_button(
                    "Download net.py",
                    source,
                    file_name="net.py",
                    mime="text/x-python",
                    icon=":material/code:",
                    key="result_weights_source",
                    on_click="ignore",
                )
        st.code(trained_weights.loading_code(record.config, classes), language="python")


_SEALED_PROBLEM = "sealed_problem"


def draw_sealed_test(record: RunRecord) -> None:
    """The envelope, or what was in it; nothing for a run without one."""
    lab = session.lab()
    try:
        if lab.has_sealed_test(record.id):
            _closed(record)
        elif (evaluation := lab.test_evaluation(record.id)) is not None:
            looks = lab.earlier_openings(record.id)
            with st.container(border=True):
                st.markdown("**:material/drafts: Sealed test part, opened**")
                st.markdown(lesson.plain(against_validation(record, evaluation, looks)))
    except LabError as error:
        st.error(lesson.plain(str(error)), icon=":material/error:")


def _closed(record: RunRecord) -> None:
    with st.container(border=True):
        st.markdown("**:material/mail_lock: Sealed test part**")
        st.markdown(lesson.text("train")["sealed"].format(tiles=f"{session.lab().sealed_tiles(record.id):,}"))
        if live_run.is_own(record):
            with st.popover("Open it", icon=":material/mail_lock:", key="sealed_open"):
                st.markdown("There is no way to seal it again.")
                st.button("Yes, open it", type="primary", key="sealed_open_sure", on_click=_open, args=(record.id,))
        if problem := st.session_state.get(_SEALED_PROBLEM):
            st.error(lesson.plain(problem), icon=":material/error:")


def _open(run_id: str) -> None:
    try:
        session.lab().open_test(run_id, session.nickname())
    except LabError as error:
        st.session_state[_SEALED_PROBLEM] = str(error)
        return
    st.session_state.pop(_SEALED_PROBLEM, None)


_MISTAKES = 6  # whole rows of two and of three
_ENLARGED = 3  # whole pixels, so that a tile's own pixels stay visible
_PROBLEM = "result_problem"


def missing(sentence: str) -> None:
    """The run in the URL cannot be shown: why, and the way on."""
    st.warning(lesson.plain(sentence), title="This run cannot be shown", icon=":material/search_off:")
    mine = [each for each in session.lab().runs()[0] if each.owner == session.nickname() and each.kind == "train"]
    with st.container(horizontal=True):
        if mine:
            st.button(
                "Open my newest run",
                icon=":material/history:",
                key="open_newest",
                type="primary",
                on_click=session.open_run,
                args=(mine[0].id,),
            )
        st.button(
            "Start with a fresh one", icon=":material/add:", key="open_none", on_click=session.open_run, args=(None,)
        )


def draw_result(record: RunRecord, guess: float | None) -> None:
    """Everything below the curves, once the run has ended. guess: the share of right answers that was guessed."""
    history = session.lab().history(record.id)
    evaluation = session.lab().evaluation(record.id) if history.epochs else None
    _sentences(record, history, guess, _majority(record, evaluation))
    if threads := pace.changing_threads(history):
        st.caption(
            f"Other programs kept this machine busy for a while, so it trained with {threads} CPU threads; its tiles "
            "per second are of both."
        )
    if record.company:
        st.warning(
            "Meanwhile this machine also computed: "
            + lesson.plain(wording.listed(list(record.company)))
            + ". So its speed says little; "
            "accuracy is not touched.",
            icon=":material/groups:",
        )
    if evaluation is not None:
        left, right = st.columns(2, gap="medium")
        with left:
            st.subheader("Accuracy per class", anchor=False)
            st.vega_lite_chart(
                charts.class_frame(evaluation),
                charts.class_bars(tuple(colours_for(evaluation.class_names).items())),
                key="result_classes",
                alt="Share of each class’s validation tiles that were named correctly, best first",
            )
            st.caption(lesson.plain(say(training.confusions(evaluation))))
        with right:
            st.subheader("Surely wrong", anchor=False)
            _mistakes(record)
    draw_sealed_test(record)
    _made_with(record)
    draw_weights(record)
    if live_run.is_own(record):
        _buttons(record)


def _majority(record: RunRecord, evaluation: Evaluation | None) -> float:
    """The largest class's share of the tiles the run was judged on, else of all its tiles; 0 if not known."""
    if evaluation is not None:
        return training.majority_share([sum(row) for row in evaluation.confusion])
    tiles = session.lab().tiles_of(record)
    return training.majority_share(list(tiles.counts.values())) if tiles else 0.0


def _sentences(record: RunRecord, history: History, guess: float | None, majority: float) -> None:
    finding = training.outcome(record, history, majority)
    own = live_run.is_own(record)
    if finding.kind in ("failed", "interrupted"):
        show = st.error if finding.kind == "failed" else st.warning
        advice = f" {lesson.text('train')['failed']}" if finding.kind == "failed" else ""
        show(lesson.plain(say(finding)) + advice, title="What happened", icon=":material/report:")
        return
    sentences = [say(finding)]
    if own and guess is not None:
        against = training.guess_against(guess, history)
        sentences += [against.text] if against else []
    if own:
        lab = session.lab()
        other = pace.comparable_run(record, lab.runs()[0])
        if other is not None:
            runs = (record, history, other, lab.history(other.id))
            guessed = lesson.guessed("speedup_baseline")
            found = (pace.compare_speed(*runs), pace.speedup_against(guessed, *runs))
            sentences += [each.text for each in found if each]
    lesson.saw("\n\n".join(lesson.plain(each) for each in sentences))


def _mistakes(record: RunRecord) -> None:
    lab = session.lab()
    predictions, tiles = lab.predictions(record.id), lab.tiles_of(record)
    if predictions is None:
        st.caption("This run kept no predictions.")
        return
    if tiles is None:
        st.caption("The tiles of this run are not the ones the lab has open now, so its mistakes cannot be shown.")
        return
    mistakes = training.surest_mistakes(predictions, record.tiles.class_names, _MISTAKES)
    if not mistakes:
        st.caption("No validation tile was named wrongly.")
        return
    st.caption(lesson.text("train")["mistakes"])
    titles = pictures.class_titles(record.tiles.class_names)
    with st.grid(3, min_column_width=105):
        for each in mistakes:
            true, said = titles[each.true], titles[each.predicted]
            with st.container(gap="xxsmall"):
                picture = pictures.png_uri(pictures.enlarged(tiles.array[each.tile], _ENLARGED))
                st.image(picture, width="stretch", alt=f"Tile {each.tile}: {true}, called {said}")
                sure = f"({100 * each.confidence:.0f} % sure)"
                st.caption(f"**{lesson.plain(true)}**, called **{lesson.plain(said)}** {sure}")


def _made_with(record: RunRecord) -> None:
    with st.expander("What this run was made with", icon=":material/receipt_long:"):
        left, right = st.columns(2)
        left.table(choices.settings_table(record.config), border="horizontal", alt="Settings of this run")
        words = {
            "Run": record.id,
            "Participant": record.owner,
            "Tiles": f"{record.tiles.count:,} ({record.tiles.source})",
            "Started": _clock(record.started),
            "Ended": _clock(record.ended),
        }
        if seconds := record.summary.get("seconds"):
            words["Time taken"] = wording.duration(seconds)
            if record.features_taken:
                words["Time taken"] += ", with outputs of its frozen part from an earlier run"
        words |= form_words.machine_table(record.machine)
        words["Ran beside it"] = wording.listed(list(record.company)) or "nothing"
        cells = {lesson.plain(name): lesson.plain(value) for name, value in words.items()}  # a table draws Markdown
        right.table(cells, border="horizontal", alt="Machine, versions and times of this run")


def _clock(seconds: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds)) if seconds else "–"


def _again(record: RunRecord) -> None:
    state.refill(record.config)
    start.submit(record.config)


def _delete(run_id: str) -> None:
    try:
        session.lab().delete(run_id, session.nickname())
    except LabError as error:
        st.session_state[_PROBLEM] = str(error)
        return
    st.session_state.pop(_PROBLEM, None)
    session.open_run(None)


def _buttons(record: RunRecord) -> None:
    with st.container(horizontal=True):
        st.button(
            f"Train again with these settings on {wording.device_name(record.config.device)}",
            icon=":material/replay:",
            key="result_again",
            on_click=_again,
            args=(record,),
            disabled=bool(session.lab().runs_problem or session.lab().feed_problem(record.config)),
        )
        with st.popover("Delete run", icon=":material/delete:", key="result_delete"):
            st.markdown("Its curves, predictions and weights are gone then. There is no way back.")
            st.button("Yes, delete it", type="primary", key="result_delete_sure", on_click=_delete, args=(record.id,))
    if problem := st.session_state.get(_PROBLEM):
        st.error(lesson.plain(problem), icon=":material/error:")
