"""The address and checksum of EuroSAT, against those that torchvision itself downloads from."""

import importlib.machinery
import importlib.metadata
import re
from pathlib import Path

import pytest
from torchvision.datasets import EuroSAT, eurosat

from eurosat_core.data import download as module
from eurosat_core.data.download import PLACE_LISTS, eurosat_archive
from eurosat_core.errors import DataError
from eurosat_core.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(runs=tmp_path, cache=tmp_path)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Address and MD5 that torchvision's own download passes on."""
    calls: list[tuple[str, str]] = []

    def note(url: str, download_root: str, md5: str, **_: object) -> None:
        calls.append((url, md5))

    monkeypatch.setattr(eurosat, "download_and_extract_archive", note)
    with pytest.raises(RuntimeError, match="Dataset not found"):  # for nothing was downloaded
        EuroSAT(str(tmp_path / "root"), download=True)
    assert len(calls) == 1
    return calls[0]


def test_the_archive_is_torchvisions(settings: Settings, published: tuple[str, str]) -> None:
    remote = eurosat_archive(settings)
    assert (remote.url, remote.md5, remote.name) == (*published, "EuroSAT.zip")


def test_a_mirror_has_torchvisions_checksum(settings: Settings, published: tuple[str, str]) -> None:
    mirror = Settings(settings.runs, settings.cache, archive_url="http://mirror/e.zip")
    assert eurosat_archive(mirror) == module.Remote("http://mirror/e.zip", published[1], "EuroSAT.zip")


def test_another_checksum_has_torchvisions_address(settings: Settings, published: tuple[str, str]) -> None:
    other = Settings(settings.runs, settings.cache, archive_md5="0" * 32)
    assert eurosat_archive(other) == module.Remote(published[0], "0" * 32, "EuroSAT.zip")


def test_an_archive_of_ones_own_needs_no_torchvision(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    own = Settings(settings.runs, settings.cache, archive_url="http://mirror/e.zip", archive_md5="0" * 32)
    assert eurosat_archive(own) == module.Remote("http://mirror/e.zip", "0" * 32, "EuroSAT.zip")


SOURCES = [
    None,  # no such file
    "",
    "def download(self): download_and_extract_archive(self.url, md5=self.md5)",
    "def download(self): download_and_extract_archive('https://a/b.zip', md5='not thirty-two digits')",
    "def download(self): download_and_extract_archive('https://a/b.zip', note='thirty-two signs, none an MD5 ..')",
    "def download(self): fetch('https://a/b.zip', md5='c8fa014336c82ac7804f0398fcb19387')",
    "def download(self: this is no Python",
    "\0",
]


@pytest.mark.parametrize("source", SOURCES)
def test_a_changed_torchvision_gets_a_sentence(
    source: str | None, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "datasets").mkdir()
    if source is not None:
        (tmp_path / "datasets" / "eurosat.py").write_text(source)
    spec = importlib.machinery.ModuleSpec("torchvision", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(module, "find_spec", lambda _name: spec)
    with pytest.raises(DataError, match=r"torchvision \d.* does not say .* Download EuroSAT.zip by hand and import it"):
        eurosat_archive(settings)


def test_a_source_that_says_it_is_read(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "datasets").mkdir()
    source = f"class EuroSAT:\n    def download(self): u.download_and_extract_archive('https://a/b', md5='{'0f' * 16}')"
    (tmp_path / "datasets" / "eurosat.py").write_text(source)
    spec = importlib.machinery.ModuleSpec("torchvision", None, is_package=True)
    spec.submodule_search_locations = ["/nowhere", str(tmp_path)]
    monkeypatch.setattr(module, "find_spec", lambda _name: spec)
    assert eurosat_archive(settings) == module.Remote("https://a/b", "0f" * 16, "EuroSAT.zip")


def test_no_torchvision_gets_a_sentence(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_there(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    def half_there(name: str) -> None:
        raise ValueError(f"{name}.__spec__ is None")

    monkeypatch.setattr(module, "version", not_there)
    for find in (lambda _name: None, half_there):
        monkeypatch.setattr(module, "find_spec", find)
        with pytest.raises(DataError, match=r"not installed.*prepare --from EuroSAT.zip") as caught:
            eurosat_archive(settings)
        assert "\n" not in str(caught.value)


def test_the_lists_have_addresses_and_checksums() -> None:
    assert list(PLACE_LISTS) == ["train", "val", "test"]
    for part, remote in PLACE_LISTS.items():
        assert remote.url.startswith("https://")
        assert remote.url.endswith(f"/eurosat-spatial-{part}.txt")
        assert remote.name == f"eurosat-spatial-{part}.txt"
        assert re.fullmatch("[0-9a-f]{32}", remote.md5)
    assert len({remote.md5 for remote in PLACE_LISTS.values()}) == 3
