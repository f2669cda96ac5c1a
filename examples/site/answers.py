"""What the team writes to a customer, from the page of a ticket or from the admin."""

from email.utils import make_msgid

import live
from django.core.mail import EmailMessage
from django.db import transaction
from helpdesk.models import Ticket

from gateway import group_send


@transaction.atomic
def answer(ticket: Ticket, text: str) -> None:
    """Send ``text`` to the customer, in the ticket's thread. It leaves by the gateway's outbox (``EMAIL_BACKEND``)."""
    newest = ticket.mails.last()
    if newest is not None and (newest.kind, newest.text) == ("ours", text):
        return  # the button was pressed twice
    message_id = make_msgid(domain=ticket.address.rpartition("@")[2] or "helpdesk.invalid")
    ticket.mails.create(event=message_id, kind="ours", message_id=message_id, text=text)
    EmailMessage(
        subject=f"Re: {ticket.topic} {ticket.tag}",
        body=text,
        from_email=ticket.address,
        to=[ticket.sender],
        reply_to=[ticket.reply_to] if ticket.reply_to else None,
        headers={"Message-ID": message_id} | thread(ticket),
    ).send()


def thread(ticket: Ticket) -> dict[str, str]:
    """Return the fields that keep a mail program's thread together (RFC 5322, 3.6.4)."""
    theirs = (
        ticket.mails.exclude(kind__in=["ours", "bounce"]).exclude(message_id="").values_list("message_id", flat=True)
    )
    ids = list(theirs)
    return {"In-Reply-To": ids[-1], "References": " ".join(ids[:1] + ids[1:][-20:])} if ids else {}


def tell(ticket: Ticket) -> None:
    """Show the ticket's new state on the page, once it is committed."""

    def show() -> None:
        group_send(live.GROUP, live.update("ticket", Ticket.objects.get(pk=ticket.pk).shown()))

    transaction.on_commit(show)
