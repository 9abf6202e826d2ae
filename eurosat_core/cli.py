"""The command line: the same core without a browser, for preparing a workshop, for scripts and for checks.

With --json one object on stdout and nothing else there; progress and messages go to stderr. Exit status 0; 1 when
the run itself failed; 2 with one line on stderr for input that cannot be used.
"""

import argparse
import importlib
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from eurosat_core import wording
from eurosat_core.commands import compare, export, profile, record_demo, sweep, train, transfer, verify
from eurosat_core.commands.request import Result, say, say_decoding
from eurosat_core.errors import ConfigError, LabError
from eurosat_core.folders import APP
from eurosat_core.models.catalog import CATALOG
from eurosat_core.profiling.plan import QUIET_PROFILER
from eurosat_core.settings import Settings, load_settings
from eurosat_core.training.config import recipe_config
from eurosat_core.wording import device_name

if TYPE_CHECKING:
    from eurosat_core.data.tiles import Opened


OK, FAILED, UNUSABLE = 0, 1, 2
# Benchmarks, in the order in which they are run: each a module of `bench/` with `run(settings) -> dict`.
BENCHES = (
    "epoch",
    "watch",
    "start",
    "first",
    "busy",
    "precision",
    "tiles",
    "resident",
    "frozen",
    "leaks",
    "accuracy",
    "trace",
)
LONG_BENCHES = ("sweep", "classroom", "chaos")  # run only when they are named: an hour; minutes on all cores
_SIZES = {"classroom": ("participants", "seconds"), "chaos": ("kills", "seconds")}  # what may be said of a benchmark


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as the contract asks."""

    def error(self, message: str) -> NoReturn:
        self.exit(UNUSABLE, f"{self.prog}: {message} (try --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status."""
    parser = _parser()
    options, streamlit = parser.parse_known_args(arguments)
    if options.command is _app:
        options.streamlit = streamlit
    elif streamlit:
        parser.error(f"unrecognized arguments: {' '.join(streamlit)}")
    os.environ.update(QUIET_PROFILER)  # before a command loads torch
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    try:
        settings = load_settings()
        if options.show is not _show_doctor:  # whose list says it
            for each in settings.moved:
                say(each.sentence)
        result, status = options.command(options, settings)
    except LabError as error:
        print(f"eurosat_core: {error}", file=sys.stderr)
        return UNUSABLE
    if options.json:
        print(json.dumps(result))
    else:
        print(options.show(result))
    return int(status)


def _parser() -> argparse.ArgumentParser:
    installed = Path(sys.argv[0]).stem == "eurosat-lab"
    prog = "eurosat-lab" if installed else "python -m eurosat_core"
    parser = _Parser(prog=prog, description="EuroSAT Lab without a browser.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, about: str, command: Any, show: Any) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=about, description=about)
        one.add_argument("--json", action="store_true", help="one JSON object on stdout and nothing else there")
        one.set_defaults(command=command, show=show)
        return one

    about = "Start the app, with any options of `streamlit run`, such as --server.port=8080."
    app = commands.add_parser("app", help=about, description=about)
    app.set_defaults(command=_app, show=None)
    doctor = add("doctor", "What is ready, what is missing, how to get it.", _doctor, _show_doctor)
    doctor.add_argument("--data", type=Path, metavar="DIR", help="look for tiles here")
    doctor.add_argument("--gpu", action="store_true", help="check what the lab asks of a GPU, in a minute at most")
    prepare = add(
        "prepare", "Fetch or import tiles ahead of time, verify and decode them; then doctor.", _prepare, _show_doctor
    )
    prepare.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="PATH",
        help="import from an EuroSAT.zip, a torchvision root, a class-per-folder tree, or the folder with the lists of "
        "the split by place; without it EuroSAT is downloaded",
    )
    prepare.add_argument(
        "--weights",
        metavar="NAME",
        help="fetch these pretrained weights, or import them with --from FILE: vgg11_bn",
    )
    summary = add("summary", "Layers, parameters and costs of a model.", _summary, _show_summary)
    summary.add_argument("model", help=", ".join(CATALOG))
    train.register_train(add)
    profile.register_profile(add)
    profile.register_overview(add)
    train.register_evaluate(add)
    compare.register(add)
    export.register(add)
    verify.register(add)
    sweep.register(add)
    transfer.register(add)
    record_demo.register(add)
    bench = add("bench", "Measure the promises about speed, each as a ratio.", _bench, _show_bench)
    bench.add_argument("names", nargs="*", metavar="NAME", help=", ".join((*BENCHES, *LONG_BENCHES)))
    bench.add_argument("--data", type=Path, metavar="DIR", help="tiles to measure with")
    bench.add_argument("--participants", type=int, metavar="N", help="how many take part in bench classroom")
    bench.add_argument("--kills", type=int, metavar="N", help="how often bench chaos kills the server or a worker")
    bench.add_argument("--seconds", type=float, metavar="S", help="how long bench classroom or bench chaos goes on")
    return parser


# Commands: each imports what it needs, so that a typo is answered without loading torch.


def _app(options: argparse.Namespace, settings: Settings) -> NoReturn:
    """In place of this process, so that a signal reaches the server and nobody else."""
    command = [sys.executable, "-m", "streamlit", "run", str(APP / "streamlit_app.py"), *options.streamlit]
    os.execv(sys.executable, command)


def _doctor(options: argparse.Namespace, settings: Settings) -> Result:
    if getattr(options, "gpu", False):
        return _gpu_checks(settings)
    from eurosat_core.data.tiles import open_usable

    return _checks(settings, open_usable(settings, say_decoding, getattr(options, "data", None)))


def _checks(settings: Settings, tiles: "Opened") -> Result:
    """What `doctor` prints and `prepare` ends with: all of it, whatever became of the tiles."""
    from eurosat_core.devices import needless_gpu_build, probe_devices
    from eurosat_core.lab import doctor
    from eurosat_core.profiling.record import kernels_problem
    from eurosat_core.training.compilers import compile_problem

    devices = probe_devices()
    state = doctor.TilesState(tiles.tile_set, problem=tiles.problem, remedy=tiles.remedy)
    checks = doctor.room_check(settings, state, devices, devices_known=True)
    here = [each for each in devices if each.is_seen]
    checks += (
        *doctor.build_checks(needless_gpu_build()),
        *doctor.precision_checks(here, lambda device: _chosen_precision(device, settings)),
        *doctor.compiler_checks(here, compile_problem),
        *doctor.profiler_checks(here, kernels_problem),
    )
    ready = all(check.state != "problem" for check in checks)
    return {"ready": ready, "checks": [vars(check) for check in checks]}, OK if ready else FAILED


def _gpu_checks(settings: Settings) -> Result:
    """Raises `RunError` where there is no GPU of CUDA's."""
    from eurosat_core.data.tile_cache import open_synthetic
    from eurosat_core.lab.gpu_check import ALL_SECONDS, check_gpus, cuda_devices
    from eurosat_core.words.say import say as in_words

    began = time.perf_counter()
    devices = cuda_devices()
    spent = time.perf_counter() - began
    say(f"checking {wording.listed([each.name for each in devices])}, {ALL_SECONDS:.0f} s at most …")
    checks = [
        {
            "check": each.check,
            "device": each.device,
            "passed": each.passed,
            "text": in_words(each.finding),
            "figures": dict(each.finding.figures),
            "seconds": each.seconds,
        }
        for each in check_gpus(devices, open_synthetic(settings.cache).cache, spent=spent)
    ]
    ready = all(each["passed"] for each in checks)
    return {"ready": ready, "gpu_checks": checks}, OK if ready else FAILED


def _show_gpu_checks(checks: list[dict[str, Any]]) -> str:
    lines = []
    for each in checks:
        sign = "✓" if each["passed"] else "✗"
        lines.append(f"{sign} {each['check']:<14} {each['device']:<8}{each['seconds']:>5.1f} s  {each['text']}")
    return "\n".join(lines)


def _chosen_precision(device: str, settings: Settings) -> str:
    """In which precision the baseline's Fast recipe computes on a device, and why; tried now, if it never was."""
    from eurosat_core.machine_notes import machine_notes
    from eurosat_core.training.choices import form_text
    from eurosat_core.training.precision import resolved

    notes = machine_notes(settings.cache, settings.threads)
    choice = resolved(recipe_config("baseline", "fast", device=device), notes)[1]
    assert choice is not None, "the recipe leaves it open"
    return f"{device_name(device)}: {form_text(choice)}"


def _prepare(options: argparse.Namespace, settings: Settings) -> Result:
    from eurosat_core.lab.library import prepare, prepare_weights

    try:
        if options.weights is not None:
            prepare_weights(settings, options.weights, options.source, say)
            return _doctor(options, settings)
        opened = prepare(settings, options.source, say, say_decoding)
    except KeyboardInterrupt:
        raise LabError("Stopped. What was downloaded so far is kept: the next `prepare` goes on from there.") from None
    return _checks(settings, opened)


def _show_doctor(result: dict[str, Any]) -> str:
    if "gpu_checks" in result:
        return _show_gpu_checks(result["gpu_checks"])
    signs = {"ready": "✓", "missing": "–", "problem": "✗", "checking": "…"}
    lines = []
    for check in result["checks"]:
        lines.append(f"{signs[check['state']]} {check['name']:<14} {check['text']}")
        if check["remedy"]:
            lines.append(f"  {'':<14} {check['remedy']}")
    return "\n".join(lines)


def _summary(options: argparse.Namespace, _settings: Settings) -> Result:
    import torch

    from eurosat_core.models.catalog import build_model
    from eurosat_core.models.summary import summarize

    with torch.device("meta"):
        network = build_model(options.model)
    return asdict(summarize(network)), OK


def _show_summary(result: dict[str, Any]) -> str:
    rows = [("layer", "output shape", "parameters", "multiply-accumulates")]
    rows += [
        (each["name"], str(each["output_shape"]), f"{each['params']:,}", f"{each['macs']:,}")
        for each in result["layers"]
    ]
    lines = [f"{a:<18}{b:<22}{c:>12}{d:>22}" for a, b, c, d in rows]
    lines.append(
        f"{result['total_params']:,} parameters, {result['trainable_params']:,} trainable; "
        f"{result['macs']:,} multiply-accumulates per tile"
    )
    lines.append(
        f"MB: input {result['input_mb']:.2f}, forward/backward {result['forward_backward_mb']:.2f}, "
        f"parameters {result['params_mb']:.2f}, in all {result['total_mb']:.2f}"
    )
    return "\n".join(lines)


def _bench(options: argparse.Namespace, settings: Settings) -> Result:
    from dataclasses import replace

    known = (*BENCHES, *LONG_BENCHES)
    unknown = set(options.names) - set(known)
    if unknown:
        raise ConfigError(f"There is no benchmark '{min(unknown)}'. Benchmarks are: {', '.join(known)}.")
    if options.data is not None:
        settings = replace(settings, data=options.data.absolute())
    sizes = {name: getattr(options, name) for name in ("participants", "kills", "seconds")}
    sized = {name: value for name, value in sizes.items() if value is not None}
    if sized and not (len(options.names) == 1 and set(sized) <= set(_SIZES.get(options.names[0], ()))):
        every = "; ".join(f"bench {bench}: --{' and --'.join(names)}" for bench, names in _SIZES.items())
        raise ConfigError(f"A benchmark's size can be given where it alone is run ({every}).")
    if min(sized.values(), default=1) <= 0:
        raise ConfigError(f"--{' and --'.join(sized)} must be above 0.")
    results = {}
    for name in options.names or BENCHES:
        say(f"bench {name} …")
        try:
            results[name] = importlib.import_module(f"bench.{name}").run(settings, say, **sized)
        except (LabError, ImportError) as error:  # the others may still run
            results[name] = {"about": f"not measured: {error}", "rows": []}
    measured = any(result["rows"] for result in results.values())
    return results, OK if measured else FAILED


def _show_bench(results: dict[str, Any]) -> str:
    lines = []
    for name, result in results.items():
        lines.append(f"{name}: {result['about']}")
        for row in result["rows"]:
            measured = "; ".join(wording.rounded(value, 4) for value in row["values"])
            ratio = f"  ratio {row['ratio']:.2f}" if row.get("ratio") is not None else ""
            goal = f"  (promised: {row['promise']})" if row.get("promise") else ""
            median = wording.rounded(row["median"], 4)
            lines.append(f"  {row['name']:<52}{median:>10} {row['unit']}{ratio}{goal}   [{measured}]")
    return "\n".join(lines)
