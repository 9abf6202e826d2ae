"""`device_branches`: which places are found, and that each of them is marked."""

import ast
import builtins
from types import SimpleNamespace
from typing import Any

import pytest
from device_branches import LEFT, all_places, marked, places_of_gpus

PATH = "eurosat_core/played.py"
SOURCE = """
class Source:
    def __init__(self, device, pinned):
        self.stream = "stream" if pinned and device.type == "cuda" else None
        self.kind = "cpu" if device.type == "cpu" else "gpu"

    def copy(self):
        if self.stream is None:
            return "copied"
        return _beside()

def _beside():
    return "beside"

def wait(device):
    on_gpu = device.type != "cpu"
    if device.type == "mps":
        waits = ["apple"]
    elif on_gpu:
        waits = ["cuda"]
    else:
        waits = []
    return waits + [each for each in ("cpu", "cuda:0") if each.startswith("cuda")]

def both(config, device):
    if config and device.type == "cuda":
        return 1
    if config or not device.type == "cuda":
        return 2
    return 3
"""


def device(kind: str) -> SimpleNamespace:
    return SimpleNamespace(type=kind)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], set[int]]:
    """The module above, and the numbers of its places that were reached."""
    (_, functions), reached = places_of_gpus({PATH: ast.parse(SOURCE)}), set[int]()
    assert functions == {f"{PATH}:_beside"}
    monkeypatch.setattr(builtins, "_reach_place", lambda path, number: reached.add(number), raising=False)
    module: dict[str, Any] = {}
    exec(compile(marked(PATH, SOURCE, functions), "<played>", "exec"), module)  # no file: coverage would look for it
    return module, reached


def test_on_a_cpu_no_place_is_reached(played: tuple[dict[str, Any], set[int]]) -> None:
    module, reached = played
    assert module["Source"](device("cpu"), True).copy() == "copied"
    assert module["both"](1, device("cpu")) == module["both"](0, device("cpu")) == 2
    assert not reached
    assert module["wait"](device("cpu")) == ["cuda:0"]
    assert len(reached) == 1, "a value for a card that is in a list"


def test_on_gpus_each_place_is_reached(played: tuple[dict[str, Any], set[int]]) -> None:
    module, reached = played
    source = module["Source"](device("cuda"), True)
    assert (source.copy(), source.kind) == ("beside", "gpu")
    assert [module["wait"](device(each))[0] for each in ("mps", "cuda")] == ["apple", "cuda"]
    assert (module["both"](1, device("cuda")), module["both"](0, device("cuda"))) == (1, 3)
    assert reached == set(range(9))


def test_what_is_left_is_still_there() -> None:
    places, _ = all_places()
    assert len(places) > 500
    assert LEFT.keys() <= {(path, source) for (path, _), (_, source) in places.items()}
