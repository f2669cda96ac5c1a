"""What keeps a mailbox from being read, in the operator's words: one log line for each problem, not for each try."""

import errno
import logging
import random
import re
import socket
import ssl
import time

from protocols.errors import Disconnected

logger = logging.getLogger(__name__)

LONGEST_RECONNECT = 60.0
"""Seconds between two attempts to connect, at most."""
STEADY = 30.0
"""After a connection that lasted for so many seconds, the waits begin with the shortest again."""
_NUMBERS = re.compile(r"\d+")
"""The parts of a server's words that differ each time: clocks, durations, names of sessions."""


class Trouble:
    """The trouble of one connection or folder. ``where``: ``support INBOX at imap.example.org``."""

    def __init__(self, where: str) -> None:
        self.where = where
        self._told = ""
        self.last = ""
        """The last reason, also when it is over."""
        self.at: float | None = None
        """The Unix time at which that kept the mailbox from being read, for the last time."""

    def tell(self, reason: str, follows: str) -> None:
        """Log the reason, unless it was the last one, too."""
        self.last, self.at = reason, time.time()
        if (kind := _NUMBERS.sub("", reason)) != self._told:
            self._told = kind
            logger.warning("%s: %s; %s", self.where, reason, follows)

    def over(self, words: str) -> None:
        """Log that it is over, if there was any."""
        if self._told:
            self._told = ""
            logger.info("%s: %s", self.where, words)


class Backoff:
    """The waits between attempts to connect: ``first`` seconds, then twice as long each time."""

    def __init__(self, first: float) -> None:
        self._first = self._next = first

    def next(self, *, lasted: float) -> float:
        """Return the seconds to wait after a connection that ``lasted`` so long; never the same for two readers."""
        if lasted > STEADY:
            self._next = self._first
        seconds = min(self._next, LONGEST_RECONNECT)
        self._next = seconds * 2
        return seconds * random.uniform(0.8, 1.2)  # noqa: S311 -- jitter


def reason_of(error: Exception) -> str:
    """Say in a few words why a connection cannot be had."""
    match error:
        case Disconnected():
            return str(error)
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {error.reason or error}"
        case socket.gaierror():
            return f"its name has no address: {error.strerror}"
        case OSError() if f"Errno {errno.ECONNREFUSED}" in str(error):  # one address, or each of several
            return "connection refused"
        case OSError():
            return error.strerror or str(error) or type(error).__name__
        case _:
            return str(error)
