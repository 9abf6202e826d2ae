"""Networks of one's own: saved per participant and bounded, counted as PyTorch counts them, exported as source."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import nn

from eurosat_core.errors import ConfigError
from eurosat_core.models import designs
from eurosat_core.models.build import build_network, network_source
from eurosat_core.models.catalog import BASELINE, PRESETS
from eurosat_core.models.check import check_network, repaired, totals
from eurosat_core.models.designs import KEPT, MAX_NAME, DesignStore
from eurosat_core.models.layers import Layer, format_network, parse_network
from eurosat_core.models.networks import Net
from eurosat_core.models.summary import summarize
from tests.models.network_makers import networks


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


VALID = [preset.text for preset in PRESETS.values() if preset.name != "broken"]
EVERYTHING = (
    "conv 8 3 stride 2 pad 1, batchnorm, gelu, residual 8, residual 12 stride 2, maxpool 3 stride 2, conv 4 4, "
    "avgpool 2, adaptiveavgpool 3, dropout 0.25, flatten, linear 30, batchnorm, sigmoid, dropout 0.5, linear out"
)


def seeded(make: Any, *arguments: Any) -> nn.Module:
    torch.manual_seed(3)
    network: nn.Module = make(*arguments)
    return network


def exported(text: str, classes: int = 10) -> Any:
    """The class in the exported source, run as a script would."""
    names: dict[str, Any] = {"__name__": "exported"}
    exec(compile(network_source(text, classes), "exported.py", "exec"), names)
    return names["Net"]


def compare(layers: tuple[Layer, ...], classes: int) -> None:
    """Our arithmetic against the module that is built: shapes, parameters, multiplications, numbers kept."""
    network = build_network(format_network(layers), classes)
    reports = check_network(layers, classes)
    found, summed = totals(reports), summarize(network)
    assert (found.params, found.macs) == (summed.total_params, summed.macs)
    assert found.activation_bytes == 4 * sum(abs(torch.Size(row.output_shape).numel()) for row in summed.layers)
    tiles = torch.zeros(2, 3, 64, 64)
    with torch.no_grad():
        for report, layer in zip(reports, network.eval(), strict=True):  # type: ignore[arg-type]
            tiles = layer(tiles)
            assert tuple(tiles.shape[1:]) == report.output_shape
            assert report.params == sum(each.numel() for each in layer.parameters())


@pytest.mark.parametrize("text", [*VALID, EVERYTHING])
def test_arithmetic_is_pytorchs(text: str) -> None:
    compare(parse_network(text), 7)


@given(networks(14))
@settings(max_examples=25)
def test_arithmetic_is_pytorchs_for_any_network(layers: tuple[Layer, ...]) -> None:
    compare(repaired(layers, 4), 4)


@pytest.mark.processor
def test_baseline_as_text_is_the_baseline() -> None:
    built, ours = seeded(build_network, BASELINE), seeded(Net)
    tiles = torch.rand(5, 3, 64, 64)
    assert torch.equal(built(tiles), ours(tiles))
    assert built.state_dict().keys() == ours.state_dict().keys()


@pytest.mark.processor
@pytest.mark.parametrize("text", [*VALID, EVERYTHING])
def test_exported_source_computes_the_same_to_the_last_bit(text: str) -> None:
    tiles = torch.rand(6, 3, 64, 64)
    for training in (True, False):
        built, read = seeded(build_network, text, 5), seeded(exported(text, 5))
        built.train(training)
        read.train(training)
        torch.manual_seed(4)  # dropout draws
        expected = built(tiles)
        torch.manual_seed(4)
        assert torch.equal(read(tiles), expected)


@given(networks(14))
@settings(max_examples=15)
def test_weights_of_a_run_fit_the_exported_source(layers: tuple[Layer, ...]) -> None:
    text = format_network(repaired(layers))
    built, read = build_network(text).eval(), exported(text)().eval()
    read.load_state_dict(built.state_dict())
    tiles = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(read(tiles), built(tiles))


def test_exported_source_runs_as_a_script(tmp_path: Path) -> None:
    script = tmp_path / "net.py"
    script.write_text(network_source(EVERYTHING), encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "torch.Size([2, 10])" in done.stdout


def test_exported_source_is_tidy() -> None:
    source = network_source(EVERYTHING)
    assert source.count("class ResidualBlock") == 1
    assert "x = self.fc2(x)" in source and "# [B, 30]" in source
    assert "ResidualBlock" not in network_source(BASELINE)
    assert "functional" not in network_source("flatten, linear out")
    assert max(len(line) for line in source.splitlines() if not line.startswith("conv")) <= 120


@pytest.mark.parametrize("make", [build_network, network_source])
def test_an_invalid_network_is_refused_with_its_layer(make: Any) -> None:
    with pytest.raises(ConfigError, match=r"2 .*\(linear out\)"):
        make("conv 6 5, linear out")
