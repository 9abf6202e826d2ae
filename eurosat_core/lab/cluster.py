"""A running cluster as the lab sees it: how it is reached, who its workers are, and what they can be used for."""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from eurosat_core.devices import Device, cpu_device
from eurosat_core.errors import RunError
from eurosat_core.lab import worker
from eurosat_core.lab.messages import Slot
from eurosat_core.settings import Settings
from eurosat_core.wording import count, listed

_INSTALL = "Install the server’s version there (`pip install` of its wheel) and restart the worker."


# -- how it is reached


def connection(settings: Settings) -> tuple[str, dict[str, Any]]:
    """The scheduler's address, and what Dask's `Security` is made from; empty: of Dask's own configuration.

    Raises `RunError` for an address that nothing may be sent to: whoever can listen there could read and run anything.
    """
    address = str(settings.scheduler)
    scheme, host = _parts(address)
    if scheme == "tcp" and (_is_loopback(host) or settings.scheduler_unencrypted):
        return address, {}
    if scheme == "tcp":
        raise RunError(
            f"EUROSAT_SCHEDULER is {address}, which is not encrypted: whoever is in that network could read what is "
            "sent, and run programs on the workers. Start the scheduler with TLS and name it as tls://host:8786. In a "
            "network that only the cluster is in, EUROSAT_SCHEDULER_UNENCRYPTED=1 allows it."
        )
    if scheme != "tls" or not host:
        raise RunError(f"EUROSAT_SCHEDULER is {address}. Set it to an address such as tls://host:8786.")
    if settings.scheduler_tls is None:
        return address, {"require_encryption": True}
    files = {
        "tls_ca_file": settings.scheduler_tls / "ca.pem",
        "tls_client_cert": settings.scheduler_tls / "cert.pem",
        "tls_client_key": settings.scheduler_tls / "key.pem",
    }
    if missing := [each.name for each in files.values() if not each.is_file()]:
        raise RunError(
            f"EUROSAT_SCHEDULER_TLS is {settings.scheduler_tls}, where {listed(missing)} cannot be found. Set it to "
            "the folder with ca.pem, cert.pem and key.pem."
        )
    return address, {name: str(path) for name, path in files.items()} | {"require_encryption": True}


def _parts(address: str) -> tuple[str, str]:
    """Scheme and host; what is no address has none of them."""
    try:
        split = urlsplit(address if "://" in address else f"tcp://{address}")  # as Dask reads it
        return split.scheme, split.hostname or ""
    except ValueError:
        return "", ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# -- who its workers are


@dataclass(frozen=True)
class Member:
    """A worker that has said who it is. name: its address. problem: why it cannot be used, as a sentence."""

    name: str
    host: str = ""
    devices: tuple[Device, ...] = ()
    cores: int = 0
    threads: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    may_have_children: bool = True
    problem: str = ""

    @property
    def place(self) -> str:
        """Where it is, for a sentence."""
        return f"The worker on {self.host}" if self.host else f"The worker at {self.name}"

    @property
    def gpus(self) -> list[Device]:
        return [each for each in self.devices if each.is_gpu and each.available]


def member(name: str, answer: Any) -> Member:
    """A worker from what it answered to `worker.introduce`: an error where it could not."""
    if isinstance(answer, ModuleNotFoundError):
        lacks = f"it has no {answer.name}" if answer.name else "packages are missing there"
        return Member(name, problem=f"The worker at {name} cannot be used: {lacks}. {_INSTALL}")
    if isinstance(answer, AttributeError | ImportError):  # a function that is not there
        return Member(name, problem=f"The worker at {name} has another version of EuroSAT Lab. {_INSTALL}")
    if isinstance(answer, Exception):
        why = f"{type(answer).__name__}: {str(answer)[:200]}"
        return Member(name, problem=f"The worker at {name} does not say what it has ({why}). Restart it.")
    found = Member(name, **answer)
    theirs, ours = found.versions.get("EuroSAT Lab", "another version"), worker.versions()["EuroSAT Lab"]
    if theirs != ours:
        problem = f"{found.place} has EuroSAT Lab {theirs}, and the server {ours}, so it is not used. {_INSTALL}"
        return replace(found, problem=problem)
    return found


def differences(found: Member) -> list[str]:
    """What is to be said about a worker, as sentences: why it is not used, or what is not as on the server."""
    if found.problem:
        return [found.problem]
    ours = worker.versions()
    other = [
        f"{name} {found.versions.get(name, 'unknown')} (server: {version})"
        for name, version in ours.items()
        if found.versions.get(name) != version
    ]
    said = []
    if other:
        said.append(
            f"{found.place} has {listed(other)}. It is used; its speeds and accuracies may differ. Install the same "
            "versions to compare them."
        )
    if not found.may_have_children:
        said.append(
            f"{found.place} may not start loader workers. Set DASK_DISTRIBUTED__WORKER__DAEMON=false where it is "
            "started; until then choose 0 loader workers, or tiles from memory."
        )
    return said


# -- what they can be used for


def slots_of(members: Sequence[Member], threads: int | None) -> tuple[Slot, ...]:
    """The slots of workers, one for each.

    A worker with a GPU has its first one: started one per GPU, each has its own as the first. CPUs are those of workers
    without a GPU; where there are none, of each machine's first worker. threads: of a training on the CPU; None: as
    each machine says.
    """
    slots = [_slot(each, each.gpus[0].id, threads) for each in members if each.gpus]
    cpus = [each for each in members if not each.gpus]
    if not cpus:
        cpus = list({each.host: each for each in reversed(members)}.values())[::-1]
    return (*(_slot(each, "cpu", threads) for each in cpus), *slots)


def _slot(found: Member, device: str, threads: int | None) -> Slot:
    return Slot(device, found.name, found.host, found.cores, threads or found.threads)


def devices_of(
    members: Iterable[Member], slots: Sequence[Slot], before: Iterable[Device], scheduler: str
) -> tuple[Device, ...]:
    """The devices of a cluster, the CPU first; one that was there before is kept, with the reason why it is gone."""
    by_worker = {each.name: each for each in members}
    found: dict[str, Device] = {}
    for slot in slots:
        device = next(each for each in by_worker[slot.worker].devices if each.id == slot.device)
        found.setdefault(slot.device, device)
    reason = f"The cluster at {scheduler} has no worker for it now."
    for each in (*(each for each in before if each.available or each.reason == reason), cpu_device()):
        found.setdefault(each.id, replace(each, available=False, reason=reason))
    if not any(each.is_gpu for each in found.values()):
        missing = (each for one in by_worker.values() for each in one.devices if each.is_gpu)
        found |= {each.id: each for each in [*missing][:1]}
    return tuple(sorted(found.values(), key=lambda each: each.is_gpu))


def workers_text(slots: Sequence[Slot]) -> str:
    """How many workers there are for which devices, in words."""
    if not slots:
        return "no worker there yet"
    devices = {each.device: 0 for each in slots}
    for each in slots:
        devices[each.device] += 1
    machines = count(len({each.machine for each in slots}), "machine")
    workers = count(len({each.worker for each in slots}), "worker")
    return f"{workers} on {machines} ({', '.join(f'{name} × {number}' for name, number in devices.items())})"
