"""A Redis server on a Unix socket of its own."""

import contextlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from servers.programs import program
from servers.site import until


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
            until(lambda: process.poll() is not None or trial.connect_ex(str(path)) == 0, "Redis listens")
        assert process.poll() is None
        yield f"unix://{path}"
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)
