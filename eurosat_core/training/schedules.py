"""How the learning rate goes over a training; plain arithmetic, so that pages can tell how far it has come down."""

import math

__all__ = ["SCHEDULES", "rate_share"]

SCHEDULES = ("constant", "cosine", "one_cycle")

_RISING = 0.2  # the share of a one-cycle training's steps in which its learning rate rises


def rate_share(schedule: str, step: float, steps: int) -> float:
    """The share (0…1) of the learning rate asked for, at a step (counted from 0) of so many; 0 at the end.

    `constant`: all of it. `cosine`: Loshchilov & Hutter 2017, without restarts. `one_cycle`: up in a straight line,
    then down (Smith 2018, without its third phase).
    """
    steps = max(steps, 1)
    match schedule:
        case "cosine":
            return (1 + math.cos(math.pi * min(step / steps, 1.0))) / 2
        case "one_cycle":
            rising = max(_RISING * steps, 1.0)
            falling = max(steps - rising, 1.0)
            return max(min((step + 1) / rising, (steps - step) / falling), 0.0)
        case _:
            return 1.0
