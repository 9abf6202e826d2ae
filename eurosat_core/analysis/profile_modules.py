"""What can be said about the modules of a profile."""

from eurosat_core.finding import Finding
from eurosat_core.runs.profiles import Reading


def modules_findings(reading: Reading) -> list[Finding]:
    """The module that took most by itself, on the GPU where there was one; and what gradients cost the host."""
    rows = reading.modules
    on_device = any(each.device_self_us for each in rows)
    own = {
        each.name: each.device_self_us if on_device else each.forward_self_us + each.backward_self_us for each in rows
    }
    whole = sum(own.values())
    if not whole:
        return []
    name = max(own, key=lambda each: own[each])
    figures = {"module": name, "ms": own[name] / 1000 / reading.steps, "share": own[name] / whole}
    found = [Finding("modules.longest", figures | {"where": "GPU" if on_device else "host"})]
    forward, backward = (
        sum(each) for each in zip(*((row.forward_self_us, row.backward_self_us) for row in rows), strict=True)
    )
    if backward and forward:
        found.append(Finding("modules.backward", {"ratio": backward / forward}))
    return found
