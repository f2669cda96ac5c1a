"""Row 3: WebSocket echo over 32 connections, one process each: 32 bytes with a window of 16, 64 KiB, and the same and 4
KiB compressed in both directions. zlib's level is 1 here and 6 in uvicorn; granian does not compress."""

from collections.abc import Callable

from benchmarks.side_by_side import Peer, client, compare, python

UVICORN = ("-m", "uvicorn", "--loop=uvloop", "--no-access-log", "--log-level=warning", "--lifespan=off")
GRANIAN = ("-m", "granian", "--interface=asginl", "--workers=1", "--loop=uvloop", "--log-level=warning")
APP = "benchmarks.http_apps:echo"


def uvicorn(library: str) -> Peer:
    return Peer(f"uvicorn ({library})", lambda port: python(*UVICORN, f"--ws={library}", f"--port={port}", APP))


def ours(app: str) -> Peer:
    return Peer("ours", lambda port: python("-m", "benchmarks.http_apps", app, str(port)))


UVICORNS = [uvicorn("websockets-sansio"), uvicorn("wsproto")]
PEERS = [ours("echo"), *UVICORNS, Peer("granian", lambda port: python(*GRANIAN, f"--port={port}", APP))]


def load(kind: str, window: int) -> Callable[[int, float], float]:
    return lambda port, seconds: client("-m", "benchmarks.windowed", kind, str(port), "32", str(window), str(seconds))


COMPRESSED = [ours("compressed_echo"), *PEERS[1:]]
ROWS = [
    ("WebSocket echo, 32 connections, window 16", PEERS, load("websocket", 16)),
    ("WebSocket echo of 64 KiB, window 2", PEERS, load("websocket-large", 2)),
    ("WebSocket echo, deflate, window 16", COMPRESSED, load("websocket-small-compressed", 16)),
    ("WebSocket echo of 4 KiB, deflate, window 4", COMPRESSED, load("websocket-compressed", 4)),
    ("WebSocket echo of 64 KiB, deflate, window 2", COMPRESSED, load("websocket-large-compressed", 2)),
]

if __name__ == "__main__":
    for title, peers, each in ROWS:
        compare(title, peers, each, unit="messages/s")
