"""Under ``log: {format: json}`` every line that the process writes is one JSON object."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from servers.operated import Run, Start
from servers.site import until

JSON = "log: {format: json}\n"
NOISY = """
import asyncio, gc, logging, sys, threading, warnings

warnings.warn("while it is imported")

LOGGERS = [("own.err", sys.stderr, True), ("own.out", sys.stdout, True), ("alone.err", sys.stderr, False)]
for name, stream, propagate in LOGGERS:
    logging.getLogger(name).addHandler(logging.StreamHandler(stream))
    logging.getLogger(name).propagate = propagate

class Unraisable:
    def __del__(self):
        raise ValueError("in a destructor")

async def lost():
    raise ValueError("in a task that nobody awaits")

async def never_awaited():
    pass

def crash():
    raise ValueError("in a thread")

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    if scope["path"] == "/noise":
        warnings.warn("while it serves")
        Unraisable()
        asyncio.get_running_loop().create_task(lost())
        await asyncio.sleep(0)
        never_awaited()
        gc.collect()
        logging.getLogger("shop").info("%d", "no number")
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        for name, _, _ in LOGGERS:
            logging.getLogger(name).error("said by %s", name)
        thread = threading.Thread(target=crash, name="a thread")
        thread.start()
        thread.join()
    if scope["path"] == "/wait":
        await asyncio.sleep(1.2)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started = []

    def run(**options: Any) -> Run:
        started.append(Run(tmp_path, more=JSON, **options))
        return started[-1]

    yield run
    for each in started:
        each.process.kill()
        each.process.wait(10)


def records(run: Run) -> list[dict[str, Any]]:
    assert run.out == "", "all of it is the log's"
    found = [json.loads(line) for line in run.err.splitlines()]
    assert all(record.keys() >= {"time", "level", "logger", "message"} for record in found)
    return found


def test_from_the_start_page_to_the_end(start: Start) -> None:
    run = start(handlers=NOISY)
    run.serves()
    assert httpx.get(f"{run.url}noise").text == "done"
    run.process.send_signal(signal.SIGUSR1)
    until(lambda: "SIGUSR1" in run.err, "the signal is logged")
    with socket.create_connection(("127.0.0.1", run.port)) as waits:
        waits.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: httpx.get(run.url).text == "done", "that one is being answered")
        assert run.ended_by(signal.SIGTERM) == 0
    said = "\n".join(record["message"] for record in records(run))
    for words in (
        "UserWarning: while it is imported",
        "UserWarning: while it serves",
        "http web 127.0.0.1:",
        "try: http://127.0.0.1:",
        "never_awaited",
        "a log record could not be formatted",
        "the thread a thread crashed",
        "Exception in callback",
        "Task exception was never retrieved",
        "draining: 1 http",
        "stopped: 0 lost",
    ):
        assert words in said
    for name in ("own.err", "own.out", "alone.err"):
        assert said.count(f"said by {name}") == 1
    errors = {record["error"] for record in records(run) if "error" in record}
    assert {"ValueError in a destructor", "ValueError in a thread", "ValueError in a task that nobody awaits"} <= errors


def test_what_cannot_start(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run = start(port=taken.getsockname()[1])
        assert run.process.wait(20) == 3
    [record] = records(run)
    assert record["level"] == "error"
    assert record["message"].startswith("cannot start: servers.web: 127.0.0.1:")


def test_a_second_signal(start: Start) -> None:
    run = start(handlers=NOISY.replace("1.2", "3600"))
    run.serves()
    with socket.create_connection(("127.0.0.1", run.port)) as waits:
        waits.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: httpx.get(run.url).text == "done", "that one is being answered")
        run.process.send_signal(signal.SIGTERM)
        until(lambda: "draining" in run.err, "it drains")
        assert run.ended_by(signal.SIGTERM) == 1
    assert records(run)[-1]["message"] == "stopped now: 1 http cut off"


def test_mistakes_of_the_file(start: Start) -> None:
    run = start(handlers="raise ImportError('no such shop')")
    assert run.process.wait(20) == 2
    [record] = records(run)
    assert record["level"] == "error"
    assert record["message"].startswith("gateway.yaml:2:")
    assert "no such shop" in record["message"]


def test_a_crash_of_our_own(tmp_path: Path) -> None:
    """What is raised past everything else is a record, whole."""
    program = """
import sys
from gateway.logs import setup, uncaught
from gateway.config.settings import LogSettings
setup.configure(LogSettings(format=sys.argv[1], timestamps=False), sys.stderr)
uncaught.take_over()
raise KeyError("order")
"""
    for form in ("json", "text"):
        run = subprocess.run(
            [sys.executable, "-c", program, form], capture_output=True, text=True, cwd=tmp_path, timeout=30, check=False
        )
        assert run.returncode == 1
        if form == "json":
            assert json.loads(run.stderr)["traceback"].endswith("KeyError: 'order'\n")
        else:
            assert run.stderr.startswith("CRITICAL crashed: KeyError 'order'\n        Traceback")
