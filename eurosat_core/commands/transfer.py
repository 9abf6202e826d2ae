"""`transfer`: what a pretrained network's features are worth, on the command line, in this process."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from eurosat_core.commands.request import Result, add_settings, done_here, given, how_it_ended
from eurosat_core.errors import ConfigError
from eurosat_core.settings import Settings
from eurosat_core.training.config import SETTINGS, TrainConfig, settings_of
from eurosat_core.training.transfer import TransferPlan, transfer_config

_TAKEN = {"device", "precision", "deterministic", "pretrained", "input_side", *settings_of("tiles"), "sealed_test"}
_LEFT_OUT = tuple(name for name in SETTINGS if name not in _TAKEN)


def register(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command. add: makes a parser of (name, about, command, show)."""
    about = "Compute a pretrained network's features once, and see what can be learned from them with few labels."
    transfer = add("transfer", about, _transfer, _show)
    transfer.add_argument("--model", help="a pretrained one; efficientnet_lite0 by default")
    transfer.add_argument("--labels", help="per class, separated by commas; 1,5,16,50 by default, and always all")
    transfer.add_argument("--draws", type=int, help="how often so many labels are drawn; 5 by default")
    transfer.add_argument("--scratch-draws", type=int, help="for how many of them a network learns from scratch, too")
    transfer.add_argument("--scratch-seconds", type=float, help="for all networks from scratch together, at most")
    transfer.add_argument("--views", type=int, help="average features over so many symmetries of a tile: 1, 2, 4 or 8")
    transfer.add_argument(
        "--stages", action=argparse.BooleanOptionalAction, help="features of earlier stages, too; on by default"
    )
    add_settings(transfer, leave_out=_LEFT_OUT, recipe="fast")


def _transfer(options: argparse.Namespace, settings: Settings) -> Result:
    values = {
        name: value
        for name in ("draws", "scratch_draws", "scratch_seconds", "views", "stages")
        if (value := getattr(options, name)) is not None
    }
    if options.labels is not None:
        try:
            values["labels"] = tuple(int(each) for each in options.labels.split(",") if each.strip())
        except ValueError:
            raise ConfigError("--labels are whole numbers separated by commas, such as 1,5,16.") from None
    if options.recipe not in (None, "fast"):
        raise ConfigError("Features are computed once, as the recipe 'fast' does it. Leave --recipe out.")
    draws = values.get("draws", TransferPlan.draws)
    values.setdefault("scratch_draws", min(TransferPlan.scratch_draws, draws))
    plan = replace(TransferPlan(), **values).checked()
    own = given(options, TrainConfig)
    config = transfer_config(options.model or "efficientnet_lite0", **own)
    from eurosat_core.lab.transfer import Transfer

    return done_here(Transfer(config, plan), options, settings)


def _show(result: dict[str, Any]) -> str:
    lines = [how_it_ended(result)]
    if result["learners"]:
        lines += [
            "",
            f"{'learner':<14}{'labels per class':>17}{'accuracy':>10}{'lowest':>9}{'highest':>9}{'seconds':>9}",
        ]
    for each in result["learners"]:
        shares = "".join(f"{each[name]:>{width}.1%}" for name, width in (("accuracy", 10), ("low", 9), ("high", 9)))
        lines.append(f"{each['learner']:<14}{each['labels'] or 'all':>17}{shares}{each['seconds']:>9.2f}")
    return "\n".join(lines)
