"""The daemon and who operates it: signals while it starts, output that nobody hears, systemd's watchdog, limits."""

import asyncio
import contextlib
import os
import resource
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import pytest
from servers.operated import Start
from servers.ports import free_port
from servers.site import until

from gateway.runtime.daemon import _unless


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_startup_that_hangs(start: Start, number: signal.Signals) -> None:
    run = start(env={"WISH": "hang in startup"})
    until((run.folder / "starting").exists, "the startup is under way")
    assert run.ended_by(number) == 0
    assert (run.out, run.err) == ("", "INFO    stopped before it was ready\n")


async def test_a_start_ends_with_whoever_waits_for_it() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def start() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.ensure_future(_unless(asyncio.Event(), start()))
    await begun.wait()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert ended.is_set()


def test_what_waits_for_the_applications_shutdown_is_told_so(start: Start) -> None:
    run = start(env={"WISH": "slow shutdown"})
    run.serves()
    assert run.ended_by(signal.SIGTERM) == 0
    assert run.err.splitlines() == [
        "INFO    draining: the application's shutdown (59 s left; Ctrl+C again to stop now)",
        "INFO    stopped: 0 lost",
    ]


def test_a_startup_that_crashes_is_one_record_and_the_gateway_goes_on(start: Start) -> None:
    run = start(env={"WISH": "crash in startup"})
    run.serves()
    assert run.ended_by(signal.SIGTERM) == 0
    assert run.err.splitlines() == [
        "ERROR   lifespan -> operated_handlers.app: KeyError 'settings'",
        '        operated_handlers.py:18  raise KeyError("settings")',
        "INFO    stopped: 0 lost",
    ]


def test_what_cannot_start_says_so_on_standard_error(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run = start(port=taken.getsockname()[1])
        assert run.process.wait(20) == 3
    assert run.out == ""
    assert run.err.startswith(f"ERROR   cannot start: servers.web: 127.0.0.1:{run.port}: the address is already in use")


@pytest.mark.parametrize("streams", [("stdout",), ("stderr",), ("stdout", "stderr")])
def test_a_full_disk_behind_its_output_stops_nothing(start: Start, streams: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        run = start(**dict.fromkeys(streams, full))
    run.serves()
    assert run.ended_by(signal.SIGTERM) == 0


@pytest.mark.parametrize("streams", [(1,), (2,), (0, 1, 2)])
def test_closed_standard_streams_stop_nothing(start: Start, streams: tuple[int, ...]) -> None:
    run = start(preexec_fn=lambda: [os.close(each) for each in streams], stdin=subprocess.DEVNULL)
    run.serves()
    kept = {os.readlink(f"/proc/{run.process.pid}/fd/{each}") for each in streams}
    assert kept == {"/dev/null"}
    assert run.ended_by(signal.SIGTERM) == 0


def test_a_reader_that_is_gone_stops_nothing(start: Start) -> None:
    run = start(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert run.process.stdout is not None
    assert run.process.stderr is not None
    run.process.stdout.close()
    run.process.stderr.close()
    run.serves()
    assert run.ended_by(signal.SIGTERM) == 0


def heard(systemd: socket.socket) -> bytes:
    """What the daemon says next of its state, beside the sockets that it gives systemd to keep."""
    while (said := systemd.recv(200)).startswith(b"FDSTORE=1"):
        pass
    return said


def test_the_watchdog_is_fed_by_the_event_loop(start: Start, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(15)
        run = start(env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"})
        said = [heard(systemd) for _ in range(4)]
        assert b"READY=1" in said
        assert said.count(b"WATCHDOG=1") == 3
        with contextlib.suppress(httpx.ReadTimeout):
            httpx.get(f"{run.url}block", timeout=0.5)
        systemd.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                systemd.recv(100)  # what was sent before it blocked
        systemd.settimeout(0.5)
        with pytest.raises(TimeoutError):
            systemd.recv(100)


def test_a_watchdog_that_is_somebody_elses_is_not_fed(start: Start, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(15)
        watched = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}
        run = start(env=watched)
        assert heard(systemd) == b"READY=1"
        assert run.ended_by(signal.SIGTERM) == 0
        assert heard(systemd) == b"STOPPING=1"


def test_it_takes_the_descriptors_that_it_may_have(start: Start) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    run = start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard)))
    run.serves()
    assert resource.prlimit(run.process.pid, resource.RLIMIT_NOFILE) == (max(256, min(hard, 65536)), hard)


CROWDED = """
import os, sqlite3

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    if scope["path"] == "/open":
        files = [open(os.devnull) for _ in range(5)]
        sqlite3.connect("shop.db").execute("CREATE TABLE IF NOT EXISTS orders (id)")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_peers_do_not_get_the_last_descriptors(start: Start, tmp_path: Path, loop: str) -> None:
    """Idle connections up to the limit: a supervisor, handlers and the log go on; who waits is served when they go."""
    if loop == "asyncio":
        (tmp_path / "uvloop.py").write_text("raise ImportError")
    console = free_port()
    more = f"console: {{bind: '127.0.0.1:{console}'}}\n"
    run = start(more=more, handlers=CROWDED, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128)))
    run.serves()
    with httpx.Client() as early, contextlib.ExitStack() as crowd:
        assert early.get(run.url).text == "done"
        for _ in range(200):
            crowd.enter_context(socket.create_connection(("127.0.0.1", run.port)))
        until(lambda: "file descriptors are in use" in run.err, "it says so")
        for _ in range(3):
            for path in ("healthz", "readyz"):
                assert httpx.get(f"http://127.0.0.1:{console}/{path}").status_code == 200
            assert early.get(f"{run.url}open").text == "done"
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(run.url, timeout=0.3)
        held = len(os.listdir(f"/proc/{run.process.pid}/fd"))
        assert held < 128 - 10, "and some are left"
    until(run.answers, "it serves again")
    assert run.ended_by(signal.SIGTERM) == 0
    first, last = run.err.splitlines()
    assert first.startswith(f"WARNING 127.0.0.1:{run.port}: 112 file descriptors are in use, the rest is reserved")
    assert last == "INFO    stopped: 0 lost"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_it_stops_while_it_accepts_nothing(start: Start, tmp_path: Path, loop: str) -> None:
    if loop == "asyncio":
        (tmp_path / "uvloop.py").write_text("raise ImportError")
    run = start(handlers=CROWDED, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))
    run.serves()
    with contextlib.ExitStack() as crowd:
        for _ in range(100):
            crowd.enter_context(socket.create_connection(("127.0.0.1", run.port)))
        until(lambda: "file descriptors are in use" in run.err, "it says so")
        assert run.ended_by(signal.SIGTERM) == 0
