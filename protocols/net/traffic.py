"""Bytes that a server has received and sent, as its protocol has them: without TLS, TCP and PROXY headers."""


class Traffic:
    """Counters since the server was made."""

    __slots__ = ("bytes_received", "bytes_sent")

    def __init__(self) -> None:
        self.bytes_received = 0
        self.bytes_sent = 0
