"""Saved networks: kept per participant, bounded, and no damaged file is anybody's problem."""

import json
from pathlib import Path

import pytest

from eurosat_core.errors import ConfigError
from eurosat_core.models import designs
from eurosat_core.models.catalog import BASELINE
from eurosat_core.models.designs import KEPT, MAX_NAME, DesignStore


@pytest.fixture
def store(tmp_path: Path) -> DesignStore:
    return DesignStore(tmp_path / "designs")


def test_saved_networks_are_found_again_by_their_owner_only(store: DesignStore, tmp_path: Path) -> None:
    assert store.of("otter") == {}
    assert store.save("otter", "  my \n first ", "flatten,linear  OUT") == "my first"
    store.save("otter", "second", BASELINE)
    assert DesignStore(tmp_path / "designs").of("otter") == {"my first": "flatten, linear out", "second": BASELINE}
    assert store.of("heron") == {}


def test_the_same_name_is_replaced_and_becomes_the_newest(store: DesignStore) -> None:
    for name, text in (("a", "relu"), ("b", "relu"), ("a", "gelu")):
        store.save("otter", name, text)
    assert store.of("otter") == {"b": "relu", "a": "gelu"}
    assert list(store.of("otter")) == ["b", "a"]


def test_deleted_is_gone(store: DesignStore) -> None:
    store.save("otter", "a", "relu")
    store.delete("otter", "a")
    store.delete("otter", "never there")
    assert store.of("otter") == {}


@pytest.mark.hostile
@pytest.mark.parametrize("owner", ["../../evil", "a/b", "\x00", "ö" * 24, "CON"])
def test_any_nickname_is_a_safe_file(owner: str, store: DesignStore, tmp_path: Path) -> None:
    store.save(owner, "a", "relu")
    assert store.of(owner) == {"a": "relu"}
    assert [each.parent for each in tmp_path.rglob("*.json")] == [tmp_path / "designs"]


def test_names_are_short_and_printable(store: DesignStore) -> None:
    assert len(store.save("otter", "x" * 200, "relu")) == MAX_NAME
    for name in ("", "  ", "\x00\x01"):
        with pytest.raises(ConfigError, match="name"):
            store.save("otter", name, "relu")


@pytest.mark.hostile
def test_nobody_saves_without_end(store: DesignStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(KEPT):
        store.save("otter", f"n{number}", "relu")
    with pytest.raises(ConfigError, match="most"):
        store.save("otter", "one more", "relu")
    store.save("otter", "n3", "gelu")  # replacing is no addition
    with pytest.raises(ConfigError):
        store.save("otter", "n3", "relu, " * 3000)
    monkeypatch.setattr(designs, "_PEOPLE", 1)
    with pytest.raises(ConfigError, match="participants"):
        store.save("heron", "a", "relu")


@pytest.mark.hostile
@pytest.mark.parametrize(
    "content",
    [
        "",
        "{torn",
        "[]",
        '"text"',
        "[" * 100_000,
        json.dumps({"owner": "heron", "designs": {"a": "relu"}}),
        json.dumps({"owner": "otter", "designs": ["relu"]}),
        json.dumps({"owner": "otter", "designs": {"a": 3, " b ": "relu", "c": "relu, " * 3000}}),
        "x" * 500_000,
    ],
)
def test_damaged_files_are_ignored_and_replaced(content: str, store: DesignStore, tmp_path: Path) -> None:
    store.save("otter", "a", "relu")
    (file,) = tmp_path.rglob("*.json")
    file.write_text(content)
    assert store.of("otter") == {}
    store.save("otter", "b", "gelu")
    assert store.of("otter") == {"b": "gelu"}


def test_a_disk_that_refuses_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="saved"):
        DesignStore(tmp_path / "file").save("otter", "a", "relu")
