"""Row 2: HTTP through the routes of a gateway.yaml to a consumer, and to a Django view, over 64 keep-alive connections.

uvicorn serves the same application; daphne the same with Channels' routers and consumer.
"""

from benchmarks.side_by_side import Peer, client, compare, python

UVICORN = ("-m", "uvicorn", "--loop=uvloop", "--http=httptools", "--no-access-log", "--log-level=warning")
DAPHNE = ("-m", "daphne", "--verbosity=0", "--bind=127.0.0.1")
APPS = "benchmarks.routed_apps"


def peers(kind: str) -> list[Peer]:
    return [
        Peer("ours", lambda port: python("-m", APPS, kind, str(port))),
        Peer("uvicorn", lambda port: python(*UVICORN, "--lifespan=off", f"--port={port}", f"{APPS}:{kind}")),
        Peer("daphne + channels", lambda port: python(*DAPHNE, f"--port={port}", f"{APPS}:channels_{kind}")),
    ]


def load(port: int, seconds: float) -> float:
    """Long enough for daphne to have answered every connection."""
    return client("-m", "benchmarks.windowed", "http", str(port), "64", "1", str(max(seconds, 1.0)))


if __name__ == "__main__":
    for kind, words in (("consumer", "a consumer"), ("view", "a Django view")):
        compare(f"HTTP through routes to {words}, 64 keep-alive connections", peers(kind), load, unit="requests/s")
