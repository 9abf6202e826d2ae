"""The README says what the code does: dependencies, commands; `test_settings` reads its table of settings."""

import re
from pathlib import Path

import pytest

from eurosat_core.cli import main
from eurosat_core.lab.doctor import CPU_ONLY_INSTALL

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", ["requirements.txt", "tests/requirements.txt"])
def test_every_dependency_has_its_reason(file):
    names = re.findall(r"^([A-Za-z][A-Za-z0-9-]+)", (ROOT / file).read_text(), flags=re.MULTILINE)
    table = README.split("## Dependencies")[1].split("\n## ")[0]
    assert names
    missing = [name for name in names if not re.search(rf"\b{re.escape(name)}\b", table)]
    assert not missing


def test_first_screen_has_a_picture_and_the_commands():
    commands = re.findall(r"^python3 -m venv .*", README[:1800], flags=re.MULTILINE)
    assert [each.split()[-1] for each in commands] == ["streamlit_app.py", "pytest", "streamlit_app.py"]
    assert commands[2] == f"{CPU_ONLY_INSTALL} && {commands[0].split(' && ')[-1]}"
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert pictures
    assert all((ROOT / each).exists() for each in pictures)


def test_ci_runs_the_test_command():
    command = re.findall(r"```bash\n(.*pytest)\n```", README)[0]
    assert command in (ROOT / ".ci" / "run").read_text()


def test_every_command_is_documented(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    commands = re.search(r"COMMAND\n(.*)", capsys.readouterr().out, flags=re.DOTALL).group(1)
    names = re.findall(r"^    (\w+)", commands, flags=re.MULTILINE)
    assert len(names) >= 5
    assert all(f"python -m eurosat_core {name}" in README for name in names)


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_documents_name_files_that_exist(document):
    named = set(re.findall(r"`((?:[\w.]+/)*[\w.]+\.py|[\w./]+/)`", (ROOT / document).read_text(encoding="utf-8")))
    missing = [each for each in named if not ((ROOT / each).exists() or (ROOT / "eurosat_core" / each).exists())]
    assert named and not missing
