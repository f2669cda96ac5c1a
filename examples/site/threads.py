"""Finds the ticket that a mail belongs to.

Anyone can write any sender, subject or Message-ID into a mail, so only what we have signed counts by itself.
"""

import re
from collections.abc import Sequence
from datetime import timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone
from helpdesk.models import Mail, Ticket

from gateway import InboundEmail, ReplyToken

TAG = re.compile(r"\[#(\d{1,9})\]")
RECENTLY = timedelta(days=30)
"""How long after its last mail a closed ticket is found by its number."""


def find(message: InboundEmail, token: ReplyToken | None) -> tuple[Ticket | None, Ticket | None]:
    """Return the ticket that the mail joins, and one that it may be about, for staff to look at."""
    if (signed := by_token(token)) is not None:
        return signed, None
    ids = [*message.in_reply_to, *reversed(message.references)]
    if message.bounce is not None:
        ids.append(message.bounce.message_id)
    answered = by_our_id(ids)
    if answered is not None and (message.kind == "bounce" or answered.is_with(message.sender)):
        return answered, None
    return by_their_id(ids, message.sender) or by_tag(message), answered


def by_token(token: ReplyToken | None) -> Ticket | None:
    """Our signature is in the address that it came to: its author has our mail, from us or from a colleague."""
    return None if token is None or not token.id.isdecimal() else Ticket.objects.filter(pk=token.id).first()


def by_our_id(ids: Sequence[str]) -> Ticket | None:
    """It answers a mail that we sent. Others may have read that id, so this alone proves nothing."""
    found = {mail.message_id: mail.ticket for mail in mails(ids).filter(kind="ours")}
    return next((found[each] for each in ids if each in found), None)


def by_their_id(ids: Sequence[str], sender: str) -> Ticket | None:
    """It refers to an earlier mail of the same sender. Programs repeat their ids, so only the newest counts."""
    mail = mails(ids).filter(sender__iexact=sender).exclude(kind="ours").last()
    return None if mail is None else mail.ticket


def mails(ids: Sequence[str]) -> "QuerySet[Mail]":
    return Mail.objects.filter(message_id__in=[each for each in ids if each]).select_related("ticket")


def by_tag(message: InboundEmail) -> Ticket | None:
    """The subject has the number of a ticket that this sender opened: anyone can guess a number."""
    match = TAG.search(message.subject)
    if match is None:
        return None
    alive = Q(closed=False) | Q(updated_at__gt=timezone.now() - RECENTLY)
    return Ticket.objects.filter(alive, pk=match[1], sender__iexact=message.sender).first()
