"""Names with quotes that the recorder did not escape: repaired where their end is plain, else told what to do."""

import gzip
import json
import time

import pytest
from trace_makers import host, step, text

from eurosat_core.errors import TraceError
from eurosat_core.profiling import stream
from eurosat_core.profiling.plugin_copy import plugin_copy
from eurosat_core.profiling.trace import read_trace

# As PyTorch writes them: a function's name may be the line of code that made it.
NAMES = [
    'lib = torch.library.Library("my_test", "IMPL")(1): <module>',
    '"""What it does."""(3): f',
    '""',
    'print("a", "b": 1)(2): g',
    'a.py(7): f"{x}"',
    'say("}; {")(1): f',
    'say("} , x")(1): f',
    'def f():\n    return g("x")\n(1): <module>',
    'half a "quote(1): f',
    'said "already \\"escaped\\"" (1): f',
    '{"device": "cpu", "dtype": "float32"}(12): run',
    '"""Find, "quote" and }, {"a": [1]}, { end."""\n(1): <module>',
    'print("a", "b',
    r'C:\Users\me\"new"\torch.py(3): f',
]


def written(names, **more):
    """Events as Kineto writes them, with these names as they are."""
    events = [step(1, 0, 1000)]
    events += [host(f"@{number}@", 10 + number, 0.5, "python_function") for number in range(len(names))]
    content = text([*events, host("aten::mm", 900, 50)], **more).decode()
    for number, name in enumerate(names):
        content = content.replace(f"@{number}@", name)
    return content.encode()


@pytest.mark.parametrize("name", NAMES)
def test_quotes_in_names_are_repaired(name):
    trace = read_trace(written([name]))
    assert name.replace('\\"', '"') in trace.names
    assert len(trace) == 3
    assert any("quotes" in each for each in trace.notes)


@pytest.mark.parametrize(
    "event",
    [
        host("aten::to", 990, 5, **{"Call stack": 'f("a", "b")(3): <module>;torch/nn.py(1): g', "Input Dims": [[1]]}),
        {"ph": "M", "name": "process_name", "pid": 10, "args": {"name": 'python -c "run()"'}},
    ],
    ids=["a call stack", "a process named by its command"],
)
def test_quotes_elsewhere_are_repaired(event):
    trace = read_trace(text([event, step(1, 0, 1000), host("aten::mm", 0, 500)]).replace(b'\\"', b'"'))
    assert {"ProfilerStep#1", "aten::mm"} <= set(trace.names)
    assert any("quotes" in each for each in trace.notes)


def test_many_of_them_in_any_pieces(monkeypatch):
    content = written(NAMES * 20)
    for size in (50, 999, 1 << 20):
        monkeypatch.setattr(stream, "PIECE", size)
        trace = read_trace(content)
        assert len(trace) == 20 * len(NAMES) + 2
        assert set(trace.names) >= {each.replace('\\"', '"') for each in NAMES}


def test_names_that_are_well_written_stay_as_they_are():
    names = ['a "quoted" name', '", "pid": 7, "x": "', "}, {", '"name": "x"y"', "back\\slash\\"]
    events = [host(each, number, 0.5, "python_function") for number, each in enumerate(names)]
    trace = read_trace(text(events))
    assert trace.names == names
    assert trace.notes == ()


@pytest.mark.parametrize(
    "name",
    [
        'f({"pid": 1, "tid": "x"})(1): f',
        'f("a", "pid": 2)(1): f',
        'x", "name": y", "cat": 3, "pid',
        'json = \'{"name": "x"y"}\'(1): f',
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_with_advice(name):
    with pytest.raises(TraceError, match="with_stack"):
        read_trace(written([name]))


@pytest.mark.hostile
@pytest.mark.parametrize(
    "content",
    [
        b'{"traceEvents": [{"name": "' + b'x"y' * 1_000_000,
        b'{"traceEvents": [' + b'{"name": "x"y" ' * 200_000,
        b'{"traceEvents": [' + b'{"ph": "X", "name": "x"y", "pid": 1},' * 100_000,
        b'{"traceEvents": [' + b'{"name": "' * 200_000,
    ],
    ids=["one name", "names without end", "whole events", "keys alone"],
)
def test_hostile_ones_end_soon(content):
    began = time.perf_counter()
    with pytest.raises(TraceError):
        read_trace(content)
    assert time.perf_counter() - began < 15


def test_the_copy_for_the_plugin_is_repaired_as_well():
    copy = json.loads(gzip.decompress(b"".join(plugin_copy(written(NAMES)))))
    assert {each["name"] for each in copy["traceEvents"]} >= {each.replace('\\"', '"') for each in NAMES}
