"""Operators that stand in each other like nested dolls: rows of the table that are one piece of work."""

from dataclasses import dataclass

import numpy as np

from eurosat_core.profiling.columns import Kind
from eurosat_core.profiling.trace import Trace

__all__ = ["CallChain", "call_chains"]

# What stands inside takes at least this share of what is around it, or the two rows tell different things.
_MOST = 0.5


@dataclass(frozen=True)
class CallChain:
    """Operators from the outermost to the innermost: every call of one holds exactly one call of the next."""

    names: tuple[str, ...]
    calls: int
    total_us: float
    """Of the outermost, with all that is in it."""


def call_chains(trace: Trace) -> tuple[CallChain, ...]:
    """All chains of two operators or more, the one that took longest first."""
    rows = trace.rows(Kind.OPERATOR)
    if not len(rows):
        return ()
    rows = rows[np.argsort(trace.name[rows], kind="stable")]
    parent = trace.parent[rows]
    in_operator = (parent >= 0) & (trace.kind[parent] == Kind.OPERATOR)
    around = np.where(in_operator, trace.name[parent], -1)
    names, first, calls = np.unique(trace.name[rows], return_index=True, return_counts=True)
    outer, other = np.minimum.reduceat(around, first), np.maximum.reduceat(around, first)
    totals = np.add.reduceat(trace.duration_ns[rows], first)
    # How many different calls the calls of each name stand in.
    places = np.unique(trace.name[rows] * (len(trace) + 1) + parent + 1)
    parents = np.bincount(np.searchsorted(names, places // (len(trace) + 1)), minlength=len(names))
    number = {name: at for at, name in enumerate(names.tolist())}
    following: dict[int, int] = {}
    for at, name in enumerate(names.tolist()):
        if outer[at] < 0 or outer[at] != other[at] or outer[at] == name:
            continue
        above = number[int(outer[at])]
        if calls[at] == calls[above] == parents[at] and totals[at] > _MOST * totals[above]:
            following[int(outer[at])] = name
    chains = []
    for start in following.keys() - set(following.values()):
        members = [start]
        while members[-1] in following:
            members.append(following[members[-1]])
        at = number[start]
        chains.append(CallChain(tuple(trace.names[each] for each in members), int(calls[at]), int(totals[at]) / 1000))
    return tuple(sorted(chains, key=lambda each: (-each.total_us, each.names)))
