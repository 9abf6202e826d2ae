"""Which events of a trace lie where they can have happened: recorders write times of 0, and clocks that differ."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eurosat_core.profiling.columns import Floats, Ints

__all__ = ["Plausible", "plausible_times"]

Mask = npt.NDArray[np.bool_]

# Microseconds. A device works on when the host is done, and its clock may be a little off: both are less than this.
_FAR = 1e6
_LONGEST = 3600e6
# Of device events alone those are strange that stand apart from the others and are so few of them.
_FEW = 0.1


@dataclass(frozen=True)
class Plausible:
    """Which events are kept, and from when to when (µs) whatever belongs to them can be."""

    kept: Mask
    low: float
    high: float


def plausible_times(time: Floats, duration: Floats, on_device: Mask) -> Plausible:
    """Leave out events at time 0 when all others are far from it, and device events far from all of the host's.

    time, duration: µs, usable numbers. Never leaves out everything. What a device does right behind its own earlier
    work is near, however long that took.
    """
    real = time > 0
    kept = duration <= max(_LONGEST, 10 * _span(time[real & ~on_device] if (real & ~on_device).any() else time[real]))
    if not kept.any():
        kept[:] = True
    host = kept & ~on_device
    reference = host if host.any() else kept.copy()
    later = time[reference & (time > 0)]
    if len(later) and later.min() > max(_span(later), _FAR):
        kept &= (time > 0) | (time + duration >= later.min())
        reference &= kept
    if not host.any():
        reference = _together(time, reference)
    low, high = float(time[reference].min()), float((time + duration)[reference].max())
    far = max(_span(time[reference]), _FAR)
    kept &= ~on_device | (time >= low - far)
    device = _in_order(time, kept & on_device)
    reach = np.maximum.accumulate(np.concatenate([[high], (time + duration)[device]]))[:-1]
    apart = np.flatnonzero(time[device] > reach + far)
    if len(apart):
        kept[device[apart[0] :]] = False
    last = float((time + duration)[kept].max())
    return Plausible(kept, low - far, max(high, last) + far)


def _span(time: Floats) -> float:
    return float(time.max() - time.min()) if len(time) else 0.0


def _in_order(time: Floats, chosen: Mask) -> Ints:
    """The rows of the chosen events, in order of time."""
    rows = np.flatnonzero(chosen)
    return rows[np.argsort(time[rows], kind="stable")]


def _together(time: Floats, chosen: Mask) -> Mask:
    """Of the chosen events those that are not apart from nearly all of them."""
    rows = _in_order(time, chosen)
    groups = np.cumsum(np.concatenate([[0], np.diff(time[rows]) > 10 * _FAR]))
    sizes = np.bincount(groups)
    found = np.zeros(len(time), np.bool_)
    found[rows[(sizes >= _FEW * len(rows))[groups]]] = True
    return found if found.any() else chosen
