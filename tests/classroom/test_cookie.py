"""The cookie with a browser's secret: given with a page, kept from scripts, never another's."""

import asyncio

import httpx
import pytest
from own_loop import apart
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from eurosat_core.classroom.cookie import NAME, SecretCookie, new_secret, secret_in

HTML = {"accept": "text/html,*/*"}


def answer(headers: dict[str, str], *, path: str = "/", scheme: str = "http", status: int = 200) -> httpx.Response:
    async def page(_: Request) -> Response:
        return Response(status_code=304) if status == 304 else PlainTextResponse("", status)

    app = Starlette(routes=[Route("/", page)], middleware=[Middleware(SecretCookie, path=path)])

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"{scheme}://lab.example") as client:
            return await client.get("/", headers=headers)

    return apart(asyncio.run, ask())


def attributes(given: httpx.Response) -> tuple[str, set[str]]:
    first, *others = given.headers["set-cookie"].split("; ")
    name, _, value = first.partition("=")
    assert name == NAME
    return value, {each.lower() for each in others}


@pytest.mark.parametrize("status", [200, 304])
def test_a_page_brings_a_secret_that_scripts_and_other_sites_cannot_use(status: int) -> None:
    value, others = attributes(answer(HTML, path="/lab", status=status))
    assert secret_in({NAME: value}) == value
    assert {"httponly", "samesite=lax", "path=/lab"} <= others and "secure" not in others
    assert value != attributes(answer(HTML))[0]


def test_over_https_it_is_secure() -> None:
    assert "secure" in attributes(answer(HTML, scheme="https"))[1]
    assert "secure" in attributes(answer({**HTML, "x-forwarded-proto": "https"}))[1]


def test_a_browser_keeps_its_secret() -> None:
    secret = new_secret()
    assert attributes(answer({**HTML, "cookie": f"a=b; {NAME}={secret}; c=d"}))[0] == secret


@pytest.mark.hostile
@pytest.mark.parametrize("sent", ["", "x", "a" * 44, "a" * 42 + ";", "a" * 42 + "é", '"' + "a" * 43, "\x00", "=" * 9])
def test_what_no_lab_made_is_replaced(sent: str) -> None:
    headers = {**HTML, "cookie": f"{NAME}={sent}".encode()}  # type: ignore[dict-item]
    value = attributes(answer(headers))[0]
    assert value != sent and secret_in({NAME: value})


def test_nothing_else_sets_it() -> None:
    assert "set-cookie" not in answer({"accept": "*/*"}).headers
    assert "set-cookie" not in answer(HTML, status=404).headers
    assert secret_in({}) == secret_in({NAME: 3}) == secret_in({"other": "a" * 43}) == ""
