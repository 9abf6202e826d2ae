"""What a network costs too much of, told at the layer that costs most, with the arithmetic and a smaller layer."""

from eurosat_core.models.layer_costs import BYTES_PER_NUMBER, Cost, shape_text
from eurosat_core.models.layer_kinds import OUT, SAME, Value
from eurosat_core.models.layers import Layer, new_layer
from eurosat_core.models.repairs import Problem, inserted, replaced, without
from eurosat_core.wording import bytes_text

__all__ = ["too_many_macs", "too_many_params", "too_much_memory"]

Layers = tuple[Layer, ...]
_LARGE_ROW = 65_536  # inputs of a linear layer from which pooling before it helps more than fewer outputs


def too_many_params(layers: Layers, row: int, costs: list[Cost], total: int, most: int) -> Problem:
    """Told at the layer with most parameters."""
    sentence = (
        f"Parameters of this layer: {costs[row].arithmetic}. The whole network has {total:,}; at most {most:,} are "
        "allowed here."
    )
    return _smaller(layers, row, costs, sentence, (most - (total - costs[row].params)) / costs[row].params)


def too_many_macs(layers: Layers, row: int, costs: list[Cost], total: int, most: int) -> Problem:
    """Told at the layer that multiplies most."""
    cost = costs[row]
    sentence = (
        f"This layer multiplies {cost.macs / 1e6:,.0f} million times for one tile, to give {shape_text(cost.shape)} "
        f"numbers. The whole network does so {total / 1e6:,.0f} million times; at most {most / 1e6:,.0f} million are "
        "allowed here, else one epoch takes many minutes."
    )
    return _smaller(layers, row, costs, sentence, (most - (total - cost.macs)) / cost.macs)


def too_much_memory(layers: Layers, row: int, costs: list[Cost], total: int, most: int, batch: int) -> Problem:
    """Told at the layer that keeps most; what is made smaller is the layer that gave it so many channels."""
    cost = costs[row]
    needed = 2 * total * BYTES_PER_NUMBER * batch
    sentence = (
        f"This layer keeps {cost.kept:,} numbers for one tile. All layers keep {total:,}: × {BYTES_PER_NUMBER} bytes "
        f"× 2 (forward and backward) × {batch} tiles in a batch = {bytes_text(needed)}; at most {bytes_text(most)} are "
        "allowed here."
    )
    source = max(at for at in range(row + 1) if layers[at].has("filters"))
    return _smaller(layers, source, costs, sentence, most / needed)


def _smaller(layers: Layers, row: int, costs: list[Cost], sentence: str, share: float) -> Problem:
    """Make a layer smaller, to `share` of what it costs if that is possible: a smaller filter, fewer outputs."""
    layer = layers[row]
    share = min(share, 0.5) if share > 0.1 else 0.5
    if layer.kind == "linear" and (
        layer.value("units") == OUT or costs[row].params > _LARGE_ROW * layer.whole("units")
    ):
        flatten = next(at for at, each in enumerate(layers) if each.kind == "flatten")
        pool = new_layer("maxpool")
        return Problem(sentence, "Put max pooling before flatten.", inserted(layers, flatten, pool))
    if layer.kind == "conv" and layer.whole("size") > 3:
        smaller = layer.changed(size=3, pad=_smaller_padding(layer))
        return Problem(sentence, "Make its filters 3 × 3.", replaced(layers, row, smaller))
    name = "units" if layer.kind == "linear" else "filters"
    fewer = _tidy(int(layer.whole(name) * share))
    if fewer >= layer.whole(name):
        return Problem(sentence, "Remove it.", without(layers, row))
    what = "outputs" if name == "units" else "filters"
    return Problem(sentence, f"Give it {fewer:,} {what}.", replaced(layers, row, layer.changed(**{name: fewer})))


def _smaller_padding(layer: Layer) -> Value:
    pad = layer.value("pad")
    return pad if pad == SAME else min(int(pad), 1)


def _tidy(number: int) -> int:
    """The next smaller number that people choose: 1, 2, 4, 8, …"""
    return 1 << (max(number, 1).bit_length() - 1)
