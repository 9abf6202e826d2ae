"""Whatever file is opened as a trace: its figures, repaired where their end is plain, or a sentence on its fault."""

import gc
import gzip
import io
import json
import time
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trace_makers import assert_refused, host, kernel, launch, memory, step, text

from eurosat_core.commands.profile import in_words
from eurosat_core.errors import TraceError
from eurosat_core.profiling import columns, document, stream
from eurosat_core.profiling.advice import report_of
from eurosat_core.profiling.plugin_copy import plugin_copy
from eurosat_core.profiling.timeline import memory_curve, step_timeline
from eurosat_core.profiling.trace import read_trace

WHOLE = text(
    [
        step(1, 0, 100),
        host("aten::conv2d", 10, 50, external=1),
        launch(5, 20, external=1),
        kernel(5, 30, 60, external=1, blocks=0.5, occupancy=50),
        memory(25, 1024, 4096),
    ],
    traceName="whole",
)
PACKED = gzip.compress(WHOLE)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
NO_JSON = "JSON"

REFUSED = {
    "empty": (b"", "empty"),
    "blank": (b" \n\t ", "empty"),
    "empty gzip": (gzip.compress(b""), "empty"),
    "picture": (PNG, "not a profiler"),
    "page": (b"<!DOCTYPE html><html></html>", "not a profiler"),
    "table": (b"name,ts,dur\naten::mm,1,2\n", "not a profiler"),
    "zip": (b"PK\x03\x04" + bytes(30), "cut short"),
    "text in UTF-16": (WHOLE.decode().encode("utf-16"), "not a profiler"),
    "other JSON": (b'{"train": {"loss": [1, 2]}}', "traceEvents"),
    "events are no list": (b'{"traceEvents": {"ph": "X"}}', "traceEvents"),
    "events further inside": (b'{"old": {"traceEvents": []}}', "traceEvents"),
    "half of other JSON": (b'{"train": {"loss": [1, 2', NO_JSON),
    "braces only": (b"{{{{", NO_JSON),
    "list of numbers": (b"[1, 2, 3]", "no operator"),
    "no events": (text([]), "holds no events"),
    "foreign events": (
        text([{"ph": "X", "cat": "blink", "name": "paint", "ts": 1, "dur": 2}]),
        "no operator",
    ),
    "memory events only": (text([memory(1, 10, 10)]), "no operator"),
    "no times": (text([{"ph": "X", "cat": "cpu_op", "name": "aten::mm"}]), "usable time"),
    "cut in an event": (WHOLE[: len(WHOLE) // 2], "in the middle"),
    "cut between events": (WHOLE[: WHOLE.index(b"}}, {") + 2], "in the middle"),
    "cut behind a comma": (WHOLE[: WHOLE.index(b"}}, {") + 3], "in the middle"),
    "cut behind the list": (WHOLE[: WHOLE.rindex(b"]") + 1], "in the middle"),
    "a letter too many": (WHOLE.replace(b'"ts": 20', b'"ts": 2x0'), "not valid JSON"),
    "a quote too few": (WHOLE.replace(b'"aten::conv2d"', b'"aten::conv2d'), "not valid JSON"),
    "a comma too few": (WHOLE.replace(b"}}, {", b"}} {", 1), "not valid JSON"),
    "two documents": (WHOLE + WHOLE, "not valid JSON"),
    "text behind a list": (b"[" + json.dumps(host("aten::mm", 1, 2)).encode() + b"] bye", "not valid JSON"),
    "gzip cut off": (PACKED[:-20], "gzip .*middle"),
    "gzip header only": (PACKED[:10], "gzip .*middle"),
    "gzip damaged": (PACKED[:60] + bytes(20) + PACKED[80:], "gzip .*damaged"),
    "gzip with a wrong sum": (PACKED[:-6] + bytes(6), "gzip .*damaged"),
    "gzip of a picture": (gzip.compress(PNG), "not a profiler"),
    "deep nesting": (b'{"traceEvents": [' + b"[" * 5000, "JSON|middle"),
}


@pytest.mark.hostile
@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_a_sentence(case):
    assert_refused(*REFUSED[case])


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(TraceError, match="no file"):
        read_trace(tmp_path / "nothing.json")
    with pytest.raises(TraceError, match="folder"):
        read_trace(str(tmp_path))


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("module", "limit", "most", "content", "told"),
    [
        (stream, "MAX_BYTES", 8 * 1024**2, WHOLE[:-2] + b" " * 50 * 1024**2 + b"}", "larger than"),
        (document, "_MAX_PART", 4 * 1024**2, b'{"traceEvents": [{"name": "' + b"a" * 12 * 1024**2, "single event"),
        (columns, "MAX_EVENTS", 4, WHOLE, "4 events"),
    ],
    ids=["a bomb", "an endless event", "too many events"],
)
def test_too_much_is_given_up(module, limit, most, content, told, monkeypatch):
    monkeypatch.setattr(module, limit, most)
    with pytest.raises(TraceError, match=told):
        read_trace(gzip.compress(content))


def test_whole_ones_are_read_from_everything(tmp_path):
    path = tmp_path / "a.pt.trace.json.gz"
    path.write_bytes(PACKED)
    upload = io.BytesIO(PACKED)
    upload.read(5)
    for source in (WHOLE, PACKED, path, str(path), upload):
        assert len(read_trace(source)) == 4
    assert not upload.closed
    assert len(read_trace(b"\xef\xbb\xbf\n" + WHOLE)) == 4
    assert len(read_trace(gzip.compress(WHOLE[:100]) + gzip.compress(WHOLE[100:]) + bytes(9))) == 4
    assert read_trace(WHOLE).notes == ()


def test_any_layout_and_any_size_of_pieces_give_the_same(monkeypatch):
    nested = {"Input Dims": [[1, 2], []], "odd": [{"a": 1}, {"b": "}, {"}], "text": '"},{"'}
    events = [host("aten::mm", number, 0.5, **nested) for number in range(300)]
    for size in (7, 64, 999, 1 << 20):
        monkeypatch.setattr(stream, "PIECE", size)
        for indent, separators in ((None, (",", ":")), (1, (",", ": ")), (None, (" , ", " : "))):
            document_text = json.dumps(
                {"a": {"traceEvents": [1]}, "traceEvents": events, "z": [{}, {}]}, indent=indent, separators=separators
            )
            trace = read_trace(document_text.encode())
            assert (len(trace), trace.names, trace.notes) == (300, ["aten::mm"], ())


NAME = "aten::conv2d"


@pytest.mark.parametrize(
    ("before", "after", "note", "name"),
    [
        (b'"blocks per SM": 0.5', b'"blocks per SM": N/A', "count as missing", NAME),
        (b'"blocks per SM": 0.5', b'"blocks per SM": -nan', "count as missing", NAME),
        (b'"blocks per SM": 0.5', b'"blocks per SM": Infinity', "count as missing", NAME),
        (b"conv2d", b"conv\xe92d", "not UTF-8", "aten::conv\N{REPLACEMENT CHARACTER}2d"),
        (b"conv2d", b"conv\n2d", "control characters", "aten::conv\n2d"),
        (b'"traceName"', b'"t\n"', "control characters", NAME),
        (b"}}], ", b"}},], ", "comma too many", NAME),
        (NAME.encode(), rb"C:\Users\torch\nn.py(12): forward", "Backslashes", r"C:\Users\torch\nn.py(12): forward"),
    ],
)
def test_small_mistakes_are_repaired_and_said(before, after, note, name):
    trace = read_trace(WHOLE.replace(before, after))
    assert len(trace) == 4
    assert note in trace.notes[0]
    assert name in trace.names
    looks_escaped = read_trace(WHOLE.replace(NAME.encode(), rb"C:\new\torch"))  # escapes of JSON
    assert "C:\new\torch" in looks_escaped.names


def test_a_list_alone_is_a_trace_too():
    events = [host("aten::mm", 1, 2), host("aten::add", 4, 2)]
    plain = json.dumps(events).encode()
    assert read_trace(plain).notes == ()
    for unclosed in (plain[:-1], plain[:-1] + b",\n"):
        trace = read_trace(unclosed)
        assert len(trace) == 2
        assert "bracket" in trace.notes[0]
    with pytest.raises(TraceError, match="middle"):
        read_trace(plain[:-5])


def test_strange_values_are_left_out_or_understood():
    events = [
        host("aten::good", 10, 5),
        {**host("aten::texts", 20, 5), "ts": "20.5", "dur": "5"},
        {**host("aten::no_duration", 30, 5), "dur": None},
        {**host("aten::backwards", 40, 5), "dur": -5},
        {**host("aten::word", 50, 5), "ts": "soon"},
        {**host("aten::never", 50, 5), "ts": 1e300},
        {**host("aten::thread", 60, 5), "tid": [1]},
        {**host("aten::args", 70, 5), "args": [1, 2]},
        {**host("aten::ids", 80, 5), "args": {"External id": "7", "correlation": "x"}},
        {**host("aten::large", 90, 5), "args": {"External id": 2**80, "correlation": None}},
        {"ph": "X", "cat": ["cpu_op"], "name": "x", "ts": 1, "dur": 1},
        {**kernel(1, 95, 2, device="x"), "name": 12, "pid": "GPU", "tid": None},
        {"ph": "i", "name": "[memory]", "ts": 12},
        {"ph": "M", "name": "thread_name", "args": None},
        {"ph": "X"},
        {},
        None,
        "event",
        17,
        [],
    ]
    trace = read_trace(text(events, deviceProperties=["x", {"id": 0, "name": ""}], distributedInfo=3))
    kept = {"12", "aten::good", "aten::ids", "aten::large", "aten::texts"}
    assert {trace.names[name] for name in trace.name} == kept and len(trace) == 5
    assert len(trace.notes) == 1 and trace.notes[0].startswith("4 events")
    json.dumps(in_words(report_of(trace)), allow_nan=False)


@given(st.data())
def test_mutilated_files_are_read_or_refused(data):
    """Cut, repeated and overwritten bytes: never another kind of error."""
    content = bytearray(data.draw(st.sampled_from([WHOLE, PACKED])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(content) - 1, 0)))
        length = data.draw(st.integers(0, 30))
        kind = data.draw(st.sampled_from(["cut", "repeat", "overwrite", "end"]))
        if kind == "cut":
            del content[at : at + length]
        elif kind == "repeat":
            content[at:at] = content[at : at + length]
        elif kind == "end":
            del content[at:]
        else:
            content[at : at + length] = data.draw(st.binary(min_size=length, max_size=length))
    try:
        trace = read_trace(bytes(content))
    except TraceError as error:
        assert str(error).endswith(".")
    else:
        report = in_words(report_of(trace))
        json.dumps(report, allow_nan=False)
        memory_curve(trace)
        step_timeline(trace, report["steps"][0]["step"])


def test_a_reader_leaves_the_garbage_collector_as_it_was():
    for content in (WHOLE, WHOLE[:50], zlib.compress(WHOLE)):
        with suppress(TraceError):
            read_trace(content)
        assert gc.isenabled()


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
