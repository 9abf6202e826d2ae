"""One room, one experiment: who is dealt what, and what is left after a restart."""

import threading
from collections import Counter

import pytest

from eurosat_core.classroom.experiment import USUAL, Dealt, Experiments, numbers_in
from eurosat_core.errors import ConfigError, RunError
from eurosat_core.models.catalog import BASELINE
from eurosat_core.training.config import workshop_config

BASE = workshop_config(seed=42)


def opened(tmp_path, setting: Dealt = "batch_size", values: tuple[float, ...] = (16, 64, 256)) -> Experiments:
    experiments = Experiments(tmp_path)
    experiments.open(setting, values, BASE)
    return experiments


def test_values_go_round_and_no_two_trainings_are_equal(tmp_path):
    experiments = opened(tmp_path)
    deal = experiments.current()
    assert deal is not None
    got = [deal.hand(experiments.deal_to(f"p-{at}").place) for at in range(28)]  # type: ignore[union-attr]
    assert got[:4] == [(16, 42), (64, 42), (256, 42), (16, 43)]
    times = Counter(value for value, _ in got).values()
    assert max(times) - min(times) <= 1
    assert len(set(got)) == 28
    assert deal.config(*got[3]).batch_size == 16 and deal.config(*got[3]).seed == 43


def test_each_seed_is_dealt_once_and_late_comers_get_others(tmp_path):
    experiments = opened(tmp_path, "seed", (7, 3, 5))
    deal = experiments.current()
    assert deal is not None
    got = [deal.hand(experiments.deal_to(f"p-{at}").place)[1] for at in range(6)]  # type: ignore[union-attr]
    assert got == [7, 3, 5, 8, 9, 10]
    assert deal.config(*deal.hand(3)) == workshop_config(seed=8)


def test_nobody_gets_two_values_and_a_restart_keeps_them(tmp_path):
    experiments = opened(tmp_path)
    first = {owner: experiments.deal_to(owner) for owner in ("ada", "bob", "ada", "cy")}
    experiments.trains(experiments.hands(1)[1], "run-of-bob")
    again = Experiments(tmp_path)
    assert again.current() == experiments.current()
    assert [each.owner for each in again.hands(1)] == ["ada", "bob", "cy"]
    assert again.deal_to("ada") == first["ada"] and again.deal_to("bob").run == "run-of-bob"  # type: ignore[union-attr]
    assert again.deal_to("dot").place == 3  # type: ignore[union-attr]


def test_a_room_that_asks_at_once_is_dealt_to_fairly(tmp_path):
    experiments = opened(tmp_path)
    threads = [threading.Thread(target=experiments.deal_to, args=(f"p-{at % 10}",)) for at in range(30)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert [each.place for each in experiments.hands(1)] == list(range(10))


def test_one_is_open_at_a_time_and_after_its_end_nothing_is_dealt(tmp_path):
    experiments = opened(tmp_path)
    with pytest.raises(RunError):
        experiments.open("seed", (1, 2), BASE)
    experiments.deal_to("ada")
    experiments.end(1)
    with pytest.raises(RunError):
        experiments.end(1)
    assert experiments.current() is None and experiments.deal_to("bob") is None
    assert experiments.open("seed", (1, 2), BASE).number == 2
    assert experiments.deal_to("ada").place == 0  # type: ignore[union-attr]
    assert len(experiments.hands(1)) == 1


def test_a_width_is_a_network_of_so_many_filters(tmp_path):
    deal = opened(tmp_path, "width", (3, 6, 24)).current()
    assert deal is not None
    assert deal.config(6, 42).network == BASELINE
    assert deal.config(24, 42).network.startswith("conv 24 5, relu, maxpool 2, conv 64 5")


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("seed", (1.5, 2)),
        ("batch_size", (0, 8)),
        ("batch_size", (8.5, 9)),
        ("learning_rate", (0.1, 99)),
        ("width", (0, 3)),
    ],
)
def test_what_cannot_be_trained_is_not_dealt(tmp_path, setting: Dealt, values: tuple[float, ...]):
    experiments = Experiments(tmp_path)
    with pytest.raises(ConfigError):
        experiments.open(setting, values, BASE)
    assert experiments.all() == []


@pytest.mark.parametrize("typed", ["", "5", "1, 1", "1, two", "nan, 1", "inf 1", "-1, 2", "1e99, 2", "1 " * 200])
def test_values_that_cannot_be_dealt_are_refused(typed: str):
    with pytest.raises(ConfigError):
        numbers_in(typed)


def test_what_is_offered_can_be_trained(tmp_path):
    for at, (setting, typed) in enumerate(USUAL.items(), start=1):
        experiments = Experiments(tmp_path)
        experiments.open(setting, numbers_in(typed), BASE)
        experiments.end(at)
    assert numbers_in("0.1,0.01  0.001") == (0.1, 0.01, 0.001)
