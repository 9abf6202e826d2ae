"""The walls of the house (DESIGN, "The house"), checked by reading the imports of every file."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Floors from the ground up. Imports go down only; within a room its files may import each other, and so may
# the files of the ground floor.
FLOORS = (
    {"errors", "cores", "folders", "settings", "devices", "machine_notes", "records", "wording", "finding"},
    {"models"},
    {"data"},
    {"training"},
    {"profiling", "speed"},
    {"runs"},
    {"tensorboard", "classroom"},
    {"lab"},
    {"analysis"},
    {"charts"},
    {"words"},
    {"commands"},
    {"cli"},
    {"__main__"},
)
FLOOR_OF = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
UNDER_THE_LAB = [f"eurosat_core/{room}" for room in ("models", "data", "training", "profiling", "speed", "runs")]


def python_files(root: Path, *parts: str) -> list[Path]:
    place = root.joinpath(*parts)
    return [place] if place.is_file() else sorted(place.rglob("*.py"))


def imports(path: Path, root: Path) -> Iterator[str]:
    """Dotted names that a file imports, inside functions too; `from a import b` gives `a` and `a.b`."""
    package = path.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from (each.name for each in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = ".".join([*package[: len(package) - level + 1], *([module] if module else [])])
                start = base if level else str(module)
                yield start
                yield from (f"{start}.{each.name}" for each in names)
            case ast.Call(func=ast.Name(id="__import__") | ast.Name(id="import_module"), args=[first, *_]):
                yield from _text(first)
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[first, *_]):
                yield from _text(first)


def _text(node: ast.expr) -> list[str]:
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def touches(path: Path, root: Path, *packages: str) -> bool:
    return any(
        name == package or name.startswith(f"{package}.") for name in imports(path, root) for package in packages
    )


def uses_torch_profiler(path: Path, root: Path) -> bool:
    """Whether a file imports `torch.profiler` (or autograd's), or reaches it through `torch`."""
    if touches(path, root, "torch.profiler", "torch.autograd.profiler"):
        return True
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(
        isinstance(node, ast.Attribute)
        and node.attr == "profiler"
        and ast.unparse(node.value) in ("torch", "torch.autograd")
        for node in ast.walk(tree)
    )


def rooms_imported(path: Path, root: Path) -> set[str]:
    names = (name.split(".") for name in imports(path, root))
    return {parts[1] for parts in names if parts[0] == "eurosat_core" and len(parts) > 1}


def room_of(path: Path, root: Path) -> str:
    return path.relative_to(root / "eurosat_core").with_suffix("").parts[0]


# Each wall: the files that break it.
Wall = Callable[[Path], list[str]]
CORE, PAGES = ("eurosat_core",), ("eurosat_core", "pages")


def only_in(allowed: Sequence[str], rooms: Sequence[str], breaks: Callable[[Path, Path], bool]) -> Wall:
    """The files of these rooms that break a rule, but for those that may."""

    def wall(root: Path) -> list[str]:
        there = [path for room in rooms for path in python_files(root, *room.split("/"))]
        broken = [str(path.relative_to(root)) for path in there if breaks(path, root)]
        return [name for name in broken if not name.startswith(tuple(allowed))]

    return wall


def importing(*packages: str) -> Callable[[Path, Path], bool]:
    return lambda path, root: touches(path, root, *packages)


def imports_that_go_up(root: Path) -> list[str]:
    found = []
    for path in python_files(root, "eurosat_core"):
        room = room_of(path, root)
        if room == "__init__":
            found += [f"eurosat_core/__init__.py imports {other}" for other in rooms_imported(path, root)]
            continue
        height = FLOOR_OF.get(room, len(FLOORS))  # a room without a floor breaks a wall of its own
        for other in sorted(rooms_imported(path, root) & FLOOR_OF.keys()):
            sideways = FLOOR_OF[other] == height and other != room and height > 0
            if FLOOR_OF[other] > height or sideways:
                found.append(f"{path.relative_to(root)} imports {other}")
    return found


def rooms_without_a_floor(root: Path) -> list[str]:
    rooms = {room_of(path, root) for path in python_files(root, "eurosat_core")}
    return sorted(rooms - FLOOR_OF.keys() - {"__init__"})


def pages_named_like_the_standard_library(root: Path) -> list[str]:
    entries = sorted((root / "pages").glob("*"))
    return [each.name for each in entries if each.stem in sys.stdlib_module_names]


def main_imports_outside_its_guard(root: Path) -> list[str]:
    """Import statements of pages/main.py that do not stand inside `if __name__ == "__main__":`."""
    path = root / "pages" / "main.py"
    if not path.exists():
        return []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded = {
        id(inner)
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"
        for inner in ast.walk(node)
    }
    return [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in guarded
    ]


_WIDGETS = {"text_input", "text_area", "number_input", "slider", "select_slider", "selectbox", "multiselect", "radio"}
_WIDGETS |= {"pills", "segmented_control", "toggle", "checkbox"}


def widgets_that_may_miss_their_value(root: Path) -> list[str]:
    """Widgets whose value the page sets, and that neither persist nor stand in the address.

    Streamlit sends a value that was set with that draw alone. A browser that gets the next draw before it has the
    widget's code shows the widget's default, and says so with the next click: for good, the device is the CPU again.
    """
    found = []
    for path in python_files(root, "pages"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for scope in [tree, *(each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef))]:
            # A name in small letters is its function's own.
            given = {each for each in _keys_set(scope) if scope is not tree or each.strip("_").isupper() or "'" in each}
            for node in ast.walk(scope):
                match node:
                    case ast.Call(func=ast.Attribute(attr=widget), keywords=keywords) if widget in _WIDGETS:
                        of = {each.arg: ast.unparse(each.value) for each in keywords}
                        if of.get("key") in given and not of.keys() & {"persist_state", "bind", None}:
                            found.append(f"{path.relative_to(root)}:{node.lineno} {widget} {of['key']}")
    return sorted(set(found))


def _keys_set(scope: ast.AST) -> Iterator[str]:
    """The keys of session state, as they are written, that get a value in it, other than nothing."""
    for node in ast.walk(scope):
        match node:
            case ast.Assign(value=ast.Constant(value=None | "")):
                pass
            case ast.Assign(targets=targets):
                for each in targets:
                    match each:
                        case ast.Subscript(value=ast.Attribute(attr="session_state"), slice=key):
                            yield ast.unparse(key)
            case ast.Call(func=ast.Attribute(attr="setdefault" | "mirror"), args=[key, *_]):
                yield ast.unparse(key)


# Name, the wall, and a file with a breach of it.
WALLS: dict[str, tuple[Wall, str, str]] = {
    "core imports streamlit": (
        only_in([], CORE, importing("streamlit")),
        "eurosat_core/charts.py",
        "def draw():\n    import streamlit as st\n",
    ),
    "core imports pages": (
        only_in([], CORE, importing("pages", "streamlit_app")),
        "eurosat_core/lab/jobs.py",
        "from pages import train\n",
    ),
    "a page imports torch": (
        only_in([], ["pages"], importing("torch", "torchvision", "distributed", "dask")),
        "pages/train.py",
        "from torch import nn\n",
    ),
    "distributed outside the engine": (
        only_in(["eurosat_core/lab/engine.py"], PAGES, importing("distributed", "dask")),
        "eurosat_core/lab/jobs.py",
        "from distributed import get_worker\n",
    ),
    "the profiler outside its rooms": (
        only_in(["eurosat_core/training/loop.py", "eurosat_core/profiling/"], PAGES, uses_torch_profiler),
        "eurosat_core/speed/sweep.py",
        "import torch\nwith torch.profiler.profile(): ...\n",
    ),
    "the lab below the lab": (
        only_in([], UNDER_THE_LAB, lambda path, root: "lab" in rooms_imported(path, root)),
        "eurosat_core/training/loop.py",
        "from eurosat_core import lab\n",
    ),
    "imports that go up": (
        imports_that_go_up,
        "eurosat_core/data/tiles.py",
        "from eurosat_core.training.config import TrainConfig\n",
    ),
    "a room without a floor": (rooms_without_a_floor, "eurosat_core/helpers.py", ""),
    "a page named like the standard library": (pages_named_like_the_standard_library, "pages/profile.py", ""),
    "an import outside main's guard": (
        main_imports_outside_its_guard,
        "pages/main.py",
        "import json\nif __name__ == '__main__':\n    import os\n",
    ),
    "a widget that may miss its value": (
        widgets_that_may_miss_their_value,
        "pages/parts/sidebar.py",
        "def draw():\n    st.session_state['device'] = 'cpu'\n    st.radio('Device', devices, key='device')\n",
    ),
}


def plant(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", WALLS)
def test_wall_stands_and_notices_a_planted_breach(name: str, tmp_path: Path) -> None:
    wall, *breach = WALLS[name]
    assert wall(ROOT) == wall(tmp_path) == []
    plant(tmp_path, *breach)
    assert len(wall(tmp_path)) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("eurosat_core/lab/engine.py", "from distributed import Client\n"),
        ("eurosat_core/training/loop.py", "from torch.profiler import record_function\n"),
        (
            "eurosat_core/profiling/record.py",
            "import torch.profiler\nfrom eurosat_core.training import loop\n",
        ),
        ("eurosat_core/lab/jobs.py", "from eurosat_core.speed.sweep import sweep\n"),
        ("eurosat_core/devices.py", "from eurosat_core.cores import available_cores\n"),
        ("eurosat_core/charts.py", "streamlit = 'a word, not an import'\n"),
        ("pages/main.py", "if __name__ == '__main__':\n    import streamlit as st\n"),
    ],
)
def test_what_is_allowed_passes(name: str, text: str, tmp_path: Path) -> None:
    plant(tmp_path, name, text)
    assert [problem for wall, *_ in WALLS.values() for problem in wall(tmp_path)] == []


def test_every_way_to_the_profiler_and_to_import_is_seen(tmp_path: Path) -> None:
    reached = "import torch\nx = torch.autograd.profiler.record_function"
    for text in ("import torch.profiler as p", "from torch import profiler", reached):
        assert uses_torch_profiler(plant(tmp_path, "a.py", text), tmp_path)
    late = ("importlib.import_module('eurosat_core.lab')", "import_module('eurosat_core.lab.jobs')")
    for text in ("from .. import lab", "import eurosat_core.lab.jobs", "__import__('eurosat_core.lab')", *late):
        assert "lab" in rooms_imported(plant(tmp_path, "eurosat_core/data/tiles.py", text), tmp_path)
    plant(tmp_path, "eurosat_core/data/tiles.py", "")
    plant(tmp_path, "eurosat_core/speed/sweep.py", "from eurosat_core.profiling import trace\n")
    assert len(imports_that_go_up(tmp_path)) == 1, "profiling and speed stand side by side"


@pytest.mark.parametrize(
    "module",
    ["cli", "tensorboard.logs", "runs.store", "runs.profiles", "models.build", "speed.experiments", "speed.result"],
)
def test_what_starts_light_loads_nothing_heavy(module: str) -> None:
    """The command line, and TensorBoard's process: torch alone takes two to four seconds on a slow processor."""
    code = (
        f"import sys, eurosat_core.{module}; print(*{{'torch', 'pandas', 'altair', 'distributed'}} & {{*sys.modules}})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == ""


def test_the_first_page_does_not_wait_for_torch() -> None:
    """What the server imports until the Start page is drawn; the rest is loaded behind it (`streamlit_app.warm_up`)."""
    files = (ROOT / "streamlit_app.py", ROOT / "pages" / "main.py", ROOT / "pages" / "start.py")
    named = {name for file in files for name in imports(file, ROOT) if name.startswith(("eurosat_core", "pages"))}
    modules = sorted(name for name in named if ROOT.joinpath(*name.split(".")).with_suffix(".py").exists())
    assert "eurosat_core.lab.lab" in modules and "pages.parts.sidebar" in modules
    code = (
        f"import sys, {', '.join(modules)}; print(*{{'torch', 'torchvision', 'pandas', 'altair'}} & {{*sys.modules}})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == ""
