"""A real HAProxy before a server of ours, which it tells whom it speaks for (PROXY protocol).

Without the program the tests skip and say so; where CI=true promises it they fail.
"""

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.ports import free_port
from servers.programs import program

LIMIT = 10.0
CONFIG = """
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen front
  bind 127.0.0.1:{port}
  server gateway {target} {send}
"""


@contextlib.contextmanager
def haproxy(target: str, send: str) -> Iterator[int]:
    """Its port; what connects there it gives to ``target`` (host:port). ``send``: send-proxy or send-proxy-v2."""
    port = free_port()
    with configured(CONFIG.format(port=port, target=target, send=send), port):
        yield port


@contextlib.contextmanager
def configured(config: str, port: int) -> Iterator[Path]:
    """Run it with the file ``config``; yield the file of what it says. It listens on ``port`` then."""
    path = program("haproxy")
    with tempfile.TemporaryDirectory() as root:
        file = Path(root, "haproxy.cfg")
        file.write_text(config)
        log = Path(root, "log")
        with (
            log.open("wb") as out,
            subprocess.Popen([path, "-db", "-f", str(file)], stdout=out, stderr=out) as process,
        ):
            try:
                _wait(process, port, log)
                yield log
            finally:
                process.terminate()


def _wait(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    """It listens: asked of the system, because a connection would reach the server behind it."""
    needle = f":{port:04X} 00000000:0000 0A"  # its line in the table: local address, no peer, LISTEN
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline and process.poll() is None:
        if needle in Path("/proc/net/tcp").read_text():
            return
        time.sleep(0.02)
    pytest.fail(f"haproxy does not start: {log.read_text()}")
