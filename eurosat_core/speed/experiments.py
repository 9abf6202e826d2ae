"""The Speed page's experiments, from `assets/experiments.toml`. No torch here.

Its sentences say what an outcome means; which it is, only the measurement decides.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from eurosat_core.errors import ConfigError
from eurosat_core.models.catalog import changed_baseline
from eurosat_core.models.layers import format_network
from eurosat_core.speed.plan import Cell, SweepPlan
from eurosat_core.speed.result import GpuLimit
from eurosat_core.speed.verdict import Outcome
from eurosat_core.training.compilers import compile_problem
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.wording import sentences

Figure = Literal["tiles", "work"]


@dataclass(frozen=True)
class Experiment:
    """One change, measured. tip: which of the tutorial's four it is, 0 for what that leaves out.

    question: a guess about `focus` against `reference` (labels of `options`). figure: what is compared: tiles per
    second, or for networks of different sizes the arithmetic per second (`work`). base: settings that all options
    share; gpu_base: what differs from them on a GPU, as work that keeps one busy. seconds: of timed steps per device,
    in so many `rounds`. outcomes: what it means if the focus is faster, the same, slower; on_gpu: where that is another
    on a GPU, by what its steps wait for (`GpuLimit`, or `any`). misconception: what it puts right. needs_gpu: why it
    says nothing without one; empty where it does.
    """

    name: str
    title: str
    question: str
    outcomes: dict[Outcome, str]
    misconception: str
    setting: str
    options: tuple[Cell, ...]
    reference: str
    focus: str
    tip: int = 0
    base: dict[str, Any] = field(default_factory=dict)
    gpu_base: dict[str, Any] = field(default_factory=dict)
    model: str = "baseline"
    figure: Figure = "tiles"
    seconds: float = 25.0
    rounds: int = SweepPlan().rounds
    target_accuracy: float | None = None
    accuracy_seconds: float = 12.0
    needs_gpu: str = ""
    on_gpu: dict[GpuLimit | Literal["any"], dict[Outcome, str]] = field(default_factory=dict)

    def meaning(self, outcome: Outcome, device: str, limit: GpuLimit | None) -> str:
        """The sentence about an outcome on a device, whose steps are limited so; empty where there is none."""
        cases = [self.on_gpu.get(limit or "any", {}), self.on_gpu.get("any", {})] if device != "cpu" else []
        return next((each[outcome] for each in (*cases, self.outcomes) if outcome in each), "")


def home_device(devices: Sequence[str]) -> str:
    """The device whose worker measures: the GPU where there is one, for its worker can compute on the CPU as well."""
    return next((each for each in devices if each != "cpu"), "cpu")


def wider_baseline(times: int) -> dict[str, Any]:
    """The baseline with so many times the filters, as a network of one's own."""
    return {"model": "custom", "network": format_network(changed_baseline((6 * times, 16 * times)))}


def _experiment(name: str, written: dict[str, Any]) -> Experiment:
    options = {
        label: wider_baseline(changes["filters"]) if "filters" in changes else changes
        for label, changes in written.pop("options").items()
    }
    return Experiment(name, options=tuple(Cell(*each) for each in options.items()), **written)


EXPERIMENTS: dict[str, Experiment] = {
    name: _experiment(name, written) for name, written in sentences("experiments").items()
}


def experiment(name: str) -> Experiment:
    """An experiment by its name. Raises `ConfigError` naming those there are."""
    try:
        return EXPERIMENTS[name]
    except KeyError:
        raise ConfigError(f"There is no experiment '{name}'. Experiments are: {', '.join(EXPERIMENTS)}.") from None


def experiment_problem(one: Experiment, devices: Sequence[str], *, here: bool = True) -> str:
    """Why an experiment says nothing on these devices, as a sentence; empty when it can be made.

    here: they are this machine's; others look themselves whether they can compile.
    """
    if one.needs_gpu and not any(each.startswith("cuda") for each in devices):
        return one.needs_gpu
    if one.focus == "compiled" and here:
        problems = [compile_problem(each) for each in devices]
        return next(filter(None, problems), "")
    return ""


def plan_experiment(
    name: str, devices: Sequence[str], model: str | None = None, tf32: Collection[str] = (), *, here: bool = True
) -> tuple[TrainConfig, SweepPlan]:
    """What an experiment measures on these devices: the config that all share, and the plan.

    model: another one than the experiment's own. tf32: devices that multiply it. here: they are this machine's. Raises
    `ConfigError` when it cannot be made so.
    """
    one = experiment(name)
    if problem := experiment_problem(one, devices, here=here):
        raise ConfigError(problem)
    if not devices:
        raise ConfigError("Choose at least one device to measure on.")
    used = [each for each in devices if not one.needs_gpu or each.startswith("cuda")]
    if model is not None and one.setting == "network":
        raise ConfigError("This experiment compares models, so it has none of its own. Leave the model out.")
    config = recipe_config(model or one.model, "tutorial", device=home_device(used), **one.base)
    cells = tuple(
        replace(option, changes={**(one.gpu_base if device != "cpu" else {}), **option.changes, "device": device})
        for device in used
        for option in one.options
        if option.changes.get("precision") != "tf32" or device in tf32
    )
    plan = SweepPlan(
        cells,
        name,
        one.setting,
        one.reference,
        one.focus,
        seconds=one.seconds * len(used),
        rounds=one.rounds,
        target_accuracy=one.target_accuracy,
        accuracy_seconds=one.accuracy_seconds,
    ).checked()
    plan.configs(config)
    return config, plan
