"""The package as other machines get it: a wheel that brings the app, its pages and its assets."""

import os
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import Distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content, as `pip install .` leaves it."""
    made, folder = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(made)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=300)
    [wheel] = made.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def run_there(folder: Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_wheel_has_all_that_the_checkout_has(installed: Path):
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    if tracked.returncode:
        pytest.skip("this is no checkout of git's")
    wanted = {each for each in tracked.stdout.split() if each.startswith(("assets/", "pages/", ".streamlit/"))}
    app = installed / "eurosat_core" / "app"
    assert {each for each in wanted if not (app / each).is_file()} == set()
    assert (app / "streamlit_app.py").is_file()
    assert {each.name for each in installed.iterdir()} == {"eurosat_core", "eurosat_lab-0.1.0.dist-info"}


def test_the_wheel_names_its_requirements_and_its_command(installed: Path):
    [about] = installed.glob("*.dist-info")
    distribution = Distribution.at(about)
    named = [each for each in (ROOT / "requirements.txt").read_text().splitlines() if each and each[0] != "#"]
    always = [each for each in distribution.requires or [] if "extra ==" not in each]
    assert len(always) == len(named)
    assert [each.value for each in distribution.entry_points] == ["eurosat_core.cli:main"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert distribution.metadata["Requires-Python"] == project["requires-python"]


def test_what_is_installed_uses_its_own_assets(installed: Path):
    code = "from eurosat_core import folders; print(folders.ASSETS)"
    assert Path(run_there(installed, "-c", code)) == installed / "eurosat_core" / "app" / "assets"
    assert "338,486" in run_there(installed, "-m", "eurosat_core", "summary", "baseline")
