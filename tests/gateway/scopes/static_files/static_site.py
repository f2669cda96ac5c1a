"""A folder of static files beside what must not be served, and a server for it."""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
from contract import LIMIT

from gateway import ProtocolTypeRouter, StaticFiles, URLRouter, url
from protocols.http.server import HTTPServer, HTTPSettings

SECRET = b"secret"
OPEN = b"body { color: green }\n" * 10


def made(folder: Path) -> Path:
    """Make ``folder``/static, and return it."""
    static = folder / "static"
    (static / "css").mkdir(parents=True)
    (static / "empty").mkdir()
    (static / ".well-known").mkdir()
    (static / ".git").mkdir()
    (folder / "static-other").mkdir()
    for name in (
        "a.css",
        "css/b.css",
        "css/index.html",
        ".well-known/security.txt",
        "app.55e7cbb9ba48.css",
        "a b+ü.txt",
    ):
        (static / name).write_bytes(OPEN)
    for name in (".env", ".git/config", "../key.pem", "../static-other/x.txt"):
        (static / name).write_bytes(SECRET)
    (static / "out.pem").symlink_to(folder / "key.pem")
    (static / "above").symlink_to(folder)
    (static / "sideways").symlink_to(folder / "static-other")
    (static / "latest.css").symlink_to("a.css")
    (static / "round").symlink_to("round")
    os.mkfifo(static / "pipe")
    return static


@contextlib.asynccontextmanager
async def served(static: Path, pattern: str = "^static/", **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server with a route for ``static``; it has the fields of its own requests, and no others."""
    app = ProtocolTypeRouter({"http": URLRouter([url(pattern, StaticFiles(static, **options))])})
    server = HTTPServer(app, HTTPSettings(bind="127.0.0.1:0"), state={})
    async with server, httpx.AsyncClient(base_url=f"http://{server.address}", timeout=LIMIT) as client:
        del client.headers["accept-encoding"]
        yield client
