"""Benchmarks: what is counted, each figure's promise, busy processes that end, and how Train is pressed."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from google.protobuf.json_format import ParseDict
from own_loop import apart
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from bench import busy, first, precision, rates, resident
from bench.busy import busy_processes, measured
from bench.rates import PulledTraining, computed_on
from bench.server import TrainPage
from eurosat_core.cores import CoreMeter
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import RunError
from eurosat_core.settings import Settings
from eurosat_core.training.config import recipe_config

MOMENT = 0.001  # seconds: one step


class Ticks:
    """A clock that says how often it was asked: every stretch of work takes one second."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        self.now += 1.0
        return self.now


def test_a_rate_is_of_training_tiles_alone(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """150 training tiles in batches of 40: the last one is smaller, validation is left out, and it begins anew."""
    monkeypatch.setattr(rates, "time", Ticks())
    training = PulledTraining(recipe_config("baseline", source="memory", batch_size=40, epochs=1), small_tiles)
    assert [training.rate(MOMENT) for _ in range(6)] == [40, 40, 40, 30, 40, 40]
    assert training.rate(3.0) == (40 + 30 + 40) / 3
    training.close()


def test_of_frozen_features_their_computing_counts(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """All 200 tiles, again and again; reports may join batches of 64."""
    monkeypatch.setattr(rates, "time", Ticks())
    training = PulledTraining(recipe_config("efficientnet_lite0", "fast", pretrained=False), small_tiles)
    for _ in range(2):
        tiles = 0.0
        while tiles < 200:
            tiles += training.rate(MOMENT)
        assert tiles == 200
    training.close()


def test_figures_name_the_instruction_set_and_what_limits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in rates._LIMITS:
        monkeypatch.delenv(name, raising=False)
    assert torch.backends.cpu.get_cpu_capability() in computed_on(2)
    assert "limited" not in computed_on(2) and computed_on(1).endswith("1 CPU thread")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert "ONEDNN_MAX_CPU_ISA=AVX2" in computed_on(2) and "bf16" not in computed_on(2)


@pytest.mark.parametrize("way", ["fixed", "lab"])
def test_a_side_is_measured_beside_busy_processes(way: str, small_tiles: TileSet) -> None:
    found = measured(small_tiles, 2, "baseline", way, MOMENT, MOMENT)
    assert len(found) == 3 and min(found) > 0


def test_busy_processes_are_busy_and_gone_afterwards() -> None:
    with pytest.raises(ZeroDivisionError), busy_processes(2) as processes:
        found = [psutil.Process(each.pid) for each in processes]
        meter = CoreMeter()
        time.sleep(0.5)
        load = meter.look()
        assert load is not None and load.others > 0.1, "they get their share, however busy this machine is"
        assert processes[0].stdin is not None
        processes[0].stdin.close()  # as its parent's end does, whatever it died of
        assert processes[0].wait(timeout=60) == 0 and found[1].is_running()
        raise ZeroDivisionError
    assert not any(each.is_running() for each in found)


def test_every_row_has_its_ratio_and_promise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Sides that would take minutes answer at once: fixed threads 100, 20 and 10 tiles a second, the lab 98, 55, 35."""
    answers = {"fixed": [100.0, 20.0, 10.0], "lab": [98.0, 55.0, 35.0]}
    monkeypatch.setattr(busy, "answer_of", lambda *side: {"rates": answers[side[4]]})
    told: list[str] = []
    found = busy.run(Settings(tmp_path / "runs", tmp_path / "cache", threads=2), told.append)
    rows = {each["name"]: each for each in found["rows"]}
    assert len(rows) == 12 and len(told) == busy.TURNS * 4
    lab = [rows[name]["ratio"] for name in rows if name.startswith("baseline") and "as the lab trains" in name]
    assert lab == pytest.approx([0.98, 55 / 98, 35 / 98])
    assert [each["promise"] for each in found["rows"] if "lab" in each["name"]][:3] == ["≥ 0.97", "≥ 0.45", "≥ 0.3"]
    assert {busy_count for busy_count, _ in first.PROMISES} == set(first.BUSY)
    assert {moment for _, moment in first.PROMISES} <= set(first.NAMES)


@pytest.mark.processor
@pytest.mark.parametrize("network", ["baseline", "efficientnet_lite0"])
def test_both_precisions_and_the_resolved_one_take_turns(network: str, small_tiles: TileSet) -> None:
    found = precision.measured(small_tiles, 2, precision.NETWORKS[network], 2, MOMENT)
    assert list(found["rates"]) == ["float32", "bfloat16", "resolved"]
    assert all(len(values) == 2 and min(values) > 0 for values in found["rates"].values())
    assert found["choice"].startswith(("float32", "bfloat16")) and found["choice"].endswith(")")
    json.dumps(found)


def test_what_was_resolved_is_held_against_the_better_precision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Three tries of each network, of which one resolves otherwise than the others."""
    names = iter(["bfloat16 (faster)", "float32 (slower)", "bfloat16 (faster)"] * 3)

    def answer(*_side: object) -> dict[str, Any]:
        sides = {"float32": [50.0, 60.0], "bfloat16": [100.0, 100.0], "resolved": [97.0, 97.0]}
        return {"choice": next(names), "gain": 2.0, "rates": sides}

    monkeypatch.setattr(precision, "answer_of", answer)
    found = precision.run(Settings(tmp_path / "runs", tmp_path / "cache", threads=2), lambda _line: None)
    assert len(found["rows"]) == 9
    plain, short, resolved = found["rows"][:3]
    assert (plain["median"], plain["ratio"], short["promise"]) == (55.0, None, "")
    assert (resolved["ratio"], resolved["promise"], len(resolved["values"])) == (0.97, "≥ 0.95", 6)
    assert "bfloat16" in resolved["name"] and "2 of 3" in resolved["name"] and "1 of 3" in resolved["name"]
    assert torch.backends.cpu.get_cpu_capability() in found["about"]


@pytest.mark.processor
@pytest.mark.parametrize(("network", "same"), [("baseline", True), ("tilenet", False)])
def test_the_plain_step_and_the_labs_learn_the_same(network: str, same: bool, small_tiles: TileSet) -> None:
    """On a CPU to the bit, but for smoothed labels, whose sums are taken in another order."""
    form = {"precision": "float32", "channels_last": True, "epochs": 1, "batch_size": 40, "learning_rate": 0.001}
    config = recipe_config(network, "fast", **form)
    sides = [resident.Side(config, small_tiles, plain=plain) for plain in (True, False)]
    assert all((side.rate(2) or 0) > 0 and side.rate(9) and side.rate(1) is None for side in sides)
    for one, other in zip(*(side.trainer.network.state_dict().values() for side in sides), strict=True):
        torch.testing.assert_close(one, other, **({"atol": 0, "rtol": 0} if same else {"atol": 1e-5, "rtol": 1e-3}))
    assert sides[0].accuracy() == pytest.approx(sides[1].accuracy(), abs=0.05)


def test_the_labs_step_is_held_against_the_plain_one(
    small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    form = {"precision": "float32", "channels_last": True}
    found = resident.measured(small_tiles, recipe_config("baseline", "fast", epochs=2, batch_size=40, **form), 2)
    assert {name: len(values) for name, values in found["rates"].items()} == {"plain": 3, "lab": 3}
    found["rates"] = {"plain": [100.0, 100.0], "lab": [99.0, 120.0]}
    monkeypatch.setattr(resident, "answer_of", lambda *_side: json.loads(json.dumps(found)))
    rows = resident.run(Settings(tmp_path / "runs", tmp_path / "cache", threads=2), lambda _line: None)["rows"]
    assert [each["ratio"] for each in rows] == [None, pytest.approx(1.095)] * 2
    assert rows[1]["promise"] == resident.PROMISE and "cpu" in rows[1]["name"]


class Server:
    """The server's end of a connection: sends these messages, and keeps what it was sent."""

    def __init__(self, *messages: ForwardMsg) -> None:
        self.wishes: list[Any] = []
        self._messages = list(messages)

    async def send(self, data: bytes) -> None:
        message = BackMsg()
        message.ParseFromString(data)
        self.wishes.append(message.rerun_script)

    def __aiter__(self) -> "Server":
        return self

    async def __anext__(self) -> bytes:
        await asyncio.sleep(0)
        if not self._messages:
            raise StopAsyncIteration
        content: bytes = self._messages.pop(0).SerializeToString()
        return content


def message(**parts: Any) -> ForwardMsg:
    """A message of the server; parts: its one part, as nested dictionaries."""
    return ParseDict(parts, ForwardMsg(), ignore_unknown_fields=False)


def train_button(*, disabled: bool) -> ForwardMsg:
    return message(delta={"new_element": {"button": {"id": "$$ID-5f-train_start", "disabled": disabled}}})


def pace(body: str) -> ForwardMsg:
    return message(delta={"new_element": {"metric": {"label": "Tiles per second", "body": body}}})


def followed(*messages: ForwardMsg) -> TrainPage:
    """The page after these messages."""

    async def follow() -> TrainPage:
        page = TrainPage(Server(*messages), "who=bench")
        await page.follow()
        page.close()
        return page

    return apart(asyncio.run, follow())


def test_train_is_pressed_as_a_browser_does_it() -> None:
    async def pressed() -> list[Any]:
        here = message(navigation={"page_script_hash": "the-train-page"})
        query = message(page_info_changed={"query_string": "who=bench&run=1"})
        server = Server(here, query, train_button(disabled=False))
        page = TrainPage(server, "who=bench")
        await page.follow()
        assert await page.press() >= page.button_since > 0
        return server.wishes

    opened, press = apart(asyncio.run, pressed())
    assert (opened.page_name, opened.page_script_hash, list(opened.widget_states.widgets)) == ("train", "", [])
    assert (press.page_name, press.page_script_hash, press.query_string) == ("", "the-train-page", "who=bench&run=1")
    (widget,) = press.widget_states.widgets
    assert (widget.id, widget.trigger_value, press.is_auto_rerun) == ("$$ID-5f-train_start", True, False)


def test_only_a_button_that_can_be_pressed_is_there() -> None:
    assert followed(train_button(disabled=True)).button == ""
    assert followed(train_button(disabled=True)).button_since == 0
    assert followed(train_button(disabled=True), train_button(disabled=False)).button != ""
    assert followed(train_button(disabled=False), train_button(disabled=True)).button == ""


def test_the_first_pace_on_the_page_is_seen() -> None:
    assert followed(pace("—")).seen is None
    assert followed(pace("—"), pace("1,234")).seen is not None


def test_a_page_that_was_lost_is_said_at_once() -> None:
    async def wait() -> None:
        page = TrainPage(Server(), "who=bench")
        await page.follow()
        await page.until(lambda: False, float("inf"), "Train could not be pressed")

    with pytest.raises(RunError, match="pressed"):
        apart(asyncio.run, asyncio.wait_for(wait(), 60))


def test_the_first_point_is_the_first_step_with_figures(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines = [{"at": 5.0, "kind": "started"}, {"at": 6.5, "kind": "step"}, {"at": 7.0, "kind": "step"}]
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    assert first._first_point(path) == 6.5
    path.write_text(json.dumps(lines[0]) + "\n")
    with pytest.raises(RunError, match="no step"):
        first._first_point(path)
