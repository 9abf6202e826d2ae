"""A training while it runs, and what it found: its outcome, its weights, and its sealed test part."""

import math

import streamlit as st

from eurosat_core.analysis import guesses, pace, training
from eurosat_core.charts import training as charts
from eurosat_core.data import pictures
from eurosat_core.data.classes import colours_for
from eurosat_core.errors import LabError
from eurosat_core.finding import Finding
from eurosat_core.lab import trained_weights
from eurosat_core.runs.history import History, progress
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.sealed import (
    against_validation,
    earlier_openings,
    has_sealed_test,
    opened_test,
    sealed_tiles,
)
from eurosat_core.training import choices
from eurosat_core.training.evaluation import Evaluation
from eurosat_core.wording import bytes_text, clock, count, device_name, duration, listed, percent
from eurosat_core.words.say import say, say_each
from pages.parts import lesson, run_widget, session, take_home
from pages.parts.train import start, state


def draw_run(record: RunRecord) -> None:
    """Follow a training while it is active; draw its curves once when it has ended."""
    run_widget.follow(record, _live, key="run", working="Training", pausable=True)


def _live(record: RunRecord, history: History) -> None:
    _bar(record, history)
    with st.container():  # always there: what comes and goes would have the charts below it drawn anew
        if record.state == "running" and (busy := _busy_text(record, history)):
            st.caption(busy)
    if record.state == "paused":
        st.caption(_pause_text(record))
    _figures(record, history)
    _curves(record, history)


def _bar(record: RunRecord, history: History) -> None:
    """How far the run is, and the time left."""
    if not record.is_active:
        return
    done = progress(history)
    if history.started is None:
        text = "Getting ready: the network goes to its device, the first tiles are fetched…"
    elif history.features is not None and history.latest is None:
        known = history.features
        done = known.done / max(known.total, 1)
        text = f"Computing the frozen part, once for every tile: {known.done:,} of {known.total:,}"
        if not known.total:
            text = "The frozen part was computed by an earlier run: its outputs are read…"
    elif record.config.execution == "compiled" and history.latest is None:
        text = "Compiling the network, which can take a minute: the first step waits for it…"
    else:
        epoch = min(len(history.epochs) + 1, record.config.epochs)
        left = session.lab().seconds_left(record.id)
        text = f"Epoch {epoch} of {record.config.epochs} · {100 * done:.0f} %"
        if record.state == "running" and left is not None:
            text += f" · {duration(math.ceil(left))} left"
        if record.state == "paused" and history.latest:
            text += f" · at step {history.latest.step} of {_steps(history)} ({_phase(history)})"
    st.progress(done, text=text)


def _busy_text(record: RunRecord, history: History) -> str:
    """That it computes with fewer threads than it might have, and why; empty when it does not."""
    most = session.lab().estimates.threads
    now = history.threads[-1].threads if history.threads else history.started.threads if history.started else most
    if record.config.device != "cpu" or now >= most:
        return ""
    return f"Other programs keep this machine busy, so it computes with {now} of {count(most, 'CPU thread')}."


def _pause_text(record: RunRecord) -> str:
    """What a pause means for the run's place, and what it waits for."""
    lab = session.lab()
    who = "you press" if run_widget.is_own(record) else "its owner presses"
    if lab.dispatcher.returning(record.id):
        return (
            "Its place went to others while it was paused. It goes on as soon as the device is free; beside a race or "
            "a measurement nothing runs."
        )
    if lab.dispatcher.parked(record.id):
        return f"Its place went to others meanwhile. It continues when {who} Resume, as soon as the device is free."
    minutes = f"{lab.settings.pause_minutes:g}"
    after = f"{minutes} minute{'' if minutes == '1' else 's'}"
    return f"Paused. After {after} its place goes to others; it continues when {who} Resume."


def _phase(history: History) -> str:
    return "validation" if history.latest and history.latest.phase == "validation" else "training"


def _steps(history: History) -> int:
    assert history.started is not None
    validating = _phase(history) == "validation"
    return history.started.validation_steps if validating else history.started.steps_per_epoch


def _figures(record: RunRecord, history: History) -> None:
    latest, epochs = history.latest, history.epochs
    if record.is_active:
        rate = latest.tiles_per_second if latest else None
    else:
        paces = pace.pace(history)
        rate = paces.median if paces else None
    loss = epochs[-1].train_loss if epochs else None
    if latest and latest.phase == "train" and latest.loss is not None:
        loss = latest.loss
    gain = epochs[-1].val_accuracy - epochs[-2].val_accuracy if len(epochs) > 1 else None
    with st.grid(4, min_column_width=150):
        st.metric(
            "Tiles per second",
            f"{rate:,.0f}" if rate else None,
            help="While it trains: right now. Afterwards: the median of the epochs’ training phases (without the first "
            "epoch, which warms up, if there are more).",
        )
        st.metric(
            "Training loss",
            f"{loss:.2f}" if loss is not None else None,
            help="Cross-entropy of the latest reported batch, or of the last epoch while validating.",
        )
        st.metric(
            "Memory",
            bytes_text(latest.memory_bytes) if latest and latest.memory_bytes else None,
            help="Used by the training process (CPU), or reserved on the GPU.",
        )
        st.metric(
            "Validation accuracy",
            percent(epochs[-1].val_accuracy) if epochs else None,
            delta=f"{100 * gain:+.1f} points" if gain is not None else None,
            help="Share of right answers on tiles it was not trained on, after the last complete epoch.",
        )


def _curves(record: RunRecord, history: History) -> None:
    """Four charts. Key, spec and axes stay the same while rows are added, so that they grow without flicker."""
    classes = max(len(record.tiles.class_names), 2)
    epochs = record.config.epochs
    loss = charts.curve_frame(history, "loss", classes)
    accuracy = charts.curve_frame(history, "accuracy", classes)
    left, right = st.columns(2)
    left.vega_lite_chart(
        loss,
        charts.curves("loss", epochs, classes, charts.loss_ceiling(loss, classes)),
        key="run_loss",
        alt="Loss of training and validation over the epochs, with the line of chance",
    )
    right.vega_lite_chart(
        accuracy,
        charts.curves("accuracy", epochs, classes, 1.0),
        key="run_accuracy",
        alt="Accuracy of training and validation over the epochs, with the line of chance",
    )
    speed = charts.speed_frame(history)
    if speed.empty:
        return
    until = charts.axis_ceiling(float(speed["seconds"].max()), least=5.0)
    left, right = st.columns(2)  # a row of its own: on a phone, loss and accuracy come first
    highest = {name: float(speed[name].max()) for name in ("tiles_per_second", "memory_mb")}
    left.vega_lite_chart(
        speed,
        charts.over_time("tiles_per_second", until, charts.axis_ceiling(highest["tiles_per_second"], 100.0)),
        key="run_speed",
        alt="Tiles per second of training and validation over time",
    )
    right.vega_lite_chart(
        speed,
        charts.over_time("memory_mb", until, charts.axis_ceiling(highest["memory_mb"], 10.0)),
        key="run_memory",
        alt="Memory in use over time",
    )


def draw_weights(record: RunRecord) -> None:
    """Nothing, when the run kept no weights. The file is read when its button is clicked."""
    lab = session.lab()  # a download runs outside the session
    size = lab.store.size(record.id, trained_weights.FILE)
    if size is None:
        return
    classes = len(record.tiles.class_names)
    with st.expander("Take the trained network with you", icon=":material/download:", key="result_weights"):
        st.markdown(lesson.plain(trained_weights.contents(record.config)))
        with st.container(horizontal=True):
            st.download_button(
                f"Download {trained_weights.FILE} · {bytes_text(size)}",
                lambda: lab.store.load(record.id, trained_weights.FILE),
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
        take_home.run_files(record, "result")


def draw_sealed_test(record: RunRecord) -> None:
    """The envelope, or what was in it; nothing for a run without one."""
    lab = session.lab()
    try:
        record = lab.store.get(record.id)
        if has_sealed_test(lab.store, record):
            _closed(record)
        elif (evaluation := opened_test(lab.store, record)) is not None:
            looks = earlier_openings(lab.store.all()[0], record)
            with st.container(border=True):
                st.markdown("**:material/drafts: Sealed test part, opened**")
                st.markdown(lesson.plain(say(against_validation(record, evaluation, looks))))
    except LabError as error:
        st.error(lesson.plain(str(error)), icon=":material/error:")


def _closed(record: RunRecord) -> None:
    with st.container(border=True):
        st.markdown("**:material/mail_lock: Sealed test part**")
        tiles = sealed_tiles(session.lab().store, record.id)
        st.markdown(lesson.text("train")["sealed"].format(tiles=f"{tiles:,}"))
        if run_widget.is_own(record):
            with st.popover("Open it", icon=":material/mail_lock:", key="sealed_open"):
                st.markdown("There is no way to seal it again.")
                st.button("Yes, open it", type="primary", key="sealed_open_sure", on_click=_open, args=(record.id,))
        lesson.problem("sealed")


def _open(run_id: str) -> None:
    with session.attempt("sealed"):
        session.lab().open_test(run_id, session.me())


_MISTAKES = 6  # whole rows of two and of three
_ENLARGED = 3  # whole pixels, so that a tile's own pixels stay visible


def missing(sentence: str) -> None:
    """The run in the URL cannot be shown: why, and the way on."""
    run_widget.missing("run", sentence)
    mine = session.own_runs("train")
    with st.container(horizontal=True):
        if mine:
            lesson.button("Open my newest run", "history", "open_newest", session.open_run, mine[0].id, type="primary")
        lesson.button("Start with a fresh one", "add", "open_none", session.open_run, None)


def draw_result(record: RunRecord, guess: str | None) -> None:
    """Everything below the curves, once the run has ended. guess: how many of 100 new tiles it would name."""
    history = session.lab().results.history(record.id)
    evaluation = session.lab().results.evaluation(record.id) if history.epochs else None
    _sentences(record, history, guess, _majority(record, evaluation))
    if threads := pace.changing_threads(history):
        st.caption(
            f"Other programs kept this machine busy for a while, so it trained with {threads} CPU threads; its tiles "
            "per second are of both."
        )
    run_widget.company(record, "So its speed says little; accuracy is not touched.")
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
    if run_widget.is_own(record):
        _buttons(record)


def _majority(record: RunRecord, evaluation: Evaluation | None) -> float:
    """The largest class's share of the tiles the run was judged on, else of all its tiles; 0 if not known."""
    if evaluation is not None:
        return training.majority_share([sum(row) for row in evaluation.confusion])
    tiles = session.lab().results.tiles_of(record)
    return training.majority_share(list(tiles.counts.values())) if tiles else 0.0


def _sentences(record: RunRecord, history: History, guess: str | None, majority: float) -> None:
    finding = training.outcome(record, history, majority)
    own = run_widget.is_own(record)
    if finding.kind in ("failed", "interrupted"):
        show = st.error if finding.kind == "failed" else st.warning
        advice = f" {lesson.text('train')['failed']}" if finding.kind == "failed" else ""
        show(lesson.plain(say(finding)) + advice, title="What happened", icon=":material/report:")
        return
    found: list[Finding | None] = [finding]
    if own:
        found.append(
            guesses.judge("train_accuracy", guess, history.epochs[-1].val_accuracy if history.epochs else None)
        )
        lab = session.lab()
        other = pace.comparable_run(record, lab.store.all()[0])
        if other is not None:
            runs = (record, history, other, lab.results.history(other.id))
            found.append(pace.compare_speed(*runs))
            judged = guesses.judge("speedup_baseline", lesson.guessed("speedup_baseline"), pace.device_ratio(*runs))
            found.append(judged and Finding("guesses.start_page", then=(judged,)))
    lesson.saw_each(say_each(found))


def _mistakes(record: RunRecord) -> None:
    lab = session.lab()
    predictions, tiles = lab.results.predictions(record.id), lab.results.tiles_of(record)
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
            "Participant": session.name_of(record),
            "Tiles": f"{record.tiles.count:,} ({record.tiles.source})",
            "Started": clock(record.started),
            "Ended": clock(record.ended),
        }
        if seconds := record.summary.get("seconds"):
            words["Time taken"] = duration(seconds)
            if record.features_taken:
                words["Time taken"] += ", with outputs of its frozen part from an earlier run"
        if compiling := record.summary.get("compile_seconds"):
            words["Of it compiling"] = duration(compiling)
        words |= choices.machine_table(record.machine)
        words["Ran beside it"] = listed(list(record.company)) or "nothing"
        cells = {lesson.plain(name): lesson.plain(value) for name, value in words.items()}  # a table draws Markdown
        right.table(cells, border="horizontal", alt="Machine, versions and times of this run")


def _again(record: RunRecord) -> None:
    state.refill(record.config)
    start.submit(record.config)


def _buttons(record: RunRecord) -> None:
    with st.container(horizontal=True):
        st.button(
            f"Train again with these settings on {device_name(record.config.device)}",
            icon=":material/replay:",
            key="result_again",
            on_click=_again,
            args=(record,),
            disabled=bool(session.lab().runs_problem or session.lab().feed_problem(record.config)),
        )
        lost = "This deletes its curves, predictions and weights for good."
        run_widget.delete(record, "result_delete", "Delete run", lost)
