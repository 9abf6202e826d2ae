"""Folders that may not be written: found out by trying, and replaced by own ones with links to what is there."""

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_engine import raising
from filelock import FileLock
from restricted import anothers, mounted_read_only

from eurosat_core import folders
from eurosat_core.folders import is_readable, not_kept, own_cache, own_folder, write_problem


@pytest.mark.parametrize("inside", ["", "a/b"])
def test_a_folder_that_can_be_written_or_made_is_none_the_worse_for_it(tmp_path: Path, inside: str) -> None:
    assert write_problem(tmp_path / inside) == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("inside", ["", "a/b"])
def test_a_file_in_the_way(tmp_path: Path, inside: str) -> None:
    (tmp_path / "file").write_text("")
    assert write_problem(tmp_path / "file" / inside) == os.strerror(errno.ENOTDIR)


@pytest.mark.parametrize("inside", ["", "new"])
@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (OSError(errno.ENOLCK, os.strerror(errno.ENOLCK)), errno.ENOLCK),
        (NotImplementedError("no flock"), errno.ENOLCK),
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), errno.EROFS),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), None),  # a full disk is another matter
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), None),
    ],
)
def test_where_a_folder_can_be_neither_written_nor_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, problem: int | None, inside: str
) -> None:
    monkeypatch.setattr(FileLock, "acquire", raising(error))
    assert write_problem(tmp_path / inside) == ("" if problem is None else os.strerror(problem))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOLCK, errno.ENOSPC])
def test_room_on_the_disk_is_asked_for_only_where_it_would_help(number: int) -> None:
    sentence = not_kept("The tiles", Path("/cache"), OSError(number, os.strerror(number)), "350 MB")
    assert "/cache" in sentence and os.strerror(number) in sentence and "EUROSAT_CACHE" in sentence
    assert ("350 MB" in sentence) == ("disk space" in sentence) == (number == errno.ENOSPC)


# A folder of one's own


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def test_an_own_folder_is_the_same_every_time_and_for_this_user_alone(tmp_path: Path, temporary: Path) -> None:
    own = own_folder(Path("/prepared"), tmp_path / "user")
    assert own is not None and own.parent == tmp_path / "user"
    assert own.stat().st_mode & 0o777 == 0o700
    assert own == own_folder(Path("/prepared"), tmp_path / "user")
    assert own != own_folder(Path("/other"), tmp_path / "user")


def test_without_a_home_it_is_a_temporary_one(temporary: Path) -> None:
    own = own_folder(Path("/prepared"), Path("~", "eurosat-lab"))
    assert own is not None and own.parent == temporary


@pytest.mark.parametrize("how", ["a link", "open to all", "a file"])
def test_one_that_somebody_else_may_have_laid_there_is_not_taken(temporary: Path, tmp_path: Path, how: str) -> None:
    own = own_folder(Path("/prepared"), Path("~"))
    assert own is not None
    own.rmdir()
    if how == "a link":
        own.symlink_to(tmp_path)
    elif how == "a file":
        own.write_text("")
    else:
        own.mkdir()
        own.chmod(0o777)
    assert own_folder(Path("/prepared"), Path("~")) is None


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a folder away")
def test_another_users_folder_is_not_taken(temporary: Path) -> None:
    own = own_folder(Path("/prepared"), Path("~"))
    assert own is not None
    os.chown(own, 65534, 65534)
    assert own_folder(Path("/prepared"), Path("~")) is None


def test_without_any_place_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", raising(FileNotFoundError(2, "No usable temporary directory")))
    assert own_folder(Path("/prepared"), Path("~")) is None


# Links to what others prepared


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    place = tmp_path / "prepared"
    for name in ("pictures/.source.json", "pictures/Forest/1.jpg", "weights/a.pth", "tiles-1/index.json", "features/x"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(name)
    (place / "machine.json").write_text("{}")
    return place


def test_what_was_prepared_is_found_and_scratch_is_not(prepared: Path, tmp_path: Path) -> None:
    own = own_cache(prepared, tmp_path / "user")
    assert own is not None
    assert (own / "pictures" / "Forest" / "1.jpg").read_text() == "pictures/Forest/1.jpg"
    assert (own / "tiles-1" / "index.json").resolve() == (prepared / "tiles-1" / "index.json").resolve()
    assert {each.name for each in own.iterdir()} == {"pictures", "weights", "tiles-1"}


def test_what_comes_and_goes_later_is_followed(prepared: Path, tmp_path: Path) -> None:
    own = own_cache(prepared, tmp_path / "user")
    assert own is not None
    (prepared / "weights" / "a.pth").unlink()
    (prepared / "weights" / "b.pth").write_text("b")
    assert own_cache(prepared, tmp_path / "user") == own
    assert [each.name for each in (own / "weights").iterdir()] == ["b.pth"]


def test_what_the_user_has_in_place_of_it_stays(prepared: Path, tmp_path: Path) -> None:
    own = own_cache(prepared, tmp_path / "user")
    assert own is not None
    (own / "pictures" / "Forest").unlink()
    (own / "pictures" / "River").mkdir()
    assert own_cache(prepared, tmp_path / "user") == own
    assert {each.name for each in (own / "pictures").iterdir()} == {".source.json", "River"}


def test_where_no_links_can_be_made_the_rest_works(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "symlink_to", raising(OSError(errno.EPERM, "A required privilege is not held")))
    own = own_cache(prepared, tmp_path / "user")
    assert own is not None and write_problem(own) == ""


def test_a_folder_that_may_not_be_listed(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "iterdir", raising(PermissionError(errno.EACCES, "Permission denied")))
    own = own_cache(prepared, tmp_path / "user")
    assert own is not None and own.is_dir()


def printed(kept_from: list[str], code: str, place: Path) -> str:
    """What this code prints about the place, in a process that is kept from it."""
    words = [*kept_from, sys.executable, "-c", f"import sys; from pathlib import Path; {code}", str(place)]
    root = Path(folders.__file__).parents[1]
    return subprocess.run(words, capture_output=True, text=True, cwd=root, check=True).stdout.strip()


@pytest.mark.parametrize(("kept_from", "number"), [(anothers, errno.EACCES), (mounted_read_only, errno.EROFS)])
def test_real_ones(tmp_path: Path, kept_from: Callable[[Path], list[str]], number: int) -> None:
    there = tmp_path / "there"
    there.mkdir()
    code = (
        "from eurosat_core.folders import write_problem as f; p = Path(sys.argv[1]); print(f(p), f(p / 'new'), sep='|')"
    )
    assert printed(kept_from(there), code, there) == f"{os.strerror(number)}|{os.strerror(number)}"


@pytest.mark.parametrize("inside", [".", "tiles-1"])
def test_what_only_its_owner_may_look_at_is_not_called_usable(prepared: Path, inside: str) -> None:
    assert is_readable(prepared)
    words = anothers(prepared)
    (prepared / inside).chmod(0o700)
    code = "from eurosat_core.folders import is_readable; print(is_readable(Path(sys.argv[1])))"
    assert printed(words, code, prepared) == "False"
