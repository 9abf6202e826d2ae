"""The arithmetic and memory layouts that a network can be computed in, and which of them suits a device.

Uses no device, and not PyTorch: what was tried (`precision`) is known from the machine's notes.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from eurosat_core.machine_notes import MachineNotes
from eurosat_core.models.check import breaks_channels_last, checked_network
from eurosat_core.training.config import AUTO, TrainConfig

Why = Literal["faster", "slower", "no_instructions", "emulated", "not_tried"]
"""Why float32 or bfloat16: bfloat16 was faster, or was not; the device has no instructions for it, or only emulates it;
it was not tried, since another run wanted the device or the trial failed."""

# Of the two layouts channels-last gains more in the larger batches of a training than in those of a trial: baseline in
# float32, AVX2, 4,100 against 3,400 tiles a second, where one trial in three saw them even; in bfloat16 with AMX 4,750
# against 3,860, where one in five saw the usual layout a little ahead.
_LAYOUT_MARGIN = 1.12
_MARGIN = 1.03  # bfloat16 rounds, so it has to gain something
FORMS = "forms"
"""The topic of `MachineNotes` under which trials are kept."""


class Form(NamedTuple):
    """How a network is computed."""

    precision: str
    channels_last: bool


@dataclass(frozen=True)
class Choice:
    """The form that was chosen, why this precision, and how many times as fast bfloat16 was (None: not tried)."""

    form: Form
    why: Why
    ratio: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**self.form._asdict(), "why": self.why, "ratio": self.ratio}


def filled(config: TrainConfig, choice: Choice) -> TrainConfig:
    """`config` in the form of a choice."""
    if config.source == "features":  # computed channels-last whatever the rest is
        return replace(config, precision=choice.form.precision, channels_last=bool(config.channels_last))
    return replace(config, precision=choice.form.precision, channels_last=choice.form.channels_last)


def known_choice(config: TrainConfig, notes: MachineNotes) -> Choice | None:
    """What an earlier trial says of this config; None when there was none. Uses no device."""
    kept = notes.get(FORMS, config.device, form_key(config))
    if not isinstance(kept, dict):
        return None
    try:
        seconds = {Form(str(name), bool(last)): float(value) for name, last, value in kept["seconds"]}
        why_not = kept["why_not"]
    except (KeyError, TypeError, ValueError):
        return None
    return choose(config, seconds, why_not if why_not in ("no_instructions", "emulated") else None)


def choose(config: TrainConfig, seconds: dict[Form, float], why_not: Why | None = None) -> Choice:
    """The fastest of the forms that `config` leaves open. seconds: of a step, by form. why_not: why not bfloat16."""
    best = {
        precision: min(
            (form for form in seconds if form.precision == precision and form in open_forms(config)),
            key=lambda form: seconds[form] * (1.0 if form.channels_last else _LAYOUT_MARGIN),
            default=None,
        )
        for precision in ("float32", "bfloat16")
    }
    plain, short = best["float32"], best["bfloat16"]
    ratio = seconds[plain] / seconds[short] if plain and short else None
    if config.precision != AUTO:
        form = best.get(config.precision) or Form(config.precision, bool(config.channels_last))
        return Choice(form, why_not or "not_tried", ratio)
    if plain is None and short is None:
        return Choice(Form("float32", bool(config.channels_last)), why_not or "not_tried")
    if plain is None or (short is not None and ratio is not None and ratio > _MARGIN):
        assert short is not None
        return Choice(short, "faster", ratio)
    return Choice(plain, "slower" if short is not None else why_not or "not_tried", ratio)


def form_key(config: TrainConfig) -> str:
    """The key of a config's network in the notes."""
    part = "frozen" if config.source == "features" else ""
    return "|".join((*map(str, config.architecture), part))


def open_forms(config: TrainConfig) -> list[Form]:
    """The forms that `config` leaves open, the likeliest first; without one that PyTorch crashes on."""
    precisions = ("float32", "bfloat16") if config.precision == AUTO else (config.precision,)
    layouts = (True, False) if config.channels_last is None else (config.channels_last,)
    if config.source == "features":
        layouts = (True,)
    fragile = config.device == "cpu" and config.network != "" and breaks_channels_last(checked_network(config.network))
    forms = [Form(precision, last) for last in layouts for precision in precisions]
    return [each for each in forms if not (fragile and each == Form("float32", True))]
