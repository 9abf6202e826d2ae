"""How a cluster is reached, what its workers may be used for, and what is said about them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import CPU, GPU, NO_GPU, lab_settings, refused

from eurosat_core.devices import Device
from eurosat_core.lab.cluster import Member, connection, devices_of, differences, member, slots_of, workers_text
from eurosat_core.lab.worker import versions
from eurosat_core.settings import Settings, load_settings


def settings(folder: Path, scheduler: str, **changes: Any) -> Settings:
    return lab_settings(folder, None, scheduler=scheduler, **changes)


def worker(name: str, host: str, *devices: Device, **changes: Any) -> Member:
    values = {"host": host, "devices": devices or (CPU, NO_GPU), "cores": 8, "threads": 4, "versions": versions()}
    return Member(name, **(values | changes))


# -- how it is reached


@pytest.mark.parametrize(
    "address",
    ["tcp://10.0.0.7:8786", "tcp://node7:8786", "node7:8786", "10.0.0.7:8786", "tcp://[2001:db8::7]:8786"],
)
def test_what_is_not_encrypted_is_refused_unless_asked_for(tmp_path: Path, address: str) -> None:
    assert "EUROSAT_SCHEDULER_UNENCRYPTED" in refused(lambda: connection(settings(tmp_path, address)))
    asked_for = settings(tmp_path, address, scheduler_unencrypted=True)
    assert connection(asked_for) == (address, {})


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:8786", "tcp://localhost:8786", "tcp://[::1]:8786", "127.0.0.9:1"])
def test_nothing_leaves_this_machine_over_loopback(tmp_path: Path, address: str) -> None:
    assert connection(settings(tmp_path, address)) == (address, {})


@pytest.mark.parametrize("address", ["ws://127.0.0.1:1", "ucx://a:1", "tls://", "tls:///x", "http://["])
def test_other_addresses_are_refused(tmp_path: Path, address: str) -> None:
    assert "EUROSAT_SCHEDULER" in refused(lambda: connection(settings(tmp_path, address)))


def test_tls_needs_all_its_files_and_stays_encrypted(tmp_path: Path) -> None:
    assert connection(settings(tmp_path, "tls://a:8786")) == ("tls://a:8786", {"require_encryption": True})
    named = settings(tmp_path, "tls://a:8786", scheduler_tls=tmp_path)
    for name in ("ca.pem", "cert.pem", "key.pem"):
        assert name in refused(lambda: connection(named))
        (tmp_path / name).touch()
    _, options = connection(named)
    assert options["require_encryption"] and options["tls_client_key"] == str(tmp_path / "key.pem")


@pytest.mark.parametrize(("value", "allowed"), [("1", True), ("0", False), ("", False)])
def test_the_setting_that_asks_for_it(value: str, allowed: bool) -> None:
    assert load_settings({"EUROSAT_SCHEDULER_UNENCRYPTED": value}).scheduler_unencrypted == allowed


# -- who its workers are


def test_a_worker_with_another_version_of_the_lab_is_not_used() -> None:
    answer = {"versions": versions() | {"EuroSAT Lab": "0.0.1"}, "devices": (CPU,), "host": "node7"}
    found = member("tls://a:1", answer)
    assert "node7" in found.problem and "0.0.1" in found.problem and differences(found) == [found.problem]


@pytest.mark.parametrize("name", ["PyTorch", "Python"])
def test_other_versions_beside_it_are_said(name: str) -> None:
    found = member("tls://a:1", {"versions": versions() | {name: "0.9"}, "devices": (CPU,), "host": "node7"})
    (sentence,) = differences(found)
    assert not found.problem and all(word in sentence for word in ("node7", name, "0.9", versions()[name]))
    assert not differences(member("tls://a:1", {"versions": versions(), "devices": (CPU,), "host": "node7"}))


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'eurosat_core'", name="eurosat_core"),
        AttributeError("module 'eurosat_core.lab.worker' has no attribute 'introduce'"),
        RuntimeError("boom"),
    ],
)
def test_a_worker_that_cannot_answer_is_named(error: Exception) -> None:
    found = member("tls://a:1", error)
    assert "tls://a:1" in found.problem and not found.devices
    assert (error.name or "?") in found.problem if isinstance(error, ModuleNotFoundError) else found.problem


def test_a_worker_that_may_not_start_processes_is_told_the_setting() -> None:
    (sentence,) = differences(worker("a", "node7", may_have_children=False))
    assert "DASK_DISTRIBUTED__WORKER__DAEMON" in sentence


# -- what they can be used for


def test_all_workers_of_a_device_are_used() -> None:
    slots = slots_of([worker("a", "one"), worker("b", "one"), worker("c", "two", threads=16)], None)
    assert [(each.device, each.worker, each.machine, each.threads) for each in slots] == [
        ("cpu", "a", "one", 4),
        ("cpu", "b", "one", 4),
        ("cpu", "c", "two", 16),
    ]
    assert {each.threads for each in slots_of([worker("a", "one"), worker("c", "two", threads=16)], 3)} == {3}
    assert "3 workers on 2 machines" in workers_text(slots)


def test_each_worker_has_its_first_gpu_and_cpus_are_those_of_others() -> None:
    """As dask-cuda starts them: every one sees all cards, its own first."""
    second = replace(GPU, id="cuda:1")
    cards = [worker(name, "one", CPU, GPU, second) for name in "ab"]
    assert [(each.device, each.worker) for each in slots_of([*cards, worker("c", "one")], None)] == [
        ("cpu", "c"),
        ("cuda:0", "a"),
        ("cuda:0", "b"),
    ]
    alone = slots_of([*cards, worker("d", "two", CPU, GPU)], None)
    assert [(each.device, each.worker) for each in alone if each.device == "cpu"] == [("cpu", "a"), ("cpu", "d")]


def test_a_gpu_that_no_worker_has_is_missing_for_the_workers_reason() -> None:
    members = [worker("a", "one"), worker("b", "two")]
    first = devices_of(members[:1], slots_of(members[:1], None), (), "tls://s:1")
    then = devices_of(members, slots_of(members, None), first, "tls://s:1")
    assert first == then == (CPU, NO_GPU)


def test_a_device_that_went_stays_with_its_reason() -> None:
    cards = [worker("a", "one", CPU, GPU)]
    first = devices_of(cards, slots_of(cards, None), (), "tls://s:1")
    assert [(each.id, each.available) for each in first] == [("cpu", True), ("cuda:0", True)]
    left = [worker("c", "one")]
    then = devices_of(left, slots_of(left, None), first, "tls://s:1")
    assert [(each.id, each.available) for each in then] == [("cpu", True), ("cuda:0", False)]
    assert "tls://s:1" in then[1].reason
    assert devices_of(left, slots_of(left, None), then, "tls://s:1") == then
    nobody = devices_of([], (), (), "tls://s:1")
    assert [(each.id, each.available) for each in nobody] == [("cpu", False)]
