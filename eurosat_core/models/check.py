"""Checking a network layer by layer before it is built: shapes, costs, and the first problem with its repair.

Layers are looked at in order, and what comes after the first problem is left unchecked, for it may vanish with it.
"""

from dataclasses import dataclass

from eurosat_core.errors import ConfigError
from eurosat_core.models import cost_repairs, repairs
from eurosat_core.models.layer_costs import BYTES_PER_NUMBER, Cost, Shape, cost_of, shape_text
from eurosat_core.models.layer_kinds import ACTIVATIONS
from eurosat_core.models.layers import UNREADABLE, Layer, format_layer, format_network, parse_network
from eurosat_core.models.repairs import Problem

__all__ = [
    "EMPTY",
    "MAX_BATCH",
    "MAX_LAYERS",
    "MAX_MACS",
    "MAX_MEMORY",
    "MAX_PARAMS",
    "TILE",
    "LayerReport",
    "Totals",
    "check_network",
    "checked_network",
    "first_problem",
    "repaired",
    "totals",
]

TILE: Shape = (3, 64, 64)
MAX_LAYERS = 40
MAX_PARAMS = 20_000_000
MAX_MACS = 500_000_000  # per tile, forward
MAX_BATCH = 256
MAX_MEMORY = 4 * 1024**3  # bytes of activations and their gradients for a batch of MAX_BATCH tiles
EMPTY = Layer(UNREADABLE, ("",))  # stands in the only report of a network without layers
_REPAIRS = 300


@dataclass(frozen=True)
class LayerReport:
    """One layer as checked. output_shape is None from the first problem on; figures are for one tile.

    activation_bytes: what is kept of it for the backward pass. hint: not wrong, but worth a thought.
    """

    layer: Layer
    output_shape: Shape | None
    params: int = 0
    macs: int = 0
    activation_bytes: int = 0
    problem: Problem | None = None
    hint: str = ""


@dataclass(frozen=True)
class Totals:
    """Sums over a network: parameters, multiply-accumulates and bytes of activations for one tile."""

    params: int
    macs: int
    activation_bytes: int

    def memory_bytes(self, batch: int = 1) -> int:
        """What training holds at least: activations with their gradients for a batch, and weights with theirs."""
        return 2 * (batch * self.activation_bytes + self.params * BYTES_PER_NUMBER)


def check_network(layers: tuple[Layer, ...], classes: int = 10) -> tuple[LayerReport, ...]:
    """A report per layer, in order; at most one of them has a problem. A network without layers has one for `EMPTY`."""
    if not layers:
        return (LayerReport(EMPTY, None, problem=repairs.empty()),)
    at, costs, problem = _walk(layers, classes)
    if problem is None:
        at, problem = _too_much(layers, costs, classes)
    reports = []
    for row, layer in enumerate(layers):
        mine = problem if row == at else None
        if row < len(costs):
            cost = costs[row]
            hint = _hint(layers, row, costs[row - 1].shape if row else TILE)
            memory = cost.kept * BYTES_PER_NUMBER
            reports.append(LayerReport(layer, cost.shape, cost.params, cost.macs, memory, mine, hint))
        else:
            reports.append(LayerReport(layer, None, problem=mine))
    return tuple(reports)


def _walk(layers: tuple[Layer, ...], classes: int) -> tuple[int, list[Cost], Problem | None]:
    """Costs of the layers before the first problem, and where and what that is (-1 and None without one)."""
    costs: list[Cost] = []
    shape = TILE
    for row, layer in enumerate(layers):
        problem = repairs.too_many(layers, row, MAX_LAYERS)
        problem = problem or repairs.unreadable(layers, row) or repairs.out_of_range(layers, row)
        problem = problem or repairs.misfit(layers, row, shape) or repairs.wrong_end(layers, row, shape, classes)
        if problem is not None:
            return row, costs, problem
        costs.append(cost_of(layer, shape, classes))
        shape = costs[-1].shape
    return -1, costs, None


def _too_much(layers: tuple[Layer, ...], costs: list[Cost], classes: int) -> tuple[int, Problem | None]:
    """The layer that costs most, if the network as a whole costs too much."""
    params = [each.params for each in costs]
    if sum(params) > MAX_PARAMS:
        row = params.index(max(params))
        return row, cost_repairs.too_many_params(layers, row, costs, sum(params), MAX_PARAMS)
    macs = [each.macs for each in costs]
    if sum(macs) > MAX_MACS:
        row = macs.index(max(macs))
        return row, cost_repairs.too_many_macs(layers, row, costs, sum(macs), MAX_MACS)
    kept = [each.kept for each in costs]
    per_number = 2 * BYTES_PER_NUMBER * MAX_BATCH
    if sum(kept) * per_number > MAX_MEMORY:
        row = kept.index(max(kept))
        return row, cost_repairs.too_much_memory(layers, row, costs, sum(kept), MAX_MEMORY, MAX_BATCH)
    return -1, None


def _hint(layers: tuple[Layer, ...], row: int, shape: Shape) -> str:
    """What is allowed but does little."""
    layer = layers[row]
    before = layers[row - 1] if row else None
    if layer.kind in ACTIVATIONS and before is not None and before.kind in (*ACTIVATIONS, "residual"):
        return (
            "Two activations in a row: the second one adds little. One after each convolution or linear layer is usual."
        )
    if layer.kind in ("conv", "linear") and _straight_before(layers, row):
        return "No activation since the last weighted sum: two of them in a row could be computed as a single one."
    if layer.kind == "flatten" and len(shape) == 1:
        return f"This is a row of {shape[0]:,} numbers already, so flatten changes nothing."
    if layer.kind == "dropout" and layer.value("share") == 0:
        return "A share of 0 sets nothing to zero."
    if layer.kind == "adaptiveavgpool" and layer.whole("size") > min(shape[1:]):
        return f"The picture is only {shape_text(shape[1:])}: values are repeated, no detail is gained."
    if layer.has("stride") and layer.has("size") and layer.whole("stride") > layer.whole("size"):
        return "The stride is larger than the window, so some values are never looked at."
    return ""


def _straight_before(layers: tuple[Layer, ...], row: int) -> bool:
    """Whether only layers that keep a weighted sum linear stand between this one and the weighted sum before it."""
    for before in reversed(layers[:row]):
        if before.kind in ("conv", "linear"):
            return True
        if before.kind not in ("batchnorm", "dropout", "flatten", "avgpool", "adaptiveavgpool"):
            return False
    return False


def totals(reports: tuple[LayerReport, ...]) -> Totals:
    """Sums over the layers that could be checked."""
    return Totals(
        sum(each.params for each in reports),
        sum(each.macs for each in reports),
        sum(each.activation_bytes for each in reports),
    )


def first_problem(reports: tuple[LayerReport, ...]) -> tuple[int, Problem] | None:
    """The row (from 0) and the problem that stands there; None for a network that can be trained."""
    return next(((row, each.problem) for row, each in enumerate(reports) if each.problem is not None), None)


def checked_network(text: str, classes: int = 10) -> tuple[Layer, ...]:
    """The layers of a text, if they can be trained. Raises `ConfigError` naming the layer that stands against it."""
    layers = parse_network(text)
    found = first_problem(check_network(layers, classes))
    if found is None:
        return layers
    row, problem = found
    where = f"Layer {row + 1} of the network ({format_layer(layers[row])}): " if layers else ""
    raise ConfigError(f"{where}{problem.sentence} {problem.advice}")


def repaired(layers: tuple[Layer, ...], classes: int = 10) -> tuple[Layer, ...]:
    """The network after all repairs, one after the other."""
    for _ in range(_REPAIRS):
        found = first_problem(check_network(layers, classes))
        if found is None:
            return layers
        layers = found[1].repair
    raise AssertionError(f"the repairs of {format_network(layers)} come to no end")
