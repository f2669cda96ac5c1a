"""Mail: one to support opens a ticket or joins one, one to the Twitter gateway becomes a post."""

import logging

import live
import threads
from django.core.files import File
from django.db import transaction
from helpdesk.models import Attachment, Mail, Post, Ticket

from gateway import EmailConsumer, InboundEmail

logger = logging.getLogger(__name__)

LONGEST_TEXT = 50_000
LONGEST_POST = 280
AUTOMATIC = {"auto-reply", "bounce", "own", "report"}
"""Kinds of mail that neither open nor reopen a ticket: no person is waiting for an answer."""


class SupportTicketHandler(EmailConsumer):
    """Sync, so it may use the ORM.

    The route has ``attempts``, so our answer is stored together with the mail's "done". If the process dies before
    that, the mail comes again under the same id: its row is found, and the answer has the same Message-ID.
    """

    def receive(self, message: InboundEmail) -> None:
        mail = self.file(message)
        if mail is None:
            logger.info("%s from %s concerns no ticket", message.kind, message.sender or "nobody")
            return
        if mail.opens:
            self.answer(mail, message)
        self.group_send(live.GROUP, live.update("ticket", mail.ticket.shown()))

    @transaction.atomic
    def file(self, message: InboundEmail) -> Mail | None:
        """Put the mail into its ticket, once. None: it is automatic, and belongs to none."""
        event = self.scope["extensions"]["delivery"]["id"]
        known = Mail.objects.filter(event=event).first()
        if known is not None:
            return known
        joined, related = threads.find(message, self.token)
        if joined is None and message.kind in AUTOMATIC:
            return None
        ticket = joined or self.open(message, related)
        mail = ticket.mails.create(
            event=event,
            kind=message.kind,
            message_id=message.message_id[:255],
            sender=message.sender[:254],
            text=said(message)[:LONGEST_TEXT],
            whole=whole(message),
            opens=joined is None,
        )
        store_attachments(mail, message)
        if message.kind not in AUTOMATIC:
            ticket.closed = False
        ticket.save()
        return mail

    def open(self, message: InboundEmail, related: Ticket | None) -> Ticket:
        ticket = Ticket.objects.create(
            subject=message.subject[:255] or "(no subject)",
            sender=self.customer(message)[:254],
            address=next(iter(self.scope["rcpt_to"]), "")[:254],
            related=related,
        )
        ticket.reply_to = self.token_address(str(ticket.pk), ticket.sender)
        return ticket

    def customer(self, message: InboundEmail) -> str:
        """Return whom the team answers. A contact form writes in its own name, and names the person in Reply-To."""
        ours = {address.lower() for address in self.scope["rcpt_to"]}
        return next((address for address in message.reply_to if address.lower() not in ours), message.sender)

    def answer(self, mail: Mail, message: InboundEmail) -> None:
        """Acknowledge the mail. ``reply`` sends nothing to lists and programs."""
        ticket = mail.ticket
        context = {"ticket": ticket}
        subject = f"Re: {ticket.topic} {ticket.tag}"
        message_id = self.reply(template="helpdesk/opened", context=context, subject=subject, token=str(ticket.pk))
        if message_id:
            ours = {"ticket": ticket, "kind": "ours", "message_id": message_id, "text": "(told that we will read it)"}
            Mail.objects.get_or_create(event=f"{mail.event}-answer", defaults=ours)


def said(message: InboundEmail) -> str:
    """Return what its sender wrote now, or what a bounce says."""
    bounce = message.bounce
    if bounce is None:
        return message.reply_text
    return f"{bounce.recipient}: {bounce.status} {bounce.diagnostic}".strip()


def whole(message: InboundEmail) -> str:
    """Return all of the text if the sender's own words are not all of it: a mail that is passed on is in there, say."""
    return "" if message.text.strip() == said(message)[:LONGEST_TEXT].strip() else message.text


def store_attachments(mail: Mail, message: InboundEmail) -> None:
    """Store the files where Django's storage puts them. They are copied piece by piece, and never whole in memory."""
    for position, each in enumerate(message.attachments):
        stored = Attachment(
            mail=mail, position=position, name=each.filename, content_type=each.content_type[:100], size=each.size
        )
        with each.open() as content:
            stored.file.save(each.filename, File(content))


class TwitterEmailGateway(EmailConsumer):
    """The mail's text (or its subject, if there is none) becomes a post."""

    def receive(self, message: InboundEmail) -> None:
        text = message.reply_text or message.subject
        if not 0 < len(text) <= LONGEST_POST:
            self.reject(f"a post has 1 to {LONGEST_POST} characters, not {len(text)}")
            return
        event = self.scope["extensions"]["delivery"]["id"]
        post, new = Post.objects.get_or_create(event=event, defaults={"author": message.sender[:254], "text": text})
        if new:
            self.group_send(live.GROUP, live.update("post", post.shown()))
