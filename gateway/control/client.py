"""The client's side of the control socket: for commands, and for code that runs beside a daemon. Nothing is awaited."""

import json
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from gateway.control import place
from gateway.exit_codes import MISTAKE, CommandError
from protocols.net.unix_path import address

LOOK = 0.3
"""Seconds between two looks for a gateway that has started since."""
CONNECT = 2.0
"""Seconds in which a daemon takes a connection and a request."""
_CHUNK = 1 << 18
_BAD_REQUEST = 400

Answer = dict[str, Any]


class ControlError(CommandError):
    """No daemon answers, or it cannot do what the request asks for."""


class Misused(ControlError):
    """The request has a mistake."""

    exit_code = MISTAKE


class NoDaemon(ControlError):
    """No daemon has its control socket there."""


class Conversation:
    """A request to every daemon that has its socket beside one of these files, and their answers as they come.

    Use it as a context manager: leaving it ends the conversation.
    """

    def __init__(self, beside: Iterable[Path], request: Mapping[str, Any], *, one: bool = False) -> None:
        """``one``: of the workers of one gateway ask one only. Raises ControlError."""
        self._one = one
        self._beside = list(beside)
        self._line = json.dumps(request).encode() + b"\n"
        self._selector = selectors.DefaultSelector()
        self._joined: set[Path] = set()
        self._read: deque[bytes] = deque()
        """Answers that have not been yielded."""
        trouble = self.join()
        if not len(self):
            self._selector.close()
            raise _unanswered(trouble)

    def join(self) -> Mapping[Path, OSError]:
        """Ask the daemons that have come since, too. Return why others cannot be asked."""
        trouble: dict[Path, OSError] = {}
        for path in (path for each in self._beside for path in place.sockets(each)):
            if path not in self._joined and not (self._one and self._has_joined(place.process_of(path))):
                try:
                    connection = connect(path, self._line)
                except OSError as error:
                    trouble[path] = error
                else:
                    self._joined.add(path)
                    connection.settimeout(0)
                    self._selector.register(connection, selectors.EVENT_READ, bytearray())
        return trouble

    def _has_joined(self, process: str) -> bool:
        return any(place.process_of(each) == process for each in self._joined)

    def __enter__(self) -> "Conversation":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for key in list(self._selector.get_map().values()):
            self._end(key)
        self._selector.close()

    def __len__(self) -> int:
        """How many daemons have not closed it."""
        return len(self._selector.get_map())

    def answers(self, seconds: float | None = None) -> Iterator[Answer]:
        """Yield answers until every daemon has closed the connection or, with ``seconds``, until those have passed. The
        next call goes on where this one was left. Raises ControlError if a daemon answers with an error."""
        ends = None if seconds is None else time.monotonic() + seconds
        while True:
            while self._read:
                yield _checked(json.loads(self._read.popleft()))
            left = None if ends is None else ends - time.monotonic()
            if not self._selector.get_map() or (left is not None and left <= 0):
                return
            for key, _ in self._selector.select(left):
                self._read += self._lines(key)

    def _lines(self, key: selectors.SelectorKey) -> list[bytes]:
        """The lines that have come whole. At the end of the connection it is closed."""
        connection: Any = key.fileobj
        buffer: bytearray = key.data
        try:
            chunk = connection.recv(_CHUNK)
        except BlockingIOError:
            return []
        except OSError:
            chunk = b""
        if not chunk:
            self._end(key)
        buffer += chunk
        if b"\n" not in chunk:
            return []
        *lines, rest = bytes(buffer).split(b"\n")
        buffer[:] = rest
        return lines

    def _end(self, key: selectors.SelectorKey) -> None:
        connection: Any = key.fileobj
        self._selector.unregister(connection)
        connection.close()


def connect(path: Path, line: bytes) -> socket.socket:
    """Connect to the daemon whose socket is at ``path``, and send it a request. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(CONNECT)
        connection.connect(address(path))
        connection.sendall(line)
    except OSError:
        connection.close()
        raise
    return connection


def ring(beside: Iterable[Path]) -> int:
    """Tell every daemon there that another process has put outgoing items into its store: it looks at once, and not
    within a second. Return how many daemons know; 0 if none runs."""
    told = 0
    for path in (path for each in beside for path in place.sockets(each)):
        with suppress(OSError):
            connect(path, b'{"do": "ring"}\n').close()
            told += 1
    return told


def _checked(answer: Answer) -> Answer:
    if "error" in answer:
        raise (Misused if answer.get("status") == _BAD_REQUEST else ControlError)(answer["error"])
    return answer


def _unanswered(trouble: Mapping[Path, OSError]) -> ControlError:
    for path, error in trouble.items():
        if not isinstance(error, ConnectionRefusedError | FileNotFoundError):  # those are of daemons that have died
            return ControlError(f"{path} cannot be used: {error.strerror or error}")
    return NoDaemon("no gateway runs with this file; gateway run starts it")
