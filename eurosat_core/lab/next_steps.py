"""What to try next, set up from a participant's own best training: one thing changed at a time, and why."""

from dataclasses import dataclass, replace

from eurosat_core.errors import ConfigError
from eurosat_core.lab import findings
from eurosat_core.lab.contenders import Contender
from eurosat_core.lab.evidence import Evidence, majority_of
from eurosat_core.models.layers import format_network
from eurosat_core.models.presets import changed_baseline
from eurosat_core.training.config import TrainConfig, workshop_config

__all__ = ["NextStep", "next_steps"]

_EPOCHS = 10  # the tutorial's
_MOST_EPOCHS = 60

_WHY_EPOCHS = {
    "nothing": "Every epoch shows it all tiles once more.",
    "chance": "It is still at chance; time alone may be what it lacks.",
    "learning": "It was still learning when it ended, so this will most likely help.",
    "levelled": "It had levelled off, so expect little: that would be worth knowing, too.",
    "levelled, rate down": "Its learning rate had come to nothing. Over more epochs that takes longer: it may help.",
    "rate high": "Its learning rate had yet to come down, so it can most likely do better. Let this one end.",
    "overfitting": "It had begun to memorise, so expect validation to stand still while training rises.",
}
_WHY_RATE = {
    "chance": ("Smaller steps, in case these were too large to settle.", 0.1),
    "overfitting": ("Smaller steps: it gets less far from where it began.", 0.3),
}
_WHY_LARGER = ("Larger steps: they may get there sooner, or never settle. Only trying tells.", 3.0)


@dataclass(frozen=True)
class NextStep:
    """A training to try: key, title, why, and its settings."""

    key: str
    title: str
    why: str
    config: TrainConfig


def next_steps(evidence: Evidence, by_place: bool = True) -> list[NextStep]:
    """More epochs, another learning rate, more layers; each changes one thing of the best training so far.

    by_place: whether the lab can split its tiles by place.
    """
    best = evidence.best
    config = workshop_config("baseline") if best is None else replace(best.record.config, sealed_test=False)
    stage = _stage(best)
    found = [_epochs(config, stage), _rate(config, stage), _layers(config)]
    if by_place and best is not None and config.split == "random":
        found.append(_place(config))
    return [each for each in found if each is not None]


def _stage(best: Contender | None) -> str:
    """How far a training has come, as `_WHY_EPOCHS` names it."""
    if best is None:
        return "nothing"
    stage = findings.learning(best.history, max(len(best.record.tiles.class_names), 2), majority_of(best))
    if stage != "chance" and findings.rate_is_high(best.record.config, best.history):
        return "rate high"
    return "levelled, rate down" if stage == "levelled" and best.record.config.schedule != "constant" else stage


def _changed(config: TrainConfig, **changes: object) -> TrainConfig | None:
    """The config with one thing changed; None where that cannot be trained."""
    try:
        return TrainConfig.from_dict({**config.to_dict(), **changes})
    except ConfigError:
        return None


def _epochs(config: TrainConfig, stage: str) -> NextStep | None:
    epochs = min(max(_EPOCHS, 2 * config.epochs), _MOST_EPOCHS)
    made = _changed(config, epochs=epochs) if epochs > config.epochs else None
    if made is None:
        return None
    return NextStep("epochs", f"More epochs: {epochs} instead of {config.epochs}", _WHY_EPOCHS[stage], made)


def _rate(config: TrainConfig, stage: str) -> NextStep | None:
    why, factor = _WHY_RATE.get(stage, _WHY_LARGER)
    rate = float(f"{config.learning_rate * factor:.1g}")
    made = _changed(config, learning_rate=rate)
    if made is None:
        return None
    return NextStep("rate", f"Another learning rate: {rate:g} instead of {config.learning_rate:g}", why, made)


def _layers(config: TrainConfig) -> NextStep | None:
    network = format_network(changed_baseline(extra="convolution"))
    if config.network == network:
        return None
    same = {name: getattr(config, name) for name in ("epochs", "tiles", "stratified", "split", "seed")}
    if config.model == "baseline":
        made = _changed(config, model="custom", network=network)
    else:
        made = _changed(workshop_config("custom", network=network), **same)
    if made is None:
        return None
    return NextStep(
        "layers",
        "More layers: the baseline with a third convolution",
        "It can put what the first two found together once more. Whether that pays, the accuracy tells.",
        made,
    )


def _place(config: TrainConfig) -> NextStep | None:
    made = _changed(config, split="place")
    if made is None:
        return None
    return NextStep(
        "place",
        "The same, judged on tiles from elsewhere",
        "The split by place takes neighbours apart: what is left of the accuracy then is what it knows.",
        made,
    )
