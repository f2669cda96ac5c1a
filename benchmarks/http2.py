"""Row 1d: hello-world in HTTP/2, without TLS, by h2load: 8 connections with 8 requests at a time each."""

import re
import subprocess

from benchmarks.http_hello import APPS, GRANIAN
from benchmarks.side_by_side import Peer, compare, python

HYPERCORN = ("-m", "hypercorn", "--worker-class=uvloop", "--max-requests=1000000000")
APP = f"{APPS}:hello"
PEERS = [
    Peer("ours", lambda port: python("-m", APPS, "hello", str(port), "http2")),
    Peer("hypercorn", lambda port: python(*HYPERCORN, f"--bind=127.0.0.1:{port}", APP)),
    Peer("granian", lambda port: python(*GRANIAN, "--http=2", f"--port={port}", APP)),
]


def load(port: int, seconds: float) -> float:
    """Run h2load for so long; return the requests a second that were answered."""
    command = ["h2load", f"--duration={round(seconds * 1000)}ms", "-c8", "-m8", f"http://127.0.0.1:{port}/"]
    said = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    found = re.search(r"requests: .* (\d+) succeeded, 0 failed", said)
    assert found is not None, said
    return int(found[1]) / seconds


if __name__ == "__main__":
    compare("HTTP/2 hello-world, 8 connections with 8 streams", PEERS, load, unit="requests/s")
