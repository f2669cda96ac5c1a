"""What runs on the hosts: gateways, and the servers that they share. Each can be killed, paused and restarted."""

import os
import random
import signal
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
from servers.dovecot import USER as SUPPORT
from servers.dovecot import Dovecot, Variant
from servers.mosquitto import Mosquitto
from servers.postgresql import QUICK, USER, PostgreSQL
from servers.programs import program
from servers.site import ROOT, until

from cluster.network import PREFIX, Host

HERE = Path(__file__).parent
MQTT, HTTP, SMTP, CONSOLE, REDIS = 1883, 8000, 2525, 9000, 6379
EVERYWHERE = "0.0.0.0"


def _descend(pid: int) -> list[psutil.Process]:
    """The process and all that it has started, the oldest first."""
    with suppress(psutil.NoSuchProcess):
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    return []


def signal_all(pid: int, number: signal.Signals) -> None:
    for each in _descend(pid):
        with suppress(psutil.NoSuchProcess):
            each.send_signal(number)


def _stopped(pid: int) -> list[psutil.Process]:
    """Stop the process and all that it has started, also what it starts meanwhile; return them."""
    found: dict[int, psutil.Process] = {}
    while new := {each.pid: each for each in _descend(pid)}.items() - found.items():
        found |= dict(new)
        for _, each in new:
            with suppress(psutil.NoSuchProcess):
                each.suspend()
    return list(found.values())


class Node(ABC):
    """A program on a host of its own."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        self.folder = folder
        folder.mkdir()

    @property
    def name(self) -> str:
        return self.host.name

    def start(self) -> None:
        """Start it, and wait until it can be used."""
        self.host.run(self._start)

    @abstractmethod
    def _start(self) -> None: ...

    @property
    @abstractmethod
    def pid(self) -> int: ...

    def kill(self) -> None:
        """kill -9, and all processes that it has: as if the power of its host failed, but for the disk."""
        for each in _stopped(self.pid):
            with suppress(psutil.NoSuchProcess):
                each.kill()
        self._wait()

    def restart(self) -> None:
        """Stop it as an administrator does, and start it again."""
        os.kill(self.pid, signal.SIGTERM)
        self._wait()
        self.start()

    @abstractmethod
    def _wait(self) -> None: ...

    def pause(self) -> None:
        signal_all(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        signal_all(self.pid, signal.SIGCONT)


class Program(Node):
    """A program that is one command."""

    _process: "subprocess.Popen[bytes]"

    def _spawn(self, *command: str, **environment: str) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=os.environ | environment, stdout=log, stderr=log
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def _wait(self) -> None:
        self._process.wait(30)

    def ended(self) -> bool:
        return self._process.poll() is not None

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")


class Gateway(Program):
    """``settings``: what gateway.yaml reads from its environment."""

    def __init__(self, host: Host, folder: Path, **settings: str) -> None:
        super().__init__(host, folder)
        (folder / "gateway.yaml").write_text((HERE / "gateway.yaml").read_text())
        path = os.pathsep.join([str(ROOT), str(HERE.parent)])
        self._environment = {"PYTHONPATH": path, "CLUSTER_HOST": host.name, **settings}
        self._changes = threading.Lock()
        self.is_wanted = False
        """Whether it is to run."""

    def _start(self) -> None:
        with self._changes:
            self._spawn(sys.executable, "-m", "gateway", "run", **self._environment)
            self.is_wanted = True

    def kill(self) -> None:
        with self._changes:
            self.is_wanted = False
            super().kill()

    def kill_worker(self, chance: random.Random) -> str:
        """Return its number; empty if there is none."""
        workers = _descend(self.pid)[1:]
        if not workers:
            return ""
        worker = chance.choice(workers)
        with suppress(psutil.NoSuchProcess):
            worker.kill()
        return str(worker.pid)

    def restart(self) -> None:
        self.stop()
        self.start()

    def supervise(self) -> str:
        """Start it again if it has ended by itself, as a service manager does; why it had ended, if so."""
        with self._changes:
            if not self.is_wanted or not self.ended():
                return ""
            why = f"{self.name} ended with {self._process.returncode}: {self.log().rstrip().rpartition(chr(10))[2]}"
        self.start()
        return why

    def ready(self) -> bool:
        """Whether a load balancer would send it requests."""
        with suppress(httpx.HTTPError):
            return httpx.get(f"http://{self.host.address}:{CONSOLE}/readyz", timeout=2.0).is_success
        return False

    def stop(self) -> int:
        """Stop it as an administrator does; its exit code."""
        with self._changes:
            self.is_wanted = False
            os.kill(self.pid, signal.SIGTERM)
            return self._process.wait(60)


class Redis(Program):
    def _start(self) -> None:
        settings = ["--bind", EVERYWHERE, "--port", str(REDIS), "--protected-mode", "no", "--save", ""]
        self._spawn(program("redis-server"), *settings)
        until(lambda: b"PONG" in self._ask(), lambda: f"Redis answers\n{self.log()}")

    @staticmethod
    def _ask() -> bytes:
        command = [program("redis-cli"), "-p", str(REDIS), "ping"]
        return subprocess.run(command, capture_output=True, timeout=10).stdout

    @property
    def url(self) -> str:
        return f"redis://{self.host.address}:{REDIS}"


class Broker(Node):
    """A Mosquitto that keeps whatever its clients have not acknowledged."""

    def __init__(self, host: Host, folder: Path, lines: Sequence[str] = ()) -> None:
        super().__init__(host, folder)
        more = (f"listener {MQTT} {EVERYWHERE}", "max_queued_messages 0", "max_inflight_messages 20", *lines)
        kinds = ("error", "warning", "notice", "information", "subscribe", "debug")
        more += (*(f"log_type {each}" for each in kinds), "log_timestamp true")
        self._broker = Mosquitto(folder, lines=more)

    def _start(self) -> None:
        self._broker.start()

    @property
    def pid(self) -> int:
        assert self._broker._process is not None
        return self._broker._process.pid

    def _wait(self) -> None:
        assert self._broker._process is not None
        self._broker._process.wait(30)

    @property
    def url(self) -> str:
        return f"mqtt://{self.host.address}:{MQTT}"

    def log(self) -> list[str]:
        """Its lines, each with the second of the clock in front."""
        return (self.folder / "log").read_text(errors="replace").splitlines()


class Mailbox(Node):
    """A Dovecot."""

    server: Dovecot | None = None

    def _start(self) -> None:
        if self.server is None:
            self.server = Dovecot(self.folder, Variant(more=f"listen = {EVERYWHERE}"))
        else:
            self.server.start()

    @property
    def port(self) -> int:
        assert self.server is not None
        return self.server.port

    @property
    def pid(self) -> int:
        assert self.server is not None
        return self.server.process.pid

    def _wait(self) -> None:
        assert self.server is not None
        self.server.process.wait(30)

    def left(self) -> int:
        """How many messages are not handled."""
        assert self.server is not None
        return self.host.run(self.server.count, "INBOX", SUPPORT)


class Database(Node):
    """A PostgreSQL, with the database ``gateway``. It waits for no disk: what it has written outlives kill -9."""

    _made = False

    def __init__(self, host: Host, folder: Path) -> None:
        super().__init__(host, folder)
        settings = {"listen_addresses": "*", "max_connections": "300", **QUICK}
        self.server = host.run(PostgreSQL, folder / "server", settings)

    def _start(self) -> None:
        if self._made:
            self.server.start()
            return
        self.server.make()
        with (self.server.data / "pg_hba.conf").open("a") as access:
            access.write(f"host all all {PREFIX}.0/24 scram-sha-256\n")
        with self.server.admin() as admin:
            admin.execute("SELECT pg_reload_conf()")
            admin.execute(f"CREATE DATABASE gateway OWNER {USER}")
        self._made = True

    def restart(self) -> None:
        """As an administrator does: sessions are ended."""
        self.host.run(self.server.stop)
        self.start()

    @property
    def pid(self) -> int:
        assert self.server._process is not None
        return self.server._process.pid

    def _wait(self) -> None:
        assert self.server._process is not None
        self.server._process.wait(30)

    @property
    def url(self) -> str:
        return self.server.url("gateway").replace("127.0.0.1", self.host.address)
