"""What `run --reload` takes from saving a handler to its first new answer, and how many requests fail meanwhile.

uvicorn does the same with the same handler, saved at the same moment. A request is made every few milliseconds, on a
connection of its own.
"""

import statistics
import tempfile
import time
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from benchmarks.side_by_side import Peer, options_of, python, running

HANDLER = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"{length}")]}})
        await send({{"type": "http.response.body", "body": b"{text}"}})
"""
FILE = """
log: {{level: warning}}
servers: {{web: {{protocol: http, bind: "127.0.0.1:{port}"}}}}
routes: {{http: hello.app}}
"""
BETWEEN = 2.0
"""Seconds between two edits: the process of the next version is there by then."""


def save(folder: Path, text: str) -> None:
    (folder / "hello.py").write_text(HANDLER.format(length=len(text), text=text))


def peers(folder: Path) -> list[Peer]:
    """Each has a folder of its own."""

    def ours(port: int) -> list[str]:
        file = folder / "ours" / "gateway.yaml"
        file.write_text(FILE.format(port=port))
        return python("-m", "gateway", "run", "--reload", "-c", str(file))

    def uvicorn(port: int) -> list[str]:
        where = ("--app-dir", str(folder / "uvicorn"), "--reload-dir", str(folder / "uvicorn"))
        return python("-m", "uvicorn", "--reload", *where, "--log-level=error", f"--port={port}", "hello:app")

    for name in ("ours", "uvicorn"):
        (folder / name).mkdir()
        save(folder / name, "first")
    return [Peer("ours", ours), Peer("uvicorn", uvicorn)]


def answer(port: int) -> str:
    """The answer; empty if there is none."""
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    except (OSError, HTTPException):
        return ""
    finally:
        connection.close()


def edited(folder: Path, port: int, text: str) -> tuple[float, int]:
    """(seconds, failed requests) from saving ``text`` to its first answer."""
    begun, failed = time.monotonic(), 0
    save(folder, text)
    while (found := answer(port)) != text:
        failed += not found
        time.sleep(0.005)
    return time.monotonic() - begun, failed


if __name__ == "__main__":
    options = options_of("from saving a handler to its first new answer")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        ports = {peer.name: stack.enter_context(running(peer))[0] for peer in peers(folder)}
        results: dict[str, list[tuple[float, int]]] = {peer: [] for peer in ports}
        for number in range(options.rounds):
            for peer, port in ports.items():
                time.sleep(BETWEEN)
                results[peer].append(edited(folder / peer, port, f"version {number}"))
        for peer, found in results.items():
            seconds = [each for each, _ in found]
            print(
                f"{peer:<10} {statistics.median(seconds):.2f} s ({min(seconds):.2f} - {max(seconds):.2f}), "
                f"{sum(failed for _, failed in found)} failed"
            )
