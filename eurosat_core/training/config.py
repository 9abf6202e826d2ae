"""The one table of settings: what a training can be told, and everything that is known of each setting.

Forms, checks, tables of differences, sweeps and options of the command line are loops over it. To add a setting, add a
field to `TrainConfig`, say what it is in `assets/settings.toml`, and use its value where it takes effect.

Importing this module does not import torch, so configs can be checked before it is loaded.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args

from eurosat_core import wording
from eurosat_core.data.decoding import TILE_SIDE
from eurosat_core.errors import ConfigError
from eurosat_core.models.catalog import BASELINE, CATALOG, model_entry
from eurosat_core.models.check import breaks_channels_last, checked_network
from eurosat_core.training.recipes import RECIPE_NAMES, recipe_settings

RISING = 0.2  # the share of a one-cycle training's steps in which its learning rate rises


def rate_share(schedule: str, step: float, steps: int) -> float:
    """The share (0…1) of the learning rate asked for, at a step (counted from 0) of so many; 0 at the end.

    `constant`: all of it. `cosine`: Loshchilov & Hutter 2017, without restarts. `one_cycle`: up in a straight line,
    then down (Smith 2018, without its third phase).
    """
    steps = max(steps, 1)
    match schedule:
        case "cosine":
            return (1 + math.cos(math.pi * min(step / steps, 1.0))) / 2
        case "one_cycle":
            rising = max(RISING * steps, 1.0)
            falling = max(steps - rising, 1.0)
            return max(min((step + 1) / rising, (steps - step) / falling), 0.0)
        case _:
            return 1.0


AUTO = "auto"

Part = Literal["run", "network", "feed", "step", "tiles", "course"]


@dataclass(frozen=True)
class Setting:
    """Everything that is known of a setting but its value in a training, from `assets/settings.toml`.

    Attributes:
        title: Its name on screen.
        part: What it belongs to: the `run` as such, the `network`, how tiles are fed (`feed`), what happens in a
            `step`, which `tiles` are used and how they are divided, or the `course` of a whole training (which has no
            meaning where only a few steps are made).
        speed: How much it changes the tiles per second. `much`: a run with one value says nothing about another.
            `little`: there is more or less to do in a step; of a number it only counts whether it is 0. `none`.
        result: Whether it changes what is learnt, beyond rounding.
        only_with: What a config must be, by its settings and properties, for this one to have any effect in it.
        low: The lowest number allowed.
        high: The highest number allowed.
        above_low: The lowest number itself is not allowed.
        unit: What stands behind the range in the sentence about a number outside of it.
        choices: All values it can have, each with its name on screen; empty where it is not one of a few.
        shown: A value as it is shown, where neither `choices` nor the kind of value say it.
        label: Its name in a form, where that is another than the title.
        help: What a form says about it.
        step: By how much a click in a form changes a number.
        offered: Values to start a free sweep from; empty where the Speed page does not offer it.
        formerly: Its name in runs, bundles and scripts made before it was renamed.
        name, kind, is_optional, default: As the field is declared; filled in for `SETTINGS`.
    """

    title: str
    part: Part
    speed: Literal["much", "little", "none"] = "none"
    result: bool = True
    only_with: Mapping[str, Any] = field(default_factory=dict)
    low: float = 0
    high: float = 1
    above_low: bool = False
    unit: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)
    shown: Callable[[Any], str] | None = None
    label: str = ""
    help: str = ""
    step: float = 1
    offered: tuple[Any, ...] = ()
    formerly: str = ""
    name: str = ""
    kind: type = str
    is_optional: bool = False
    default: Any = None

    def applies(self, config: "TrainConfig") -> bool:
        """Whether it has any effect in a config, by the other settings."""
        return all(getattr(config, name) == value for name, value in self.only_with.items())

    def in_words(self, value: Any) -> str:
        """A value as it is shown: `batch_size` 40 → `40`, `source` loader → `picture files (DataLoader)`."""
        if self.shown is not None:
            return self.shown(value)
        if isinstance(value, bool):
            return "on" if value else "off"
        return self.choices.get(value) or (f"{value:g}" if isinstance(value, float) else str(value))

    def parsed(self, word: str) -> Any:
        """A word of a command line or a form as a value; the word itself where it is none, for `problem` to refuse."""
        if self.kind is bool:
            return _SWITCH_WORDS.get(word.lower(), word)
        try:
            return self.kind(word.replace(",", "") if self.kind is int else word)
        except ValueError:
            return word

    def problem(self, value: Any) -> str:
        """Why it cannot have this value whatever the other settings, as a sentence; empty when it can."""
        title = self.name.replace("_", " ").capitalize()
        if value is None and self.is_optional:
            return ""
        if self.choices:
            names = tuple(self.choices)
            options = wording.listed(list(names), "or")
            return "" if value in names else f"There is no {title.lower()} '{value}'. Choose {options}."
        if self.kind is bool:
            return "" if isinstance(value, bool) else f"{title} must be on or off, not {value!r}."
        if self.kind is str:
            return ""  # a device and layers are looked at more closely (`TrainConfig.checked`)
        is_number = isinstance(value, int | self.kind) and not isinstance(value, bool) and value == value
        if not is_number:
            return f"{title} must be a {'whole ' * (self.kind is int)}number, not {value!r}."
        if self.low <= value <= self.high and not (self.above_low and value == self.low):
            return ""
        if self.kind is int:
            return f"{title} is {value:,}. Choose {self.low:,} to {self.high:,}{self.unit}."
        return f"{title} is {value!r:.20}. Choose {'more than ' * self.above_low}{self.low:g} to {self.high:g}."


_LAYOUTS = {None: "automatic", AUTO: "automatic", True: "on", False: "off"}  # no option of a widget can be None
_SWITCH_WORDS = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}


class Architecture(NamedTuple):
    """Which network: a model of the catalog, the layers of `custom`, and whether tilenet pools after its stem.

    input_side: pixels a side of the pictures that it sees, on which its costs depend.
    """

    model: str
    network: str = ""
    stem_pool: bool = True
    input_side: int = TILE_SIDE


@dataclass(frozen=True)
class TrainConfig:
    """All settings of one training. The defaults are the tutorial's.

    What their titles and the forms' help do not say: `source` "features" computes the frozen part of a pretrained model
    once per tile and trains on its outputs. `split` "place" takes torchgeo's published parts. `precision` "auto" and
    `channels_last` None: as the device does it faster (`training.precision`); "float32" is IEEE's on every device, for
    "tf32" a card rounds its factors to ten bits behind the point. `execution` is that of training steps, and changes
    nothing else (`training.execution`). `input_side`: tiles are enlarged to so many pixels a side, bicubic. `network`:
    the layers of the model `custom`, as `models.layers` writes them; empty for the baseline's. `tiles`: drawn evenly
    from the classes; None for all.
    """

    model: str = "baseline"
    recipe: str = "tutorial"
    device: str = "cpu"
    epochs: int = 10
    tiles: int | None = None
    batch_size: int = 40
    optimizer: str = "sgd"
    learning_rate: float = 0.01
    schedule: str = "constant"
    nesterov: bool = False
    label_smoothing: float = 0.0
    symmetries: bool = False
    shift: int = 0
    colour_jitter: float = 0.0
    progressive_resizing: bool = False
    stem_pool: bool = True
    input_side: int = TILE_SIDE
    momentum: float = 0.9
    weight_decay: float = 0.0
    source: str = "loader"
    workers: int = 2
    prefetch: int = 2
    pin_memory: bool = False
    channels_last: bool | None = False
    precision: str = "float32"
    deterministic: bool = False
    execution: str = "eager"
    stratified: bool = False
    seed: int = 42
    split: str = "random"
    train_fraction: float = 0.75
    sealed_test: bool = False
    network: str = ""
    pretrained: bool = True
    frozen_norms: bool = True
    keep_epochs: bool = False

    @property
    def on_cuda(self) -> bool:
        return self.device.startswith("cuda")

    @property
    def is_pretrained(self) -> bool:
        """Whether its model has weights from ImageNet, and so a frozen part."""
        return CATALOG[self.model].is_pretrained

    @property
    def is_open(self) -> bool:
        """Whether it leaves something to the device: `training.precision` fills that in before the first step."""
        return self.precision == AUTO or self.channels_last is None

    @property
    def architecture(self) -> Architecture:
        """Which network it is, whatever it starts from and however it is trained."""
        return Architecture(self.model, self.network, self.stem_pool, self.input_side)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainConfig":
        """A checked config from JSON values. Raises `ConfigError` with a sentence."""
        if not isinstance(values, dict):
            raise ConfigError("The settings of a training must be a set of named values.")
        values = {_FORMERLY.get(name, name): value for name, value in values.items()}
        if unknown := sorted(set(values) - set(SETTINGS)):
            known = ", ".join(sorted(SETTINGS))
            raise ConfigError(f"There is no setting called '{unknown[0]}'. Settings are: {known}.")
        return cls(**values).checked()

    def checked(self) -> "TrainConfig":
        """This config, if a training can be started with it. Raises `ConfigError` with a sentence."""
        for name, setting in SETTINGS.items():
            if problem := setting.problem(getattr(self, name)):
                raise ConfigError(problem)
        if not isinstance(self.device, str) or not re.fullmatch(r"cpu|mps|cuda:(0|[1-9][0-9]?)", self.device):
            raise ConfigError(f"There is no device '{self.device}'. Choose cpu, cuda:0, cuda:1, … or mps.")
        if self.pin_memory and not self.on_cuda:
            raise ConfigError("Pinned memory speeds up copies to a CUDA GPU. Switch it off, or choose such a GPU.")
        if self.precision == "tf32" and not self.on_cuda:
            raise ConfigError("TF32 is arithmetic of NVIDIA’s cards. Choose float32, or such a GPU.")
        if self.execution == "graph" and not self.on_cuda:
            raise ConfigError("A CUDA graph is recorded on a CUDA GPU. Choose eager execution, or such a GPU.")
        if self.execution == "graph" and self.optimizer == "adagrad":
            raise ConfigError(
                "PyTorch’s Adagrad counts its steps on the processor, which a CUDA graph cannot do. Choose eager "
                "execution, or another optimizer."
            )
        if self.execution == "compiled" and self.device == "mps":
            raise ConfigError("Steps are compiled here for the CPU and for CUDA GPUs only. Choose eager execution.")
        if not isinstance(self.network, str):
            raise ConfigError(f"The layers of a network must be a text, not {self.network!r}.")
        if self.network and self.model != "custom":
            raise ConfigError("Layers can be given only to the model 'custom'. Choose it, or leave the layers out.")
        if self.network:
            layers = checked_network(self.network)
            if self.batch_size == 1 and any(each.kind in ("batchnorm", "residual") for each in layers):
                raise ConfigError("BatchNorm needs at least two tiles in a batch. Choose a larger batch size.")
            fragile = self.channels_last and self.device == "cpu" and self.precision == "float32"
            if fragile and breaks_channels_last(layers):
                raise ConfigError(
                    "PyTorch crashes on a 1×1 convolution (or a residual block’s shortcut) with stride 2 on fewer than "
                    "16 channels, in float32 and the channels-last layout. Switch that layout off, or choose bfloat16."
                )
        entry = model_entry(self.model)
        recipe_settings(self.model, self.recipe)
        if self.source == "features" and not entry.is_pretrained:
            raise ConfigError(
                f"Only a pretrained model has a frozen part that can be computed once; {entry.title} learns all of its "
                "layers. Let its tiles come from memory."
            )
        if self.source == "features" and not self.frozen_norms:
            raise ConfigError(
                "The frozen part can be computed once only while its BatchNorm statistics stand still. Keep them "
                "frozen, or let the tiles come from memory."
            )
        if self.source == "features" and (self.symmetries or self.progressive_resizing or self.colour_jitter):
            raise ConfigError(
                "The frozen part can be computed once only for tiles that stay what they are. Switch symmetries and "
                "progressive resizing off and set colour jitter to 0, or let the tiles come from memory."
            )
        if self.shift and not self.symmetries:
            raise ConfigError(
                "Tiles are shifted together with their symmetries. Switch symmetries on, or set shift to 0."
            )
        if self.progressive_resizing and self.model in _FIXED_SIZE:
            raise ConfigError(
                f"{entry.title} takes tiles of 64×64 pixels only. Switch progressive resizing off, or choose 'tilenet'."
            )
        if not self.stem_pool and self.model != "tilenet":
            raise ConfigError(f"{entry.title} has no pooling after a stem to leave out. Keep it, or choose 'tilenet'.")
        if self.input_side != TILE_SIDE and not entry.is_pretrained:
            raise ConfigError(
                f"{entry.title} takes tiles of {TILE_SIDE}×{TILE_SIDE} pixels. Set input side to {TILE_SIDE}, or "
                "choose a pretrained model, which learned from larger pictures."
            )
        if self.input_side != TILE_SIDE and self.progressive_resizing:
            raise ConfigError(
                "Tiles cannot be enlarged and made smaller at once. Switch progressive resizing off, or set input side "
                f"to {TILE_SIDE}."
            )
        if self.nesterov and (self.optimizer != "sgd" or not self.momentum):
            raise ConfigError("Nesterov’s look ahead needs SGD with momentum. Switch it off, or choose those.")
        if self.optimizer == "sgd" and self.momentum >= 1:
            raise ConfigError("Momentum of 1 or more never slows down. Choose a value below 1, such as 0.9.")
        return self


_SHOWN: dict[str, Callable[[Any], str]] = {
    "recipe": lambda name: RECIPE_NAMES.get(name, name),
    "device": wording.device_name,
    "tiles": lambda count: f"{count:,}" if count else "all",
    "channels_last": lambda value: _LAYOUTS.get(value, str(value)),
    "train_fraction": lambda share: f"{100 * share:.0f} %",
    "network": lambda layers: layers or BASELINE,
}


def declared_setting(each: Field[Any], about: Mapping[str, Any]) -> Setting:
    """What is known of a setting, from its field and what is written of it."""
    kinds = get_args(each.type) or (each.type,)
    return Setting(
        **{**about, "offered": tuple(about.get("offered", ()))},
        shown=_SHOWN.get(each.name),
        name=each.name,
        kind=kinds[0],
        is_optional=NoneType in kinds,
        default=each.default,
    )


_WRITTEN = wording.sentences("settings")
_WRITTEN["model"]["choices"] = {entry.name: entry.title for entry in CATALOG.values()}
SETTINGS: dict[str, Setting] = {each.name: declared_setting(each, _WRITTEN[each.name]) for each in fields(TrainConfig)}
"""All settings of a training by their names, in the order in which they are shown."""

_FORMERLY = {each.formerly: name for name, each in SETTINGS.items() if each.formerly}


def settings_of(*parts: Part) -> tuple[str, ...]:
    """Names of the settings that belong to these parts."""
    return tuple(name for name, each in SETTINGS.items() if each.part in parts)


SPEED_SETTINGS = tuple(name for name, each in SETTINGS.items() if each.speed == "much")
"""Settings that a training's speed hangs on: with another value of one, it says nothing about another training's."""


DEVICE_SETTINGS = frozenset({"device", "pin_memory", "deterministic"})
"""Settings that only say where a run is computed, and by which of a GPU's means: the latter mean nothing on a CPU."""

SWEPT = settings_of("network", "feed", "step")
"""Settings that can be varied in a sweep: those that change what happens in a step, or what it learns from."""

# Their linear layers count on 64×64 pixels; a network of one's own may, too.
_FIXED_SIZE = ("baseline", "custom")


def recipe_config(model: str, recipe: str | None = None, **changes: Any) -> TrainConfig:
    """The config of a recipe (the model's own by default) with `changes` on top, checked.

    Raises `ConfigError` for a model, recipe or setting that does not exist.
    """
    entry = model_entry(model)
    name = recipe or entry.recipe
    return TrainConfig.from_dict({**recipe_settings(model, name), "model": model, "recipe": name, **changes})


def workshop_config(model: str = "baseline", recipe: str = "fast", **changes: Any) -> TrainConfig:
    """What the Train page starts with: 3 epochs on 6,000 tiles drawn evenly; `changes` go on top.

    A recipe that says itself for how long it trains keeps its epochs, and all the tiles.
    """
    lesson = {} if "epochs" in recipe_settings(model, recipe) else {"epochs": 3, "tiles": 6000, "stratified": True}
    return recipe_config(model, recipe, **{**lesson, **changes})
