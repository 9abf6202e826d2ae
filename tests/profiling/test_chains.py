"""Operators that stand in each other one by one are found, and only those."""

from trace_makers import host, step, text

from eurosat_core.profiling.kernels import call_chains
from eurosat_core.profiling.trace import read_trace


def chains(events):
    return [(each.names, each.calls, each.total_us) for each in call_chains(read_trace(text(events)))]


def conv(at: float):
    return [host("conv2d", at, 100), host("convolution", at + 1, 97), host("mkldnn", at + 2, 90)]


def test_a_convolution_is_one_chain_however_often_it_is_called():
    found = chains([step(0, 0, 1000), *conv(10), *conv(200), host("relu", 400, 30)])
    assert found == [(("conv2d", "convolution", "mkldnn"), 2, 200.0)]


def test_the_longest_stands_first():
    shorter = [host("linear", 500, 50), host("addmm", 501, 40)]
    assert [names[0] for names, _, _ in chains([*shorter, *conv(10)])] == ["conv2d", "linear"]


def test_what_is_called_elsewhere_too_is_no_chain():
    assert chains([host("to", 0, 100), host("copy", 1, 90), host("copy", 200, 90)]) == []


def test_two_calls_in_one_are_no_chain():
    twice = [host("outer", 0, 200), host("inner", 1, 90), host("inner", 100, 90), host("outer", 300, 5)]
    assert chains(twice) == []


def test_a_small_part_is_no_chain():
    assert chains([host("outer", 0, 100), host("inner", 1, 20)]) == []


def test_the_same_name_within_itself_is_no_chain():
    assert chains([host("outer", 0, 100), host("outer", 1, 90)]) == []


def test_without_operators_there_is_none():
    assert chains([step(0, 0, 10)]) == []


def test_of_a_real_training(real_trace):
    found = call_chains(read_trace(real_trace("07")))
    assert found[0].names == ("aten::conv2d", "aten::convolution", "aten::_convolution", "aten::mkldnn_convolution")
    assert found[0].calls == 20
