"""What can be said about a GPU that waits: why it was idle, and how far the host was ahead of it."""

from eurosat_core.finding import Finding
from eurosat_core.profiling.idle import IdleTimes
from eurosat_core.profiling.launches import Queue

_HARDLY = 0.10  # of the time without a kernel: there is little to win
# Of the time in which kernels ran: with hardly any launch waiting behind them.
_MOSTLY, _SELDOM = 0.5, 0.2


def idle_finding(idle: IdleTimes) -> Finding:
    """How long a GPU ran no kernel, and the cause that took most of that."""
    share = idle.idle_us / idle.window_us if idle.window_us else 0.0
    figures = {"gpu": idle.index, "idle": share}
    if share < _HARDLY:
        return Finding("idle.hardly", figures)
    cause = max(idle.cause_us, key=lambda each: idle.cause_us[each])
    figures |= {"ms": idle.cause_us[cause] / 1000 / idle.steps, "share": idle.cause_us[cause] / idle.idle_us}
    return Finding(f"idle.{cause.replace(' ', '_')}", figures)


def queue_finding(queue: Queue) -> Finding:
    """Who was ahead while the GPU worked."""
    means, most = [each.mean for each in queue.steps], max(each.most for each in queue.steps)
    figures = {"gpu": queue.index, "few": queue.few, "mean": sum(means) / len(means), "most": most}
    kind = "launch_bound" if queue.few > _MOSTLY else "device_bound" if queue.few < _SELDOM else "between"
    return Finding(f"idle.queue.{kind}", figures)
