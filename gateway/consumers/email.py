"""Consumers of the email scope: one instance for each message and group of recipients."""

import asyncio
import io
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, ClassVar, TypeVar

from gateway.consumers.base import Asked
from gateway.consumers.forms import AsyncForm, Awaited, SyncForm
from gateway.consumers.hooks import Call
from gateway.consumers.parameters import NO_EXTRAS, Extras, extras
from gateway.consumers.reply import ReplyMethods, Write
from gateway.threads import run_in_thread
from protocols.asgi import EmailReceiveEvent, EmailScope, Receive, Send, URLRoute
from protocols.mail.message import InboundEmail

R = TypeVar("R")
S = TypeVar("S")

_NO_ROUTE: URLRoute = {"args": (), "kwargs": {}}

INLINE = 32 * 1024
"""A message of an async consumer that is not larger, and has few tags, is read by the handler, on the event loop. The
worst of them take some 50 ms, whatever their encoding, for a handler that reads all."""

INLINE_TAGS = 1000
"""Signs of ``<`` in such a message: tags cost the most. (HTML in base64 has a quarter less room for them.)"""

INLINE_TEXT = 16 * 1024
"""If another message has more octets of headers and text, it is read on a thread before the handler: a megabyte of
hostile HTML takes 2 s."""

SPLIT_INLINE = 64 * 1024
"""The structure of a larger message is read on a thread, too."""

_READERS = 2
"""Threads that only read mail: what one mail takes must not keep the threads of handlers from others."""


class EmailMethods(ReplyMethods[R, S]):
    """The methods of both forms. Write ``receive``: returning accepts, raising defers (the sender tries again)."""

    scope: EmailScope

    instead = {"email.receive": Asked("receive", "self.reply(text)")}
    _hooks = {"receive": Call(more=True)}
    _required = ("receive", "email_receive")

    extras: ClassVar[Extras] = NO_EXTRAS
    """The parameters of ``receive`` beside the message."""

    raw: bytes
    """The message as it arrived (RFC 5322)."""
    message: InboundEmail
    """The message as a person reads it. To pass it on, use ``raw``: signatures are over those bytes."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.extras = extras(cls.receive, given=1, keys=())

    async def run(self, scope: EmailScope, receive: Receive, send: Send) -> None:
        self._content: io.BytesIO | None = None
        await super().run(scope, receive, send)

    async def dispatch(self, event: Any) -> None:
        if event["type"] == "email.receive":
            if event["more_body"] or self._content is not None:
                self._gather(event["body"])
            if event["more_body"]:
                return
            self.raw = event["body"] if self._content is None else self._content.getvalue()
            self._content = None
            self.message = InboundEmail(self.raw, mail_from=self.scope["mail_from"], rcpt_to=self.scope["rcpt_to"])
            await self._prepare()
        await super().dispatch(event)

    def _gather(self, chunk: bytes) -> None:
        """Add ``chunk`` to the content. BytesIO hands out the bytes that it has gathered without a copy."""
        if self._content is None:
            self._content = io.BytesIO()
        self._content.write(chunk)

    async def _prepare(self) -> None:
        """Read the message before the handler, where reading it in the handler could stop others."""

    def email_receive(self, event: EmailReceiveEvent) -> Any:
        if self.extras is not NO_EXTRAS:
            return self.receive(self.message, **self.extras.of({}, self.scope.get("url_route", _NO_ROUTE)["kwargs"]))
        return self.receive(self.message)

    def receive(self, message: InboundEmail, *args: Any, **kwargs: Any) -> Any:
        """Handle one message, which is for ``self.scope["rcpt_to"]``.

        Your method can name more parameters: the named groups of the route's regular expression.
        """


def _read_text(message: InboundEmail) -> None:
    """Read what could hold up the loop. A large attachment beside a short text does not."""
    if message.octets_to_read > INLINE_TEXT:
        message.read()


@cache
def _readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_READERS, thread_name_prefix="mail reader")


class EmailConsumer(EmailMethods[None, str], SyncForm):
    """Plain methods, called on a thread."""

    def _leave(self, helper: str, write: Write, *, wait: bool, small: bool) -> str:
        return self._wait_for(self._submit(helper, write(), wait))


class AsyncEmailConsumer(EmailMethods[Awaited, Coroutine[Any, Any, str]], AsyncForm):
    """``async def`` methods; the helpers are awaited."""

    async def _leave(self, helper: str, write: Write, *, wait: bool, small: bool) -> str:
        return await self._submit(helper, write() if small else await run_in_thread(write), wait)

    async def _prepare(self) -> None:
        size = len(self.raw)
        if size <= INLINE and self.raw.count(b"<") <= INLINE_TAGS:
            return
        if size > SPLIT_INLINE or self.message.octets_to_read > INLINE_TEXT:
            await asyncio.get_running_loop().run_in_executor(_readers(), _read_text, self.message)
