"""The daemon's side of the control socket."""

import asyncio
import contextlib
import json
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gateway.control import place
from gateway.control.asking import ASKED_BY
from gateway.control.caller import caller, peer_of
from gateway.own_thread import operator_thread
from protocols.checkpoint import checkpoint
from protocols.errors import describe_error
from protocols.net.listener import Listener, remove_stale
from protocols.net.unix_path import address
from protocols.tasks import Tasks

logger = logging.getLogger(__name__)

CONNECTIONS = 16
"""Connections of clients at a time."""
OF_WORKERS = 32
"""Connections of the other workers of this gateway, beside these: one for each event stream that they send."""
OF_PARENT = 64
"""Connections of their parent, which asks for all who want to know something of every worker."""
LONGEST_REQUEST = 65536
"""Bytes."""
PATIENCE = 5.0
"""Seconds for a request to arrive, and for what a client has not read when its conversation ends."""
HALF_CLOSED = 5.0
"""Seconds for the rest of the answers after a client has closed its half of the connection, or all of it. Workers and
their parent close all of it."""

Request = Mapping[str, Any]
Command = Callable[[Request], AsyncGenerator[Mapping[str, Any], None]]
"""Yields the answers to a request. It is closed when the client leaves, and waits while the client does not read.
Raises BadRequest."""


class BadRequest(Exception):
    """The request cannot be answered. The message is one sentence for the client."""

    status = 400
    """The status of the answer over HTTP, which is in the answer of the control socket, too. 400: the client has made a
    mistake."""


class NotFound(BadRequest):
    """There is nothing by that name."""

    status = 404


class Failed(BadRequest):
    """It has failed, through no mistake of the client."""

    status = 500


class Unavailable(BadRequest):
    """It cannot be done now."""

    status = 503


class ControlServer:
    """Answers requests by ``commands``, whose keys are what ``do`` may name. Only this user can connect."""

    def __init__(
        self,
        beside: Path,
        commands: Mapping[str, Command],
        load: Callable[[], object] = tuple,
        *,
        parent: int | None = None,
    ) -> None:
        """``beside``: the file beside which the socket is made. ``load`` is called on a thread with the first request:
        it imports what ``commands`` needs. ``parent``: the number of the process whose worker this is."""
        self._beside = beside
        self._commands = commands
        self._load: Callable[[], object] | None = load
        self._parent = parent
        self.path = ""
        """The path of the socket, once it listens."""
        self._listener: Listener | None = None
        self._tasks = Tasks("control socket")
        self._talking = Counter[str]()
        """How many conversations there are, by who has begun them."""

    async def start(self) -> None:
        """Listen. Remove the sockets of daemons that have died. Raises OSError."""
        remove_dead(self._beside)
        path = place.socket_path(self._beside, self._parent)
        own = address(path)
        self._listener = Listener(f"unix:{own}", private=True, reserved=True)
        limit = CONNECTIONS + OF_WORKERS + OF_PARENT
        refusal = _line(_error(Unavailable(f"{limit} clients have the control socket already")))
        await self._listener.start(self._connection, count=lambda: len(self._tasks), limit=limit, refusal=refusal)
        self.path = str(path.absolute())

    def retire(self) -> None:
        """Begin no conversation any more, and remove the socket."""
        if self._listener is not None:
            self._listener.stop()

    async def stop(self, grace: float = 0.0) -> None:
        """End all conversations, those that have an end within ``grace`` seconds of themselves, and remove the
        socket."""
        self.retire()
        await self._tasks.drain(grace)
        await self._tasks.cancel()

    def _connection(self) -> asyncio.BaseProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(LONGEST_REQUEST), self._begin)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.spawn(self._converse(reader, writer), name="a client")

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caller.set(peer_of(writer.get_extra_info("socket")))
        try:
            request = await _read(reader)
            with self._place(request.pop(ASKED_BY, "")) as who:
                grace = HALF_CLOSED if who == "client" else 0.0
                await self._answer_until_left(request, reader, writer, grace)
        except BadRequest as error:
            await _complain(writer, error)
        except TimeoutError:
            await _complain(writer, BadRequest(f"no request came within {PATIENCE:g} s"))
        except asyncio.CancelledError:  # the daemon ends, and waits for no client that does not read
            writer.transport.abort()
            raise
        finally:
            await _close(writer)

    @contextlib.contextmanager
    def _place(self, by: object) -> Iterator[str]:
        """Take one of the places for conversations that ``by`` has begun: ``worker``, ``parent``, or any other
        ``client``. Raises Unavailable if there is none."""
        who = str(by) if by in ("worker", "parent") else "client"
        limit, said = {
            "client": (CONNECTIONS, "clients have the control socket already"),
            "worker": (OF_WORKERS, "event streams of other workers are open already"),
            "parent": (OF_PARENT, "questions to all workers are open already"),
        }[who]
        if self._talking[who] >= limit:
            raise Unavailable(f"{limit} {said}")
        self._talking[who] += 1
        try:
            yield who
        finally:
            self._talking[who] -= 1

    async def _answer_until_left(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, grace: float
    ) -> None:
        answering = asyncio.create_task(self._answer(request, writer))
        leaving = asyncio.create_task(_left(reader))
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():  # a client may close its half of the connection and still read
                await asyncio.wait({answering}, timeout=grace)
        finally:
            for task in (answering, leaving):
                task.cancel()
            failures = await asyncio.gather(answering, leaving, return_exceptions=True)
        for failure in failures:
            if isinstance(failure, BadRequest):
                raise failure

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if self._load is not None:
            await operator_thread.run(self._load)
            self._load = None
        name = request.get("do")
        command = self._commands.get(name) if isinstance(name, str) else None
        if command is None:
            raise BadRequest(f"there is no {name!r}; there are {', '.join(sorted(self._commands))}")
        try:
            async with contextlib.aclosing(command(request)) as answers:
                async for answer in answers:
                    await _write(writer, answer)
        except (BadRequest, OSError):
            raise
        except Exception as error:
            logger.exception("control socket: %s failed", name)
            raise Failed(f"{name} failed: {describe_error(error)}") from error


def remove_dead(beside: Path) -> None:
    """Remove the sockets beside this file of daemons that have died."""
    for path in place.sockets(beside):
        with contextlib.suppress(OSError):  # a daemon that lives has it
            remove_stale(address(path))


async def _read(reader: asyncio.StreamReader) -> dict[str, Any]:
    """Raises BadRequest, or TimeoutError."""
    async with asyncio.timeout(PATIENCE):
        try:
            line = await reader.readline()
            request = json.loads(line)
        except (ValueError, RecursionError):  # also a line that is too long
            request = None
    if not isinstance(request, dict):
        said = f'write one line with one JSON object, such as {{"do": "ring"}}, of {LONGEST_REQUEST} bytes at most'
        raise BadRequest(said)
    return request


async def _left(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(LONGEST_REQUEST):
            pass


def _line(answer: Mapping[str, Any]) -> bytes:
    return json.dumps(answer).encode() + b"\n"


async def _write(writer: asyncio.StreamWriter, answer: Mapping[str, Any]) -> None:
    """Wait until the client reads. Raises OSError if it is gone."""
    writer.write(_line(answer))
    await writer.drain()
    await checkpoint()  # many answers may be ready at once


def _error(error: BadRequest) -> Mapping[str, Any]:
    return {"error": str(error), "status": error.status}


async def _complain(writer: asyncio.StreamWriter, error: BadRequest) -> None:
    with contextlib.suppress(OSError):  # it has left: another daemon that starts looks whether this one lives
        await _write(writer, _error(error))


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close the connection when the client has read all, or after ``PATIENCE``."""
    writer.close()
    try:
        async with asyncio.timeout(PATIENCE):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        pass
    finally:
        writer.transport.abort()
