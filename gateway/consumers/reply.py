"""The helpers by which a handler of mail decides, answers, forwards and sends."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from typing import ClassVar, Generic, TypeVar, Unpack

from gateway.consumers import arguments
from gateway.consumers.base import Consumer
from gateway.consumers.mail_writer import MailWriter, WrittenMail
from gateway.consumers.new_mail import SMALL, ContentArguments, HeaderArguments, MailArguments, new_mail
from protocols.asgi import DSNRequest, EmailDeferEvent, EmailScope
from protocols.mail.compose import Addresses
from protocols.mail.compose.reply_token import ReplyToken
from protocols.mail.message import InboundEmail

R = TypeVar("R")
S = TypeVar("S")
"""The result of the helpers that return a Message-ID: a str, or an awaitable of one in async consumers."""

Write = Callable[[], WrittenMail | None]


class ReplyMethods(Consumer[R], Generic[R, S]):
    """The helpers of both forms."""

    scope: EmailScope
    raw: bytes
    message: InboundEmail

    states = {"decided": "the message has its verdict already; call accept, reject or defer once"}

    answers_per_hour: ClassVar[int] = 20
    """How many times :meth:`reply` writes to one address within an hour. It ends a loop of two programs."""

    mail_from: ClassVar[str] = ""
    """The sender in the envelope of :meth:`reply`, :meth:`send` and :meth:`forward`, unless they name another one: the
    null return path, so that nothing bounces. Some submission servers want an address of yours."""

    def accept(self) -> R:
        return self.perform(self._emit({"type": "email.accept"}, "accept"))

    def reject(self, reason: str = "", code: int = 550) -> R:
        """Reject the message for good: the sender's server gets ``code``, from 500 to 599, and sends a bounce."""
        arguments.text("reject", "reason", reason, "text; the code comes after it: reject(reason, code)")
        arguments.integer("reject", "code", code, "an integer from 500 to 599")
        return self.perform(self._emit({"type": "email.reject", "code": code, "reason": reason}, "reject"))

    def defer(self, reason: str = "", retry_after: float | None = None) -> R:
        """Ask for the message again later. A mailbox is read again after ``retry_after`` seconds; SMTP ignores them."""
        arguments.text("defer", "reason", reason, "text; the seconds come after it: defer(reason, retry_after)")
        arguments.seconds("defer", "retry_after", retry_after)
        event: EmailDeferEvent = {"type": "email.defer", "reason": reason}
        if retry_after is not None:
            event["retry_after"] = retry_after
        return self.perform(self._emit(event, "defer"))

    @property
    def answerable(self) -> bool:
        """Whether the message may be answered: not a bounce, a list's or program's mail, or one of our own, and not one
        in a mailbox that names none of our addresses."""
        return not self._writer.whom()[1]

    @property
    def token(self) -> ReplyToken | None:
        """The token in the address that the message was sent to, if it is one of ours; see :meth:`reply`."""
        return self._writer.token

    def reply(
        self, text: str = "", *, to: Addresses | None = None, wait: bool = False, **mail: Unpack[ContentArguments]
    ) -> S:
        """Answer the message in its thread, from the address that it was sent to. Return the answer's Message-ID.

        It goes to Reply-To if the message has one, otherwise to From; with ``reply_to: envelope`` on the route, to the
        envelope's sender. If the message is not :attr:`answerable`, or its sender has had ``answers_per_hour`` answers
        within an hour, nothing is sent, which is logged, and the Message-ID is empty.

        ``token`` (a ticket's id, say) is signed and put into Reply-To: a mail that comes back to that address has it as
        ``self.token``. The other arguments are those of :meth:`send`.
        """
        answer = new_mail("reply", to, {**mail, "text": text}, mail_from=self.mail_from)
        write = partial(self._writer.reply, answer, self.answers_per_hour)
        return self._leave("reply", write, wait=wait, small=answer.is_small)

    def send(self, to: Addresses, *, wait: bool = False, **mail: Unpack[MailArguments]) -> S:
        """Send a mail of your own to ``to``, one address or several. Return its Message-ID.

        The arguments are ``subject``, ``text``, ``html``, ``attachments``, ``inline``, ``cc``, ``bcc``, ``reply_to``,
        ``headers``, ``template``, ``context``, ``token``, ``from_``, ``mail_from`` and ``dsn``.

        ``attachments`` are paths, ``(filename, content)`` or ``(filename, content, content_type)``, open files, files
        of Django's storage, or attachments of a received mail. ``inline`` are images of the HTML, by name:
        ``{"logo": path}`` is ``<img src="cid:logo">``. ``template`` names templates of Django: ``support/answer`` is
        ``support/answer.txt``, ``.html`` and ``.subject``, as far as they exist, rendered with ``context``.

        ``from_`` is an address of yours, by default the one that the message came for. ``mail_from`` is the envelope's
        sender, by default the class's: bounces go there, and if it is empty there are none. ``dsn`` asks for delivery
        status notifications, which go there, too.

        If the mail is not sent, that is logged, and your handler does not fail. With ``wait`` this raises
        :class:`protocols.NotSent` instead; if you do not catch it, the message that you handle is deferred. On a route
        with a policy everything is sent after your handler has returned, and ``wait`` changes nothing.

        Raises ValueError for an address or a header field that cannot be sent, TypeError for an attachment of no known
        form, LookupError where a token or template needs something that the file does not have, and what reading an
        attachment raises.
        """
        own = new_mail("send", to, mail, mail_from=self.mail_from)
        return self._leave("send", partial(self._writer.send, own), wait=wait, small=own.is_small)

    def forward(
        self,
        to: Addresses,
        *,
        text: str = "",
        inline: bool = False,
        wait: bool = False,
        **mail: Unpack[HeaderArguments],
    ) -> S:
        """Send the message on, attached as it is (``message/rfc822``), below ``text``. Return the Message-ID.

        With ``inline`` its text stands below yours, and its attachments are attached. A message that this address has
        forwarded before is not forwarded again: that is logged, and the Message-ID is empty. The other arguments are
        those of :meth:`send` for the header and the envelope.
        """
        names = HeaderArguments.__annotations__
        copy = new_mail("forward", to, {**mail, "text": text}, mail_from=self.mail_from, known=names)
        write = partial(self._writer.forward, copy, inline=inline)
        return self._leave("forward", write, wait=wait, small=len(self.raw) <= SMALL)

    def send_message(
        self,
        message: bytes,
        rcpt_to: Sequence[str],
        mail_from: str = "",
        *,
        dsn: DSNRequest | None = None,
        wait: bool = False,
    ) -> R:
        """Send ``message``, which is RFC 5322 already, to the recipients ``rcpt_to``. The other arguments are those of
        :meth:`send`."""
        if not isinstance(message, bytes | bytearray | memoryview):
            raise arguments.wrong("send_message", "message", message, "bytes, such as message.as_bytes()")
        if isinstance(rcpt_to, str | bytes) or not isinstance(rcpt_to, Iterable):
            raise arguments.wrong("send_message", "rcpt_to", rcpt_to, 'a list, such as ["ann@example.org"]')
        return self.perform(self._send("send_message", WrittenMail(mail_from, rcpt_to, message, "", dsn), wait))

    def token_address(self, token: str, to: str, *, from_: str = "") -> str:
        """Return the address that ``token`` would put into Reply-To of a mail to ``to``. As ``mail_from`` of that mail
        it gets its bounces. Raises LookupError without a secret, ValueError if the token is too long."""
        return self._writer.token_address(token, to, from_)

    @cached_property
    def _writer(self) -> MailWriter:
        return MailWriter(self.scope, self.raw, self.message)

    @abstractmethod
    def _leave(self, helper: str, write: Write, *, wait: bool, small: bool) -> S:
        """Send what ``write`` of ``helper`` returns, and return its Message-ID; empty if there is nothing to send."""

    async def _submit(self, helper: str, mail: WrittenMail | None, wait: bool) -> str:
        if mail is None:
            return ""
        await self._send(helper, mail, wait)
        return mail.message_id

    async def _send(self, helper: str, mail: WrittenMail, wait: bool) -> None:
        event = mail.event()
        if wait:
            event["wait"] = True
        await self._emit(event, helper)
