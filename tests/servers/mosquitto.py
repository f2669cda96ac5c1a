"""A real Mosquitto on a free port, with its command line clients.

Without the program the tests skip and say so; where CI=true promises it they fail.
"""

import contextlib
import getpass
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.ports import free_port
from servers.programs import program

LIMIT = 10.0


class Mosquitto:
    """One broker. ``users`` (name to password) makes it ask for them; ``lines`` are added to its configuration."""

    def __init__(self, root: Path, users: dict[str, str] | None = None, lines: tuple[str, ...] = ()) -> None:
        self.port = free_port()
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None
        login = [f"password_file {self._passwords(users)}"] if users else ["allow_anonymous true"]
        config = [
            f"user {getpass.getuser()}",  # started by root it would change to its own, who may not read here
            f"listener {self.port} 127.0.0.1",
            *login,
            "persistence true",
            f"persistence_location {root}/",
            "autosave_interval 1",
            "autosave_on_changes true",
            *lines,
        ]
        (root / "mosquitto.conf").write_text("\n".join(config) + "\n")

    def _passwords(self, users: dict[str, str]) -> Path:
        path = self._root / "passwords"
        path.write_text("".join(f"{name}:{password}\n" for name, password in users.items()))
        subprocess.run([program("mosquitto_passwd"), "-U", str(path)], check=True, capture_output=True)
        return path

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        with (self._root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program("mosquitto"), "-c", str(self._root / "mosquitto.conf")], stdout=log, stderr=log
            )
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
                return
            time.sleep(0.02)
        self.stop(signal.SIGKILL)
        pytest.fail(f"mosquitto does not start: {(self._root / 'log').read_text()}")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(LIMIT)

    def publish(self, topic: str, payload: str, *options: str) -> None:
        command = [program("mosquitto_pub"), "-h", "127.0.0.1", "-p", str(self.port), "-t", topic, "-m", payload]
        subprocess.run([*command, *options], check=True, timeout=LIMIT, capture_output=True)

    def publish_lines(self, topic: str, payloads: list[str], qos: int = 1) -> None:
        """Many, in their order, over one connection."""
        command = [program("mosquitto_pub"), "-h", "127.0.0.1", "-p", str(self.port), "-t", topic, "-q", str(qos), "-l"]
        lines = "".join(f"{payload}\n" for payload in payloads).encode()
        subprocess.run(command, input=lines, check=True, timeout=LIMIT, capture_output=True)

    @contextlib.contextmanager
    def subscriber(self, topic: str, count: int = 1, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
        """A mosquitto_sub that ends after ``count`` messages; it has subscribed when this is entered."""
        command = ["stdbuf", "-oL", program("mosquitto_sub"), "-h", "127.0.0.1", "-p", str(self.port), "-t", topic]
        command += ["-C", str(count), "-d", "-q", "1", "-W", str(int(LIMIT)), *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            assert process.stdout is not None
            while b"SUBACK" not in process.stdout.readline():
                assert process.poll() is None
            try:
                yield process
            finally:
                process.kill()


@contextlib.contextmanager
def mosquitto(users: dict[str, str] | None = None, lines: tuple[str, ...] = ()) -> Iterator[Mosquitto]:
    program("mosquitto")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as root:
        broker = Mosquitto(Path(root), users, lines)
        broker.start()
        try:
            yield broker
        finally:
            broker.stop()
