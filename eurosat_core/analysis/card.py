"""What the state of a run's NVIDIA card says about the run's times."""

from eurosat_core.finding import Finding
from eurosat_core.runs.record import RunRecord


def card_findings(record: RunRecord) -> list[Finding]:
    """That its clock was held down, and that it is a part of a card whose other parts others may use."""
    found = []
    if isinstance(reasons := record.gpu.get("throttled"), str) and reasons:
        found.append(Finding("card.throttled", {"reasons": reasons}))
    if isinstance(part := record.gpu.get("slice"), str):
        found.append(Finding("card.slice", {"slice": part}))
    return found
