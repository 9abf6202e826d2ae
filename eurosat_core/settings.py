"""Where things lie and what the limits are: the environment variables, read in one place; the README documents them.

Server paths are named here and on the command line only, never in a participant's form.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from eurosat_core.cores import available_cores
from eurosat_core.errors import ConfigError
from eurosat_core.folders import is_readable, own_cache, own_folder, write_problem
from eurosat_core.wording import printable

_APP = "eurosat-lab"
_LONGEST_NAME = 60


@dataclass(frozen=True)
class Moved:
    """A folder that this user may not write, where its files are kept instead, and why, as the system says it."""

    what: Literal["cache", "runs"]
    named: Path
    instead: Path
    reason: str

    @property
    def is_there(self) -> bool:
        """Whether there is such a folder."""
        return os.path.isdir(self.named)  # noqa: PTH112 (Path raises where it may not look)

    @property
    def is_closed(self) -> bool:
        """Whether what is in it cannot even be read."""
        return self.is_there and not is_readable(self.named)

    @property
    def sentence(self) -> str:
        """What that means."""
        verb = "written" if self.is_there else "made"
        if self.what == "runs":
            return (
                f"The folder for runs, {self.named}, cannot be {verb} ({self.reason}). Runs are kept in "
                f"{self.instead}, which the system may empty."
            )
        if self.is_closed:
            return (
                f"The cache {self.named} cannot be read here ({self.reason}), so what it holds is not used. What is "
                f"new goes to {self.instead}. Whoever prepared it can open it to all: chmod -R a+rX {self.named}"
            )
        used = "What it holds is used as it is; what is new" if verb == "written" else "What is kept"
        return f"The cache {self.named} cannot be {verb} here ({self.reason}). {used} goes to {self.instead}."


@dataclass(frozen=True)
class Settings:
    """Paths and limits of one lab. threads_chosen: somebody named `threads`; else they are all the cores there are.

    moved: which of its folders had to be replaced; `runs` and `cache` are then the new ones.
    """

    runs: Path
    cache: Path
    data: Path | None = None
    default_data: tuple[Path, ...] = ()
    archive_url: str | None = None
    archive_md5: str | None = None
    scheduler: str | None = None
    scheduler_tls: Path | None = None
    scheduler_unencrypted: bool = False
    threads: int = 1
    threads_chosen: bool = True
    queue_limit: int = 4
    line_limit: int = 200
    running_limit: int = 2
    run_minutes: float = 1440.0
    keep_runs: int = 2000
    pause_minutes: float = 10.0
    lab_name: str = "EuroSAT Lab"
    moved: tuple[Moved, ...] = ()

    def threads_beside(self, gpus: int) -> int:
        """CPU threads of one training in a lab with workers for so many GPUs.

        As many as were chosen (or all cores, where workers are elsewhere), else all cores but one for each GPU's
        worker. It feeds its GPU from one thread that never rests, and the threads of a training on the CPU wait for
        each other in every layer: where one of them has to share its core, all do (364 instead of 12 ms a step of the
        baseline, two threads beside two busy ones; on 16 cores beside two busy processes 168 instead of 5 ms).
        """
        return self.threads if self.threads_chosen or self.scheduler else max(1, self.threads - gpus)


def _number(
    environ: Mapping[str, str], name: str, default: float, low: float, high: float, *, whole: bool = False
) -> float:
    text = environ.get(name, "").strip()
    if not text:
        return float(default)
    try:
        value = float(text)
    except ValueError:
        raise ConfigError(f"{name} is '{text}', which is not a number. Set it to {low:g}–{high:g}.") from None
    if not low <= value <= high:
        raise ConfigError(f"{name} is {text}. Set it to a number from {low:g} to {high:g}.")
    if whole and not value.is_integer():
        raise ConfigError(f"{name} is {value:g}. Set it to a whole number from {low:g} to {high:g}.")
    return value


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from environment variables (`os.environ` by default).

    Raises `ConfigError` for a value that cannot be used.
    """
    env = os.environ if environ is None else environ

    def path(name: str) -> Path | None:
        text = env.get(name, "").strip()
        try:
            return Path(text).expanduser().absolute() if text else None
        except RuntimeError:  # "~somebody" who is not a user here
            raise ConfigError(f"{name} is '{text}', whose home folder is not known. Write the path out.") from None

    archive_url = env.get("EUROSAT_ARCHIVE", "").strip() or None
    if archive_url is not None and not re.match(r"https?://[^/]", archive_url):
        raise ConfigError(f"EUROSAT_ARCHIVE is '{archive_url}'. Set it to an address that starts with https://.")
    archive_md5 = env.get("EUROSAT_ARCHIVE_MD5", "").strip().lower() or None
    if archive_md5 is not None and not re.fullmatch(r"[0-9a-f]{32}", archive_md5):
        raise ConfigError(f"EUROSAT_ARCHIVE_MD5 is '{archive_md5}'. Set it to 32 hexadecimal digits.")
    user_data, user_cache = _user_folder(platformdirs.user_data_dir), _user_folder(platformdirs.user_cache_dir)
    named_runs, cache = path("EUROSAT_RUNS"), path("EUROSAT_CACHE") or user_cache
    runs, moved = named_runs or user_data / "runs", []
    if named_runs is None and (change := _runs_moved(runs, user_cache)):
        runs = change.instead
        moved.append(change)
    if change := _cache_moved(cache, user_cache):
        cache = change.instead
        moved.append(change)
    return Settings(
        runs=runs,
        cache=cache,
        data=path("EUROSAT_DATA"),
        default_data=(Path(__file__).parent.parent / "data", user_data / "tiles"),
        archive_url=archive_url,
        archive_md5=archive_md5,
        scheduler=env.get("EUROSAT_SCHEDULER", "").strip() or None,
        scheduler_tls=path("EUROSAT_SCHEDULER_TLS"),
        scheduler_unencrypted=bool(_number(env, "EUROSAT_SCHEDULER_UNENCRYPTED", 0, 0, 1, whole=True)),
        threads=int(_number(env, "EUROSAT_THREADS", available_cores(), 1, 1024, whole=True)),
        threads_chosen=bool(env.get("EUROSAT_THREADS", "").strip()),
        queue_limit=int(_number(env, "EUROSAT_QUEUE_LIMIT", 4, 1, 100, whole=True)),
        line_limit=int(_number(env, "EUROSAT_LINE_LIMIT", 200, 1, 10_000, whole=True)),
        running_limit=int(_number(env, "EUROSAT_RUNNING_LIMIT", 2, 1, 100, whole=True)),
        keep_runs=int(_number(env, "EUROSAT_KEEP_RUNS", 2000, 10, 1_000_000, whole=True)),
        run_minutes=_number(env, "EUROSAT_RUN_MINUTES", 1440, 0.01, 100_000),
        pause_minutes=_number(env, "EUROSAT_PAUSE_MINUTES", 10, 0.01, 1440),
        lab_name=printable(env.get("EUROSAT_LAB_NAME", "").strip(), _LONGEST_NAME) or "EuroSAT Lab",
        moved=tuple(moved),
    )


def _cache_moved(cache: Path, user_cache: Path) -> Moved | None:
    problem = _problem(cache)
    own = own_cache(cache, user_cache) if problem else None
    return Moved("cache", cache, own, problem) if own is not None else None


def _runs_moved(runs: Path, user_cache: Path) -> Moved | None:
    """Only of runs that nobody named a folder for, where there are none yet: else they would seem to be lost."""
    problem = _problem(runs)
    own = own_folder(runs, user_cache) if problem and not os.path.isdir(runs) else None  # noqa: PTH112
    return Moved("runs", runs, own, problem) if own is not None else None


def _user_folder(of: Callable[..., str]) -> Path:
    """A folder of the user's; one that begins with ~ where the user has no home, as in many containers."""
    try:
        return Path(of(_APP, appauthor=False))
    except RuntimeError:
        return Path("~", _APP)


def _problem(folder: Path) -> str:
    return write_problem(folder) if folder.is_absolute() else "this user has no home folder"
