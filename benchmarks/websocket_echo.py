"""Row 3: WebSocket echo over 32 connections with a window of 16, one process each."""

from benchmarks.side_by_side import Peer, client, compare, python

UVICORN = ("-m", "uvicorn", "--loop=uvloop", "--no-access-log", "--log-level=warning", "--lifespan=off")
GRANIAN = ("-m", "granian", "--interface=asginl", "--workers=1", "--loop=uvloop", "--log-level=warning")
APP = "benchmarks.http_apps:echo"

PEERS = [
    Peer("ours", lambda port: python("-m", "benchmarks.http_apps", "echo", str(port))),
    # Compression is off on both sides: the client does not offer it.
    Peer("uvicorn", lambda port: python(*UVICORN, "--ws=websockets-sansio", f"--port={port}", APP)),
    Peer("granian", lambda port: python(*GRANIAN, f"--port={port}", APP)),
]


def load(port: int, seconds: float) -> float:
    return client("-m", "benchmarks.windowed", "websocket", str(port), "32", "16", str(seconds))


if __name__ == "__main__":
    compare("WebSocket echo, 32 connections, window 16", PEERS, load, unit="messages/s")
