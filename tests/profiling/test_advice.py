"""Advice: each piece where the figures give reason for it, with these figures, and nowhere else."""

from dataclasses import replace

import pytest
from trace_makers import host, kernel, launch, memory, step, text

from eurosat_core.finding import Finding
from eurosat_core.profiling.advice import advice_for
from eurosat_core.profiling.overview import ROLES, DeviceFigures, Facts, Overview, Parts, StepTimes, overview_of
from eurosat_core.profiling.trace import read_trace
from eurosat_core.training.config import recipe_config
from eurosat_core.words.say import say


def overview(utilization=None, facts=None, peaks=None, **shares):
    """An overview of one step of 10 ms, with these shares (in %) of its time."""
    times = {role: 100.0 * shares.get(role.replace(" ", "_"), 0) for role in ROLES}
    times["Other"] += 10_000 - sum(times.values())
    times["Total"] = 10_000
    devices = () if utilization is None else (DeviceFigures(0, "Card", utilization, None, None),)
    return Overview(
        (StepTimes(1, 0, times),), times, devices, peaks or {}, Parts((), {}, None, False), facts or Facts()
    )


BUSY_GPU = {"utilization": 0.95, "Kernel": 95}
CASES = {
    "data_loading": (
        {"utilization": 0.6, "Kernel": 60, "DataLoader": 33},
        {"taken": 3.3, "step": 10.0, "share": 0.33},
        {"source": "memory"},
    ),
    "low_utilization": (
        {"utilization": 0.3, "Kernel": 30},
        {"idle": [Finding("advice.phrase.gpu", {"index": 0, "utilization": 0.3})]},
        {"batch_size": 256},
    ),
    "copies": (
        {"utilization": 0.6, "Kernel": 60, "Memcpy": 25},
        {"taken": 2.5, "step": 10.0, "share": 0.25, "copies": "0", "bytes": 0},
        {"source": "memory"},
    ),
    "launch_bound": (
        {"utilization": 0.2, "Kernel": 20, "CPU_exec": 60, "facts": Facts(kernels=400, median_kernel_us=3)},
        {"kernels": 400, "median_us": 3, "taken": 6.0, "step": 10.0, "share": 0.6},
        {"batch_size": 256},
    ),
    "cpu_bound": (
        {"utilization": 0.2, "Kernel": 20, "CPU_exec": 60},
        {"taken": 6.0, "step": 10.0, "share": 0.6},
        {"source": "memory"},
    ),
    "cpu_arithmetic": (
        {"CPU_exec": 95, "facts": Facts(host_matrix_share=0.8)},
        {"taken": 9.5, "step": 10.0, "share": 0.95, "matrix": 0.8},
        {"channels_last": None, "precision": "auto"},
    ),
    "memory_full": (
        {**BUSY_GPU, "peaks": {"cuda:0": 30 * 1024**3}, "facts": Facts(memory_device="cuda:0", memory_share=0.94)},
        {"peak": 30 * 1024**3, "device": "cuda:0", "share": 0.94},
        {"precision": "bfloat16"},
    ),
    "tensor_cores": (
        {**BUSY_GPU, "facts": Facts(compute_capability=(8, 0), matrix_share=0.7, tensor_core_share=0.0)},
        {"matrix": 0.7, "tensor_cores": 0.0},
        {"precision": "bfloat16"},
    ),
    "host_waits": (
        {"utilization": 0.7, "Kernel": 70, "facts": Facts(waits=12, wait_us=2500)},
        {"waits": "12", "wait": 2.5, "share": 0.25},
        {},
    ),
}


@pytest.mark.parametrize("key", CASES)
def test_advice_with_its_evidence(key):
    figures, evidence, change = CASES[key]
    found = {each.key: each for each in advice_for(overview(**figures))}
    assert (found[key].figures, found[key].change) == (evidence, change)
    assert say(found[key].evidence).endswith(".") and not say(found[key].title).endswith(".")
    recipe_config("baseline", **change)  # a button can set it


def test_no_evidence_no_advice():
    assert advice_for(overview(**BUSY_GPU)) == []
    assert advice_for(overview(CPU_exec=20)) == []
    assert advice_for(replace(overview(), mean_step_us=dict.fromkeys((*ROLES, "Total"), 0.0))) == []


@pytest.mark.parametrize(
    "figures",
    [
        {"utilization": 0.6, "DataLoader": 9.9},
        {"utilization": 0.5, "CPU_exec": 50},
        {"utilization": 0.6, "Memcpy": 9.9},
        {**BUSY_GPU, "facts": Facts(waits=12, wait_us=2500)},  # a busy GPU is not held up by waiting
        {**BUSY_GPU, "facts": Facts(compute_capability=(6, 1), matrix_share=0.9, tensor_core_share=0.0)},
        {**BUSY_GPU, "facts": Facts(compute_capability=(8, 0), matrix_share=0.9, tensor_core_share=0.5)},
        {**BUSY_GPU, "facts": Facts(memory_device="cuda:0", memory_share=0.5), "peaks": {"cuda:0": 1}},
    ],
)
def test_below_a_threshold_there_is_none(figures):
    assert advice_for(overview(**figures)) == []


def test_what_is_set_already_is_not_advised():
    def changes(settings, **figures):
        return {each.key: each.change for each in advice_for(overview(**figures), settings)}

    slow = {"utilization": 0.2, "Kernel": 20, "DataLoader": 50}
    assert changes({"source": "memory", "batch_size": 256}, **slow) == {
        "data_loading": {},
        "low_utilization": {"batch_size": 512},
    }
    assert changes({"source": "loader", "batch_size": 1024}, **slow)["low_utilization"] == {}
    assert changes({"precision": "bfloat16"}, **CASES["tensor_cores"][0]) == {}
    assert changes({"precision": "bfloat16", "channels_last": True}, **CASES["cpu_arithmetic"][0]) == {}
    assert changes({"batch_size": 128}, **CASES["memory_full"][0]) == {"memory_full": {"batch_size": 64}}


def test_old_tensor_cores_do_not_know_bfloat16():
    facts = Facts(compute_capability=(7, 0), matrix_share=0.7, tensor_core_share=0.0)
    advice = advice_for(overview(**BUSY_GPU, facts=facts))[0]
    assert (advice.key, advice.words, advice.change) == ("tensor_cores", "tensor_cores_float16", {})


def test_facts_of_a_trace_carry_the_advice():
    events = [
        step(1, 0, 1000),
        host("aten::mm", 10, 700, external=1),
        launch(1, 20, external=1),
        *(launch(10 + each, 100 + 50 * each, 40, "cudaStreamSynchronize") for each in range(4)),
        kernel(1, 30, 300, "ampere_sgemm_128x64_tn", external=1),
        memory(40, 95, 95, kind=1, index=0),
    ]
    card = {"id": 0, "name": "Card", "totalGlobalMem": 100, "computeMajor": 8, "computeMinor": 6}
    found = overview_of(read_trace(text(events, deviceProperties=[card])))
    assert found.facts == Facts(
        kernels=1,
        median_kernel_us=300,
        waits=4,
        wait_us=160,
        matrix_share=1.0,
        tensor_core_share=0.0,
        compute_capability=(8, 6),
        memory_device="cuda:0",
        memory_share=0.95,
        host_matrix_share=1.0,
    )
    keys = [each.key for each in advice_for(found)]
    assert keys == ["memory_full", "cpu_bound", "low_utilization", "host_waits", "tensor_cores"]


def test_cards_of_other_makers_are_not_taken_for_nvidias():
    events = [
        step(1, 0, 100),
        host("aten::mm", 0, 50, external=1),
        launch(1, 5, name="hipLaunchKernel", external=1),
        kernel(1, 10, 85, "Cijk_Ailk_Bljk_SB_MT64x64", external=1),
    ]
    card = {"id": 0, "name": "AMD Instinct MI300X", "computeMajor": 9, "computeMinor": 4}
    found = overview_of(read_trace(text(events, deviceProperties=[card])))
    assert found.facts.compute_capability is None
    assert advice_for(found) == []


def test_a_trace_of_the_cpu_gets_no_advice_about_a_gpu():
    events = [step(1, 0, 100), host("enumerate(DataLoader)#x.__next__", 0, 40), host("aten::conv2d", 40, 55)]
    advice = advice_for(overview_of(read_trace(text(events))))
    assert [each.key for each in advice] == ["cpu_arithmetic", "data_loading"]
    assert not any("GPU" in say(text) for each in advice for text in (each.title, each.evidence, each.remedy))
