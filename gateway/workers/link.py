"""The parent, as a worker sees it."""

import asyncio
import contextlib
import json
import os
import secrets
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from gateway.control.server import Unavailable
from gateway.exit_codes import CANNOT_START, INTERRUPTED
from gateway.reload.channel import Channel, Message, Received, close_all
from gateway.reload.errors import HandOverFailed
from gateway.workers.ask import PATIENCE
from gateway.workers.worker import ENVIRONMENT, PROTOCOL
from protocols.errors import BindError

MARGIN = 1.0
"""Seconds that the parent may take in addition to the worker that it waits for."""
_ENDED = "the parent process has ended"
_SILENT = "the parent process does not answer"


class Link:
    """This process' way to its parent."""

    def __init__(self, channel: Channel, slot: int) -> None:
        self.slot = slot
        self.parent = os.getppid()
        self.generation = 1
        self.sockets_stay = False
        """Whether the sockets stay open when this gateway ends: systemd keeps them."""
        self.is_first = False
        """Whether it is the first worker of a gateway that starts."""
        self.logins: Sequence[Mapping[str, Any]] = ()
        """The logins to the console that other workers knew when it began."""
        self._channel = channel
        self._asked: dict[str, asyncio.Future[Received]] = {}
        self._is_over = False
        """Whether the parent has ended."""

    @classmethod
    def of_environment(cls) -> Self:
        """Return that of this process. It ends if the parent speaks another version of the protocol. Programs that the
        application starts do not see it."""
        version, *rest = os.environ.pop(ENVIRONMENT).split()
        if version != str(PROTOCOL):
            sys.stderr.write("the release that is in place now has other workers; restart the gateway to run it\n")
            sys.exit(CANNOT_START)
        slot, descriptor = map(int, rest)
        return cls(Channel.inherited(descriptor, "the parent process"), slot)

    def begin(self) -> tuple[str, str]:
        """Wait for the beginning. Return the text of the gateway's file, and its folder."""
        if (received := self._channel.wait()) is None:
            sys.exit(INTERRUPTED)
        message, [file] = received
        self.generation, self.is_first = message["generation"], message["first"]
        self.sockets_stay = message["kept"]
        with file, file.makefile("rb") as stream:
            given = json.load(stream)
        self.logins = given["logins"]
        return given["text"], given["folder"]

    async def listen(self, acts: Mapping[str, Callable[[Message], object]]) -> None:
        """Do what the parent says, until it has ended."""
        while (received := await self._received()) is not None:
            message, sockets = received
            if message["do"] == "answer" and (asked := self._asked.pop(message["to"], None)) is not None:
                if asked.done():  # the task that asked was cancelled
                    close_all(sockets)
                else:
                    asked.set_result(received)
            elif (act := acts.get(message["do"])) is not None:
                act(message)
        self._is_over = True
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(BindError(_ENDED))

    async def _received(self) -> Received | None:
        try:
            return await self._channel.receive()
        except HandOverFailed:
            return None

    def say(self, do: str, **more: object) -> None:
        """Tell the parent. It does not hear it if it was stopped for minutes, so that its channel is full."""
        with contextlib.suppress(HandOverFailed):
            self._channel.send({"do": do, **more})

    async def sockets(self, **wanted: object) -> list[socket.socket]:
        """Return the sockets of this worker for an address. Raises BindError."""
        message, sockets = await self._ask("sockets", **wanted)
        if "error" in message:
            raise BindError(message["error"])
        return sockets

    async def roll(self, **more: object) -> str:
        """Let all workers be replaced. Return why they are not; empty if they are."""
        try:
            message, _ = await self._ask("roll", **more)
        except BindError as error:
            return str(error)
        why: str = message["why"]
        return why

    async def gather(self, request: Mapping[str, Any], within: float = PATIENCE) -> Mapping[str, Any]:
        """Ask the other workers something, or every worker for its metrics. In the answer ``found`` has, for each, its
        number and its answer, if there is one ``within`` so many seconds. It may be long, so that it comes on a socket
        of its own. Raises Unavailable if the parent has ended, or does not answer: it may be stopped."""
        try:
            reader, writer = await self._opened("gather", ask=dict(request), within=within)
        except HandOverFailed as error:  # it was stopped for minutes
            raise Unavailable(_SILENT) from error
        try:
            async with asyncio.timeout(within + MARGIN):
                text = await reader.read()
        except TimeoutError as error:
            raise Unavailable(_SILENT) from error
        except OSError as error:
            raise Unavailable(_ENDED) from error
        finally:
            writer.close()
        if not text:
            raise Unavailable(_ENDED)
        found: Mapping[str, Any] = await asyncio.to_thread(json.loads, text)
        return found

    async def last(self, counted: Mapping[str, Any]) -> None:
        """Tell the parent what this worker has counted at its end."""
        with contextlib.suppress(OSError):  # it has ended, or was stopped for minutes
            _, writer = await self._opened("last")
            writer.write(await asyncio.to_thread(lambda: json.dumps(counted).encode()))
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    async def _opened(self, do: str, **more: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Give the parent one end of a connection. Return the other one. Raises HandOverFailed."""
        with contextlib.ExitStack() as opened:
            ours, theirs = map(opened.enter_context, socket.socketpair())
            self._channel.send({"do": do, **more}, [theirs])
            opened.pop_all()
            theirs.close()
        return await asyncio.open_connection(sock=ours)

    async def _ask(self, do: str, **more: object) -> Received:
        request = secrets.token_hex(8)
        asked: asyncio.Future[Received] = asyncio.get_running_loop().create_future()
        self._asked[request] = asked
        try:
            self._channel.send({"do": do, "request": request, **more})
        except HandOverFailed as error:
            raise BindError(str(error)) from error
        if self._is_over:
            raise BindError(_ENDED)
        return await asked
