"""Random traces: steps, breakdown and GPU figures against PyTorch's former plug-in.

It is an oracle only for what it reads rightly: events in the schema of its time, whole microseconds. Where it loses
time of a step (its roles do not sum to the step), it is not asked.
"""

import json
import logging
import random

import pytest
from trace_makers import host, kernel, launch, step, text

from eurosat_core.profiling.overview import ROLES, overview_of
from eurosat_core.profiling.trace import read_trace

pytestmark = pytest.mark.filterwarnings("ignore:The copy keyword")  # the plug-in's way with pandas
plugin = pytest.importorskip("torch_tb_profiler.profiler.data")


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
def test_same_figures(first):
    logging.getLogger("torch_tb_profiler").setLevel(logging.CRITICAL)
    asked = 0
    for seed in range(first, first + 20):
        content = random_trace(seed)
        theirs, ours = plugin.RunProfileData.from_json("w", None, json.loads(content)), overview_of(read_trace(content))
        costs = theirs.avg_costs.costs
        if abs(sum(costs[:-1]) - costs[-1]) > 1e-3:
            continue
        asked += 1
        assert [each.step for each in ours.steps] == [int(name) for name in theirs.steps_names], seed
        assert [ours.mean_step_us[role] for role in (*ROLES, "Total")] == pytest.approx(costs, abs=1e-6), seed
        metrics = theirs.gpu_metrics_parser
        assert {each.index for each in ours.devices} == metrics.gpu_ids
        for each in ours.devices:
            occupancy = metrics.avg_occupancy_per_device[each.index]
            assert each.utilization == pytest.approx(metrics.gpu_utilization[each.index]), seed
            assert each.sm_efficiency == pytest.approx(metrics.avg_approximated_sm_efficiency_per_device[each.index]), (
                seed
            )
            assert each.achieved_occupancy == (None if occupancy is None else pytest.approx(occupancy / 100)), seed
    assert asked >= 15
