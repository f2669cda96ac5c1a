"""Redis servers on Unix sockets of their own, or on ports."""

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from servers.keeper import closed_if_it_fails
from servers.ports import free_port
from servers.programs import program
from servers.site import until


class RedisServer:
    """One server, which can be killed, paused, and started again without what it had. ``more``: arguments, beside those
    for a Unix socket; with ``--port`` it also listens there."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.folder = folder
        self.path = folder / "socket"
        port = () if "--port" in more or "--tls-port" in more else ("--port", "0")
        place = ("--unixsocket", str(self.path), "--save", "", "--dir", str(folder))
        self._command = [program("redis-server"), *more, *port, *place]
        self.start()

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    @property
    def layer(self) -> str:
        """What ``layer:`` in gateway.yaml says."""
        return f"redis+unix://{self.path}"

    def start(self) -> None:
        self.path.unlink(missing_ok=True)
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        with closed_if_it_fails(self.kill):
            until(lambda: self.process.poll() is not None or self._listens(), "Redis listens")
        assert self.process.poll() is None

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as trial:
            return trial.connect_ex(str(self.path)) == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def command(self, *words: str) -> str:
        """Run ``redis-cli``. Return what it prints."""
        command = [program("redis-cli"), "-s", str(self.path), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout


@contextlib.contextmanager
def redis_process(more: Sequence[str] = ()) -> Iterator[RedisServer]:
    folder = Path(tempfile.mkdtemp(prefix="redis", dir="/tmp"))  # a socket's path has 107 characters at most
    server = RedisServer(folder, *more)
    try:
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """Yield its URL."""
    with redis_process() as server:
        yield server.url


@contextlib.contextmanager
def sentinels() -> Iterator[tuple[RedisServer, RedisServer, int]]:
    """A master, its replica, and the port of a Sentinel that watches both."""
    first, second, port = (free_port() for _ in range(3))
    with (
        redis_process(["--port", str(first)]) as master,
        redis_process(["--port", str(second), "--replicaof", "127.0.0.1", str(first)]) as replica,
    ):
        until(lambda: "master_link_status:up" in replica.command("INFO", "replication"), "the replica follows")
        file = replica.folder / "sentinel.conf"
        watched = f"sentinel monitor main 127.0.0.1 {first} 1\nsentinel down-after-milliseconds main 500\n"
        file.write_text(f"port {port}\n{watched}sentinel failover-timeout main 2000\n")
        with contextlib.ExitStack() as stack:
            command = [program("redis-server"), str(file), "--sentinel"]
            sentinel = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            stack.callback(sentinel.wait)
            stack.callback(sentinel.kill)
            asked = [program("redis-cli"), "-p", str(port), "SENTINEL", "REPLICAS", "main"]
            until(
                lambda: str(second) in subprocess.run(asked, capture_output=True, text=True, check=False).stdout,
                "the Sentinel knows the replica",
            )
            yield master, replica, port
