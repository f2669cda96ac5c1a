"""Bytes that a server has received and sent, as its protocol has them: without TLS, TCP and PROXY headers."""

from typing import Protocol


class Counted(Protocol):
    """What has counters of bytes."""

    bytes_received: int
    bytes_sent: int


class Traffic:
    """Counters since the server was made."""

    __slots__ = ("bytes_received", "bytes_sent")

    def __init__(self) -> None:
        self.bytes_received = 0
        self.bytes_sent = 0

    def add(self, other: Counted) -> None:
        self.bytes_received += other.bytes_received
        self.bytes_sent += other.bytes_sent
