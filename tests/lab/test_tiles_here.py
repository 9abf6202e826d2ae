"""What a worker of a cluster lacks is sent once, whole or not at all; what it has of its own is used."""

from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import CONFIG, lab_settings, refused

from eurosat_core.data.download import PLACE_LISTS
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import DataError
from eurosat_core.lab import tiles_here
from eurosat_core.lab.messages import Job
from eurosat_core.lab.tiles_here import Parcel, lacking, parcel_of, take, tiles_for
from eurosat_core.training.config import TrainConfig

LOADER = replace(CONFIG, source="loader", channels_last=False)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The worker's own cache, which is empty."""
    monkeypatch.setenv("EUROSAT_CACHE", str(tmp_path / "own"))
    monkeypatch.delenv("EUROSAT_DATA", raising=False)
    monkeypatch.setattr(tiles_here, "find_place", lambda _named, settings: settings.data)
    monkeypatch.setattr(tiles_here, "_PIECE", 100_000)
    tiles_for.cache_clear()
    return tmp_path / "own"


def job_for(tiles: TileSet, config: TrainConfig = CONFIG, cache: str = "") -> Job:
    return Job("a-run", config, tiles.fingerprint, cache, 1)


def send(what: str, tiles: TileSet, folder: Path) -> int:
    """As the engine does; how many messages it took."""
    parcel = parcel_of(what, job_for(tiles, cache=str(tiles.cache)), lab_settings(folder, tiles))
    return len([take(*message) for message in parcel.messages()])


def test_an_empty_worker_gets_the_tiles_and_then_lacks_nothing(
    tmp_path: Path, small_tiles: TileSet, cache: Path
) -> None:
    assert lacking(job_for(small_tiles)) == ["tiles"]
    assert send("tiles", small_tiles, tmp_path) > 3, "in pieces"
    assert lacking(job_for(small_tiles)) == []
    there = tiles_for(small_tiles.fingerprint, "")
    assert there.cache.parent == cache and (there.array == small_tiles.array).all()
    assert (there.label_array == small_tiles.label_array).all() and there.names == small_tiles.names
    assert there.statistics is not None and not [*cache.glob("making-*")]


def test_pictures_come_only_for_those_who_read_them(tmp_path: Path, small_tiles: TileSet, cache: Path) -> None:
    assert lacking(job_for(small_tiles, LOADER)) == ["tiles", "pictures"]
    send("tiles", small_tiles, tmp_path)
    send("pictures", small_tiles, tmp_path)
    assert lacking(job_for(small_tiles, LOADER)) == []
    there = tiles_for(small_tiles.fingerprint, "")
    assert Path(there.place).parent == cache, "none of the server's folders"
    for name in there.names:
        assert Path(there.place, name).read_bytes() == Path(small_tiles.place, name).read_bytes()


def test_own_tiles_are_used_where_they_are_the_same(
    small_tiles: TileSet, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EUROSAT_DATA", small_tiles.place)
    assert lacking(job_for(small_tiles, LOADER)) == []
    assert not [*cache.glob("*-sent-*")]


def test_lists_and_weights_are_asked_for_by_those_who_need_them(tmp_path: Path, small_tiles: TileSet) -> None:
    send("tiles", small_tiles, tmp_path)
    assert lacking(job_for(small_tiles, replace(CONFIG, split="place"))) == ["lists"]
    vgg = replace(CONFIG, model="vgg11_bn", pretrained=True)
    assert lacking(job_for(small_tiles, vgg)) == ["vgg11_bn"]
    with pytest.raises(DataError, match="vgg11_bn"):
        parcel_of("vgg11_bn", job_for(small_tiles), lab_settings(tmp_path / "empty", None))


def test_lists_go_beside_what_is_there(tmp_path: Path, small_tiles: TileSet, cache: Path) -> None:
    send("tiles", small_tiles, tmp_path)
    origin = tmp_path / "server" / "spatial"
    origin.mkdir(parents=True)
    names = [each.name for each in PLACE_LISTS.values()]
    for name in names:
        (origin / name).write_text(name)
    (cache / "spatial").mkdir()
    (cache / "spatial" / names[0]).write_text("torn")
    for message in Parcel(origin, tuple(names), "spatial").messages():
        take(*message)
    assert [(cache / "spatial" / name).read_text() for name in names] == names
    assert lacking(job_for(small_tiles, replace(CONFIG, split="place"))) == []


def test_nothing_is_written_outside_and_nothing_is_half_there(tmp_path: Path, cache: Path) -> None:
    for name in ("../out", "/out", "a/../../out"):
        assert refused(lambda name=name: take("tiles-sent-x", "p", [(name, 0, b"x")], True))
    assert not [*tmp_path.rglob("out")]
    take("tiles-sent-x", "q", [("a", 0, b"ab")], False)
    assert refused(lambda: take("tiles-sent-x", "q", [("a", 3, b"d")], True)), "a part is missing"
    assert not (cache / "tiles-sent-x").exists()


def test_only_the_newest_sets_stay(cache: Path) -> None:
    for number in range(5):
        take(f"tiles-sent-{number}", f"p{number}", [("a", 0, b"x")], True)
    assert len([*cache.glob("tiles-sent-*")]) == 3 and (cache / "tiles-sent-4").exists()


def test_what_the_server_cannot_read_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jpg"):
        list(Parcel(tmp_path, ("gone.jpg",), "pictures-sent-x").messages())
