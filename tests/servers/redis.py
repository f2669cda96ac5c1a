"""A Redis server on a Unix socket of its own."""

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from servers.programs import program

LIMIT = 10.0


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """Yield its URL."""
    executable = program("redis-server")
    folder = Path(tempfile.mkdtemp(prefix="redis", dir="/tmp"))  # a socket's path has 107 characters at most
    path = folder / "socket"
    arguments = ["--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)]
    process = subprocess.Popen([executable, *arguments], stdout=subprocess.DEVNULL)
    try:
        with socket.socket(socket.AF_UNIX) as trial:
            deadline = time.monotonic() + LIMIT
            while trial.connect_ex(str(path)):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
        yield f"unix://{path}"
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)
