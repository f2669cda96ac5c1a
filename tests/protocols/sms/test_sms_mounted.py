"""The webhook on another server than ours, alone and inside Starlette and Django: real requests over sockets."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import uvicorn
from servers.ports import free_port
from servers.site import ROOT
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from twilio.request_validator import RequestValidator
from waiting import until

from protocols.secret import Secret
from protocols.sms import SMSWebhook, TwilioSettings

PATH = "/hooks/twilio"
FORM = {"MessageSid": "SM1", "From": "+447400123456", "To": "+15005550006", "Body": "Hello + wörld & co", "FromZip": ""}


async def thank(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "sms":
        event = await receive()
        await send({"type": "sms.send", "text": f"{scope['sender']} {event['text']}"})


def webhook() -> SMSWebhook:
    return SMSWebhook(thank, TwilioSettings(on="web", path=PATH, auth_token=Secret("token-1")))


def in_starlette() -> Any:
    home = Route("/", lambda request: PlainTextResponse("home"))
    return Starlette(routes=[home, Mount("/hooks", routes=[Route("/twilio", webhook())])])


DJANGO = """
from django.conf import settings
from django.core.asgi import get_asgi_application
from test_sms_mounted import PATH, webhook

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x")
urlpatterns = []
hook, django = webhook(), get_asgi_application()


async def application(scope, receive, send):
    await (hook if scope["path"] == PATH else django)(scope, receive, send)
"""


@contextlib.asynccontextmanager
async def served(app: Any, lifespan: str = "auto") -> AsyncIterator[str]:
    port = free_port()
    config = uvicorn.Config(app, port=port, lifespan=lifespan, log_level="critical")
    server = uvicorn.Server(config)
    running = asyncio.ensure_future(server.serve())
    try:
        await until(lambda: server.started)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await running


def signed(url: str, **changes: str) -> dict[str, Any]:
    """As Twilio posts it, signed by its own library."""
    signature = RequestValidator("token-1").compute_signature(url, FORM)
    headers = {"X-Twilio-Signature": signature, "Content-Type": "application/x-www-form-urlencoded"}
    return {"content": urlencode(FORM | changes), "headers": headers}


async def check(origin: str, elsewhere: int) -> None:
    """What a webhook does, and ``elsewhere``, the status of another path."""
    async with httpx.AsyncClient(timeout=20) as client:
        url = f"{origin}{PATH}?tenant=a%20b"
        answer = await client.post(url, **signed(url))
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/xml; charset=utf-8"
        assert "<Body>+447400123456 Hello + wörld &amp; co</Body>" in answer.text
        assert (await client.post(url, **signed(url, Body="another"))).status_code == 403
        assert (await client.post(url, **signed(f"{origin}/elsewhere"))).status_code == 403
        assert (await client.put(url)).status_code == 405
        assert (await client.post(f"{origin}/elsewhere", data={"a": "b"})).status_code == elsewhere


async def test_alone_under_uvicorn() -> None:
    async with served(webhook()) as origin:
        await check(origin, 403)


async def test_as_a_route_of_starlette() -> None:
    async with served(in_starlette(), "on") as origin:
        await check(origin, 404)


def started(command: list[str], folder: Path, paths: str) -> "subprocess.Popen[bytes]":
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, cwd=folder, env=os.environ | {"PYTHONPATH": paths}, stdout=log, stderr=log)


async def test_beside_django(tmp_path: Path) -> None:
    (tmp_path / "beside_django.py").write_text(DJANGO)
    port, here = free_port(), Path(__file__).parent
    paths = f"{ROOT}:{ROOT / 'tests'}:{here}"
    command = [sys.executable, "-m", "uvicorn", "beside_django:application", "--port", str(port), "--lifespan", "off"]
    process = started(command, tmp_path, paths)
    try:
        await until(lambda: b"running on" in (tmp_path / "log").read_bytes() or process.poll() is not None)
        await check(f"http://127.0.0.1:{port}", 404)
    finally:
        process.terminate()
        process.wait(20)


async def test_ten_megabytes_and_a_client_that_leaves_do_no_harm_under_uvicorn() -> None:
    async with served(webhook()) as origin, httpx.AsyncClient(timeout=20) as client:
        with contextlib.suppress(httpx.WriteError):  # the answer may come before the body has left
            assert (await client.post(origin + PATH, content=b"x" * 10_000_000)).status_code == 413
        _, writer = await asyncio.open_connection("127.0.0.1", int(origin.rpartition(":")[2]))
        writer.write(b"POST /hooks/twilio HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
        await writer.drain()
        writer.close()
        url = f"{origin}{PATH}"
        assert (await client.post(url, **signed(url))).status_code == 200
