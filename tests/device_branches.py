"""Which code of `eurosat_core` only a GPU reaches, and which of it no test executes where there is none.

    python tests/device_branches.py [TESTS AND OPTIONS OF PYTEST]

Counted are statements, and values of conditional expressions and comprehensions, that are chosen because a device is
a GPU's (or one kind of GPU): in an `if`, `elif`, `else` or `case`, or behind an early return for the CPU; further
functions that nothing but such code names. What asks for the device, `asked` says. Before each of these places a mark
is put when its module is loaded, so a line that chooses between two values counts only where the GPU's is taken.

Exit status 1 where a test fails, or a place is left that `LEFT` gives no reason for.
"""

import ast
import builtins
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import Any, TypeGuard

import pytest

ROOT = Path(__file__).parent.parent
WHOLE = ("lab/gpu_check.py", "lab/gpu_state.py")
"""Modules that are about GPUs alone."""
LEFT: dict[tuple[str, str], str] = {}
"""Why no test executes a place: by file, and the first line of its source."""

_GPUS = ("cuda", "mps", "xpu", "gpu")
_TRUE_OF_GPUS = {"is_cuda", "is_gpu", "has_tf32", "hip", "unseen_device"}
_TELL_GPUS_APART = {"multiplies_tf32", "multiplies_bfloat16"}

Answer = tuple[int, int]
"""What a condition says of the device if it holds, and if it does not: 1, it is a GPU's; -1, the CPU's; 0, nothing."""
Known = dict[str, Answer]
"""Names that hold the answer to such a question."""
Place = ast.stmt | ast.expr


def asked(test: ast.expr, known: Known) -> Answer:
    """What a condition says of the device."""
    match test:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return asked(operand, known)[::-1]
        case ast.BoolOp(op=op, values=values):
            return _together([asked(each, known) for each in values], int(isinstance(op, ast.Or)))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            answer = _compared(left, op, right, known)
            return answer if isinstance(op, ast.Is | ast.Eq | ast.In) else answer[::-1]
        case ast.Call(func=ast.Attribute(attr="startswith"), args=[first]):
            return _named_kind(first)
        case ast.Call(func=func):
            if _name(func).split(".")[-1] in _TELL_GPUS_APART:
                return 1, 1
            return (1, -1) if _name(func).startswith(("torch.cuda.is_", "torch.accelerator.is_")) else (0, 0)
        case ast.NamedExpr(value=value):
            return asked(value, known)
        case ast.IfExp(test=inner, body=body, orelse=orelse):  # something on a GPU, else nothing
            true, false = asked(inner, known)
            return (true if _is_nothing(orelse) else false if _is_nothing(body) else 0), 0
        case ast.Name() | ast.Attribute():
            name = _name(test)
            return known.get(name, (int(name.split(".")[-1] in _TRUE_OF_GPUS), 0))
    return 0, 0


def _together(answers: list[Answer], one: int) -> Answer:
    """Of conditions joined by `and` (one: 0, for all of them hold if it holds) or by `or` (1)."""
    same = {each[1 - one] for each in answers}
    said = [same.pop() if len(same) == 1 else 0] * 2
    said[one] = next((each[one] for each in answers if each[one]), 0)
    return said[0], said[1]


def _compared(left: ast.expr, op: ast.cmpop, right: ast.expr, known: Known) -> Answer:
    """What it says of the device that both are the same, or the one is in the other."""
    match op, right:
        case ast.Is() | ast.IsNot(), ast.Constant(value=None):
            return asked(left, known)[::-1]
        case ast.Eq() | ast.NotEq(), _:
            return _named_kind(right if _texts(right) else left)
        case ast.In() | ast.NotIn(), _:
            return _named_kind(right)
    return 0, 0


def _named_kind(node: ast.expr) -> Answer:
    """Whether these are names of GPUs, or of the CPU."""
    texts = _texts(node)
    if "cpu" in texts and all(each in ("cpu", "") for each in texts):
        return -1, 1
    return (1, -1) if texts and all(each.startswith(_GPUS) for each in texts) else (0, 0)


def _texts(node: ast.expr) -> list[str]:
    elements = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    values = [each.value for each in elements if isinstance(each, ast.Constant)]
    return [each for each in values if isinstance(each, str)] if len(values) == len(elements) else []


def _is_nothing(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and not node.value


def _name(node: ast.expr) -> str:
    """`self._device.type` of such an expression; empty of one that is no name."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            return f"{_name(value)}.{attr}"
    return ""


@dataclass
class Finder:
    """The places of one module. functions: keys of those that nothing but GPU code names."""

    path: str
    functions: set[str]
    places: list[Place] = field(default_factory=list)

    def look(self, tree: ast.Module) -> list[Place]:
        known: Known = {}
        for each in ast.walk(tree):  # what an object keeps is asked for in other methods
            if isinstance(each, ast.Assign) and _name(each.targets[0]).startswith("self."):
                _learn(each, known)
        self._block(tree.body, known, there=self.path.endswith(WHOLE))
        return self.places

    def _block(self, block: Sequence[ast.stmt], known: Known, *, there: bool) -> None:
        """there: only a GPU reaches it."""
        for each in block:
            is_text = isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant)
            if there and not (is_text or isinstance(each, ast.Global | ast.Nonlocal)):
                self.places.append(each)
            self._values(each, known)
            match each:
                case ast.If(test=test, body=body, orelse=orelse):
                    true, false = asked(test, known)
                    self._block(body, known, there=there or true == 1)
                    self._block(orelse, known, there=there or false == 1)
                    leaves = isinstance(body[-1], ast.Return | ast.Raise | ast.Continue | ast.Break)
                    there = there or (false == 1 and leaves and not orelse)
                case ast.Match(cases=cases):
                    for case in cases:
                        values = [part.value for part in ast.walk(case.pattern) if isinstance(part, ast.MatchValue)]
                        are_gpus = bool(values) and all(_named_kind(value)[0] == 1 for value in values)
                        self._block(case.body, known, there=there or are_gpus)
                case ast.FunctionDef(name=name, body=body):
                    self._block(body, dict(known), there=there or _key(self.path, name) in self.functions)
                case _:
                    for inner in ("body", "orelse", "finalbody"):
                        self._block(getattr(each, inner, []), known, there=there)
                    for handler in getattr(each, "handlers", []):
                        self._block(handler.body, known, there=there)
            if isinstance(each, ast.Assign):
                _learn(each, known)

    def _values(self, statement: ast.stmt, known: Known) -> None:
        each: Any
        for each in _expressions(statement):
            if isinstance(each, ast.IfExp):
                true, false = asked(each.test, known)
                self.places += ([each.body] if true == 1 else []) + ([each.orelse] if false == 1 else [])
            tests = [test for part in getattr(each, "generators", []) for test in part.ifs]
            if any(asked(test, known)[0] == 1 for test in tests):
                self.places.append(each.value if isinstance(each, ast.DictComp) else each.elt)


def _learn(node: ast.Assign, known: Known) -> None:
    if any(answer := asked(node.value, known)):
        known[_name(node.targets[0])] = answer


def _expressions(statement: ast.stmt) -> Iterator[ast.AST]:
    """All of a statement, without those of statements in it."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        inner = [each for each in ast.iter_child_nodes(waiting.pop()) if not isinstance(each, ast.stmt)]
        yield from inner
        waiting += inner


def places_of_gpus(trees: dict[str, ast.Module]) -> tuple[dict[str, list[Place]], set[str]]:
    """The places of each file; and keys of functions that are named in code that only GPUs reach, and nowhere else."""
    walked = {path: list(ast.walk(tree)) for path, tree in trees.items()}
    keys = {path: [_key(path, each.name) for each in nodes if _is_function(each)] for path, nodes in walked.items()}
    defined = Counter(key for each in keys.values() for key in each)
    everywhere = _added(_names(path, nodes) for path, nodes in walked.items())
    places: dict[str, list[Place]] = {}
    named: dict[str, Counter[str]] = {}
    found: set[str] = set()
    waiting = set(trees)
    while waiting:
        for path in waiting:
            places[path] = Finder(path, found).look(trees[path])
            inner = {id(inner): inner for each in places[path] for inner in ast.walk(each)}
            named[path] = _names(path, inner.values())
        there = _added(named.values())
        more = {key for key, count in there.items() if defined[key] == 1 and count == everywhere[key]} - found
        found |= more
        waiting = {path for path in trees if not more.isdisjoint(keys[path])}  # in others nothing changes
    return places, found


def _added(counters: Iterable[Counter[str]]) -> Counter[str]:
    total = Counter[str]()
    for each in counters:
        total.update(each)
    return total


def _key(path: str, name: str) -> str:
    """A function's; one whose name begins with an underscore is looked for in its own file only."""
    return f"{path}:{name}" if name.startswith("_") else name


def _is_function(node: ast.AST) -> TypeGuard[ast.FunctionDef]:
    return isinstance(node, ast.FunctionDef) and not node.name.startswith("__")


def _names(path: str, nodes: Iterable[ast.AST]) -> Counter[str]:
    """How often each name stands there; as a text, too, for some functions are found by their names."""
    found = Counter[str]()
    for each in nodes:
        match each:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Constant(value=str(name)):
                found[_key(path, name)] += 1
    return found


class _Marks(ast.NodeTransformer):
    """Puts a mark before each place of a module."""

    def __init__(self, path: str, places: Sequence[Place]) -> None:
        self._path = path
        self._numbers = {id(each): number for number, each in enumerate(places)}

    def visit(self, node: ast.AST) -> Any:
        number = self._numbers.get(id(node))
        made = self.generic_visit(node)
        if number is None:
            return made
        call = ast.Call(ast.Name("_reach_place", ast.Load()), [ast.Constant(self._path), ast.Constant(number)], [])
        if isinstance(node, ast.stmt):
            return [ast.copy_location(ast.Expr(call), node), made]
        value = ast.Subscript(ast.Tuple([call, made], ast.Load()), ast.Constant(1), ast.Load())
        return ast.copy_location(value, node)


def marked(path: str, source: str | bytes, functions: set[str]) -> ast.Module:
    """A module that calls `_reach_place` with the path and the number of each place that it comes to."""
    tree = ast.parse(source)
    _Marks(path, Finder(path, functions).look(tree)).visit(tree)
    return ast.fix_missing_locations(tree)


class _Loader(SourceFileLoader):
    functions: set[str] = set()  # noqa: RUF012

    def get_code(self, _fullname: str) -> Any:  # none that was compiled before
        path = str(Path(self.path).relative_to(ROOT))
        return compile(marked(path, self.get_data(self.path), self.functions), self.path, "exec", dont_inherit=True)


class _Modules(PathFinder):
    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if not fullname.startswith("eurosat_core."):
            return None
        spec = super().find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def all_places() -> tuple[dict[tuple[str, int], tuple[int, str]], set[str]]:
    """Line and source of every place, by file and number; and the functions that are GPUs' alone."""
    files = [each for folder in ("eurosat_core", "pages") for each in sorted((ROOT / folder).rglob("*.py"))]
    texts = {str(each.relative_to(ROOT)): each.read_text(encoding="utf-8") for each in files}
    trees = {path: ast.parse(text) for path, text in texts.items()}
    places, functions = places_of_gpus(trees)
    found = {}
    for path, text in texts.items():
        if path.startswith("eurosat_core"):
            lines = text.splitlines()
            for number, each in enumerate(places[path]):
                found[path, number] = (each.lineno, lines[each.lineno - 1].strip())
    return found, functions


def main(arguments: Sequence[str]) -> int:
    places, _Loader.functions = all_places()
    reached: set[tuple[str, int]] = set()
    builtins._reach_place = lambda *place: reached.add(place)  # type: ignore[attr-defined]
    sys.meta_path.insert(0, _Modules)  # type: ignore[arg-type]
    failed = pytest.main(["-n", "0", *arguments])
    left = {place: found for place, found in places.items() if place not in reached}
    unexplained = 0
    for (path, _), (line, source) in left.items():
        reason = LEFT.get((path, source), "")
        unexplained += not reason
        print(f"{path}:{line}: {source}{reason and f'  # {reason}'}")
    for name, whole in (("", places), (" outside of the modules for GPUs alone", _elsewhere(places))):
        count = len(whole) - len(left.keys() & whole.keys())
        print(f"{count} of {len(whole)} places that only a GPU reaches{name} were executed: {count / len(whole):.1%}")
    return int(bool(failed or unexplained))


def _elsewhere(places: dict[tuple[str, int], Any]) -> dict[tuple[str, int], Any]:
    return {place: found for place, found in places.items() if not place[0].endswith(WHOLE)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
