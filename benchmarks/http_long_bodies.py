"""Row 1e: answers and uploads of 100 MB over two connections, one process each, in megabytes.

``python -m benchmarks.http_long_bodies get PORT 3`` is the client: it prints megabytes per second.
"""

import socket
import sys
import threading
import time

from benchmarks.http_apps import HUGE
from benchmarks.http_hello import peers
from benchmarks.side_by_side import Load, client, compare

MB = 1_000_000
ROWS = [("answers of 100 MB", "huge", "get"), ("uploads of 100 MB", "post", "post")]
GET = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % HUGE
CONNECTIONS = 2
PIECE = 1 << 20


class Transfers(threading.Thread):
    """Asks again and again until ``end``, at which the last transfer is cut."""

    def __init__(self, kind: str, port: int, end: float) -> None:
        super().__init__()
        self._exchange = self._get if kind == "get" else self._post
        self._end = end
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._buffer = memoryview(bytearray(PIECE))
        self.moved = 0
        """Bytes of bodies."""

    def run(self) -> None:
        with self._socket:
            while self._goes_on():
                self._exchange()

    def _goes_on(self) -> bool:
        return time.perf_counter() < self._end

    def _get(self) -> None:
        self._socket.sendall(GET)
        left = HUGE - self._read_head()
        while left and self._goes_on():
            size = self._socket.recv_into(self._buffer, min(left, PIECE))
            assert size, "the server has closed"
            left -= size
            self.moved += size

    def _post(self) -> None:
        self._socket.sendall(POST)
        for begin in range(0, HUGE, PIECE):
            self._socket.sendall(piece := self._buffer[: HUGE - begin])
            self.moved += len(piece)
            if not self._goes_on():
                return
        left = len(b"Hello, world!") - self._read_head()
        while left:
            left -= len(self._socket.recv(left))

    def _read_head(self) -> int:
        """Read a head. Return how many bytes of the body came with it."""
        head = b""
        while b"\r\n\r\n" not in head:
            data = self._socket.recv(4096)
            assert data, "the server has closed"
            head += data
        assert head.startswith(b"HTTP/1.1 200 "), head[:100]
        return len(head.partition(b"\r\n\r\n")[2])


def rate(kind: str, port: int, seconds: float) -> float:
    """Return megabytes per second."""
    began = time.perf_counter()
    threads = [Transfers(kind, port, began + seconds) for _ in range(CONNECTIONS)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return sum(each.moved for each in threads) / MB / (time.perf_counter() - began)


def load(kind: str) -> Load:
    return lambda port, seconds: client("-m", "benchmarks.http_long_bodies", kind, str(port), str(seconds))


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] in ("get", "post"):
        print(rate(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
    else:
        for words, app, kind in ROWS:
            compare(f"HTTP, {words}, {CONNECTIONS} connections", peers(app), load(kind), unit="MB/s")
