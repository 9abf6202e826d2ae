"""The Speed page's experiments: what each changes. No torch here.

The sentences of `assets/experiments.toml` say what an outcome means; which it is, only the measurement decides.
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
    tip: int
    setting: str
    options: tuple[Cell, ...]
    reference: str
    focus: str
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


_MEMORY = {"source": "memory"}
# A step of tilenet makes 141 operations, however many tiles it has: with few a fast GPU waits for their launches.
_LARGE_WORK = {"batch_size": 1024}

_TEXTS = sentences("experiments")


def _experiment(name: str, **settings: Any) -> Experiment:
    return Experiment(name, **_TEXTS[name], **settings)


EXPERIMENTS: dict[str, Experiment] = {
    each.name: each
    for each in (
        _experiment(
            "batch_size",
            tip=1,
            setting="batch_size",
            options=tuple(Cell(str(size), {"batch_size": size}) for size in (8, 40, 256, 1024)),
            reference="40",
            focus="256",
            base=_MEMORY,
            target_accuracy=0.4,
        ),
        _experiment(
            "model_size",
            tip=2,
            setting="network",
            options=(
                Cell("1× filters", {"model": "baseline"}),
                *(Cell(f"{times}× filters", wider_baseline(times)) for times in (2, 4, 8)),
                Cell("tilenet", {"model": "tilenet"}),
                Cell("VGG11-BN", {"model": "vgg11_bn", "pretrained": False}),
            ),
            reference="1× filters",
            focus="8× filters",
            figure="work",
            base=_MEMORY,
            seconds=40.0,
        ),
        _experiment(
            "workers",
            tip=3,
            setting="workers",
            options=(
                *(Cell(str(workers), {"workers": workers}) for workers in (0, 1, 2, 4)),
                Cell("2, far ahead", {"workers": 2, "prefetch": 8}),
            ),
            reference="0",
            focus="2",
            seconds=35.0,
        ),
        _experiment(
            "optimizer",
            tip=4,
            setting="optimizer",
            options=(
                Cell("SGD", {"optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.9}),
                Cell("Adam", {"optimizer": "adam", "learning_rate": 0.001}),
                Cell("AdamW", {"optimizer": "adamw", "learning_rate": 0.001}),
                Cell("Adagrad", {"optimizer": "adagrad", "learning_rate": 0.01}),
            ),
            reference="SGD",
            focus="Adam",
            # The update comes once a batch: with the tutorial's 40 tiles Adam's costs 6.5 % of a step on two cores, so
            # near to what can be told at all that ten tries gave two verdicts. And the pace of two cores changes from
            # second to second: in turns of 0.8 s half the tries could not tell 10 %, in many short ones all ten could.
            base={**_MEMORY, "batch_size": 16},
            rounds=24,
            target_accuracy=0.5,
            accuracy_seconds=15.0,
        ),
        _experiment(
            "source",
            tip=0,
            setting="source",
            options=(
                Cell("picture files", {"source": "loader"}),
                Cell("in memory", {"source": "memory"}),
            ),
            reference="picture files",
            focus="in memory",
        ),
        _experiment(
            "pin_memory",
            tip=0,
            setting="pin_memory",
            options=(Cell("off", {"pin_memory": False}), Cell("on", {"pin_memory": True})),
            reference="off",
            focus="on",
            base={"workers": 4, "batch_size": 256},
        ),
        _experiment(
            "channels_last",
            tip=0,
            setting="channels_last",
            options=(Cell("off", {"channels_last": False}), Cell("on", {"channels_last": True})),
            reference="off",
            focus="on",
            model="tilenet",
            base={**_MEMORY, "batch_size": 128},
            gpu_base=_LARGE_WORK,
        ),
        _experiment(
            "precision",
            tip=0,
            setting="precision",
            options=(
                Cell("float32", {"precision": "float32"}),
                Cell("TF32", {"precision": "tf32"}),
                Cell("bfloat16", {"precision": "bfloat16"}),
            ),
            reference="float32",
            focus="bfloat16",
            model="tilenet",
            base={**_MEMORY, "batch_size": 128},
            gpu_base=_LARGE_WORK,
        ),
        _experiment(
            "graph",
            tip=0,
            setting="execution",
            options=(Cell("eager", {"execution": "eager"}), Cell("CUDA graph", {"execution": "graph"})),
            reference="eager",
            focus="CUDA graph",
            base=_MEMORY,
        ),
        _experiment(
            "compile",
            tip=0,
            setting="execution",
            options=(Cell("eager", {"execution": "eager"}), Cell("compiled", {"execution": "compiled"})),
            reference="eager",
            focus="compiled",
            model="tilenet",
            base={**_MEMORY, "batch_size": 64},
            gpu_base=_LARGE_WORK,
        ),
    )
}


def experiment(name: str) -> Experiment:
    """An experiment by its name. Raises `ConfigError` naming those there are."""
    try:
        return EXPERIMENTS[name]
    except KeyError:
        raise ConfigError(f"There is no experiment '{name}'. Experiments are: {', '.join(EXPERIMENTS)}.") from None


def experiment_problem(one: Experiment, devices: Sequence[str]) -> str:
    """Why an experiment says nothing on these devices of this machine, as a sentence; empty when it can be made."""
    if one.needs_gpu and not any(each.startswith("cuda") for each in devices):
        return one.needs_gpu
    if one.focus == "compiled":
        problems = [compile_problem(each) for each in devices]
        return next(filter(None, problems), "")
    return ""


def plan_experiment(
    name: str, devices: Sequence[str], model: str | None = None, tf32: Collection[str] = ()
) -> tuple[TrainConfig, SweepPlan]:
    """What an experiment measures on these devices: the config that all share, and the plan.

    model: another one than the experiment's own. tf32: devices that multiply it. Raises `ConfigError` when it cannot be
    made so.
    """
    one = experiment(name)
    if problem := experiment_problem(one, devices):
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
