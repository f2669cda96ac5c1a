"""`gateway run` over one HTTP server, with handlers that misbehave on request."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from servers.ports import free_port
from servers.site import ROOT, unstamped, until

HANDLERS = """
import asyncio, faulthandler, os, signal, sys, time

if os.environ.get("WISH") == "wait in import":
    open("importing", "w").close()
    while os.path.exists("importing"):
        time.sleep(0.01)
if os.environ.get("WISH") == "handle by signal":
    signal.signal(signal.SIGUSR1, lambda *_: os.write(2, b"handled by us\\n"))
if os.environ.get("WISH") == "handle by faulthandler":
    faulthandler.register(signal.SIGUSR1)

async def app(scope, receive, send):
    wish = os.environ.get("WISH", "")
    if scope["type"] == "lifespan":
        await receive()
        if wish == "crash in startup":
            raise KeyError("settings")
        if wish == "hang in startup":
            open("starting", "w").close()
            await asyncio.sleep(3600)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if wish == "slow shutdown":
            await asyncio.sleep(1.5)
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/block":
        time.sleep(2)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})
"""


class Run:
    """``gateway run`` over one http server, what it says in two files unless ``streams`` says otherwise."""

    def __init__(
        self, folder: Path, *, port: int = 0, more: str = "", handlers: str = HANDLERS, **streams: Any
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        (folder / "operated_handlers.py").write_text(handlers)
        (folder / "gateway.yaml").write_text(
            f"servers: {{web: {{protocol: http, bind: '127.0.0.1:{self.port}'}}}}\n"
            f"application: operated_handlers.app\n{more}"
        )
        environment = os.environ | {"PYTHONPATH": str(ROOT)} | streams.pop("env", {})
        with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
            streams = {"stdout": out, "stderr": err} | streams
            command = [sys.executable, "-m", "gateway", "run"]
            self.process = subprocess.Popen(command, cwd=folder, env=environment, **streams)

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text()

    @property
    def err(self) -> str:
        return unstamped((self.folder / "err").read_text())

    def serves(self) -> None:
        until(lambda: self.answers() or self.process.poll() is not None, lambda: f"it serves: {self.err}")
        assert self.process.poll() is None, self.err
        assert httpx.get(self.url).text == "done"

    def answers(self) -> bool:
        with contextlib.suppress(httpx.ConnectError):
            return httpx.get(self.url).text == "done"
        return False

    def ended_by(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


Start = Callable[..., Run]
