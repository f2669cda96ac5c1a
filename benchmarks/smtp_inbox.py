"""What the inbox costs: the same server with it and without."""

from functools import partial

from benchmarks.side_by_side import Peer, client, compare, python


def command(kind: str, port: int) -> list[str]:
    return python("-m", "benchmarks.inbox_apps", "smtp", kind, str(port))


PEERS = [Peer(kind, partial(command, kind)) for kind in ("stored", "inbox", "plain")]


def load(port: int, seconds: float) -> float:
    return client("-m", "benchmarks.smtp", "send", str(port), str(seconds))


if __name__ == "__main__":
    compare("SMTP, 1 KiB messages, 20 connections, with and without the inbox", PEERS, load, unit="messages/s")
