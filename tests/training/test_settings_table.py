"""A setting is one field of the table: forms, checks, differences and options of the command line follow from it.

The example is one that does not exist: what makes it known everywhere is its declaration.
"""

import argparse
import re
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from eurosat_core.commands.request import add_settings, given
from eurosat_core.errors import ConfigError
from eurosat_core.training.choices import changed, changed_speed
from eurosat_core.training.config import SETTINGS, TrainConfig, declared_setting

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Clipped(TrainConfig):
    clip: float = 0.0


CLIP = """
title = "Largest gradient"
part = "step"
speed = "little"
only_with = { optimizer = "sgd" }
high = 10
step = 0.5
help = "Longer ones are cut."
formerly = "clipping"
"""


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SETTINGS, "clip", declared_setting(fields(Clipped)[-1], tomllib.loads(CLIP)))


def test_a_new_setting_is_checked_and_read() -> None:
    assert Clipped.from_dict({"clip": 2}).clip == 2
    for bad, figure in (({"clip": 11}, "11"), ({"clip": "x"}, "'x'"), ({"clap": 1}, "'clap'")):
        with pytest.raises(ConfigError, match=figure):
            Clipped.from_dict(bad)


def test_a_new_setting_is_told_where_it_has_an_effect() -> None:
    base = Clipped()
    assert (
        changed(replace(base, clip=0.5), base) == changed_speed(replace(base, clip=0.5), base) == {"clip": ("0.5", "0")}
    )
    assert changed_speed(replace(base, clip=0.5), replace(base, clip=1.0)) == {}, "there is as much to do in a step"
    by_adam = replace(base, optimizer="adam")
    assert changed(replace(by_adam, clip=0.5), by_adam) == {}


def test_a_new_setting_is_an_option() -> None:
    parser = argparse.ArgumentParser()
    add_settings(parser)
    options = parser.parse_args(["--model", "baseline", "--clip", "0.5"])
    assert given(options, Clipped) == {"clip": 0.5}
    assert parser.parse_args(["--model", "baseline", "--clipping", "2"]).clip == 2


def test_a_new_setting_has_a_widget() -> None:
    def page() -> None:
        from eurosat_core.training.config import TrainConfig
        from pages.parts import forms

        forms.draw_setting("clip", str.upper, TrainConfig())
        forms.draw_setting("clip", str.title, TrainConfig(optimizer="adam"))

    test = AppTest.from_function(page).run()
    assert not test.exception
    first, second = test.number_input
    assert (first.label, first.step, first.help, first.key) == ("Largest gradient", 0.5, "Longer ones are cut.", "CLIP")
    assert (first.disabled, second.disabled) == (False, True)


@pytest.mark.parametrize("name", ["label_smoothing", "colour_jitter", "nesterov", "weight_decay", "frozen_norms"])
def test_a_setting_touches_three_files(name: str) -> None:
    """Besides what is shown as PyTorch: a run's notebook must do each of them, and a test says where it does not."""
    files = [path for room in ("eurosat_core", "pages") for path in (ROOT / room).rglob("*.py")]
    files.remove(ROOT / "eurosat_core" / "words" / "notebook.py")
    named = [path.name for path in files if re.search(rf"\b{name}\b", path.read_text(encoding="utf-8"))]
    assert "config.py" in named and len(named) <= 3, named
