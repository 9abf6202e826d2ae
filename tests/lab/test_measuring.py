"""How fast devices train is measured when the lab opens, and again where something else kept the machine busy then."""

from dataclasses import replace

import pytest
from fake_engine import CONFIG, SPEEDS, FakeEngine, OpenFake, eventually

from eurosat_core.lab import measuring
from eurosat_core.lab.calibration import Speed
from eurosat_core.lab.lab import Lab


class Counting(FakeEngine):
    """Knows how often it was asked to measure."""

    def __init__(self, *, calm: bool, speeds: tuple[Speed, ...] = SPEEDS) -> None:
        super().__init__(speeds=speeds)
        self.calm = calm
        self.times = 0

    def measure(self, device: str, threads: int) -> list[Speed]:
        self.times += 1
        return super().measure(device, threads)


def seconds(lab: Lab) -> float:
    found = lab.estimate(CONFIG)
    assert found is not None
    return found.seconds


def ended(lab: Lab) -> bool:
    lab._starting.join(timeout=0.1)
    return not lab._starting.is_alive()


def test_beside_other_work_it_is_measured_at_once_and_again_when_that_is_over(
    open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "_BUSY_MACHINE_SECONDS", 0.01)
    slow = tuple(replace(each, tile_seconds=50 * each.tile_seconds) for each in SPEEDS)
    lab, engine = open_fake(Counting(calm=False, speeds=slow))
    before = seconds(lab)
    engine.speeds = SPEEDS
    assert not ended(lab) and seconds(lab) == before
    engine.calm = True
    eventually(lambda: ended(lab))
    assert seconds(lab) < before / 10


def test_on_a_calm_machine_once_is_enough(open_fake: OpenFake) -> None:
    engine = Counting(calm=True)
    lab, _ = open_fake(engine)
    eventually(lambda: ended(lab))
    assert engine.times == 1


def test_closing_the_lab_ends_the_waiting(open_fake: OpenFake) -> None:
    lab, _ = open_fake(Counting(calm=False))
    assert seconds(lab) and not ended(lab)
    lab.close()
    eventually(lambda: ended(lab), 5)
