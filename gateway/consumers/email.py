"""Consumers of the email scope: one instance for each message and group of recipients."""

import asyncio
import email
import email.message
import email.parser
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from email.policy import Compat32
from functools import cache, cached_property
from typing import Any, ClassVar, TypeVar

from gateway.consumers.base import AsyncForm, Awaited, SyncForm
from gateway.consumers.hooks import Call
from gateway.consumers.letter import Desk
from gateway.consumers.parameters import Extras, extras
from gateway.consumers.received import Received
from gateway.consumers.reply import ReplyMethods, Write
from gateway.threads import call_from_thread, run_in_thread
from protocols.asgi import EmailReceiveEvent, EmailScope, Receive, Send, URLRoute

R = TypeVar("R")
S = TypeVar("S")

_NO_ROUTE: URLRoute = {"args": (), "kwargs": {}}

INLINE = 8 * 1024
"""A larger message is parsed on a thread: 64 KiB of nested parts take 0.4 s."""

_PARSERS = 2
"""Threads that only parse: a mail of a thousand nested parts takes seconds."""


class EmailMethods(ReplyMethods[R, S]):
    """The methods of both forms. Write ``receive``: returning accepts, raising defers (the sender tries again)."""

    scope: EmailScope

    _hooks = {"receive": Call(more=True)}
    _required = ("receive", "email_receive")

    extras: ClassVar[Extras] = Extras()
    """The parameters of ``receive`` beside the message."""

    raw: bytes
    """The message as it arrived (RFC 5322)."""
    message: email.message.Message
    """The parsed message; each header is a str. To pass it on, use ``raw``: signatures are over those bytes."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.extras = extras(cls.receive, given=1, keys=())

    @cached_property
    def _desk(self) -> Desk:
        return Desk(self.scope, self.raw, Received(self.message))

    async def run(self, scope: EmailScope, receive: Receive, send: Send) -> None:
        self._chunks: list[bytes] = []
        await super().run(scope, receive, send)

    async def dispatch(self, event: Any) -> None:
        if event["type"] == "email.receive":
            self._chunks.append(event["body"])
            if event["more_body"]:
                return
            self.raw = b"".join(self._chunks)
            self.message = parse(self.raw) if len(self.raw) <= INLINE else await _parse_on_a_thread(self.raw)
        await super().dispatch(event)

    def email_receive(self, event: EmailReceiveEvent) -> Any:
        if self.extras:
            return self.receive(self.message, **self.extras.of({}, self.scope.get("url_route", _NO_ROUTE)["kwargs"]))
        return self.receive(self.message)

    def receive(self, message: email.message.Message, *args: Any, **kwargs: Any) -> Any:
        """Handle one message, which is for ``self.scope["rcpt_to"]``.

        Your method can name more parameters: the named groups of the route's regular expression.
        """


class _Text(Compat32):
    """Headers are str, also if they came as UTF-8 (RFC 6532), which the stdlib replaces by a row of U+FFFD. A byte that
    is not UTF-8 becomes one of those."""

    def header_fetch_parse(self, name: str, value: str) -> str:
        return str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


_TEXT = _Text()


async def _parse_on_a_thread(raw: bytes) -> email.message.Message:
    return await asyncio.get_running_loop().run_in_executor(_parsers(), parse, raw)


@cache
def _parsers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_PARSERS, thread_name_prefix="mail parser")


def parse(raw: bytes) -> email.message.Message:
    """Parse ``raw`` into the stdlib's tolerant, lazy message. Never raises.

    If the body cannot be parsed, as with a thousand nested parts, only the headers are, and the body is one payload.
    """
    try:
        return email.message_from_bytes(raw, policy=_TEXT)
    except Exception:  # the parser's own bugs on hostile input: RecursionError, IndexError and others
        return email.parser.BytesHeaderParser(policy=_TEXT).parsebytes(raw)


class EmailConsumer(EmailMethods[None, str], SyncForm):
    """Plain methods, called on a thread."""

    def _leave(self, write: Write, *, wait: bool, small: bool) -> str:
        return call_from_thread(self._loop, self._submit(write(), wait))


class AsyncEmailConsumer(EmailMethods[Awaited, Coroutine[Any, Any, str]], AsyncForm):
    """``async def`` methods; the helpers are awaited."""

    async def _leave(self, write: Write, *, wait: bool, small: bool) -> str:
        return await self._submit(write() if small else await run_in_thread(write), wait)
