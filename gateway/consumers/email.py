"""Consumers of the email scope: one instance per message and group of recipients."""

import asyncio
import email
import email.message
import email.parser
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from email.policy import Compat32
from functools import cache
from typing import Any, TypeVar

from gateway.consumers.base import AsyncForm, Awaited, Consumer, SyncForm
from gateway.consumers.hooks import Call
from gateway.consumers.reply import compose, has_ends, may_answer
from protocols.asgi import EmailDeferEvent, EmailReceiveEvent, EmailScope, EmailSendEvent, Receive, Send

R = TypeVar("R")

INLINE = 8 * 1024
"""Bytes of message that are parsed on the loop; larger ones on a thread: 64 KiB of nested parts take 0.4 s."""

_PARSERS = 2
"""Threads that parse. They are nobody else's: a mail of a thousand nested parts takes seconds."""


class EmailMethods(Consumer[R]):
    """The methods of both forms. Write ``receive``: returning accepts, raising defers (the sender tries again)."""

    scope: EmailScope

    _hooks = {"receive": Call()}
    _required = ("receive", "email_receive")

    raw: bytes
    """The message as it came (RFC 5322)."""
    message: email.message.Message
    """The same, parsed; each header is a str. Never write it back out: ``raw`` is what was signed."""

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
        return self.receive(self.message)

    def receive(self, message: email.message.Message) -> Any:
        """One message; ``self.scope["rcpt_to"]`` says for whom."""

    def accept(self) -> R:
        return self.perform(self._emit({"type": "email.accept"}))

    def reject(self, reason: str = "", code: int = 550) -> R:
        """Never: the sender's server is given ``code``, from 500 to 599, and bounces."""
        return self.perform(self._emit({"type": "email.reject", "code": code, "reason": reason}))

    def defer(self, reason: str = "", retry_after: float | None = None) -> R:
        """Not now: the sender's server keeps the message and tries again; ``retry_after`` in seconds, for mailboxes."""
        event: EmailDeferEvent = {"type": "email.defer", "reason": reason}
        if retry_after is not None:
            event["retry_after"] = retry_after
        return self.perform(self._emit(event))

    def send(self, rcpt_to: Sequence[str], message: bytes, mail_from: str = "", *, wait: bool = False) -> R:
        """Send a message of your own. ``mail_from`` empty: no bounces, please.

        What does not leave is logged, and does not fail your handler. With ``wait`` it raises
        :class:`protocols.NotSent` here instead; left uncaught, that defers the message that you handle. On a
        route with a policy nothing leaves before your handler has returned: there ``wait`` changes nothing.
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
        """Whether an automatic answer may go out (RFC 3834): not to bounces, lists, robots or ourselves; and not where
        the message, in a mailbox, does not tell to whom, or from which address of ours."""
        return has_ends(self.scope) and may_answer(self.message, self.scope["mail_from"])

    def reply(self, text: str, subject: str | None = None, *, wait: bool = False) -> R:
        """Answer the sender in the same thread, from the address that was written to. Nothing leaves where the message
        is not :attr:`answerable`. ``wait`` is that of :meth:`send`."""
        return self.perform(self._reply(text, subject, wait))

    async def _reply(self, text: str, subject: str | None, wait: bool) -> None:
        if self.answerable:
            recipient, answer = compose(self.message, self.scope, text, subject)
            await self._send([recipient], answer, "", wait)


def _listed(rcpt_to: Any) -> Any:
    """A text is no list of its characters."""
    return rcpt_to if isinstance(rcpt_to, str | bytes) else list(rcpt_to)


class _Text(Compat32):
    """Headers are text, also where they came as UTF-8 (RFC 6532), for which the stdlib gives a row of U+FFFD; a byte
    that is no UTF-8 is one of those."""

    def header_fetch_parse(self, name: str, value: str) -> str:
        return str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


_TEXT = _Text()


async def _parse_on_a_thread(raw: bytes) -> email.message.Message:
    return await asyncio.get_running_loop().run_in_executor(_parsers(), parse, raw)


@cache
def _parsers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_PARSERS, thread_name_prefix="mail parser")


def parse(raw: bytes) -> email.message.Message:
    """``raw`` as the stdlib's tolerant, lazy message. Never raises: where its body cannot be parsed (a thousand nested
    parts), the headers are, and the body is one payload."""
    try:
        return email.message_from_bytes(raw, policy=_TEXT)
    except Exception:  # the parser's own faults on hostile input: RecursionError, IndexError and others
        return email.parser.BytesHeaderParser(policy=_TEXT).parsebytes(raw)


class EmailConsumer(EmailMethods[None], SyncForm):
    """Plain methods, called on a thread."""


class AsyncEmailConsumer(EmailMethods[Awaited], AsyncForm):
    """``async def`` methods; the helpers are awaited."""
