"""Mail: one to support becomes a ticket and is answered, one to the Twitter gateway becomes a post."""

import letter
import live
from django.db import transaction
from helpdesk.models import Mail, Post, Ticket
from letter import Letter

from gateway import EmailConsumer, InboundEmail

LONGEST_POST = 280
ANSWER = """\
Hello,

thank you for your mail. It is now ticket {tag}, and we will read it soon.
If you want to add something, just answer this mail.

Your helpdesk
"""


class SupportTicketHandler(EmailConsumer):
    """Sync, so it may use the ORM. The sender's 250 waits until the ticket is committed and our answer has left."""

    def receive(self, message: InboundEmail) -> None:
        incoming = letter.read(self.scope, message.stdlib, self.raw)
        mail, new = file(incoming)
        if new:
            self.group_send(live.GROUP, live.update("ticket", mail.ticket.shown()))
        if not mail.answered:
            self.answer(mail, incoming)

    def answer(self, mail: Mail, incoming: Letter) -> None:
        """Answer at least once: after a crash in between, the mail comes again, its row says that it is not answered,
        and it is answered then.

        ``reply`` sends nothing to bounces, lists and robots (RFC 3834).
        """
        tag = mail.ticket.tag
        self.reply(ANSWER.format(tag=tag), subject=f"Re: {incoming.topic} {tag}")
        Mail.objects.filter(pk=mail.pk).update(answered=True)


@transaction.atomic
def file(incoming: Letter) -> tuple[Mail, bool]:
    """Return the row of this mail, in its ticket, and whether it is new. If the mail comes again, its row is there
    already."""
    known = Mail.objects.filter(digest=incoming.digest).first()
    if known is not None:
        return known, False
    old = ticket_of(incoming)
    ticket = old or Ticket.objects.create(subject=incoming.subject or "(no subject)", sender=incoming.sender)
    mail = ticket.mails.create(
        digest=incoming.digest,
        message_id=incoming.message_id,
        sender=incoming.sender,
        text=incoming.text,
        answered=old is not None,  # only the mail that opens a ticket is answered
    )
    ticket.closed = False
    ticket.save()
    return mail, True


def ticket_of(incoming: Letter) -> Ticket | None:
    """Return the ticket that this mail belongs to: it answers one of its mails, or its sender quotes the number."""
    ids = [each for each in (*incoming.references, incoming.message_id) if each]
    mail = Mail.objects.filter(message_id__in=ids).select_related("ticket").last()
    if mail is not None:
        return mail.ticket
    if incoming.ticket is None:
        return None
    # Numbers can be guessed, so this works only for the sender who opened the ticket.
    return Ticket.objects.filter(pk=incoming.ticket, sender__iexact=incoming.sender).first()


class TwitterEmailGateway(EmailConsumer):
    """The mail's text (or its subject, if there is none) becomes a post."""

    def receive(self, message: InboundEmail) -> None:
        incoming = letter.read(self.scope, message.stdlib, self.raw)
        text = incoming.text or incoming.subject
        if not 0 < len(text) <= LONGEST_POST:
            self.reject(f"a post has 1 to {LONGEST_POST} characters, not {len(text)}")
            return
        post, new = Post.objects.get_or_create(
            digest=incoming.digest, defaults={"author": incoming.sender, "text": text}
        )
        if new:
            self.group_send(live.GROUP, live.update("post", post.shown()))
