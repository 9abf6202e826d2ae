"""A cache and runs that this user may not write: what is there is used, the rest is said before anything is begun."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from command_line import Ask, ask, folder, places
from fake_engine import (
    CONFIG,
    ROOT,
    Closing,
    FakeEngine,
    OpenFake,
    eventually,
    lab_settings,
    raising,
    refused,
    tiles_used,
    trained,
)
from restricted import anothers, mounted_read_only

from eurosat_core.data.acquire import acquired_place, import_pictures
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.data.tiles import open_tiles
from eurosat_core.errors import RunError
from eurosat_core.lab.lab import Lab
from eurosat_core.runs.bundles import import_bundle
from eurosat_core.runs.record import TilesUsed
from eurosat_core.runs.sealed import open_test
from eurosat_core.runs.store import RunStore
from eurosat_core.settings import Moved, Settings

__all__ = ["ask", "folder", "places"]  # fixtures of command_line, used here

READ_ONLY = OSError(errno.EROFS, os.strerror(errno.EROFS))

# Uses everything that is kept in a cache: decoded tiles, pictures, features, measured precision, decoded other tiles.
USE = """
import json, sys
from pathlib import Path

from eurosat_core.cli import main
from eurosat_core.data.acquire import acquired_place
from eurosat_core.data.splits import has_lists
from eurosat_core.data.tiles import open_tiles
from eurosat_core.data.weights import find_weights
from eurosat_core.settings import load_settings

settings = load_settings()
decoded = []
tiles = open_tiles(acquired_place(settings.cache), settings.cache, lambda done, total: decoded.append(done))
weights = find_weights("vgg11_bn", settings.cache)
found = {
    "cache": str(settings.cache),
    "reasons": {each.what: each.reason for each in settings.moved},
    "decoded": decoded,
    "fingerprint": tiles.fingerprint,
    "weights": str(weights and weights.resolve()),
    "lists": has_lists(settings.cache),
    "others": len(open_tiles(Path(sys.argv[1]), settings.cache)),
}
training = ["train", "--model", "efficientnet_lite0", "--recipe", "fast", "--epochs", "1", "--tiles", "40"]
print(json.dumps(found), flush=True)
sys.exit(main([*training, "--batch-size", "20", "--json"]))
"""


# Answers several commands with --json: their exit status, what stood on stdout and on stderr.
ASK = """
import contextlib, io, json, sys

from eurosat_core.cli import main

answers = []
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        status = main([*words, "--json"])
    answers.append([status, out.getvalue(), err.getvalue()])
print(json.dumps(answers))
"""


def in_a_process(words: list[str], code: str, argument: str, **environ: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", **environ}
    command = [*words, sys.executable, "-c", code, argument]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environ, check=False)


def state_of(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(each.relative_to(folder)): (each.stat().st_size, each.stat().st_mtime_ns) for each in folder.rglob("*")}


def test_a_prepared_cache_is_used_as_it_is(tmp_path: Path, small_folder: Callable[..., Path]) -> None:
    cache = tmp_path / "cache"
    import_pictures(small_folder(tmp_path / "tiles", {"Forest": 30, "River": 30}), cache)
    prepared = open_tiles(acquired_place(cache), cache)
    for name in ("weights/vgg11_bn.pth", *(f"spatial/eurosat-spatial-{part}.txt" for part in ("train", "val", "test"))):
        (cache / name).parent.mkdir(exist_ok=True)
        (cache / name).write_text("")
    words, before = mounted_read_only(cache), state_of(cache)
    others = small_folder(tmp_path / "others", {"Highway": 3, "Pasture": 3})
    done = in_a_process(words, USE, str(others), XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    found, trained = (json.loads(line) for line in done.stdout.splitlines())
    assert found["reasons"] == {"cache": os.strerror(errno.EROFS)}
    assert Path(found["cache"]).is_relative_to(tmp_path / "eurosat-lab")
    assert (found["decoded"], found["fingerprint"]) == ([], prepared.fingerprint)
    assert (found["weights"], found["lists"]) == (str(cache / "weights" / "vgg11_bn.pth"), True)
    assert found["others"] == 6
    assert trained["state"] == "finished"
    assert done.stderr.count(found["cache"]) == 1, "said once"
    scratch = {each.name.partition("-")[0] for each in Path(found["cache"]).iterdir()}
    assert "features" in scratch  # and what was measured of the machine, unless that was too busy
    assert state_of(cache) == before


def test_what_stands_in_runs_of_others_is_looked_at_and_nothing_is_begun(
    tmp_path: Path, folder: Callable[..., str], ask: Ask
) -> None:
    tiles, runs = folder(Forest=20, River=20), tmp_path / "runs"
    training = ["train", "--model", "baseline", "--epochs=1", "--source=memory", "--data", tiles]
    _, trained, _ = ask(*training)
    words, before = anothers(runs), state_of(runs)
    doctor, evaluate = ["doctor", "--data", tiles], ["evaluate", trained["run_id"], "--data", tiles]
    commands = [doctor, evaluate, training, ["profile", "--model", "baseline", "--data", tiles]]
    done = in_a_process(words, ASK, json.dumps(commands))
    looked, evaluated, *begun = json.loads(done.stdout)
    (check,) = [each for each in json.loads(looked[1])["checks"] if each["name"] == "Runs"]
    assert (check["state"], looked[0]) == ("problem", 1)
    assert str(runs) in check["text"] and "EUROSAT_RUNS" in check["remedy"]
    assert json.loads(evaluated[1])["tiles"] == 10
    for status, printed, said in begun:
        assert (status, printed, len(said.splitlines())) == (2, "", 1) and "EUROSAT_RUNS" in said
    assert state_of(runs) == before


# The app, without real rights


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Function: from now on a folder for runs is a read-only mount, as far as it is written with `Path` and locks."""

    def close(folder: Path) -> None:
        for name in ("mkdir", "write_bytes", "unlink", "rename", "replace"):
            usual = getattr(Path, name)

            def refuse(path: Path, *arguments: Any, _usual: Any = usual, **options: Any) -> Any:
                if path.is_relative_to(folder):
                    raise READ_ONLY
                return _usual(path, *arguments, **options)

            monkeypatch.setattr(Path, name, refuse)
        unlockable = SimpleNamespace(acquire=raising(READ_ONLY))
        monkeypatch.setattr("eurosat_core.runs.store.FileLock", lambda *_, **__: unlockable)
        monkeypatch.setattr("eurosat_core.runs.store.write_problem", lambda _folder: os.strerror(errno.EROFS))
        monkeypatch.setattr("eurosat_core.lab.doctor.write_problem", lambda _folder: os.strerror(errno.EROFS))

    return close


def test_the_lab_opens_and_says_what_still_works(
    open_fake: OpenFake, read_only: Callable[[Path], None], tmp_path: Path, small_tiles: TileSet, closing: Closing
) -> None:
    lab, engine = open_fake()
    done = trained(lab, engine)
    left = lab.store.create(CONFIG, "ada", tiles_used(small_tiles))  # another server's, which waits
    lab.close()
    read_only(lab.store.folder)
    again = closing(Lab(lab_settings(tmp_path, small_tiles), FakeEngine()).open())
    eventually(lambda: again.tiles().tile_set)
    assert [each.state for each in again.room() if each.name == "Runs"] == ["problem"]
    assert again.store.get(done.id).state == "finished" and again.results.history(done.id).epochs
    assert again.place(left.id) is None, "it cannot be taken from here"
    assert "EUROSAT_RUNS" in again.runs_problem
    assert refused(lambda: again.submit(CONFIG, "ada")) == again.runs_problem
    assert done.id in refused(lambda: again.delete(done.id, "ada"))
    assert refused(lambda: again.control(left.id, "ada", "stop"))
    again.lesson_guesses.put("ada", "speedup", "5×")
    assert again.lesson_guesses.of("ada") == {"speedup": "5×"}


def test_a_folder_for_runs_that_cannot_be_made(tmp_path: Path, small_tiles: TileSet, closing: Closing) -> None:
    (tmp_path / "file").write_text("")
    lab = closing(Lab(lab_settings(tmp_path, small_tiles, runs=tmp_path / "file" / "runs"), FakeEngine()).open())
    eventually(lambda: lab.tiles().tile_set)
    assert "EUROSAT_RUNS" in refused(lambda: lab.submit(CONFIG, "ada"))
    (check,) = [each for each in lab.room() if each.name == "Runs"]
    assert check.state == "problem"
    assert "Stored runs" not in check.text, "there are none that could be read"


def test_a_sealed_part_stays_sealed_where_its_opening_cannot_be_noted(
    open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, engine = open_fake()
    run = trained(lab, engine, replace(CONFIG, sealed_test=True))

    monkeypatch.setattr("eurosat_core.runs.store.write_whole", raising(READ_ONLY))
    assert "sealed" in refused(lambda: open_test(lab.store, run.id))
    assert lab.store.get(run.id).test_opened is None


def test_the_sentence_of_a_read_only_store_asks_for_no_room_on_the_disk(
    store: RunStore, used: TilesUsed, read_only: Callable[[Path], None], tmp_path: Path
) -> None:
    read_only(store.folder)
    for action in (lambda: store.create(CONFIG, "ada", used), lambda: import_bundle(store, tmp_path / "bundle.zip")):
        sentence = refused(action)
        assert os.strerror(errno.EROFS) in sentence and "disk space" not in sentence


def test_a_file_system_without_locks_says_so(store: RunStore, used: TilesUsed, monkeypatch: pytest.MonkeyPatch) -> None:
    run = store.create(CONFIG, "ada", used)

    monkeypatch.setattr("filelock.FileLock.acquire", raising(NotImplementedError("no support for flock")))
    with pytest.raises(OSError, match=os.strerror(errno.ENOLCK)):
        store.lock(run.id)
    store.update(run.id, state="running")
    assert store.mark_interrupted() == []
    assert os.strerror(errno.ENOLCK) in store.write_problem()


def test_a_run_that_cannot_be_deleted(store: RunStore, used: TilesUsed, monkeypatch: pytest.MonkeyPatch) -> None:
    run = store.create(CONFIG, "ada", used)
    monkeypatch.setattr(Path, "rename", raising(READ_ONLY))
    with pytest.raises(RunError, match=run.id):
        store.delete(run.id)


# What the room check says


@pytest.mark.parametrize(("what", "name", "state"), [("cache", "Cache", "ready"), ("runs", "Runs", "missing")])
def test_folders_that_were_replaced_are_named_in_the_room_check(
    tmp_path: Path, small_tiles: TileSet, what: Any, name: str, state: str
) -> None:
    moved = Moved(what, Path("/prepared"), tmp_path, "Read-only file system")
    settings: Settings = lab_settings(tmp_path, small_tiles, moved=(moved,))
    lab = Lab(settings, FakeEngine())
    (check,) = [each for each in lab.room() if each.name == name]
    assert check.state == state
    assert all(words in check.text for words in ("/prepared", str(tmp_path), "Read-only file system"))
