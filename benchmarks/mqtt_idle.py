"""Row 8: the memory of 10,000 idle connections, MQTT and WebSocket, with the application that waits on each.

What is measured is the server's resident memory before and after, divided by the connections: each time in a process
that has just started. A lower ratio is better.
"""

import resource
import subprocess

import psutil

from benchmarks.mqtt_qos1 import PEERS as MQTT
from benchmarks.side_by_side import Peer, options_of, python, report, running
from benchmarks.websocket_echo import PEERS as WEBSOCKET

MANY, FEW = 10_000, 2_000
ROUNDS = 3


def measure(kind: str, peer: Peer, count: int) -> float:
    """Bytes of one connection."""
    with running(peer) as (port, pid):
        server = psutil.Process(pid)
        before = server.memory_info().rss
        command = python("-m", "benchmarks.idle_load", kind, str(port), str(count))
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load:
            assert load.stdout is not None
            if load.stdout.readline() != "ready\n":
                raise SystemExit(f"{peer.name}: not all of the {count} connections were made")
            return (server.memory_info().rss - before) / count


def allow(files: int) -> None:
    """Ours and the servers' processes may open so many files."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < files:
        raise SystemExit(f"{files} open files are needed, {most} are allowed (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))


def main() -> None:
    count = FEW if options_of("Memory of idle connections").quick else MANY
    allow(count + 500)
    for kind, peers in (("mqtt", MQTT[:2]), ("websocket", WEBSOCKET[:2])):
        sizes = {peer.name: [measure(kind, peer, count) for _ in range(ROUNDS)] for peer in peers}
        report(f"{count:,} idle {kind} connections", "bytes each", sizes)


if __name__ == "__main__":
    main()
