"""A `run.json` that anybody may have edited: each kind of damage gets its sentence, and harms no other run."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_engine import CONFIG, refused

from eurosat_core.runs.record import TilesUsed
from eurosat_core.runs.store import RunStore

ID = "20260102-030405-baseline-00ff"

Spoil = Callable[[Path, dict[str, Any]], Any]


def wrote(change: Callable[[dict[str, Any]], Any]) -> Spoil:
    """A run.json that holds what `change` makes of a good one."""

    def spoil(folder: Path, values: dict[str, Any]) -> None:
        changed = change(values)
        (folder / "run.json").write_text(json.dumps(values if changed is None else changed))

    return spoil


def text(content: str | bytes) -> Spoil:
    data = content if isinstance(content, bytes) else content.encode()
    return lambda folder, _values: (folder / "run.json").write_bytes(data)


def replaced(folder: Path, _values: dict[str, Any]) -> None:
    (folder / "run.json").unlink()
    (folder / "run.json").mkdir()


def put(name: str, value: Any) -> Spoil:
    return wrote(lambda values: values.update({name: value}))


BAD_FOLDERS: dict[str, tuple[Spoil, str]] = {
    "not JSON": (text("{'state': "), "is not JSON"),
    "empty file": (text(""), "is not JSON"),
    "binary": (text(b"\x80\x02\xff\x00"), "is not JSON"),
    "nested without end": (text("[" * 100_000), "is not JSON"),
    "list": (text("[1, 2]"), "no set of named values"),
    "null": (text("null"), "no set of named values"),
    "other version": (put("format", 99), "another version of the lab"),
    "no version": (wrote(lambda values: values.pop("format") and None), "another version of the lab"),
    "unknown entry": (put("colour", "red"), "unknown entry 'colour'"),
    "bad setting": (wrote(lambda values: values["config"].update(epochs=0)), "Epochs is 0"),
    "unknown setting": (wrote(lambda values: values["config"].update(speed=9)), "no setting called 'speed'"),
    "settings are a list": (put("config", [1]), "settings that cannot be used"),
    "unknown state": (put("state", "asleep"), "entry 'state'"),
    "state is a list": (put("state", ["running"]), "entry 'state'"),
    "missing entry": (wrote(lambda values: values.pop("owner") and None), "lacks the entry 'owner'"),
    "no tiles": (wrote(lambda values: values.pop("tiles") and None), "lacks the entry 'tiles'"),
    "tiles without classes": (wrote(lambda values: values["tiles"].pop("class_names") and None), "'tiles.class_names'"),
    "count of tiles is text": (wrote(lambda values: values["tiles"].update(count="many")), "entry 'tiles.count'"),
    "foreign id": (put("id", ID), f"belongs to {ID}"),
    "owner is a number": (put("owner", 5), "entry 'owner'"),
    "never created": (put("created", None), "entry 'created'"),
    "started on a word": (put("started", "yesterday"), "entry 'started'"),
    "ended at infinity": (put("ended", float("inf")), "entry 'ended'"),
    "figures are text": (put("summary", {"epochs": "3"}), "entry 'summary'"),
    "figures are a list": (put("summary", [3]), "entry 'summary'"),
    "run.json is a folder": (replaced, "cannot be read"),
    "no run.json": (lambda folder, _: (folder / "run.json").unlink(), "has no run.json"),
    "no permission": (lambda folder, _: (folder / "run.json").chmod(0), "cannot be read"),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_a_bad_run_folder_gets_a_sentence_and_the_others_stay(store: RunStore, used: TilesUsed, case: str) -> None:
    if case == "no permission" and (sys.platform == "win32" or os.geteuid() == 0):
        pytest.skip("this user may read everything")
    good, bad = store.create(CONFIG, "ada", used), store.create(CONFIG, "ada", used)
    spoil, words = BAD_FOLDERS[case]
    folder = store.folder_of(bad.id)
    spoil(folder, json.loads((folder / "run.json").read_text()))
    if case == "no run.json":  # of a young folder it would be thought that it is just being made
        os.utime(folder, (1, 1))
    sentence = refused(lambda: store.get(bad.id))
    assert words in sentence and bad.id in sentence
    assert store.all() == ([good], [sentence])
    assert store.mark_interrupted() == []
    store.delete(bad.id) if case == "no run.json" else None
    assert store.get(good.id) == good
