"""Sentences for every outcome, tables for charts, progress and the time left, and speed against an earlier run."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from eurosat_core.lab import choices, findings, frames, pace
from eurosat_core.lab.history import History
from eurosat_core.lab.runs import RunRecord, TilesUsed
from eurosat_core.training.config import TrainConfig, workshop_config
from eurosat_core.training.evaluation import Evaluation, Predictions
from eurosat_core.training.events import EpochDone, Finished, Started, StepDone

TEN = tuple(f"class {number}" for number in range(10))
USED = TilesUsed("print", "eurosat", "/tiles", 6000, TEN)
NBSP = "\N{NO-BREAK SPACE}"


def make_record(**changes: Any) -> RunRecord:
    record = RunRecord("run", "ada", "finished", workshop_config(device="cpu"), USED, created=100.0)
    return replace(record, **changes)


def begun(**changes: Any) -> Started:
    return replace(Started(3, 100, 40, 4500, 1500, 338_486, 338_486, "cpu", 2), **changes)


def epoch(number: int, val: float, train: float | None = None, rate: float = 1000.0, **changes: Any) -> EpochDone:
    done = EpochDone(number, 2.0, val if train is None else train, 1.9, val, 10.0, 8.0, 2.0, rate, 10.0 * number)
    return replace(done, **changes)


def step(number: int, at_epoch: int = 1, phase: Any = "train", seconds: float = 1.0) -> StepDone:
    return StepDone(phase, at_epoch, number, seconds, 2.0, 0.3, 900.0, 2**29)


def seen(*accuracies: float, **changes: Any) -> History:
    epochs = tuple(epoch(number, value) for number, value in enumerate(accuracies, 1))
    return replace(History(started=begun(), epochs=epochs), **changes)


# -- how far it has come


@pytest.mark.parametrize(
    ("history", "stage"),
    [
        (History(), "nothing"),
        (seen(0.10), "chance"),
        (seen(0.115, 0.121), "chance"),
        (seen(0.14), "learning"),
        (seen(0.3, 0.5), "learning"),
        (seen(0.3, 0.5, 0.6, 0.605), "learning"),
        (seen(0.3, 0.6, 0.605, 0.603), "levelled"),
        (History(started=begun(), epochs=(epoch(1, 0.7, 0.72), epoch(2, 0.7, 0.95))), "overfitting"),
    ],
)
def test_stages(history: History, stage: str) -> None:
    assert findings.learning(history, 10) == stage


def test_few_validation_tiles_leave_more_to_luck() -> None:
    few = replace(seen(0.18), started=begun(validation_tiles=50))
    assert findings.learning(few, 10) == "chance"
    assert findings.learning(seen(0.18), 10) == "learning"


def test_naming_the_largest_class_every_time_is_not_learning() -> None:
    record = make_record(config=replace(workshop_config(), epochs=1))
    assert findings.learning(seen(0.6), 10, majority=0.6) == "chance"
    found = findings.outcome(record, seen(0.6), majority=0.6)
    assert found.kind == "finished_chance"
    assert f"takes no learning: always naming the largest class gives 60{NBSP}%" in found.text
    better = findings.outcome(record, seen(0.75), majority=0.6)
    assert better.kind == "finished_learning"
    assert f"always naming the largest class gives 60{NBSP}%" in better.text


def test_nearly_equal_classes_are_held_against_guessing() -> None:
    found = findings.outcome(make_record(), seen(0.3, 0.4, 0.5), majority=3000 / 27_000)
    assert f"guessing gives 11{NBSP}%" in found.text


@pytest.mark.parametrize(("counts", "share"), [([], 0.0), ([0, 0], 0.0), ([5, 15], 0.75)])
def test_majority_share(counts: list[int], share: float) -> None:
    assert findings.majority_share(counts) == share


def test_luck_is_computed_from_the_runs_own_validation_tiles() -> None:
    assert "1,500 validation tiles, 2.6 percentage points" in findings.luck(seen(0.5))
    few = findings.luck(replace(seen(0.9), started=begun(validation_tiles=100)))
    assert "6.0 percentage points" in few
    assert findings.luck(History(started=begun())) == ""


@pytest.mark.parametrize("state", ["failed", "interrupted"])
def test_what_is_kept_of_a_run_that_broke_off(state: Any) -> None:
    died = findings.outcome(make_record(state=state, summary={}), seen(0.4))
    assert "; its curves up to there are kept." in died.text
    brought_back = findings.outcome(make_record(state=state, summary={"val_accuracy": 0.4}), seen(0.4))
    assert "; its curves, predictions and weights up to there are kept." in brought_back.text


def test_still_at_chance_says_what_chance_is_and_what_to_try() -> None:
    record = make_record(config=workshop_config(epochs=3))
    found = findings.outcome(record, seen(0.1, 0.1, 0.11))
    assert found.kind == "finished_chance"
    assert f"10{NBSP}%" in found.text
    assert f"ln 10 = {math.log(10):.2f}" in found.text
    assert "larger learning rate" in found.text
    fast = replace(record, config=replace(record.config, optimizer="sgd", learning_rate=1.0))
    assert "smaller learning rate" in findings.outcome(fast, seen(0.1, 0.1, 0.11)).text


@pytest.mark.parametrize(
    ("accuracies", "words"),
    [
        ((0.3, 0.4, 0.52), "brought 12.0 percentage points"),
        ((0.3, 0.55, 0.52), "took 3.0 percentage points away"),
        ((0.3, 0.52, 0.524), "changed little"),
    ],
)
def test_learning_follows_the_last_epoch(accuracies: tuple[float, ...], words: str) -> None:
    found = findings.outcome(make_record(), seen(*accuracies))
    assert found.kind == "finished_learning"
    assert "1,500 tiles it was not trained on" in found.text
    assert words in found.text


def test_one_epoch_is_not_compared_with_another() -> None:
    found = findings.outcome(make_record(config=replace(workshop_config(), epochs=1)), seen(0.4))
    assert found.text.endswith("It is learning.")


def test_levelled_off_and_overfitting() -> None:
    config = replace(workshop_config(), epochs=4)
    levelled = findings.outcome(make_record(config=config), seen(0.3, 0.6, 0.605, 0.603))
    assert "less than one percentage point" in levelled.text
    epochs = (epoch(1, 0.6, 0.6, val_loss=1.0), epoch(2, 0.6, 0.9, val_loss=1.5), epoch(3, 0.6, 0.95, val_loss=1.6))
    over = findings.outcome(make_record(), History(started=begun(), epochs=epochs))
    assert over.kind == "finished_overfitting"
    assert "a gap of 35.0 percentage points" in over.text
    assert "lowest in epoch 1 (1.00) and is 1.60 now" in over.text
    still_falling = tuple(replace(each, val_loss=2.0 - each.epoch / 10) for each in epochs)
    assert "lowest" not in findings.outcome(make_record(), History(started=begun(), epochs=still_falling)).text


def test_synthetic_tiles_are_named_as_such() -> None:
    record = make_record(tiles=replace(USED, source="synthetic"))
    assert "synthetic tiles" in findings.outcome(record, seen(0.3, 0.4, 0.5)).text


@pytest.mark.parametrize(
    ("state", "message", "accuracies", "kind", "words"),
    [
        ("queued", "", (), "waiting", "waits for a free place"),
        ("running", "", (), "nothing", "has not seen a tile"),
        ("paused", "", (0.4,), "learning", "After 1 epoch the network"),
        ("cancelled", "", (), "stopped", "before its first epoch was done. So there is no validation result"),
        ("cancelled", "", (0.4,), "stopped", "was stopped after 1 of 3 epochs. After 1 epoch"),
        (
            "failed",
            "Memory is full. Try less.",
            (0.4,),
            "failed",
            "failed after 1 of 3 epochs. Memory is full. Try less.",
        ),
        ("failed", "", (), "failed", "left no reason"),
        ("interrupted", "The server ended.", (0.4,), "interrupted", "cut off after 1 of 3 epochs. The server ended."),
        ("interrupted", "", (), "interrupted", "The program that ran it was stopped."),
    ],
)
def test_every_state_has_its_sentence(
    state: Any, message: str, accuracies: tuple[float, ...], kind: str, words: str
) -> None:
    found = findings.outcome(make_record(state=state, message=message), seen(*accuracies))
    assert found.kind == kind
    assert words in found.text


def test_the_first_epoch_under_way_tells_its_training_accuracy() -> None:
    history = History(started=begun(), steps=(step(3),), latest=step(3))
    assert f"named 30.0{NBSP}% of its training tiles" in findings.outcome(make_record(state="running"), history).text


@pytest.mark.parametrize(("guess", "kind"), [(0.1, "higher"), (0.5, "right"), (0.9, "lower")])
def test_guess(guess: float, kind: str) -> None:
    found = findings.guess_against(guess, seen(0.2, 0.55))
    assert found is not None
    assert found.kind == kind
    assert f"55.0{NBSP}%" in found.text
    assert findings.guess_against(guess, History()) is None


def test_confusions_name_the_easiest_the_hardest_and_the_most_frequent_mistake() -> None:
    evaluation = Evaluation(
        ("Forest", "SeaLake", "River"),
        30,
        0.6,
        {"Forest": 0.9, "SeaLake": 0.7, "River": 0.2},
        ((9, 1, 0), (2, 7, 1), (3, 5, 2)),
    )
    text = findings.confusions(evaluation).text
    assert "Easiest class: Forest" in text
    assert "Hardest: River" in text
    assert "River called Sea or lake (5 of 10 tiles)" in text
    right = Evaluation(("a", "b"), 2, 1.0, {"a": 1.0, "b": None}, ((2, 0), (0, 0)))
    assert findings.confusions(right).kind == "none"


# -- tables and progress


def test_curves_have_steps_epochs_and_the_line_of_chance() -> None:
    history = replace(seen(0.4), steps=(step(50), step(10, phase="validation"), step(100)))
    loss = frames.curve_frame(history, "loss", 10)
    assert loss["kind"].tolist() == ["step", "step", "epoch", "epoch", "chance"]
    assert loss["epoch"].tolist() == [0.5, 1.0, 1.0, 1.0, 0.0]
    assert loss["value"].iloc[-1] == pytest.approx(math.log(10))
    accuracy = frames.curve_frame(history, "accuracy", 10)
    assert accuracy["value"].tolist() == pytest.approx([0.3, 0.3, 0.4, 0.4, 0.1])
    assert len(frames.curve_frame(History(), "loss", 10)) == 1


def test_curves_stay_small_however_long_the_run() -> None:
    many = tuple(step(number % 100 + 1, number // 100 + 1) for number in range(400))
    long = replace(seen(*[0.4] * 200), steps=many)
    assert len(frames.curve_frame(long, "loss", 10)) <= 500


def test_speed_is_split_where_the_phase_changes() -> None:
    table = frames.speed_frame(replace(seen(), steps=(step(1), step(1, phase="validation"), step(1, 2))))
    assert table["part"].nunique() == 3
    assert table["memory_mb"].tolist() == [512.0] * 3
    assert frames.speed_frame(History()).empty


@pytest.mark.parametrize(
    ("value", "ceiling"), [(0.2, 1), (1.2, 1.5), (740, 750), (760, 1000), (2600, 3000), (math.inf, 1)]
)
def test_axis_ceiling(value: float, ceiling: float) -> None:
    assert frames.axis_ceiling(value) == pytest.approx(ceiling)


def test_the_loss_axis_follows_epochs_but_not_one_wild_batch() -> None:
    calm = frames.curve_frame(replace(seen(0.4), steps=(replace(step(1), loss=50.0),)), "loss", 10)
    assert frames.loss_ceiling(calm, 10) == pytest.approx(2.58)
    wild = frames.curve_frame(History(epochs=(epoch(1, 0.1, val_loss=6.0),)), "loss", 10)
    assert frames.loss_ceiling(wild, 10) == 7.5


def test_classes_are_listed_best_first_and_empty_ones_left_out() -> None:
    evaluation = Evaluation(("Forest", "SeaLake", "x"), 4, 0.5, {}, ((1, 1, 0), (0, 2, 0), (0, 0, 0)))
    table = frames.class_frame(evaluation)
    assert table["title"].tolist() == ["Sea or lake", "Forest"]
    assert table["accuracy"].tolist() == [1.0, 0.5]


def test_surest_mistakes_come_first() -> None:
    predictions = Predictions(
        torch.tensor([7, 8, 9]), torch.tensor([0, 1, 1]), torch.tensor([1, 1, 0]), torch.tensor([0.6, 0.99, 0.8])
    )
    found = frames.surest_mistakes(predictions, ("a", "b"), 5)
    assert [(each.tile, each.true, each.predicted) for each in found] == [(9, "b", "a"), (7, "a", "b")]
    assert frames.surest_mistakes(predictions, ("a", "b"), 1)[0].confidence == pytest.approx(0.8)


def test_progress_grows_from_start_to_finish() -> None:
    stages = [
        History(),
        History(started=begun(), latest=step(50)),
        History(started=begun(), latest=step(100)),
        History(started=begun(), latest=step(20, phase="validation")),
        replace(seen(0.3), latest=step(40, phase="validation")),
        replace(seen(0.3), latest=step(10, 2)),
        replace(seen(0.3, 0.4), latest=step(40, 2, "validation")),
        replace(seen(0.3, 0.4, 0.5), finished=Finished(3, 30.0, 1.0, 0.5)),
    ]
    shares = [frames.progress(each) for each in stages]
    assert shares == sorted(set(shares))
    assert shares[0] == 0
    assert shares[4] == pytest.approx(1 / 3)
    assert shares[-1] == 1


def test_the_time_left_is_measured_and_unknown_at_first() -> None:
    assert frames.seconds_left(History()) is None
    assert frames.seconds_left(History(started=begun(), latest=step(1, seconds=0.1))) is None
    first = frames.seconds_left(History(started=begun(), latest=step(100, seconds=4.0)))
    assert first is not None
    assert 8 < first < 14
    # The first epoch (slow: warm-up) is left out as soon as there is another.
    epochs = (epoch(1, 0.3, seconds=50.0), epoch(2, 0.4, seconds=10.0))
    rest = frames.seconds_left(History(started=begun(), epochs=epochs, latest=step(40, 2, "validation")))
    assert rest == pytest.approx(10.0)
    assert frames.seconds_left(replace(seen(0.1, 0.2, 0.3), finished=Finished(3, 1.0, 1.0, 0.3))) == 0


# -- speed against an earlier run


def paced(*rates: float) -> History:
    return History(started=begun(), epochs=tuple(epoch(at, 0.4, rate=rate) for at, rate in enumerate(rates, 1)))


GPU = replace(workshop_config(), device="cuda:0")


@pytest.mark.parametrize(
    ("rates", "kind", "words"),
    [
        ((500, 3000, 3200), "faster", "3.1 times as fast"),
        ((500, 1000, 1010), "same", "No difference in speed that we can measure"),
        ((500, 900, 2000), "same", "No difference"),
        ((500, 250, 260), "slower", "was 3.9 times as fast"),
    ],
)
def test_speed_has_a_sentence_for_each_outcome(rates: tuple[float, ...], kind: str, words: str) -> None:
    found = pace.compare_speed(make_record(config=GPU), paced(*rates), make_record(), paced(400, 990, 1010))
    assert found is not None
    assert found.kind == kind
    assert words in found.text
    assert "device: GPU 0 instead of CPU" in found.text
    assert "Several settings" not in found.text


@pytest.mark.parametrize(
    ("rates", "kind"), [((1250.0,), "same"), ((1350.0,), "faster"), ((800.0,), "same"), ((700.0,), "slower")]
)
def test_one_epoch_each_says_little(rates: tuple[float, ...], kind: str) -> None:
    found = pace.compare_speed(make_record(config=GPU), paced(*rates), make_record(), paced(1000))
    assert found is not None
    assert found.kind == kind
    assert "one epoch each, so how much it varies is not known" in found.text
    assert "first epoch carries its warm-up" in found.text


def test_one_epoch_against_several_has_no_spread() -> None:
    found = pace.compare_speed(make_record(config=GPU), paced(10, 1250), make_record(), paced(10, 1000, 1010, 1020))
    assert found is not None
    assert found.kind == "same"
    assert "median of 1 epoch and of 3; one epoch does not tell how much it varies" in found.text
    assert "warm-up" not in found.text


@pytest.mark.parametrize(
    ("guess", "gpu", "kind", "words"),
    [
        ("5×", 5000, "right", "the GPU was 5.0 times as fast as the CPU. Well judged"),
        ("50× or more", 5000, "lower", "less than you guessed"),
        ("2×", 5000, "higher", "more than you guessed"),
        ("slower", 5000, "higher", "more than you guessed"),
        ("about the same", 1000, "right", "no difference in speed that we can measure. Well judged"),
        ("slower", 1000, "higher", "more than you guessed"),
        ("slower", 500, "right", "the CPU was 2.0 times as fast). Well judged"),
        ("about the same", 500, "lower", "less than you guessed"),
    ],
)
def test_the_guessed_speedup_stands_next_to_what_two_runs_measured(
    guess: str, gpu: float, kind: str, words: str
) -> None:
    on_gpu, on_cpu = (make_record(config=GPU), paced(1, gpu, gpu)), (make_record(), paced(1, 1000, 1000))
    for runs in ((*on_gpu, *on_cpu), (*on_cpu, *on_gpu)):  # whichever came first
        found = pace.speedup_against(guess, *runs)
        assert found is not None
        assert found.kind == kind
        assert f"you guessed “{guess}”" in found.text
        assert words in found.text


def test_the_guessed_speedup_waits_for_two_runs_that_answer_it() -> None:
    cpu, gpu, rates = make_record(), make_record(config=GPU), paced(1, 1000, 1000)
    assert pace.speedup_against(None, gpu, rates, cpu, rates) is None
    assert pace.speedup_against("no such guess", gpu, rates, cpu, rates) is None
    assert pace.speedup_against("5×", cpu, rates, cpu, rates) is None
    assert pace.speedup_against("5×", gpu, rates, gpu, rates) is None
    assert pace.speedup_against("5×", gpu, History(), cpu, rates) is None
    larger = make_record(config=replace(GPU, batch_size=256))
    assert pace.speedup_against("5×", larger, rates, cpu, rates) is None
    elsewhere = make_record(config=GPU, tiles=replace(USED, fingerprint="another"))
    assert pace.speedup_against("5×", elsewhere, rates, cpu, rates) is None
    vgg = [replace(each, config=replace(each.config, model="vgg11_bn")) for each in (gpu, cpu)]
    assert pace.speedup_against("5×", vgg[0], rates, vgg[1], rates) is None


def test_every_guess_has_its_place_on_the_scale() -> None:
    for ratio in (0.1, 0.95, 1.0, 1.39, 1.4, 3.2, 7.1, 22, 500):
        assert any(low <= ratio < below for low, below in pace.SPEEDUP_GUESSES.values())


def test_several_differences_and_company_are_said() -> None:
    other = make_record(config=workshop_config("baseline", "tutorial"), machine={"threads": 4}, beside=("another",))
    found = pace.compare_speed(make_record(machine={"threads": 2}), paced(1, 900), other, paced(1, 300))
    assert found is not None
    assert "Several settings differ" in found.text
    assert "CPU threads: 2 instead of 4" in found.text
    assert "measure again on a free machine" in found.text


def test_other_work_is_not_compared() -> None:
    other = make_record(tiles=replace(USED, fingerprint="another"))
    found = pace.compare_speed(make_record(), paced(1, 900), other, paced(1, 300))
    assert found is not None
    assert found.kind == "other_work"
    assert "another tile set" in found.text
    assert pace.compare_speed(make_record(), paced(), make_record(config=GPU), paced(1)) is None


def test_the_first_epoch_is_warm_up() -> None:
    measured = pace.pace(paced(10, 100, 120, 140))
    assert measured == pace.Pace(120, 100, 140, 3)
    assert measured is not None
    assert measured.spread == pytest.approx(1 / 3)
    assert pace.pace(paced(10)) == pace.Pace(10, 10, 10, 1)
    assert pace.pace(History()) is None


def test_the_earlier_run_with_the_fewest_differences_is_compared() -> None:
    now = make_record(id="now", config=GPU)
    cpu = make_record(id="cpu", created=10.0)
    tutorial = make_record(id="tutorial", config=workshop_config("baseline", "tutorial"), created=50.0)
    same = make_record(id="same", config=GPU, created=60.0)
    others = make_record(id="others", owner="bob", created=70.0)
    later = make_record(id="later", created=200.0)
    failed = make_record(id="failed", state="failed", created=20.0)
    moved = make_record(id="moved", tiles=replace(USED, fingerprint="x"), created=80.0)
    assert pace.comparable_run(now, [now, later, moved, others, same, tutorial, failed, cpu]) == cpu
    assert pace.comparable_run(now, [now, same, moved]) == moved
    assert pace.comparable_run(now, [now, same, failed]) is None


# -- settings in words


def test_changed_settings_leave_out_what_has_no_effect() -> None:
    base = workshop_config()
    assert choices.changed(base, base) == {}
    assert choices.changed(replace(base, workers=7, batch_size=32), base) == {
        "batch_size": ("32", str(base.batch_size))
    }
    from_files = replace(base, source="loader")
    assert set(choices.changed(replace(from_files, workers=7), from_files)) == {"workers"}


def test_settings_are_worded() -> None:
    table = choices.settings_table(TrainConfig())
    assert table["Tiles"] == "all"
    assert table["Optimizer"] == "SGD"
    assert table["Tiles come from"] == "picture files (DataLoader)"
    assert table["Share for training"] == "75 %"
    assert table["Device"] == "CPU"
    assert table["Channels-last layout"] == "off"
    assert "Loader workers" not in choices.settings_table(workshop_config())


def test_every_setting_has_a_name() -> None:
    assert set(choices.SETTING_NAMES) == set(TrainConfig().to_dict())


def _seconds(config: TrainConfig) -> float:
    return config.epochs * min(config.tiles or 24_300, 24_300) / 200


def test_a_long_training_is_offered_smaller() -> None:
    assert choices.smaller_version(workshop_config(), _seconds, 24_300) is None
    assert choices.smaller_version(TrainConfig(), lambda _: None, 24_300) is None
    smaller = choices.smaller_version(TrainConfig(epochs=3), _seconds, 24_300)
    assert smaller is not None
    assert (smaller[0].tiles, smaller[0].epochs, smaller[1]) == (6000, 3, 90.0)
    patient = choices.smaller_version(TrainConfig(epochs=3), _seconds, 24_300, limit=200)
    assert patient is not None
    assert (patient[0].tiles, patient[0].epochs) == (12_000, 3)


def test_the_smallest_version_is_offered_when_none_is_short_enough() -> None:
    slow = choices.smaller_version(TrainConfig(), lambda config: 1000 * _seconds(config), 24_300)
    assert slow is not None
    assert (slow[0].tiles, slow[0].epochs) == (1500, 1)
    assert choices.smaller_version(TrainConfig(epochs=1, tiles=1000), lambda _: 999.0, 24_300) is None
