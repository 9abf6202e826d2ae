import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from eurosat_core import settings
from eurosat_core.cores import available_cores
from eurosat_core.errors import ConfigError
from eurosat_core.settings import Settings, load_settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Name, what holds when it is unset, what it means.
DOCUMENTED = dict(re.findall(r"^\| `(EUROSAT_\w+)` \| [^|]+ \| ([^|]+\.) \|$", README, flags=re.MULTILINE))


def test_the_readme_documents_every_variable_that_the_code_reads_and_no_other() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "eurosat_core").rglob("*.py"))
    read = set(re.findall(r"""["'](EUROSAT_[A-Z0-9_]+)["']""", code))
    assert read == DOCUMENTED.keys()


def test_defaults() -> None:
    found = load_settings({})
    assert (found.data, found.scheduler, found.scheduler_tls) == (None, None, None)
    assert found.threads == available_cores()
    assert (found.queue_limit, found.pause_minutes) == (4, 10)
    assert (found.line_limit, found.running_limit, found.run_minutes) == (200, 2, 1440)
    assert found.keep_runs == 2000
    assert found.runs.is_absolute() and found.cache.is_absolute() and found.runs != found.cache
    assert found.default_data[0] == ROOT / "data"


def test_values_are_taken() -> None:
    found = load_settings(
        {
            "EUROSAT_DATA": "/tiles",
            "EUROSAT_RUNS": "~/runs",
            "EUROSAT_CACHE": "relative",
            "EUROSAT_SCHEDULER": " tls://host:8786 ",
            "EUROSAT_SCHEDULER_TLS": "/certificates",
            "EUROSAT_ARCHIVE": "http://mirror/EuroSAT.zip",
            "EUROSAT_ARCHIVE_MD5": "C8FA014336C82AC7804F0398FCB19387",
            "EUROSAT_THREADS": "3",
            "EUROSAT_QUEUE_LIMIT": "7",
            "EUROSAT_LINE_LIMIT": "8",
            "EUROSAT_RUNNING_LIMIT": "3",
            "EUROSAT_RUN_MINUTES": "2.5",
            "EUROSAT_KEEP_RUNS": "50",
            "EUROSAT_PAUSE_MINUTES": "0.5",
        }
    )
    assert found.data == Path("/tiles")
    assert found.runs == Path.home() / "runs"
    assert found.cache == Path.cwd() / "relative"
    assert found.scheduler == "tls://host:8786"
    assert found.scheduler_tls == Path("/certificates")
    assert found.archive_url == "http://mirror/EuroSAT.zip"
    assert found.archive_md5 == "c8fa014336c82ac7804f0398fcb19387"
    assert (found.threads, found.queue_limit, found.pause_minutes) == (3, 7, 0.5)
    assert (found.line_limit, found.running_limit, found.run_minutes) == (8, 3, 2.5)
    assert found.keep_runs == 50
    assert found.threads_beside(2) == 3  # what was chosen holds


def test_each_gpu_leaves_a_core_to_its_worker() -> None:
    cores = Settings(Path("runs"), Path("cache"), threads=4, threads_chosen=False)
    assert [cores.threads_beside(gpus) for gpus in (0, 1, 3, 4, 8)] == [4, 3, 1, 1, 1]
    assert replace(cores, scheduler="tls://host:8786").threads_beside(2) == 4  # its GPUs are elsewhere
    assert not load_settings({}).threads_chosen


def test_blank_values_count_as_unset_and_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EUROSAT_QUEUE_LIMIT", "9")
    assert load_settings().queue_limit == 9
    assert load_settings(dict.fromkeys(DOCUMENTED, "  ")) == load_settings({})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("EUROSAT_THREADS", "many", ["'many'", "not a number", "1–1024"]),
        ("EUROSAT_THREADS", "0", ["is 0", "from 1 to 1024"]),
        ("EUROSAT_THREADS", "2.5", ["is 2.5", "whole number"]),
        ("EUROSAT_THREADS", "nan", ["is nan", "1 to 1024"]),
        ("EUROSAT_QUEUE_LIMIT", "-1", ["is -1", "1 to 100"]),
        ("EUROSAT_QUEUE_LIMIT", "inf", ["is inf", "1 to 100"]),
        ("EUROSAT_PAUSE_MINUTES", "0", ["is 0", "0.01 to 1440"]),
        ("EUROSAT_PAUSE_MINUTES", "ten", ["'ten'", "not a number"]),
        ("EUROSAT_ARCHIVE", "mirror/EuroSAT.zip", ["'mirror/EuroSAT.zip'", "https://"]),
        ("EUROSAT_ARCHIVE", "file:///etc/passwd", ["file:///etc/passwd", "https://"]),
        ("EUROSAT_ARCHIVE_MD5", "abc", ["'abc'", "32 hexadecimal digits"]),
        ("EUROSAT_RUNS", "~no-such-user-here/runs", ["~no-such-user-here"]),
    ],
)
def test_bad_values_get_a_sentence(name: str, value: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({name: value})
    assert all(word in str(caught.value) for word in [name, *words])


# Folders that cannot be used


def without_home(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    """As in a container whose user is a bare number."""

    def no_home(*_arguments: Any, **_options: Any) -> str:
        raise RuntimeError("could not determine the home directory")

    for name in ("user_data_dir", "user_cache_dir"):
        monkeypatch.setattr(platformdirs, name, no_home)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))


def test_without_a_home_everything_is_kept_in_a_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_home(monkeypatch, tmp_path)
    found = load_settings({})
    assert found.runs.parent == found.cache.parent == tmp_path
    assert found.runs != found.cache
    assert {each.what: each.instead for each in found.moved} == {"runs": found.runs, "cache": found.cache}
    assert all(str(tmp_path) in each.sentence for each in found.moved)
    assert list(Path.cwd().glob("~*")) == []


def test_named_folders_need_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_home(monkeypatch, tmp_path)
    found = load_settings({"EUROSAT_RUNS": str(tmp_path / "r"), "EUROSAT_CACHE": str(tmp_path / "c")})
    assert (found.runs, found.cache, found.moved) == (tmp_path / "r", tmp_path / "c", ())


def unwritable(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    monkeypatch.setattr(settings, "write_problem", lambda each: "Permission denied" if each in folders else "")


def test_a_cache_that_may_only_be_read_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = tmp_path / "prepared"
    unwritable(monkeypatch, named)
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda *_, **__: str(tmp_path / "user"))
    found = load_settings({"EUROSAT_CACHE": str(named), "EUROSAT_RUNS": str(tmp_path / "runs")})
    (moved,) = found.moved
    assert (moved.what, moved.named, moved.instead, moved.reason) == ("cache", named, found.cache, "Permission denied")
    assert found.cache.parent == tmp_path / "user"


def test_named_runs_stay_where_they_are_even_if_nothing_can_be_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unwritable(monkeypatch, tmp_path / "runs")
    found = load_settings({"EUROSAT_RUNS": str(tmp_path / "runs"), "EUROSAT_CACHE": str(tmp_path)})
    assert (found.runs, found.moved) == (tmp_path / "runs", ())


@pytest.mark.parametrize("there", [False, True])
def test_the_usual_runs_are_replaced_only_where_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    usual = tmp_path / "user" / "runs"
    if there:
        usual.mkdir(parents=True)
    unwritable(monkeypatch, usual)
    for name in ("user_data_dir", "user_cache_dir"):
        monkeypatch.setattr(platformdirs, name, lambda *_, **__: str(tmp_path / "user"))
    found = load_settings({"EUROSAT_CACHE": str(tmp_path / "cache")})
    assert (found.runs == usual) == there
    assert [each.what for each in found.moved] == ([] if there else ["runs"])


def test_where_there_is_no_place_for_another_cache_it_is_left_to_fail_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unwritable(monkeypatch, tmp_path)
    monkeypatch.setattr(settings, "own_cache", lambda *_: None)
    found = load_settings({"EUROSAT_CACHE": str(tmp_path), "EUROSAT_RUNS": str(tmp_path / "runs")})
    assert (found.cache, found.moved) == (tmp_path, ())


@pytest.mark.parametrize("readable", [True, False])
def test_a_cache_that_may_not_even_be_read_is_not_said_to_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readable: bool
) -> None:
    monkeypatch.setattr(settings, "is_readable", lambda _folder: readable)
    said = settings.Moved("cache", tmp_path, tmp_path / "own", "Permission denied").sentence
    assert ("chmod" in said) != readable
