"""The daemon in its own process: starts, says so, drains, stops."""

import contextlib
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from servers.daemon import Daemon, in_background
from servers.ports import free_port
from servers.site import until

HANDLERS = """
import asyncio, os, time

async def work():
    try:
        await asyncio.sleep(3600)
    finally:
        print("worker cancelled", flush=True)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        if os.environ.get("FAIL_STARTUP"):
            await send({"type": "lifespan.startup.failed", "message": "the database is away"})
            return
        worker = asyncio.create_task(work()) if os.environ.get("WORKER") else None
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("shutdown", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
        return
    print("handling", scope["path"], flush=True)
    if scope["path"] == "/poll":
        await receive()
        print((await receive())["type"], flush=True)
    if scope["path"] == "/slow":
        await asyncio.sleep(1.5)
    if scope["path"] == "/forever":
        await asyncio.sleep(3600)
    if scope["path"] == "/block":
        time.sleep(3600)
    if scope["path"] == "/thread":
        await asyncio.to_thread(time.sleep, 3600)
    if scope["path"] == "/fork":
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:
            os.write(writing, b"1")
            time.sleep(3600)
        os.read(reading, 1)
        os.kill(child, 15)
        print("child ended by", os.WTERMSIG(os.waitpid(child, 0)[1]), flush=True)
    if scope["path"] == "/crash":
        raise KeyError("order")
    if scope["path"] == "/callback":
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "daemon_handlers.py").write_text(HANDLERS)
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., tuple[Daemon, str]]]:
    """Write a file around one http server and run it: the daemon, and its URL."""
    with contextlib.ExitStack() as stack:

        def run(more: str = "", *, port: int | None = None, **environment: str) -> tuple[Daemon, str]:
            address = f"127.0.0.1:{port or free_port()}"
            servers = f"servers: {{web: {{protocol: http, bind: '{address}'}}}}\napplication: daemon_handlers.app\n"
            (folder / "gateway.yaml").write_text(servers + more)
            daemon = Daemon(folder, **environment)
            stack.callback(daemon.close)
            return daemon, f"http://{address}"

        yield run


Start = Callable[..., tuple[Daemon, str]]


@pytest.fixture
def loop(request: pytest.FixtureRequest, folder: Path) -> None:
    if request.param == "asyncio":
        (folder / "uvloop.py").write_text("raise ImportError")


on_both_loops = pytest.mark.parametrize("loop", ["asyncio", "uvloop"], indirect=True)


def test_what_it_prints_and_how_it_stops(start: Start) -> None:
    daemon, url = start()
    daemon.says("try:")
    assert daemon.lines[0] == "gateway 0.1  gateway.yaml: 1 server, application daemon_handlers.app, valid"
    assert daemon.lines[1].split()[:4] == ["http", "web", url.removeprefix("http://"), "ready"]
    assert daemon.lines[2] == f"try:  {url}/"
    assert httpx.get(f"{url}/").text == "done"
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.wait() == 0
    assert daemon.lines[-2:] == ["shutdown", "INFO    stopped: 0 lost"]


def test_what_is_in_flight_is_finished(start: Start) -> None:
    daemon, url = start()
    daemon.says("try:")
    outcomes: list[str] = []
    request = in_background(f"{url}/slow", outcomes)
    daemon.says("handling /slow")
    daemon.process.send_signal(signal.SIGINT)
    daemon.says("draining: 1 http (10 s left; Ctrl+C again to stop now)")
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    request.join(10)
    assert outcomes == ["done"]
    assert daemon.wait() == 0
    assert daemon.lines[-1] == "INFO    stopped: 0 lost"


def test_what_does_not_finish_is_cancelled_and_counted(start: Start) -> None:
    daemon, url = start("shutdown_timeout: 300ms\n")
    daemon.says("try:")
    outcomes: list[str] = []
    request = in_background(f"{url}/forever", outcomes)
    daemon.says("handling /forever")
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.wait() == 0
    assert daemon.lines[-2:] == ["shutdown", "INFO    stopped: 1 http cancelled"]
    request.join(10)
    assert outcomes != ["done"]


@on_both_loops
@pytest.mark.usefixtures("loop")
def test_a_long_poll_hears_of_it_first_and_what_the_lifespan_has_started_is_cancelled_last(start: Start) -> None:
    daemon, url = start("shutdown_timeout: 60s\n", WORKER="1")
    daemon.says("try:")
    outcomes: list[str] = []
    request = in_background(f"{url}/poll", outcomes)
    daemon.says("handling /poll")
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.wait() == 0
    words = ["http.disconnect", "shutdown", "worker cancelled"]
    assert [line for line in daemon.lines if line in words] == words
    request.join(10)
    assert outcomes == ["done"]


@on_both_loops
@pytest.mark.usefixtures("loop")
def test_a_second_signal_forces(start: Start) -> None:
    daemon, url = start()
    daemon.says("try:")
    in_background(f"{url}/forever", [])
    daemon.says("handling /forever")
    daemon.process.send_signal(signal.SIGINT)
    daemon.says("draining: 1 http")
    daemon.process.send_signal(signal.SIGINT)
    assert daemon.wait() == 1
    assert daemon.lines[-1] == "WARNING stopped now: 1 http cut off"


@on_both_loops
@pytest.mark.usefixtures("loop")
def test_a_second_signal_forces_a_blocked_loop(start: Start) -> None:
    daemon, url = start()
    daemon.says("try:")
    in_background(f"{url}/block", [])
    daemon.says("handling /block")
    time.sleep(0.3)  # into the middle of the blocking call
    daemon.process.send_signal(signal.SIGTERM)
    daemon.process.send_signal(signal.SIGINT)
    assert daemon.wait() == 1
    assert daemon.lines[-1] == "WARNING stopped now: 1 http cut off"


def test_a_thread_that_hangs_does_not_keep_it(start: Start) -> None:
    daemon, url = start("shutdown_timeout: 200ms\n")
    daemon.says("try:")
    in_background(f"{url}/thread", [])
    daemon.says("handling /thread")
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.wait() == 0
    assert daemon.lines[-1] == "INFO    stopped: 1 http cancelled"


def test_a_port_in_use_is_one_line(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        daemon, _ = start(port=taken.getsockname()[1])
        assert daemon.wait() == 3
    assert [line.startswith("ERROR   cannot start: servers.web: 127.0.0.1:") for line in daemon.lines] == [True, False]
    assert "already in use" in daemon.lines[0]
    assert daemon.lines[1] == "shutdown"


def test_a_startup_that_fails_is_one_line(start: Start) -> None:
    daemon, _ = start(FAIL_STARTUP="1")
    assert daemon.wait() == 3
    assert daemon.lines == ["ERROR   cannot start: the database is away"]


def test_mistakes_in_the_file(start: Start) -> None:
    daemon, _ = start("thread: 1\n")
    assert daemon.wait() == 2
    assert "gateway.yaml:3:1: error: unknown key 'thread' in the file; did you mean 'threads'?" in daemon.text
    assert daemon.lines[-1] == "1 error. Nothing was started."


def test_a_crash_is_one_record_and_the_daemon_goes_on(start: Start) -> None:
    daemon, url = start()
    daemon.says("try:")
    assert httpx.get(f"{url}/crash").status_code == 500
    daemon.says("ERROR   http GET /crash -> daemon_handlers.app: KeyError 'order'")
    line = HANDLERS.splitlines().index('        raise KeyError("order")') + 1
    daemon.says(f'daemon_handlers.py:{line}  raise KeyError("order")')
    assert httpx.get(f"{url}/callback").text == "done"
    daemon.says("ZeroDivisionError division by zero")
    assert httpx.get(f"{url}/").text == "done"
    assert "Traceback" not in daemon.text


@on_both_loops
@pytest.mark.usefixtures("loop")
def test_what_ends_a_forked_child_does_not_end_the_daemon(start: Start) -> None:
    daemon, url = start()
    daemon.says("try:")
    assert httpx.get(f"{url}/fork").text == "done"
    daemon.says("child ended by 15")
    assert httpx.get(f"{url}/").text == "done"
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.wait() == 0
    assert daemon.lines[-1] == "INFO    stopped: 0 lost"


@on_both_loops
@pytest.mark.usefixtures("loop")
def test_sighup_reads_the_file_again(start: Start) -> None:
    daemon, url = start()
    daemon.says("try:")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.says("SIGHUP: gateway.yaml has not changed: generation 1 runs on")
    assert httpx.get(f"{url}/").text == "done"


def test_systemd_is_told(start: Start, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(15)
        daemon, url = start(NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert systemd.recv(200).startswith(b"FDSTORE=1\n")
        assert systemd.recv(100) == b"READY=1"
        assert httpx.get(f"{url}/").text == "done"
        daemon.process.send_signal(signal.SIGTERM)
        assert systemd.recv(100) == b"STOPPING=1"
    assert daemon.wait() == 0


def test_relative_paths_are_seen_from_the_files_folder(folder: Path) -> None:
    (folder / "gateway.yaml").write_text(
        "servers: {web: {protocol: http, bind: unix:web.sock}}\napplication: daemon_handlers.app\n"
    )
    daemon = Daemon(folder.parent, f"{folder.name}/gateway.yaml")
    try:
        daemon.says("web.sock")
        daemon.says("ready")
        until((folder / "web.sock").exists, "the socket is there")
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(folder / "web.sock"))) as client:
            assert client.get("http://localhost/").text == "done"
    finally:
        daemon.close()
