"""The address and checksum of EuroSAT, against those that torchvision itself downloads from."""

import re
from pathlib import Path

import pytest
from torchvision.datasets import EuroSAT, eurosat

from eurosat_core.data.download import PLACE_LISTS, Remote, eurosat_archive
from eurosat_core.settings import Settings


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


@pytest.mark.parametrize("url", ["", "http://mirror/e.zip"])
@pytest.mark.parametrize("md5", ["", "0" * 32])
def test_the_archive_is_torchvisions_or_the_settings(
    url: str, md5: str, tmp_path: Path, published: tuple[str, str]
) -> None:
    remote = eurosat_archive(Settings(tmp_path, tmp_path, archive_url=url, archive_md5=md5))
    assert remote == Remote(url or published[0], md5 or published[1], "EuroSAT.zip")


def test_the_lists_have_addresses_and_checksums() -> None:
    assert list(PLACE_LISTS) == ["train", "val", "test"]
    for part, remote in PLACE_LISTS.items():
        assert remote.url.startswith("https://")
        assert remote.url.endswith(f"/eurosat-spatial-{part}.txt")
        assert remote.name == f"eurosat-spatial-{part}.txt"
        assert re.fullmatch("[0-9a-f]{32}", remote.md5)
    assert len({remote.md5 for remote in PLACE_LISTS.values()}) == 3
