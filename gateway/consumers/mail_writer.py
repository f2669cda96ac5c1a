"""Writes mails that can leave: new ones, and answers to a message, unless it must not be answered."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from gateway.consumers.answering import answering
from gateway.consumers.new_mail import NewMail
from protocols.asgi import DSNRequest, EmailScope, EmailSendEvent, describe
from protocols.mail.compose import Addresses, Draft, Part, compose
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

_REPLIED = {"Auto-Submitted": "auto-replied", "X-Auto-Response-Suppress": "All"}
"""What keeps programs from answering an answer (RFC 3834, 5; the second is Exchange's)."""
SENT = {"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All"}


class WrittenMail(NamedTuple):
    """A mail that can leave, with its envelope."""

    mail_from: str
    rcpt_to: Sequence[str]
    message: bytes
    """RFC 5322."""
    message_id: str
    dsn: DSNRequest | None

    def event(self) -> EmailSendEvent:
        event: EmailSendEvent = {
            "type": "email.send",
            "mail_from": self.mail_from,
            "rcpt_to": _listed(self.rcpt_to),
            "message": self.message,
        }
        if self.dsn is not None:
            event["dsn"] = self.dsn
        return event


def written(
    mail: NewMail,
    from_: str,
    *,
    tokens: ReplyTokens | None,
    message_id: str = "",
    headers: Mapping[str, str] = SENT,
    references: Sequence[str] = (),
    answers: Sequence[str] = (),
    parts: Sequence[Part] = (),
) -> WrittenMail:
    """Write ``mail``, which is from ``from_``.

    Raises ValueError for an address or a header field that cannot be sent, TypeError for an attachment of no known
    form, LookupError for a token without a secret, and what reading an attachment raises.
    """
    to = mail.to if isinstance(mail.to, str) else [*(mail.to or ())]
    first = next((each.address for each in mailboxes(to)), "")
    draft = Draft(
        from_=from_,
        to=to,
        cc=mail.cc,
        bcc=mail.bcc,
        reply_to=token_address(tokens, mail.token, from_, first) if mail.token else mail.reply_to,
        subject=mail.subject or "",
        text=mail.text,
        html=mail.html,
        attachments=mail.attachments,
        inline=mail.inline,
        headers=merged(headers, mail.headers),
        message_id=message_id,
        in_reply_to="".join(answers),
        references=references,
        parts=parts,
    )
    made = compose(draft)
    return WrittenMail(mail.mail_from, made.rcpt_to, made.message, made.message_id, mail.dsn)


def token_address(tokens: ReplyTokens | None, token: str, from_: str, to: str) -> str:
    """Return ``from_`` with ``token``, made for ``to``. Raises LookupError without a secret, ValueError if the token is
    too long."""
    if tokens is None:
        raise LookupError("token= needs a secret; write reply_tokens: {secret: ...} into the gateway's file")
    return tokens.address(mailbox(from_).address, token, to)


def _listed(rcpt_to: Any) -> Any:
    """Return a list, except of a str, which would become a list of its characters."""
    return rcpt_to if isinstance(rcpt_to, str | bytes) else list(rcpt_to)


class MailWriter:
    """Writes the mails that a handler sends because of one message."""

    def __init__(self, scope: EmailScope, raw: bytes, message: InboundEmail) -> None:
        self._scope = scope
        self._raw = raw
        self._message = message
        self._here = answering.get()
        self._number = 0

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

    def reply(self, mail: NewMail, per_hour: int) -> WrittenMail | None:
        """Write an answer to the message in its thread; None, with a line in the log, if there must be none."""
        to, why = self.whom(mail.to)
        if why:
            logger.info("%s: not answered: it %s", describe(self._scope), why, extra={"scope": self._scope})
            return None
        message_id = self._next_id(mail)
        if self._is_over(to, message_id, per_hour):
            return None
        mail = mail.rendered()
        subject = reply_subject(self._message.subject) if mail.subject is None else mail.subject
        ids = thread(self._message)
        return self._written(replace(mail, to=to, subject=subject), _REPLIED, message_id, ids, answers=ids[-1:])

    def send(self, mail: NewMail) -> WrittenMail:
        """Write a mail that does not answer another one."""
        return self._written(mail.rendered(), SENT, self._next_id(mail))

    def forward(self, mail: NewMail, *, inline: bool) -> WrittenMail | None:
        """Write a mail that has the message in it; None, with a line in the log, if it has been forwarded before."""
        own = [*self._ours(), mailbox(self._own(mail)).address]
        if self._message.kind == "own" or was_forwarded_by(own, self._scope["headers"]):
            said = "%s: not forwarded: it is our own, or has been forwarded from here before"
            logger.info(said, describe(self._scope), extra={"scope": self._scope})
            return None
        subject = forward_subject(self._message.subject) if mail.subject is None else mail.subject
        mail = replace(mail, subject=subject)
        parts: list[Part] = []
        if inline:
            attachments = tuple(self._message.attachments)
            mail = replace(mail, text=introduced(mail.text, self._message), attachments=attachments)
        else:
            parts = [message_part(self._raw, name_by_type(MESSAGE, self._message.subject))]
        headers = {**SENT, LOOP: loop_marks(own[0], self._scope["headers"])}
        return self._written(mail, headers, self._next_id(mail), thread(self._message), parts=parts)

    def token_address(self, token: str, to: str, from_: str) -> str:
        """Return our address with ``token``, made for ``to``."""
        return token_address(self._here.tokens, token, self._own(NewMail(from_=from_)), to)

    def _written(
        self,
        mail: NewMail,
        headers: Mapping[str, str],
        message_id: str,
        references: Sequence[str] = (),
        *,
        answers: Sequence[str] = (),
        parts: Sequence[Part] = (),
    ) -> WrittenMail:
        return written(
            mail,
            self._own(mail),
            tokens=self._here.tokens,
            message_id=message_id,
            headers=headers,
            references=references,
            answers=answers,
            parts=parts,
        )

    def _is_over(self, to: Sequence[str], message_id: str, per_hour: int) -> bool:
        address, first = self._here.rate.over([mailbox(each).address for each in to], message_id, per_hour)
        if first:
            said = "%s: not answered: %s has had %d answers within an hour; is it a program?"
            logger.warning(said, describe(self._scope), address, per_hour, extra={"scope": self._scope})
        return bool(address)

    def _ours(self) -> list[str]:
        return [address for address in self._scope["rcpt_to"] if "@" in address and is_address(address)]

    def _own(self, mail: NewMail) -> str:
        """Return the address that the mail is from. Raises ValueError if neither it nor the message has one."""
        if mail.from_:
            return mail.from_
        own = next(iter(self._ours()), "")
        if not own:
            raise ValueError("the message names none of our addresses; write from_=")
        return self._here.tokens.without(own) if self._here.tokens else own

    def _next_id(self, mail: NewMail) -> str:
        """Return a Message-ID that is the same in every attempt at this message, and in no other mail."""
        self._number += 1
        own = mailbox(self._own(mail))
        extensions = self._scope["extensions"]
        event = extensions.get("delivery", extensions.get("event", {})).get("id")
        if event is None:  # under another server
            return new_message_id(own)
        named = repr((self._scope["mail_from"], self._scope["rcpt_to"], self._scope.get("message_id")))
        digest = hashlib.sha256(named.encode(errors="replace")).hexdigest()[:16]
        return f"<{event}.{self._number}.{digest}@{own.domain or UNKNOWN_DOMAIN}>"
