"""The app: `streamlit run streamlit_app.py`. Opens the lab when the server starts and closes it when it stops."""

import asyncio
import importlib
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

ROOT = Path(__file__).parent
# Pages import `pages.parts` and `eurosat_core`, wherever the server was started.
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from eurosat_core.errors import LabError, RunError  # noqa: E402
from eurosat_core.lab.current import current_lab, is_opening, open_current_lab, set_current_lab  # noqa: E402
from eurosat_core.settings import load_settings  # noqa: E402
from eurosat_core.tensorboard.process import Forwarder, TensorBoard, paths_below  # noqa: E402

if TYPE_CHECKING:
    from concurrent.futures import Future

    from eurosat_core.lab.lab import Lab

log = logging.getLogger("eurosat_lab")
base = st.get_option("server.baseUrlPath") or ""


def tensorboard() -> TensorBoard:
    """This server's. Raises `LabError` while the lab is being opened: the event loop does not wait for it."""
    if is_opening():
        raise RunError("The lab is still being opened. Reload this page in a few seconds.")
    return current_lab().tensorboard


forwarder = Forwarder(tensorboard, base)


def opened() -> "Lab":
    """The lab. It brings PyTorch: seconds in which the browser already loads the app's front end."""
    from eurosat_core.lab.lab import open_lab

    try:
        return open_lab(load_settings())
    except Exception as error:  # pages show its sentence, too
        log.error("The lab could not be opened: %s", error, exc_info=not isinstance(error, LabError))
        raise


def warm_up(opening: "Future[Lab]") -> None:
    """Once the lab is open, import what pages need (pandas, Altair, our charts) before somebody waits for it."""
    if opening.exception() is not None:  # it was told already
        return
    for path in sorted((ROOT / "pages" / "parts").rglob("*.py")):
        importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[dict[str, Any]]:
    """One lab per server process, opened while the first browsers come."""
    opening = open_current_lab(opened)
    warming = asyncio.create_task(asyncio.to_thread(warm_up, opening))
    try:
        yield {}
    finally:
        await asyncio.wait([warming])
        set_current_lab(None)
        await forwarder.close()
        if opening.exception() is None:
            await asyncio.to_thread(opening.result().close)


def on_script_error(error: Exception) -> bool:
    """Log what went wrong in a page, and show a sentence in place of a traceback."""
    if isinstance(error, LabError):
        from pages.parts import lesson

        log.warning("Shown to a participant: %s", error)
        st.error(lesson.plain(str(error)), icon=":material/error:")
    else:
        log.error("A page failed", exc_info=error)
        st.error(
            "The details are in the server's log. Your runs are safe: reload the page, or press *Start over* in the "
            "sidebar.",
            title="Something went wrong on this page",
            icon=":material/error:",
        )
    return True


async def health(_: Request) -> JSONResponse:
    """For scripts that wait for the app: whether the lab is open, and whether its tiles are; 503 when it cannot be."""
    if is_opening():
        return JSONResponse({"status": "opening", "tiles_ready": False})
    try:
        state = await asyncio.to_thread(lambda: current_lab().tiles())
    except LabError as error:
        return JSONResponse({"status": "failed", "tiles_ready": False, "reason": str(error)}, 503)
    return JSONResponse({"status": "ok", "tiles_ready": state.tile_set is not None})


app = st.App(
    ROOT / "pages" / "main.py",
    lifespan=lifespan,
    routes=[*(Route(path, health) for path in paths_below(base, "/api/health")), *forwarder.routes],
    on_script_error=on_script_error,
)
