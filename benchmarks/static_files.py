"""A file of 10 KiB over 64 keep-alive connections: ours, and Starlette's static files under uvicorn."""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.http_hello import UVICORN, load
from benchmarks.side_by_side import Peer, compare, python

NAME = "benchmarks.static_files"
SIZE = 10 * 1024


def folder() -> str:
    """Make a folder with an ``index.html``, which both give to a client that asks for ``/``."""
    path = Path(tempfile.gettempdir()) / "gateway-benchmark-static"
    path.mkdir(exist_ok=True)
    (path / "index.html").write_bytes(b"x" * SIZE)
    return str(path)


def starlette() -> Any:
    from starlette.staticfiles import StaticFiles

    return StaticFiles(directory=folder(), html=True)


PEERS = [
    Peer("ours", lambda port: python("-m", NAME, "serve", str(port))),
    Peer(
        "uvicorn", lambda port: python(*UVICORN, "--lifespan=off", "--factory", f"--port={port}", f"{NAME}:starlette")
    ),
]


async def serve(port: int) -> None:
    from gateway import StaticFiles
    from protocols.http.server import HTTPServer, HTTPSettings

    async with HTTPServer(StaticFiles(folder()), HTTPSettings(bind=f"127.0.0.1:{port}"), state={}):
        await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        uvloop.run(serve(int(sys.argv[2])))
    else:
        compare("A static file of 10 KiB, 64 keep-alive connections", PEERS, load, unit="requests/s")
