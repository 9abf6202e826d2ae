"""`export`: a trained run as a notebook in plain PyTorch, or as an ONNX file."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eurosat_core.commands.request import Result
from eurosat_core.errors import ConfigError
from eurosat_core.settings import Settings
from eurosat_core.wording import bytes_text


def register(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command. add: makes a parser of (name, about, command, show)."""
    about = "Take a trained run with you: as a notebook in plain PyTorch, or as an ONNX file; both without options."
    export = add("export", about, _export, _show)
    export.add_argument("run", help="a run's name, as `train` printed it")
    export.add_argument("--notebook", type=Path, metavar="FILE", help="write the notebook here; RUN.ipynb by default")
    export.add_argument("--onnx", type=Path, metavar="FILE", help="write the ONNX file here; RUN.onnx by default")


def _export(options: argparse.Namespace, settings: Settings) -> Result:
    from eurosat_core.runs.store import RunStore

    store = RunStore(settings.runs)
    record = store.get(options.run)
    both = options.notebook is None and options.onnx is None
    written: dict[str, Any] = {}

    def write(kind: str, file: Path, content: bytes) -> None:
        try:
            file.write_bytes(content)
        except OSError as error:
            raise ConfigError(f"{file} cannot be written: {error.strerror or error}. Name another file.") from error
        written[kind] = {"file": str(file), "bytes": len(content)}

    if both or options.notebook is not None:
        from eurosat_core.words.notebook import notebook, told_by

        file = options.notebook or Path(f"{record.id}.ipynb")
        write("notebook", file, notebook(record, told_by(store, record.id), record.owner))
    if both or options.onnx is not None:
        from eurosat_core.lab.onnx_file import exported

        write("onnx", options.onnx or Path(f"{record.id}.onnx"), exported(store, record.id))
    return {"run_id": record.id, **written}, 0


def _show(result: dict[str, Any]) -> str:
    files = [each for each in result.values() if isinstance(each, dict)]
    return "\n".join(f"{each['file']} · {bytes_text(each['bytes'])}" for each in files)
