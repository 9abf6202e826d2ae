"""Against PyTorch's former plug-in: random traces, and the copies that its own loader is given, say what we say.

What asks that loader is skipped where it is not installed.
"""

import gzip
import json
import logging
import random

import pytest
from trace_makers import host, kernel, launch, memory, step, text

from eurosat_core.errors import TraceError
from eurosat_core.profiling import document
from eurosat_core.profiling.operators import operator_table
from eurosat_core.profiling.overview import overview_of
from eurosat_core.profiling.plugin_copy import plugin_copy
from eurosat_core.profiling.trace import read_trace
from eurosat_core.runs.profiles import recorded_trace

pytestmark = pytest.mark.filterwarnings("ignore:The copy keyword")  # the plug-in's way with pandas
LOADER = "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"


@pytest.fixture(autouse=True)
def quiet():
    logging.getLogger("torch_tb_profiler").setLevel(logging.CRITICAL)
    logging.getLogger("pytorch_profiler").setLevel(logging.CRITICAL)


@pytest.fixture
def plugin():
    return pytest.importorskip("torch_tb_profiler.profiler.data")


@pytest.fixture
def generator():
    return pytest.importorskip("torch_tb_profiler.profiler.run_generator")


@pytest.fixture
def read_by_plugin(plugin):
    """Function: a trace as the plug-in's own loader reads it."""
    return lambda trace: plugin.RunProfileData.from_json("w", None, trace)


def means(overview):
    return list(overview.mean_step_us.values())


def assert_agreement(theirs, ours, slack_us):
    """The same steps, means and utilization."""
    assert theirs.steps_names == [str(each.step) for each in ours.steps]
    assert theirs.avg_costs.costs == pytest.approx(means(ours), abs=slack_us)
    for each in ours.devices:
        assert each.utilization == pytest.approx(theirs.gpu_metrics_parser.gpu_utilization[each.index], abs=1e-4)


def copied(source):
    return json.loads(gzip.decompress(b"".join(plugin_copy(source))))


def todays_trace():
    """Two steps on a GPU as today's profiler writes them: 100 µs each, and every part of it on round times."""
    events = []
    for number, at in ((3, 1000), (4, 1100)):
        first = 10 * number
        events += [
            step(number, at, 100),
            step(number, at + 40, 55, tid=7, cat="gpu_user_annotation"),
            host(LOADER, at, 20, "user_annotation", external=first),
            host("forward", at + 25, 30, "user_annotation", external=first + 1),
            host("aten::mm", at + 30, 20, external=first + 2),
            launch(first, at + 32, 5, external=first + 2),
            kernel(first, at + 40, 25, external=first + 2, blocks=2.0, occupancy=50),
            launch(first + 1, at + 70, 4, name="cuLaunchKernel", cat="cuda_driver"),
            kernel(first + 1, at + 80, 15, blocks=2.0, occupancy=50),
            {"ph": "s", "cat": "fwdbwd", "name": "fwdbwd", "id": number, "pid": 10, "tid": 1, "ts": at + 30},
            {"ph": "f", "cat": "fwdbwd", "name": "fwdbwd", "id": number, "pid": 10, "tid": 2, "ts": at + 60, "bp": "e"},
            memory(at + 31, 512, 1024, kind=1, index=0),
        ]
    return text(events, deviceProperties=[{"id": 0, "name": "GPU", "totalGlobalMem": 1 << 34}], traceName="x")


def test_todays_trace_is_misread_without_and_read_rightly_with_it(plugin, generator, read_by_plugin):
    content = todays_trace()
    misread, right = read_by_plugin(json.loads(content)), read_by_plugin(copied(content))
    roles = plugin.ProfileRole
    assert misread.avg_costs.costs[roles.DataLoader] == misread.avg_costs.costs[roles.Runtime] == 0
    assert len(misread.steps_names) == 4, "the GPU's echo of a step counts as a step"
    # 25 and 15 µs of kernels; 5 and 4 of launches, none under a kernel; 20 of loading; of `forward`, 30 µs long, 15
    # are under the kernel and 5 are the launch.
    assert right.avg_costs.costs == pytest.approx([40, 0, 0, 0, 9, 20, 10, 21, 100])
    assert_agreement(right, overview_of(read_trace(content)), 1e-3)
    of_mm = next(each for each in right.op_list_groupby_name if each.name == "aten::mm")
    assert (of_mm.calls, of_mm.self_device_duration) == (2, 50)
    assert "forward" in {each.name for each in right.op_list_groupby_name}
    assert right.forward_backward_events == {1030: 1060, 1130: 1160}
    profile = generator.RunGenerator("w", None, right).generate_run_profile()
    # It writes behind the last bracket.
    drawn = json.loads(gzip.decompress(profile.append_gpu_metrics(gzip.decompress(b"".join(plugin_copy(content))))))
    assert {"GPU 0 Utilization"} <= {each["name"] for each in drawn["traceEvents"]}


def test_what_the_plugin_stumbles_over_is_left_out_or_repaired(request):
    odd = [
        host("aten::mm", 1, 2),
        {"ph": "X", "name": "no category", "ts": 1, "dur": 1, "pid": 1, "tid": 1},
        {**host("aten::add", 3, 4), "tid": "a thread"},
        {"ph": "M", "pid": 1, "args": {"name": "python"}},
        "no event",
        {"ph": "X", "cat": "overhead", "name": "Activity Buffer Request", "ts": 1, "dur": 1, "pid": -1, "tid": 0},
        {"ph": "X", "cat": "cpu_op", "name": None, "ts": 1, "dur": 1, "pid": 1, "tid": 1},
    ]
    kept = copied(text(odd))
    assert [each["name"] for each in kept["traceEvents"]] == ["aten::mm", "", "Activity Buffer Request"]
    read_by_plugin = request.getfixturevalue("read_by_plugin")  # where it is installed
    assert [each.name for each in read_by_plugin(kept).op_list_groupby_name] == ["aten::mm"]


def test_a_trace_in_the_schema_of_2021_stays_as_it_is():
    events = [
        step(5, 0, 10, cat="Operator"),
        host("aten::mm", 1, 5, cat="Operator", external=2),
        launch(1, 2, cat="Runtime", external=2),
        kernel(1, 4, 3, cat="Kernel", external=2),
    ]
    wanted = json.loads(text(events))["traceEvents"]
    wanted[2]["cat"] = "runtime"  # the same to the plug-in
    assert copied(text(events))["traceEvents"] == wanted


def test_piece_by_piece_is_the_same(monkeypatch):
    events = [host("aten::mm" * 20, at, 1, external=at) for at in range(1, 400)]
    whole = copied(text(events))
    monkeypatch.setattr("eurosat_core.profiling.stream.PIECE", 500)
    monkeypatch.setattr(document, "_CUT_REGION", 400)
    assert copied(text(events)) == whole
    assert len(whole["traceEvents"]) == 399


def test_damaged_traces_are_refused():
    for content in (b"", b"nothing", todays_trace()[:-40]):
        with pytest.raises(TraceError):
            b"".join(plugin_copy(content))


def test_the_bundled_profile_has_its_dataloader(plugin, tmp_path):
    path = tmp_path / "cpu.001.pt.trace.json.gz"
    path.write_bytes(b"".join(plugin_copy(recorded_trace())))
    theirs = plugin.RunProfileData.parse("cpu", "1", str(path), str(tmp_path))
    assert_agreement(theirs, overview_of(read_trace(recorded_trace())), 0.5)
    assert theirs.avg_costs.costs[plugin.ProfileRole.DataLoader] > 1000


@pytest.mark.parametrize("number", ["01", "03", "07"])
def test_real_traces(number, read_by_plugin, real_trace):
    path = real_trace(number)
    trace = read_trace(path)
    theirs, ours = read_by_plugin(copied(path)), overview_of(trace)
    total = ours.mean_step_us["Total"]
    assert_agreement(theirs, ours, total / 1e3)
    own = {each.name: each.device_self_us for each in operator_table(trace)}
    for each in theirs.op_list_groupby_name:
        if each.self_device_duration > total / 1e3 and each.name in own:
            assert own[each.name] == pytest.approx(each.self_device_duration, rel=1e-3), each.name


def test_impossible_times_are_left_out_and_other_makers_work_is_in(request):
    """A step of 100 µs with device work of another maker, at time 0, of tomorrow, and of no time at all."""
    now = 1.7e15
    events = [step(1, now, 100), host("aten::mm", now, 90), launch(1, now + 5, cat="mtia_runtime")]
    events += [kernel(1, now + 10, 40, cat="mtia_ccp_events"), kernel(2, 0, 70), kernel(3, now + 9e10, 5)]
    events += [launch(3, now + 20), {**kernel(4, now, 5), "ts": "soon"}, {**kernel(5, now, 5), "dur": -1}]
    kept, ours = copied(text(events)), overview_of(read_trace(text(events)))
    assert {each["args"].get("correlation") for each in kept["traceEvents"]} == {None, 1, 3}  # of the third its launch
    assert [each["cat"] for each in kept["traceEvents"]].count("kernel") == 1
    assert ours.mean_step_us["Kernel"] == pytest.approx(40, abs=0.5)
    theirs = request.getfixturevalue("read_by_plugin")(kept)  # where it is installed
    assert means(ours) == pytest.approx(theirs.avg_costs.costs, abs=0.5)


def random_trace(seed):
    """Steps one after the other, operators on threads of their own, launches, device work that runs late."""
    draw = random.Random(seed)
    events, at = [], 1000
    marked = draw.random() < 0.8
    for number in range(draw.randint(1, 5)):
        length = draw.randint(200, 400)
        if marked:
            events.append(step(number + 3, at, length))
        at += length + draw.choice([0, 0, 5, 30])
    correlation, with_gpu = 0, draw.random() < 0.85
    for external in range(1, draw.randint(4, 26)):
        start, length, tid = draw.randint(900, at), draw.randint(1, 60), draw.randint(2, 40)
        name = draw.choice(["aten::mm", "aten::add", "nccl:all_reduce", "enumerate(DataLoader)#_X.__next__"])
        events.append(host(name, start, length, external=external, tid=tid))
        for _ in range(draw.randint(0, 3) if with_gpu else 0):
            correlation += 1
            called = start + draw.randint(0, length)
            if draw.random() < 0.95:
                events.append(launch(correlation, called, draw.randint(1, 6), cat="Runtime", external=external))
            for _ in range(draw.choice([0, 1, 1, 1, 2])):
                figures = {"blocks": draw.choice([0.25, 0.5, 2.0]), "occupancy": draw.randint(0, 100)}
                kept = figures if draw.random() < 0.8 else {}
                cat = draw.choice(["kernel", "kernel", "kernel", "gpu_memcpy", "gpu_memset"])
                begins, device = called + draw.randint(7, 120), draw.choice([0, 0, 1])
                args = {"cat": cat, "device": device, "external": external, **kept}
                events.append(kernel(correlation, begins, draw.randint(1, 90), **args))
    return text(events)


@pytest.mark.parametrize("first", range(0, 160, 20))
def test_same_figures(first, plugin):
    """An oracle only for what it reads rightly: events in the schema of its time, whole microseconds.

    Where it loses time of a step (its roles do not sum to the step), it is not asked.
    """
    asked = 0
    for seed in range(first, first + 20):
        content = random_trace(seed)
        theirs, ours = plugin.RunProfileData.from_json("w", None, json.loads(content)), overview_of(read_trace(content))
        costs = theirs.avg_costs.costs
        if abs(sum(costs[:-1]) - costs[-1]) > 1e-3:
            continue
        asked += 1
        assert_agreement(theirs, ours, 1e-6)
        metrics = theirs.gpu_metrics_parser
        assert {each.index for each in ours.devices} == metrics.gpu_ids
        for each in ours.devices:
            efficiency = metrics.avg_approximated_sm_efficiency_per_device[each.index]
            occupancy = metrics.avg_occupancy_per_device[each.index]
            assert each.sm_efficiency == pytest.approx(efficiency), seed
            assert each.achieved_occupancy == (None if occupancy is None else pytest.approx(occupancy / 100)), seed
    assert asked >= 15
