"""The site's tables: tickets with their mails, posts, temperatures and alarms, texts, and the chat."""

import re
from collections.abc import Iterator
from typing import Any

from django.db import models, transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.urls import reverse

REPLY = re.compile(r"^(?:re:\s*)+", re.IGNORECASE)


class Ticket(models.Model):
    """A question that came by mail, with all mails about it."""

    subject = models.CharField(max_length=255)
    sender = models.EmailField(help_text="The person who asked: answers go there.")
    address = models.EmailField(blank=True, help_text="The address of ours that they wrote to.")
    reply_to = models.EmailField(blank=True, help_text="Our signed address: mail to it belongs to this ticket.")
    related = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        help_text="The ticket that its first mail answers, although this sender has not written there.",
    )
    opened_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    closed = models.BooleanField(default=False)

    class Meta:
        ordering = ["-updated_at"]

    def __str__(self) -> str:
        return f"#{self.pk} {self.subject}"

    def get_absolute_url(self) -> str:
        return reverse("ticket", args=[self.pk])

    @property
    def tag(self) -> str:
        """The mark in a subject by which an answer without References finds its ticket."""
        return f"[#{self.pk}]"

    @property
    def topic(self) -> str:
        """The subject without ``Re:`` and without our mark."""
        return REPLY.sub("", self.subject.replace(self.tag, "")).strip()

    def is_with(self, sender: str) -> bool:
        """Whether ``sender`` has asked, or has written in this ticket before."""
        asked = sender.lower() == self.sender.lower()
        return bool(sender) and (asked or self.mails.filter(sender__iexact=sender).exclude(kind="bounce").exists())

    def shown(self) -> dict[str, Any]:
        """This row as the page gets it. (The other tables have the same method.)"""
        mails = list(self.mails.all())
        theirs = [mail for mail in mails if mail.kind != "ours"]
        return {
            "id": self.pk,
            "url": self.get_absolute_url(),
            "subject": self.subject,
            "sender": self.sender,
            "closed": self.closed,
            "mails": len(theirs),
            "text": theirs[-1].text[:300] if theirs else "",
            "answer": mails[-1].text[:300] if mails and mails[-1].kind == "ours" else "",
            "at": self.updated_at.timestamp(),
        }


class Mail(models.Model):
    """One mail of a ticket, theirs or ours."""

    ticket = models.ForeignKey(Ticket, on_delete=models.CASCADE, related_name="mails")
    event = models.CharField(
        max_length=255, unique=True, help_text="The same for each delivery of a mail: it is one row."
    )
    kind = models.CharField(max_length=16, help_text="person, bounce, auto-reply ...; ours is what we sent.")
    message_id = models.CharField(max_length=255, db_index=True, blank=True)
    sender = models.EmailField(blank=True)
    text = models.TextField(blank=True, help_text="What its sender wrote now.")
    whole = models.TextField(blank=True, help_text="All of its text, with what it quotes, if that is more.")
    received_at = models.DateTimeField(auto_now_add=True)
    opens = models.BooleanField(default=False, help_text="It opened the ticket, and is acknowledged.")

    class Meta:
        ordering = ["received_at", "pk"]

    def __str__(self) -> str:
        return f"{self.sender or 'we'} {self.received_at:%Y-%m-%d %H:%M}"


def place(attachment: "Attachment", name: str) -> str:
    """Return where a file is stored. It is the same place if the mail comes again after its handler was killed, so no
    file is left that no row knows."""
    return f"attachments/{attachment.mail.event}/{attachment.position}/{name}"


class Attachment(models.Model):
    """A file that came with a mail."""

    mail = models.ForeignKey(Mail, on_delete=models.CASCADE, related_name="attachments")
    position = models.PositiveIntegerField(default=0, help_text="Its place among the files of its mail.")
    name = models.CharField(max_length=255)
    content_type = models.CharField(max_length=100)
    size = models.PositiveBigIntegerField(help_text="In bytes.")
    file = models.FileField(upload_to=place, max_length=600)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.name


@receiver(post_delete, sender=Attachment)
def delete_file(instance: Attachment, **_: Any) -> None:
    """Delete the file with its row: Django deletes rows only."""
    transaction.on_commit(lambda: instance.file.delete(save=False))


class Post(models.Model):
    """A mail to the Twitter gateway."""

    event = models.CharField(max_length=255, unique=True)
    author = models.EmailField()
    text = models.CharField(max_length=280)
    posted_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-posted_at"]

    def __str__(self) -> str:
        return f"{self.author}: {self.text[:40]}"

    def shown(self) -> dict[str, Any]:
        return {"id": self.pk, "author": self.author, "text": self.text, "at": self.posted_at.timestamp()}


class Reading(models.Model):
    """One temperature of one sensor."""

    sensor = models.CharField(max_length=64)
    celsius = models.FloatField()
    measured_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]  # in order of arrival: clocks can be set back, and times would need an index of their own
        indexes = [models.Index(fields=["sensor", "-id"])]

    def __str__(self) -> str:
        return f"{self.sensor} {self.celsius:.1f} °C"

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.pk,
            "sensor": self.sensor,
            "celsius": self.celsius,
            "at": self.measured_at.timestamp(),
        }


def sensors() -> Iterator[str]:
    """Yield the names in order, with one lookup in the index for each; DISTINCT would read every row."""
    name: str | None = ""
    while name is not None:
        name = Reading.objects.filter(sensor__gt=name).order_by("sensor").values_list("sensor", flat=True).first()
        if name is not None:
            yield name


class Alarm(models.Model):
    """A time in which it was too hot at one sensor."""

    sensor = models.CharField(max_length=64)
    celsius = models.FloatField(help_text="What raised it.")
    raised_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True, help_text="Empty while it is too hot.")

    class Meta:
        ordering = ["-raised_at"]
        constraints = [
            models.UniqueConstraint(fields=["sensor"], condition=models.Q(ended_at=None), name="one_alarm_a_sensor")
        ]

    def __str__(self) -> str:
        return f"{self.sensor} {self.celsius:.1f} °C"


class Line(models.Model):
    """What somebody has said in the chat."""

    text = models.CharField(max_length=1000)
    said_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.text[:40]


class Text(models.Model):
    """One SMS and our answer to it."""

    provider = models.CharField(max_length=32)
    message_id = models.CharField(max_length=255)
    sender = models.CharField(max_length=32)
    recipient = models.CharField(max_length=32)
    text = models.TextField(blank=True)
    answer = models.TextField()
    handler = models.CharField(max_length=32, help_text="The class that answered.")
    received_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-received_at", "-pk"]
        constraints = [models.UniqueConstraint(fields=["provider", "message_id"], name="one_row_a_text")]

    def __str__(self) -> str:
        return f"{self.sender}: {self.text[:40]}"

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.pk,
            "sender": self.sender,
            "text": self.text[:300],
            "answer": self.answer,
            "handler": self.handler,
            "at": self.received_at.timestamp(),
        }
