"""What is found about measurements, for each way they can turn out, and the tables behind the charts."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from experiment_makers import measured
from run_makers import make_record, told
from sweep_makers import MEMORY, cell_of, result_of

from eurosat_core.analysis.sweep import (
    device_finding,
    experiment_finding,
    guessed_factor,
    learning_finding,
    measured_how,
    prediction_frame,
    rate_text,
    speed_by_setting,
)
from eurosat_core.charts.speed import learning_frame
from eurosat_core.commands.sweep import verdict_on
from eurosat_core.finding import Finding
from eurosat_core.speed.experiments import EXPERIMENTS, plan_experiment
from eurosat_core.speed.result import GpuLimit, Prediction, SweepResult
from eurosat_core.speed.verdict import Learning, Outcome, Turn
from eurosat_core.words.say import say

GPU = replace(MEMORY, device="cuda:0")


def batch_sizes(small: float, large: float, rounds: int = 8) -> SweepResult:
    """Batches of 40 and of 256 with these step times, as the experiment measures them."""
    return result_of(
        cell_of("40", [small] * rounds),
        cell_of("256", [large] * rounds, replace(MEMORY, batch_size=256)),
        name="batch_size",
    )


@pytest.mark.parametrize(
    ("large", "outcome", "factor"), [(0.0320, "faster", 2.0), (0.0640, "same", 1.0), (0.1280, "slower", 0.5)]
)
def test_every_outcome(large: float, outcome: Any, factor: float) -> None:
    finding = experiment_finding(batch_sizes(0.01, large), "cpu")
    verdict = finding.figures["verdict"]
    assert (finding.kind, verdict.outcome, verdict.factor) == ("compared", outcome, pytest.approx(factor))
    assert finding.figures["focus"] == Finding("sweep.phrase.batch_size", {"label": "256"})
    assert finding.figures["reference_rate"] == "4,000 tiles/s"
    assert finding.then[0].figures == {"meaning": EXPERIMENTS["batch_size"].outcomes[outcome]}


def test_what_cannot_be_told() -> None:
    assert experiment_finding(batch_sizes(0.01, 0.03, rounds=3), "cpu").kind == "unknown"
    failed = result_of(cell_of("40", [0.01] * 8), cell_of("256", [], problem="The memory is full."))
    problem = {"label": "256", "problem": "The memory is full."}
    assert experiment_finding(failed, "cpu") == Finding("sweep.problem", problem)
    assert experiment_finding(batch_sizes(0.01, 0.03), "cuda:0").kind == "unknown"


@pytest.mark.parametrize(
    ("compiled", "kind", "epochs"),
    [(0.008, "compiling.pays", 21), (0.01, "compiling.never", None), (0.02, "compiling.never", None)],
)
def test_when_compiling_pays(compiled: float, kind: str, epochs: int | None) -> None:
    """20.5 s of compiling; 500 steps of 40 tiles in an epoch, each 2 ms shorter, save 1 s in each."""
    cells = cell_of("eager", [0.01] * 8), cell_of("compiled", [compiled] * 8)
    result = replace(result_of(*cells, name="compile"), reference="eager", focus="compiled", epoch_tiles=20_000)
    assert [each.kind for each in experiment_finding(result, "cpu").then] == ["meaning"], "nothing was compiled"
    result = result.with_cell(1, compile_seconds=20.5)
    found = experiment_finding(SweepResult.from_json(result.to_json()), "cpu").then[-1]
    assert found.name == f"sweep.{kind}" and found.figures["compiling"] == 20.5
    assert found.figures.get("epochs") == epochs
    if epochs:
        assert found.figures["saved"] == pytest.approx(1.0)
        assert "21 epochs" in say(found)


def test_models_are_compared_by_their_arithmetic() -> None:
    result = result_of(
        cell_of("1× filters", [0.01] * 8, operations=1e9),
        cell_of("8× filters", [0.02] * 8, operations=1e10),
        name="model_size",
    )
    finding = experiment_finding(result, "cpu")
    assert finding.figures["verdict"].factor == pytest.approx(5.0)
    assert finding.figures["rate"] == "500 billion operations/s"
    assert finding.figures["reference_rate"] == "100 billion operations/s"


def test_a_fast_devices_arithmetic_is_written_out() -> None:
    (cell,) = result_of(cell_of("8× filters", [0.02] * 8, operations=1.236e11)).cells
    assert cell.operations_per_second is not None
    assert rate_text(cell.operations_per_second, "work") == "6,180 billion operations/s"


def test_what_a_guess_is_judged_by() -> None:
    assert guessed_factor(batch_sizes(0.01, 0.05), "cpu") == pytest.approx(1.28, rel=0.05)
    assert guessed_factor(batch_sizes(0.01, 0.064), "cpu") == 1.0  # no difference that can be measured
    assert guessed_factor(batch_sizes(0.01, 0.05, rounds=2), "cpu") is None


def learned(label: str, reached: bool, seconds: float, step: float):  # type: ignore[no-untyped-def]
    learning = Learning(0.5, reached, seconds, 4000, 1000, ((seconds, 0.52 if reached else 0.4),))
    return cell_of(label, [step] * 8, learning=learning)


def test_the_time_to_an_accuracy() -> None:
    mixed = result_of(
        learned("SGD", True, 9.0, 0.010), learned("Adam", True, 4.0, 0.011), learned("X", False, 15.0, 0.2)
    )
    finding = learning_finding(mixed, "cpu")
    assert told(finding) == ["reached", "next", "late", "fastest.other"]
    assert finding is not None and finding.figures["label"].figures == {"label": "Adam"}
    assert (finding.figures["target"], finding.figures["seconds"], finding.figures["tiles"]) == (0.5, 4.0, 4000)
    assert finding.then[1].figures["late"] == [Finding("sweep.phrase.named", {"label": "X"})]
    assert finding.then[2].figures["fastest"].figures == {"label": "SGD"}
    both = result_of(learned("SGD", True, 9.0, 0.02), learned("Adam", True, 4.0, 0.011))
    assert told(learning_finding(both, "cpu")) == ["reached", "next", "fastest.too"]
    none = result_of(learned("SGD", False, 15.0, 0.01))
    assert told(learning_finding(none, "cpu")) == ["none"]
    assert learning_finding(batch_sizes(0.01, 0.02), "cpu") is None


def test_devices_against_each_other() -> None:
    result = result_of(cell_of("40", [0.02] * 8), cell_of("40", [0.002] * 8, GPU))
    finding = device_finding(result, "40", "cuda:0")
    assert finding and finding.figures["verdict"].factor == pytest.approx(10)
    assert finding.figures["device"] == "cuda:0"
    assert device_finding(batch_sizes(0.01, 0.02), "40", "cuda:0") is None


def test_on_what_the_figures_rest() -> None:
    machine = {"device_name": "Some CPU", "threads": 2}
    found = measured_how(make_record(machine=machine), batch_sizes(0.01, 0.02))
    assert told(found) == ["measured.threads"]
    assert found.figures == {"machine": ["Some CPU"], "threads": 2, "steps": 160, "rounds": 8}
    found = measured_how(
        make_record(machine=machine, concurrent_runs=("x",), recorded_on="Some CPU, 3 May 2026"),
        replace(batch_sizes(0.01, 0.02), complete=False),
    )
    assert told(found) == ["measured.threads", "stopped", "company", "recorded"]
    assert measured_how(make_record(), result_of(cell_of("a", []))).kind == "nothing"


def test_tables() -> None:
    predicted = Prediction(0.005, "memory", {}, {}, ())
    first, second = batch_sizes(0.01, 0.032).cells
    result = result_of(replace(first, prediction=predicted), second, cell_of("9", [], problem="No."), focus="256")
    table = speed_by_setting(result)
    assert list(table["label"]) == ["40", "256"] and list(table["outcome"]) == ["reference", "faster"]
    assert table["tiles_per_second"].tolist() == pytest.approx([4000, 8000]) and table["device"].tolist() == ["CPU"] * 2
    assert table["factor"].tolist() == pytest.approx([1.0, 2.0])
    assert prediction_frame(result)["error"].tolist() == pytest.approx([0.5])
    assert len(learning_frame(result_of(learned("a", True, 3.0, 0.1)))) == 1
    empty = result_of(cell_of("a", []))
    for frame in (speed_by_setting(empty), learning_frame(empty), prediction_frame(empty)):
        assert frame.empty and len(frame.columns) > 3


def test_the_command_line_says_what_the_pages_say() -> None:
    """Eight times the filters are compared by their arithmetic per second, not by tiles."""
    small, large = cell_of("1× filters", [0.01] * 6), cell_of("8× filters", [0.02] * 6, operations=8e9)
    result = result_of(small, large, name="model_size")
    found = verdict_on(result, "cpu")
    assert (found["figure"], found["outcome"], found["focus"]) == ("work", "faster", "8× filters")
    assert found["factor"] == pytest.approx(4.0)
    assert found["text"] == say(experiment_finding(result, "cpu"))


LIMITS: dict[str, tuple[tuple[float, ...], float]] = {  # shares of a step by part, and of launching it
    "loading": ((0.7, 0.1, 0.1, 0.05, 0.05), 0.2),
    "launches": ((0.05, 0.0, 0.3, 0.5, 0.15), 0.94),
    "busy": ((0.05, 0.0, 0.3, 0.5, 0.15), 0.3),
}


def on_gpu(name: str, factor: float, limit: str | None) -> SweepResult:
    """An experiment's focus so many times as fast as its reference on a GPU, whose steps wait for that."""
    one = EXPERIMENTS[name]
    cells = []
    for label, seconds in ((one.reference, 0.01), (one.focus, 0.01 / factor)):
        cell = cell_of(label, [seconds] * 8, GPU)
        if limit is not None:
            shares, launching = LIMITS[limit]
            turns = [
                Turn(each.steps, each.tiles, each.seconds, tuple(share * each.seconds for share in shares), None)
                for each in cell.turns
            ]
            turns = [msgspec.structs.replace(each, launching=launching * each.step_seconds) for each in turns]
            cell = replace(cell, turns=tuple(turns))
        cells.append(cell)
    return replace(result_of(*cells, name=name), reference=one.reference, focus=one.focus)


def meaning(name: str, factor: float, limit: str | None) -> str:
    finding = experiment_finding(on_gpu(name, factor, limit), "cuda:0")
    return str(finding.then[0].figures["meaning"])


@pytest.mark.parametrize("limit", [None, *LIMITS])
def test_what_a_gpus_steps_wait_for(limit: str | None) -> None:
    result = on_gpu("precision", 1.0, limit)
    assert {each.limit for each in result.cells} == {limit}
    assert {each.limit for each in SweepResult.from_json(result.to_json()).cells} == {limit}


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize(("factor", "outcome"), [(2.0, "faster"), (1.0, "same"), (0.5, "slower")])
@pytest.mark.parametrize("limit", [None, *LIMITS])
def test_an_outcome_is_explained_by_device_and_limit(
    name: str, factor: float, outcome: Outcome, limit: GpuLimit | None
) -> None:
    one = EXPERIMENTS[name]
    said = one.meaning(outcome, "cuda:0", limit)
    assert said.endswith(".")
    if one.figure == "tiles":
        assert meaning(name, factor, limit) == said
    assert one.meaning(outcome, "cpu", None) == one.outcomes[outcome]
    assert set(one.on_gpu) <= {"any", *LIMITS}


@pytest.mark.parametrize("limit", [None, "launches"])
def test_a_gpu_that_waits_for_launches_is_not_told_that_it_has_no_bfloat16(limit: str | None) -> None:
    for factor in (1.0, 0.5):
        assert meaning("precision", factor, limit) != EXPERIMENTS["precision"].outcomes["slower"]
    assert "cache" not in meaning("batch_size", 0.5, limit)
    assert meaning("precision", 0.5, "launches") != meaning("precision", 0.5, "busy")


@pytest.mark.parametrize("name", ["precision", "channels_last"])
def test_a_gpu_gets_enough_work_and_is_not_held_against_the_cpus_smaller_batches(name: str) -> None:
    config, plan = plan_experiment(name, ["cpu", "cuda:0"])
    sizes = {each.device: each.batch_size for each in plan.configs(config)}
    assert sizes == {"cpu": 128, "cuda:0": 1024}
    result = measured(config, plan)
    finding = device_finding(result, result.focus, "cuda:0")
    assert finding is not None and finding.kind == "other_work" and "1,024" in say(finding)


@pytest.mark.parametrize(("threads", "words"), [((8, 8), "8 CPU threads"), ((8, 32), "8 to 32 CPU threads")])
def test_fitted_threads_are_told(threads: tuple[int, int], words: str) -> None:
    cells = [cell_of(label, [0.01] * 8, threads=each) for label, each in zip("ab", threads, strict=True)]
    cells.append(cell_of("a", [0.001] * 8, GPU))
    record = make_record(kind="sweep", machine={"device_name": "Some GPU", "cpu_name": "Some CPU", "threads": 128})
    assert words in say(measured_how(record, result_of(*cells)))
