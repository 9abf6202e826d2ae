"""The Speed page's experiments: what each changes, and the terms it speaks in.

The sentences say what an outcome means; which outcome it is, only the measurement decides. No torch here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from eurosat_core.errors import ConfigError
from eurosat_core.models.catalog import changed_baseline
from eurosat_core.models.layers import format_network
from eurosat_core.speed.plan import Cell, SweepPlan
from eurosat_core.speed.verdict import Outcome
from eurosat_core.training.config import TrainConfig, recipe_config

Figure = Literal["tiles", "work"]


@dataclass(frozen=True)
class Option:
    """One value of an experiment: its label, what it changes, and whether it is also trained to an accuracy."""

    label: str
    changes: dict[str, Any]
    learns: bool = True


@dataclass(frozen=True)
class Experiment:
    """One change, measured. tip: which of the tutorial's four it is, 0 for what that leaves out.

    question: a guess about `focus` against `reference` (labels of `options`). figure: what is compared: tiles per
    second, or for networks of different sizes the arithmetic per second (`work`). base: settings that all options
    share. seconds: of timed steps per device, in so many `rounds`. outcomes: what it means if the focus is faster, the
    same, slower. misconception: what it puts right. needs_gpu: why it says nothing without one; empty where it does.
    """

    name: str
    title: str
    tip: int
    question: str
    setting: str
    options: tuple[Option, ...]
    reference: str
    focus: str
    outcomes: dict[Outcome, str]
    misconception: str
    base: dict[str, Any] = field(default_factory=dict)
    model: str = "baseline"
    figure: Figure = "tiles"
    seconds: float = 25.0
    rounds: int = SweepPlan().rounds
    target_accuracy: float | None = None
    accuracy_seconds: float = 12.0
    needs_gpu: str = ""


def home_device(devices: Sequence[str]) -> str:
    """The device whose worker measures: the GPU where there is one, for its worker can compute on the CPU as well."""
    return next((each for each in devices if each != "cpu"), "cpu")


def _wider(times: int) -> dict[str, Any]:
    """The baseline with so many times the filters, as a network of one's own."""
    return {"model": "custom", "network": format_network(changed_baseline((6 * times, 16 * times)))}


_MEMORY = {"source": "memory"}

EXPERIMENTS: dict[str, Experiment] = {
    each.name: each
    for each in (
        Experiment(
            name="batch_size",
            title="A larger batch",
            tip=1,
            question="Batches of 256 tiles instead of 40: how many tiles per second?",
            setting="batch_size",
            options=tuple(Option(str(size), {"batch_size": size}) for size in (8, 40, 256, 1024)),
            reference="40",
            focus="256",
            base=_MEMORY,
            target_accuracy=0.4,
            outcomes={
                "faster": "What every step costs before it computes anything is shared by more tiles, and more work at "
                "once keeps the device busier.",
                "same": "With 40 tiles this device has already as much to do at once as it can, so more at once gains "
                "nothing.",
                "slower": "With 256 tiles what lies between the layers no longer fits into the processor’s caches, and "
                "fetching it from memory takes longer than the launches that are saved.",
            },
            misconception="A larger batch is not simply better: it can put more tiles through per second and still "
            "learn later, for it changes the weights less often.",
        ),
        Experiment(
            name="model_size",
            title="A larger model",
            tip=2,
            question="Eight times the filters: how much arithmetic gets done per second?",
            setting="network",
            options=(
                Option("1× filters", {"model": "baseline"}),
                *(Option(f"{times}× filters", _wider(times)) for times in (2, 4, 8)),
                Option("tilenet", {"model": "tilenet"}),
                Option("VGG11-BN", {"model": "vgg11_bn", "pretrained": False}),
            ),
            reference="1× filters",
            focus="8× filters",
            figure="work",
            base=_MEMORY,
            seconds=40.0,
            outcomes={
                "faster": "A step takes longer, but by less than the arithmetic grew: small layers leave much of a "
                "device idle, large ones use it.",
                "same": "A step takes longer by as much as the arithmetic grew: the small network already used this "
                "device as well as the large one does.",
                "slower": "A step takes longer by more than the arithmetic grew: the large layers no longer fit into "
                "the caches.",
            },
            misconception="A model with ten times the arithmetic does not take ten times as long, and the layers with "
            "the most parameters are not those with the most arithmetic.",
        ),
        Experiment(
            name="workers",
            title="Prefetching with loader workers",
            tip=3,
            question="Two loader workers prepare the next batches meanwhile: how many tiles per second?",
            setting="workers",
            options=(
                *(Option(str(workers), {"workers": workers}) for workers in (0, 1, 2, 4)),
                Option("2, far ahead", {"workers": 2, "prefetch": 8}),
            ),
            reference="0",
            focus="2",
            seconds=35.0,
            outcomes={
                "faster": "While one batch is computed, the workers open the pictures of the next ones, so the step "
                "waits less.",
                "same": "Opening pictures was not what the step waited for, or there are no idle cores for the workers "
                "to use.",
                "slower": "The workers take their time from the same cores that compute, and handing batches over "
                "costs something, too.",
            },
            misconception="More workers are not always faster: they help only where something waits for them and a "
            "core is free, and two are often as good as four.",
        ),
        Experiment(
            name="optimizer",
            title="Another optimizer",
            tip=4,
            question="Adam instead of SGD, with small batches of 16: how many tiles per second?",
            setting="optimizer",
            options=(
                Option("SGD", {"optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.9}),
                Option("Adam", {"optimizer": "adam", "learning_rate": 0.001}),
                Option("AdamW", {"optimizer": "adamw", "learning_rate": 0.001}),
                Option("Adagrad", {"optimizer": "adagrad", "learning_rate": 0.01}),
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
            outcomes={
                "faster": "That is unusual, for Adam computes more per weight; look at the part “update”.",
                "same": "The update is a small part of the step, so its arithmetic hardly counts. What an optimizer "
                "changes is how many steps it takes to learn: see the time to an accuracy.",
                "slower": "Adam keeps two figures for every weight and computes more with them. What counts is how "
                "many steps it takes to learn: see the time to an accuracy.",
            },
            misconception="An optimizer does not make the device faster: it changes how much is learned per step.",
        ),
        Experiment(
            name="source",
            title="Tiles in memory",
            tip=0,
            question="Tiles decoded once and kept in memory, instead of opening every picture again: how many tiles "
            "per second?",
            setting="source",
            options=(
                Option("picture files", {"source": "loader"}),
                Option("in memory", {"source": "memory"}),
            ),
            reference="picture files",
            focus="in memory",
            outcomes={
                "faster": "Opening and decoding pictures was a good part of the work, and every epoch does it "
                "again. On a GPU the tiles lie in its own memory, so their copying is gone, too.",
                "same": "The step did not wait for its pictures: the loader workers were fast enough.",
                "slower": "Taking tiles from memory is done by the program itself, the loader workers did it beside "
                "the step.",
            },
            misconception="The network is not always what takes the time: often it waits for its data.",
        ),
        Experiment(
            name="pin_memory",
            title="Pinned memory, copied beside the computing",
            tip=0,
            question="Batches in pinned memory, copied while the GPU computes: how many tiles per second?",
            setting="pin_memory",
            options=(Option("off", {"pin_memory": False}), Option("on", {"pin_memory": True})),
            reference="off",
            focus="on",
            base={"workers": 4, "batch_size": 256},
            needs_gpu="Pinned memory is for copies to a CUDA GPU, and there is none here.",
            outcomes={
                "faster": "The GPU fetches pinned memory by itself, and goes on computing meanwhile.",
                "same": "The copies are too small to be waited for: look at the part “copy”.",
                "slower": "Pinning every batch costs the processor more than the copies gain.",
            },
            misconception="`non_blocking=True` does nothing by itself: only from pinned memory can a copy run beside "
            "the computing.",
        ),
        Experiment(
            name="channels_last",
            title="Channels-last memory layout",
            tip=0,
            question="Pixels laid out with their channels side by side: how many tiles per second?",
            setting="channels_last",
            options=(Option("off", {"channels_last": False}), Option("on", {"channels_last": True})),
            reference="off",
            focus="on",
            model="tilenet",
            base={**_MEMORY, "batch_size": 128},
            outcomes={
                "faster": "The convolutions of this device work on that layout, so nothing has to be rearranged.",
                "same": "The convolutions of this device are as good in either layout for these sizes.",
                "slower": "For these layers this device has better convolutions in the usual layout.",
            },
            misconception="The same numbers in another order in memory are the same network, but not the same speed.",
        ),
        Experiment(
            name="precision",
            title="Mixed precision",
            tip=0,
            question="bfloat16 instead of float32 where that is enough: how many tiles per second?",
            setting="precision",
            options=(
                Option("float32", {"precision": "float32"}),
                Option("bfloat16", {"precision": "bfloat16"}),
            ),
            reference="float32",
            focus="bfloat16",
            model="tilenet",
            base={**_MEMORY, "batch_size": 128},
            outcomes={
                "faster": "This device multiplies short numbers faster than long ones, and has half as much to move.",
                "same": "What the short numbers gain is spent on changing between the two, or something else is the "
                "limit.",
                "slower": "This device has no fast arithmetic for bfloat16, and changing between the two costs time.",
            },
            misconception="Fewer bits do not make a network worse by themselves: the weights stay in float32.",
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
    """Why an experiment says nothing on these devices, as a sentence; empty when it can be made."""
    if one.needs_gpu and not any(each.startswith("cuda") for each in devices):
        return one.needs_gpu
    return ""


def plan_experiment(name: str, devices: Sequence[str], model: str | None = None) -> tuple[TrainConfig, SweepPlan]:
    """What an experiment measures on these devices: the config that all share, and the plan.

    model: another one than the experiment's own. Raises `ConfigError` when it cannot be made so.
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
        Cell(option.label, {**option.changes, "device": device}, option.learns)
        for device in used
        for option in one.options
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
