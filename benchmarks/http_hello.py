"""Row 1: HTTP hello-world over 64 keep-alive connections, one process each."""

from benchmarks.side_by_side import Peer, client, compare, python

UVICORN = ("-m", "uvicorn", "--loop=uvloop", "--http=httptools", "--no-access-log", "--log-level=warning")
GRANIAN = ("-m", "granian", "--interface=asginl", "--workers=1", "--loop=uvloop", "--no-ws", "--log-level=warning")
APPS = "benchmarks.http_apps"


def peers(app: str, *of_granian: str) -> list[Peer]:
    """The three servers with the application ``app`` of :mod:`benchmarks.http_apps`."""
    return [
        Peer("ours", lambda port: python("-m", APPS, app, str(port))),
        Peer("uvicorn", lambda port: python(*UVICORN, "--lifespan=off", f"--port={port}", f"{APPS}:{app}")),
        Peer("granian", lambda port: python(*GRANIAN, *of_granian, f"--port={port}", f"{APPS}:{app}")),
    ]


def load(port: int, seconds: float) -> float:
    return client("-m", "benchmarks.windowed", "http", str(port), "64", "1", str(seconds))


if __name__ == "__main__":
    compare("HTTP hello-world, 64 keep-alive connections", peers("hello"), load, unit="requests/s")
