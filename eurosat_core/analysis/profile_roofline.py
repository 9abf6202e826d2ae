"""What can be said about operators on the roof line of their device."""

from eurosat_core.finding import Finding
from eurosat_core.profiling.cards import Roofs
from eurosat_core.profiling.roofline import CPU, Bound, Roofline, RoofRow
from eurosat_core.speed.result import Limits

_ALL = 0.98  # of a roof: there is nothing to win


def measured_roofs(limits: Limits) -> Roofs | None:
    """Of a device whose limits were measured: large matrices, and vectors too large for any cache."""
    if not limits.matmul or not limits.memory_bandwidth:
        return None
    return Roofs(dict(limits.matmul), limits.memory_bandwidth)


def roofline_findings(line: Roofline, utilization: float | None) -> list[Finding]:
    """How near all of a device's work came to its roofs, what took longest, and where most time can be won.

    utilization: of this device over all steps, where it is known.
    """
    placed = [(row, bound) for row in line.rows if (bound := line.bound(row))]
    if line.share is None:
        return []
    figures = {"gpu": line.index, "share": line.share}
    if line.index == CPU:
        overall = Finding("roofline.processor", figures)
    elif utilization is None:
        overall = Finding("roofline.all", figures)
    else:
        overall = Finding("roofline.busy", figures | {"utilization": utilization})
    found = [overall, _slowest(line, placed)]
    row, bound = max(placed, key=lambda each: each[0].time_us * (1 - each[1].share))
    if bound.share < _ALL:
        told = {"operator": row.operator, "shapes": row.shapes or "single numbers", "ms": row.time_us / 1000}
        won = row.time_us * (1 - bound.share) / 1000
        found.append(Finding("roofline.most", told | {"won": won, "share": bound.share}))
    return found


def _slowest(line: Roofline, placed: list[tuple[RoofRow, Bound]]) -> Finding:
    """The operator that took most time on all of its shapes; each counts as at most at its roof."""
    spent: dict[str, float] = {}
    for row, _ in placed:
        spent[row.operator] = spent.get(row.operator, 0.0) + row.time_us
    operator = max(spent, key=lambda each: spent[each])
    own = [(row.time_us, bound) for row, bound in placed if row.operator == operator]
    needed = {
        limit: sum(time * min(bound.share, 1.0) for time, bound in own if bound.limit == limit)
        for limit in ("memory", "compute")
    }
    share = sum(needed.values()) / spent[operator]
    kind = "beyond" if share > _ALL else max(needed, key=lambda each: needed[each])
    part = spent[operator] / line.time_us
    return Finding(
        f"roofline.slowest.{kind}",
        {"operator": operator, "ms": spent[operator] / 1000, "part": part, "share": share},
    )
