"""The app: `streamlit run streamlit_app.py`. Opens the lab when the server starts and closes it when it stops."""

import asyncio
import importlib
import logging
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

ROOT = Path(__file__).parent
# Pages import `pages.parts` and `eurosat_core`, wherever the server was started.
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from eurosat_core.classroom.connections import FairConnections  # noqa: E402
from eurosat_core.classroom.cookie import SecretCookie  # noqa: E402
from eurosat_core.classroom.passcode import Passcode  # noqa: E402
from eurosat_core.errors import LabError  # noqa: E402
from eurosat_core.lab.lab import Lab, current_lab, open_lab, set_current_lab  # noqa: E402
from eurosat_core.settings import load_settings  # noqa: E402
from eurosat_core.tensorboard.process import Forwarder, paths_below  # noqa: E402
from eurosat_core.training.config import Architecture  # noqa: E402
from eurosat_core.training.threads import share_heaps  # noqa: E402
from pages.parts import lesson, turns  # noqa: E402

log = logging.getLogger("eurosat_lab")
base = st.get_option("server.baseUrlPath") or ""
forwarder = Forwarder(lambda: current_lab().tensorboard, base)


def warm_up(lab: Lab, closing: threading.Event) -> None:
    """Load what other pages than the first need (PyTorch, pandas, Altair, our charts) before anybody waits for it."""
    for path in sorted((ROOT / "pages" / "parts").rglob("*.py")):
        lab.calm.wait()
        if closing.is_set():
            return
        importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    lab.calm.wait()
    lab.estimates.model_summary(Architecture("vgg11_bn"))  # the first large one has PyTorch load its compiler: a second


def door() -> Passcode:
    """Who may lead, as `.streamlit/secrets.toml` says: whoever has its passcode, and the accounts that it names."""
    try:
        if st.secrets.get("auth") and find_spec("authlib") is None:
            log.error("Nobody can sign in: [auth] in secrets.toml needs Authlib. Install it: pip install Authlib")
        section = st.secrets.get("classroom", {})
        named = section.get("instructors", [])
        if not all(isinstance(each, str) for each in named) or isinstance(named, str):
            raise ValueError
        return Passcode(str(section.get("passcode", "")), instructors=[each for each in named if each.strip()])
    except FileNotFoundError:
        return Passcode()
    except (AttributeError, OSError, TypeError, ValueError):  # without what stands there: it may be the passcode
        log.error(
            'Nobody can lead: .streamlit/secrets.toml needs [classroom] and, below it, passcode = "…" or '
            'instructors = ["…"].'
        )
        return Passcode()


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[dict[str, Any]]:
    """One lab per server process. Opened in a thread, for the event loop must stay free."""
    share_heaps()
    try:
        lab = await asyncio.to_thread(open_lab, load_settings())
    except LabError as error:
        log.error("The lab could not be opened: %s", error)
        raise
    lab.passcode = door()
    set_current_lab(lab)
    turns.share_one_process(asyncio.get_running_loop())
    turns.hear_scripts_out()
    turns.take_clicks_once()
    closing = threading.Event()
    warming = asyncio.create_task(asyncio.to_thread(warm_up, lab, closing))
    try:
        yield {}
    finally:
        closing.set()
        lab.calm.set()
        await asyncio.wait([warming])
        set_current_lab(None)
        await forwarder.close()
        await asyncio.to_thread(lab.close)


def on_script_error(error: Exception) -> bool:
    """Log what went wrong in a page, and show a sentence in place of a traceback."""
    if isinstance(error, LabError):
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
    """For scripts that wait for the app: whether the lab is open, and whether its tiles are."""
    state = await asyncio.to_thread(lambda: current_lab().tiles())
    return JSONResponse({"status": "ok", "tiles_ready": state.tile_set is not None})


app = st.App(
    ROOT / "pages" / "main.py",
    lifespan=lifespan,
    middleware=[Middleware(FairConnections), Middleware(SecretCookie, path=f"/{base.strip('/')}")],
    routes=[*(Route(path, health) for path in paths_below(base, "/api/health")), *forwarder.routes],
    on_script_error=on_script_error,
)
