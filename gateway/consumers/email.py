"""Consumers of the email scope: one instance for each message and group of recipients."""

import asyncio
import email
import email.message
import email.parser
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from email.policy import Compat32
from functools import cache
from typing import Any, ClassVar, TypeVar

from gateway.consumers.base import AsyncForm, Awaited, Consumer, SyncForm
from gateway.consumers.hooks import Call
from gateway.consumers.parameters import Extras, extras
from gateway.consumers.reply import compose, has_ends, may_answer
from protocols.asgi import EmailDeferEvent, EmailReceiveEvent, EmailScope, EmailSendEvent, Receive, Send, URLRoute

R = TypeVar("R")

_NO_ROUTE: URLRoute = {"args": (), "kwargs": {}}

INLINE = 8 * 1024
"""A larger message is parsed on a thread: 64 KiB of nested parts take 0.4 s."""

_PARSERS = 2
"""Threads that only parse: a mail of a thousand nested parts takes seconds."""


class EmailMethods(Consumer[R]):
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

    def accept(self) -> R:
        return self.perform(self._emit({"type": "email.accept"}))

    def reject(self, reason: str = "", code: int = 550) -> R:
        """Reject the message for good: the sender's server gets ``code``, from 500 to 599, and sends a bounce."""
        return self.perform(self._emit({"type": "email.reject", "code": code, "reason": reason}))

    def defer(self, reason: str = "", retry_after: float | None = None) -> R:
        """Ask for the message again later. A mailbox is read again after ``retry_after`` seconds; SMTP ignores them."""
        event: EmailDeferEvent = {"type": "email.defer", "reason": reason}
        if retry_after is not None:
            event["retry_after"] = retry_after
        return self.perform(self._emit(event))

    def send(self, rcpt_to: Sequence[str], message: bytes, mail_from: str = "", *, wait: bool = False) -> R:
        """Send a message of your own. With an empty ``mail_from`` there are no bounces.

        If it is not sent, that is logged, and your handler does not fail. With ``wait`` this raises
        :class:`protocols.NotSent` instead; if you do not catch it, the message that you handle is deferred. On a route
        with a policy everything is sent after your handler has returned, and ``wait`` changes nothing.
        """
        return self.perform(self._send(rcpt_to, message, mail_from, wait))

    async def _send(self, rcpt_to: Sequence[str], message: bytes, mail_from: str, wait: bool) -> None:
        event: EmailSendEvent = {
            "type": "email.send",
            "mail_from": mail_from,
            "rcpt_to": _listed(rcpt_to),
            "message": message,
        }
        if wait:
            event["wait"] = True
        await self._emit(event)

    @property
    def answerable(self) -> bool:
        """Whether an automatic answer may be sent (RFC 3834): not to bounces, lists, robots or ourselves, and not if a
        message in a mailbox names no sender, or none of our addresses."""
        return has_ends(self.scope) and may_answer(self.message, self.scope["mail_from"])

    def reply(self, text: str, subject: str | None = None, *, wait: bool = False) -> R:
        """Answer the sender in the same thread, from the address that the message was sent to.

        Nothing is sent if the message is not :attr:`answerable`. ``wait`` is that of :meth:`send`.
        """
        return self.perform(self._reply(text, subject, wait))

    async def _reply(self, text: str, subject: str | None, wait: bool) -> None:
        if self.answerable:
            recipient, answer = compose(self.message, self.scope, text, subject)
            await self._send([recipient], answer, "", wait)


def _listed(rcpt_to: Any) -> Any:
    """Return a list, except of a str, which would become a list of its characters."""
    return rcpt_to if isinstance(rcpt_to, str | bytes) else list(rcpt_to)


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


class EmailConsumer(EmailMethods[None], SyncForm):
    """Plain methods, called on a thread."""


class AsyncEmailConsumer(EmailMethods[Awaited], AsyncForm):
    """``async def`` methods; the helpers are awaited."""
