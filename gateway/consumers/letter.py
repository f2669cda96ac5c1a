"""Writes the mails of a handler: what it wants to say, as a mail that can leave, or why it may not."""

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from gateway.consumers.answer_rate import AnswerRate
from gateway.services import Service
from protocols.asgi import DSNRequest, EmailScope, describe
from protocols.mail.compose import Addresses, Attachable, Content, Draft, Mail, Part, compose
from protocols.mail.compose.answer import addressees, is_ours, reply_subject, thread, why_unanswerable
from protocols.mail.compose.attachment import MESSAGE
from protocols.mail.compose.content import message_part
from protocols.mail.compose.fields import merged
from protocols.mail.compose.forward import LOOP, forward_subject, introduced, loop_marks, was_forwarded_by
from protocols.mail.compose.mail import UNKNOWN_DOMAIN, new_message_id
from protocols.mail.compose.mailbox import is_address, mailbox, mailboxes
from protocols.mail.compose.reply_token import ReplyToken, ReplyTokens
from protocols.mail.message import InboundEmail
from protocols.mail.mime import name_by_type

logger = logging.getLogger(__name__)

SMALL = 64 * 1024
"""Characters of text that are written on the loop. More, templates and attachments are written on a thread."""
_REPLIED = {"Auto-Submitted": "auto-replied", "X-Auto-Response-Suppress": "All"}
"""What keeps programs from answering an answer (RFC 3834, 5; the second is Exchange's)."""
_SENT = {"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All"}


@dataclass(frozen=True)
class Answering:
    """What the mail consumers of a gateway share."""

    tokens: ReplyTokens | None = None
    """None: the file has no secret."""
    rate: AnswerRate = field(default_factory=AnswerRate)


answering: Service[Answering] = Service("answering", Answering())


class Outgoing(NamedTuple):
    """A mail, and what its envelope has beside the recipients."""

    mail: Mail
    mail_from: str
    dsn: DSNRequest | None


@dataclass(frozen=True, kw_only=True)
class Letter:
    """What a handler wants to send: the arguments of :meth:`gateway.EmailConsumer.send`, as they are given."""

    to: Addresses | None = None
    subject: str | None = None
    text: str = ""
    html: str | None = None
    attachments: Iterable[Attachable] = ()
    inline: Mapping[str, Attachable | Content] = field(default_factory=dict)
    cc: Addresses = ()
    bcc: Addresses = ()
    reply_to: Addresses = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    template: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)
    token: str = ""
    from_: str = ""
    mail_from: str = ""
    dsn: DSNRequest | None = None

    @property
    def is_small(self) -> bool:
        length = len(self.text) + len(self.html or "")
        return not (self.template or self.attachments or self.inline) and length <= SMALL

    def rendered(self) -> "Letter":
        """Return it with what its template says. A text, HTML or subject that is given counts more."""
        if not self.template:
            return self
        from gateway.django.mail_templates import render  # imports Django

        said = render(self.template, self.context)
        html = said.html if self.html is None else self.html
        subject = said.subject if self.subject is None else self.subject
        return replace(self, text=self.text or said.text, html=html, subject=subject, template="")


class Desk:
    """Writes the mails that a handler sends because of one message."""

    def __init__(self, scope: EmailScope, raw: bytes, message: InboundEmail) -> None:
        self._scope = scope
        self._raw = raw
        self._message = message
        self._here = answering.get()
        self._written = 0

    @property
    def token(self) -> ReplyToken | None:
        """The token of ours in an address of the message."""
        if (tokens := self._here.tokens) is None:
            return None
        named = (*self._scope["rcpt_to"], *self._message.to, *self._message.cc)
        return next((token for token in map(tokens.read, named) if token is not None), None)

    def whom(self, given: Addresses | None = None) -> tuple[Sequence[str], str]:
        """(addresses that an answer goes to, why there are none)."""
        ours = self._ours()
        if why := why_unanswerable(self._message, self._scope["mail_from"], ours):
            return [], why
        if given is None:
            way = self._scope["extensions"].get("reply", {}).get("to", "header")
            found: Sequence[str] = addressees(self._message, self._scope["mail_from"], ours, way)
        else:
            found = [given] if isinstance(given, str) else [*given]
            found = [each for each in found if not is_ours(mailbox(each).address, ours)]
        return found, "" if found else "names nobody whom a program may answer"

    def reply(self, letter: Letter, per_hour: int) -> Outgoing | None:
        """Write an answer to the message in its thread; None, with a line in the log, if there must be none."""
        to, why = self.whom(letter.to)
        if why:
            logger.info("%s: not answered: it %s", describe(self._scope), why, extra={"scope": self._scope})
            return None
        message_id = self._next_id(letter)
        if self._is_over(to, message_id, per_hour):
            return None
        letter = letter.rendered()
        subject = reply_subject(self._message.subject) if letter.subject is None else letter.subject
        ids = thread(self._message)
        return self._written_as(replace(letter, to=to, subject=subject), _REPLIED, message_id, ids, answers=ids[-1:])

    def send(self, letter: Letter) -> Outgoing:
        """Write a mail that is no answer."""
        return self._written_as(letter.rendered(), _SENT, self._next_id(letter))

    def forward(self, letter: Letter, *, inline: bool) -> Outgoing | None:
        """Write a mail that has the message in it; None, with a line in the log, if it has been forwarded before."""
        own = [*self._ours(), mailbox(self._own(letter)).address]
        if self._message.kind == "own" or was_forwarded_by(own, self._scope["headers"]):
            said = "%s: not forwarded: it is our own, or has been forwarded from here before"
            logger.info(said, describe(self._scope), extra={"scope": self._scope})
            return None
        subject = forward_subject(self._message.subject) if letter.subject is None else letter.subject
        letter = replace(letter, subject=subject)
        parts: list[Part] = []
        if inline:
            letter = replace(letter, text=introduced(letter.text, self._message), attachments=self._message.attachments)
        else:
            parts = [message_part(self._raw, name_by_type(MESSAGE, self._message.subject))]
        headers = {**_SENT, LOOP: loop_marks(own[0], self._scope["headers"])}
        return self._written_as(letter, headers, self._next_id(letter), thread(self._message), parts=parts)

    def token_address(self, letter: Letter, to: str) -> str:
        """Return our address with the letter's token, made for ``to``. Raises LookupError without a secret, ValueError
        if the token is too long."""
        if self._here.tokens is None:
            raise LookupError("token= needs a secret; write reply_tokens: {secret: ...} into the gateway's file")
        return self._here.tokens.address(mailbox(self._own(letter)).address, letter.token, to)

    def _written_as(
        self,
        letter: Letter,
        fields: Mapping[str, str],
        message_id: str,
        references: Sequence[str] = (),
        *,
        answers: Sequence[str] = (),
        parts: Sequence[Part] = (),
    ) -> Outgoing:
        to = [] if letter.to is None else mailboxes(letter.to)
        reply_to = letter.reply_to
        if letter.token:
            reply_to = self.token_address(letter, to[0].address if to else "")
        draft = Draft(
            from_=self._own(letter),
            to=[] if letter.to is None else letter.to,
            cc=letter.cc,
            bcc=letter.bcc,
            reply_to=reply_to,
            subject=letter.subject or "",
            text=letter.text,
            html=letter.html,
            attachments=letter.attachments,
            inline=letter.inline,
            headers=merged(fields, letter.headers),
            message_id=message_id,
            in_reply_to="".join(answers),
            references=references,
            parts=parts,
        )
        return Outgoing(compose(draft), letter.mail_from, letter.dsn)

    def _is_over(self, to: Sequence[str], message_id: str, per_hour: int) -> bool:
        address, first = self._here.rate.over([mailbox(each).address for each in to], message_id, per_hour)
        if first:
            said = "%s: not answered: %s has had %d answers within an hour; is it a program?"
            logger.warning(said, describe(self._scope), address, per_hour, extra={"scope": self._scope})
        return bool(address)

    def _ours(self) -> list[str]:
        return [address for address in self._scope["rcpt_to"] if "@" in address and is_address(address)]

    def _own(self, letter: Letter) -> str:
        """Return the address that the mail is from. Raises ValueError if neither the letter nor the message has one."""
        if letter.from_:
            return letter.from_
        own = next(iter(self._ours()), "")
        if not own:
            raise ValueError("the message names none of our addresses; write from_=")
        return self._here.tokens.without(own) if self._here.tokens else own

    def _next_id(self, letter: Letter) -> str:
        """Return a Message-ID that is the same in every attempt at this message, and in no other mail."""
        self._written += 1
        own = mailbox(self._own(letter))
        extensions = self._scope["extensions"]
        event = extensions.get("delivery", extensions.get("event", {})).get("id")
        if event is None:  # under another server
            return new_message_id(own)
        named = repr((self._scope["mail_from"], self._scope["rcpt_to"], self._scope.get("message_id")))
        digest = hashlib.sha256(named.encode(errors="replace")).hexdigest()[:16]
        return f"<{event}.{self._written}.{digest}@{own.domain or UNKNOWN_DOMAIN}>"
