"""What a second worker brings: HTTP requests that take some hundred microseconds of Python, 32 connections kept open.

Server and client have all cores of the machine together, as on a machine that does nothing else: run it on one with two
cores. The last lines have the ratios of two workers to one. Where other programs run, two processes get a larger share
than one, and the CPU time says more: the same for each request means that every core brings as much as the first one.
"""

import contextlib
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.side_by_side import Peer, client, cpu, options_of, python, report, running
from protocols.asgi import Receive, Send

ROOT = Path(__file__).resolve().parents[1]
STEPS = 20_000
"""Additions of one request: some hundred microseconds."""
APP = "benchmarks.workers:work"
FILE = """
workers: {workers}
path: {root}
application: {app}
servers: {{web: {{protocol: http, bind: "127.0.0.1:{port}", max_per_address: 0}}}}
"""
UVICORN = ("-m", "uvicorn", "--loop=uvloop", "--http=httptools", "--no-access-log", "--log-level=warning")


async def work(scope: Any, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    body = str(sum(range(STEPS)) % 10).encode() * 13
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"13")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def ours(folder: Path, workers: int) -> Peer:
    def command(port: int) -> Sequence[str]:
        file = folder / f"{workers}.yaml"
        file.write_text(FILE.format(workers=workers, root=ROOT, app=APP, port=port))
        return python("-m", "gateway", "run", "-c", str(file))

    return Peer(f"ours, {workers}", command)


def uvicorn(workers: int) -> Peer:
    options = ("--lifespan=off", f"--workers={workers}")
    return Peer(f"uvicorn, {workers}", lambda port: python(*UVICORN, *options, f"--port={port}", APP))


def _load(port: int, seconds: float) -> float:
    return client("-m", "benchmarks.windowed", "http", str(port), "32", "1", str(seconds))


def _warm_up(port: int) -> None:
    """Return when every connection is answered: then all workers serve."""
    for _ in range(10):
        with contextlib.suppress(subprocess.CalledProcessError):
            _load(port, 0.5)
            return


def main() -> None:
    title = "HTTP requests of some hundred microseconds, 32 keep-alive connections, client on the same cores"
    options = options_of(title)
    with tempfile.TemporaryDirectory() as folder:
        peers = [ours(Path(folder), 2), ours(Path(folder), 1), uvicorn(2), uvicorn(1)]
        rates: dict[str, list[float]] = {peer.name: [] for peer in peers}
        costs: dict[str, list[float]] = {peer.name: [] for peer in peers}
        for _ in range(options.rounds):
            for peer in peers:
                with running(peer) as (port, process):
                    _warm_up(port)
                    began = cpu(process)
                    rates[peer.name].append(rate := _load(port, options.seconds))
                    costs[peer.name].append((cpu(process) - began) / (rate * options.seconds) * 1e6)
        report(title, "CPU us of the server for each request, less is better", costs)
        found = report(title, "requests/s", rates)
    for name in ("ours", "uvicorn"):
        print(f"two workers / one, {name}: {found[f'{name}, 2'] / found[f'{name}, 1']:.2f}", flush=True)


if __name__ == "__main__":
    main()
