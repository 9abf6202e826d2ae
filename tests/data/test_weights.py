"""Weights files: the published address, missing, imported, wrong, hostile."""

import os
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from torchvision.models import VGG11_BN_Weights

from eurosat_core.data import weights as module
from eurosat_core.data.download import Remote
from eurosat_core.data.weights import (
    download_weights,
    find_weights,
    import_weights,
    load_weights,
    published,
    weights_problem,
)
from eurosat_core.errors import ConfigError, DataError


def test_the_address_is_torchvisions() -> None:
    remote = published("vgg11_bn")
    assert remote.url == VGG11_BN_Weights.IMAGENET1K_V1.url
    assert (remote.checksum, remote.algorithm) == ("6002323d", "sha256")  # as torch.hub reads it from the file's name


@pytest.mark.parametrize("ask", [find_weights, weights_problem, load_weights, download_weights])
def test_unknown_weights_are_told_what_there_is(ask: object, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'resnet'.*vgg11_bn"):
        ask("resnet", tmp_path)  # type: ignore[operator]


def test_missing_ones_say_how_to_get_them(tmp_path: Path) -> None:
    assert find_weights("vgg11_bn", tmp_path) is None
    for sentence in (weights_problem("vgg11_bn", tmp_path), _refused(lambda: load_weights("vgg11_bn", tmp_path))):
        assert "507 MB" in sentence and "--weights vgg11_bn" in sentence and "--from FILE" in sentence


def test_packaged_ones_are_there_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights_problem("efficientnet_lite0", tmp_path) == ""
    assert load_weights("efficientnet_lite0", tmp_path)["_fc.bias"].shape == (1000,)
    changed = tmp_path / "changed.pth"
    changed.write_bytes(b"other")
    monkeypatch.setattr(module, "find_weights", lambda *_: changed)
    assert "changed" in _refused(lambda: load_weights("efficientnet_lite0", tmp_path))


def test_a_missing_package_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    assert "requirements.txt" in weights_problem("efficientnet_lite0", tmp_path)
    assert "requirements.txt" in _refused(lambda: download_weights("efficientnet_lite0", tmp_path))
    assert _refused(lambda: import_weights("efficientnet_lite0", tmp_path / "x", tmp_path))


def _refused(action: object) -> str:
    with pytest.raises(DataError) as caught:
        action()  # type: ignore[operator]
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of weights that counts as the published one."""
    path = tmp_path / "vgg.pth"
    torch.save({"features.0.weight": torch.arange(6.0)}, path)
    _counts_as_published(path, monkeypatch)
    return path


def _counts_as_published(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = sha256(path.read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(
        module, "published", lambda _n: Remote("http://127.0.0.1:9/vgg.pth", digits, "vgg.pth", "sha256")
    )


def test_a_brought_file_is_verified_and_kept(brought: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    kept = import_weights("vgg11_bn", brought, cache)
    assert find_weights("vgg11_bn", cache) == kept
    brought.unlink()
    assert load_weights("vgg11_bn", cache)["features.0.weight"].tolist() == list(range(6))
    assert download_weights("vgg11_bn", cache) == kept  # nothing to fetch
    assert weights_problem("vgg11_bn", cache) == ""


@pytest.mark.hostile
def test_another_file_is_refused(brought: Path, tmp_path: Path) -> None:
    brought.write_bytes(brought.read_bytes() + b"x")
    assert brought.name in _refused(lambda: import_weights("vgg11_bn", brought, tmp_path / "cache"))
    assert "typo.pth" in _refused(lambda: import_weights("vgg11_bn", tmp_path / "typo.pth", tmp_path / "cache"))
    assert find_weights("vgg11_bn", tmp_path / "cache") is None


@pytest.mark.hostile
def test_pickled_code_is_never_run_and_nothing_but_weights_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "evil"),)

    path = tmp_path / "evil.pth"
    torch.save({"weight": Evil()}, path)
    _counts_as_published(path, monkeypatch)  # even then
    assert "safely" in _refused(lambda: import_weights("vgg11_bn", path, tmp_path / "cache"))
    assert not (tmp_path / "evil").exists()
    for content in ([1, 2], {"a": 1}, torch.zeros(3)):
        torch.save(content, path)
        _counts_as_published(path, monkeypatch)
        assert "else than" in _refused(lambda: import_weights("vgg11_bn", path, tmp_path / "cache"))


def test_a_disk_that_is_full_is_said(brought: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    assert "EUROSAT_CACHE" in _refused(lambda: import_weights("vgg11_bn", brought, tmp_path / "cache"))
