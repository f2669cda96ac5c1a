"""Rows 1b and 1c: HTTP with bodies, one process each.

A POST of 1 KiB that the application reads, an answer of 10 KiB with one header of its own, a GET and a POST of 1 MiB.
"""

from benchmarks.http_hello import peers
from benchmarks.side_by_side import Load, client, compare

ROWS = [
    ("POST of 1 KiB, 64 connections", "post", "post", 64),
    ("answer of 10 KiB with a fresh header, 64 connections", "json", "http", 64),
    ("GET of 1 MiB, 16 connections", "large", "http", 16),
    ("POST of 1 MiB, 16 connections", "post", "upload", 16),
]


def load(kind: str, connections: int) -> Load:
    return lambda port, seconds: client(
        "-m", "benchmarks.windowed", kind, str(port), str(connections), "1", str(seconds)
    )


if __name__ == "__main__":
    for words, app, kind, connections in ROWS:
        compare(f"HTTP, {words}", peers(app), load(kind, connections), unit="requests/s")
