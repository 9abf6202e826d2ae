"""The way to TensorBoard on the Profiler page."""

from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from eurosat_core.lab.lab import Lab
from eurosat_core.tensorboard import process
from eurosat_core.tensorboard.process import TensorBoardState
from pages.parts.profiler.advice import address
from tests.pages.conftest import THREE, App, put, shown


def link(test: AppTest) -> Any:
    return next(each.proto for each in test.get("link_button") if each.proto.label == "Open TensorBoard")


def test_what_is_in_it_and_the_way_there(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "plugin_installed", lambda: True)
    put(lab, "finished", THREE)
    test = app("profiler.py")
    assert link(test).url == "/tensorboard/"
    words = shown(test)
    assert "1 training and 0 profiles of this lab" in words and "recorded example" in words
    assert "It starts when it is opened" in words
    assert "from the internet (gstatic.com)" in words
    assert lab.tensorboard.state().phase == "stopped", "drawing the page starts nothing"


def test_without_the_plugin_the_place_of_its_tab_says_why(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "plugin_installed", lambda: False)
    put(lab, "finished", THREE)
    test = app("profiler.py")
    assert link(test).url == "/tensorboard/", "the curves are there all the same"
    words = shown(test)
    assert process.plugin_problem() in words and "Not available now" not in words
    assert "1 training of this lab" in words
    assert "PYTORCH_PROFILER" not in words and "recorded example" not in words and "gstatic.com" not in words


def test_how_it_stands(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    for phase, said in (("starting", "It is starting."), ("running", "It is running.")):
        monkeypatch.setattr(lab.tensorboard, "state", lambda phase=phase: TensorBoardState(phase, 6006))
        assert said in shown(app("profiler.py"))
    state = TensorBoardState("failed", problem="TensorBoard is not installed here (![x](//y) missing).")
    monkeypatch.setattr(lab.tensorboard, "state", lambda: state)
    test = app("profiler.py")
    assert "Not available now" in shown(test)
    assert any("not installed here" in each.value and r"\!\[x\]" in each.value for each in test.warning)


def test_the_base_path_of_the_app_stands_in_front(monkeypatch: pytest.MonkeyPatch) -> None:
    for base in ("lab", "/lab/"):
        monkeypatch.setattr(st, "get_option", lambda _, base=base: base)
        assert address() == "/lab/tensorboard/"
