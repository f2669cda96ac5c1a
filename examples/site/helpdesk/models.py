"""The site's tables: tickets with their mails, posts, temperatures and texts."""

from collections.abc import Iterator
from typing import Any

from django.db import models


class Ticket(models.Model):
    """A question that came by mail, with all mails about it."""

    subject = models.CharField(max_length=255)
    sender = models.EmailField(help_text="The address of the person who asked.")
    opened_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    closed = models.BooleanField(default=False)

    class Meta:
        ordering = ["-updated_at"]

    def __str__(self) -> str:
        return f"#{self.pk} {self.subject}"

    @property
    def tag(self) -> str:
        """The mark in a subject by which an answer without References finds its ticket."""
        return f"[#{self.pk}]"

    def shown(self) -> dict[str, Any]:
        """This row as the page gets it. (The other tables have the same method.)"""
        mails = list(self.mails.all())
        return {
            "id": self.pk,
            "subject": self.subject,
            "sender": self.sender,
            "closed": self.closed,
            "mails": len(mails),
            "text": mails[-1].text[:300] if mails else "",
            "at": self.updated_at.timestamp(),
        }


class Mail(models.Model):
    """One mail of a ticket. ``digest`` is unique: the same mail delivered twice is one row."""

    ticket = models.ForeignKey(Ticket, on_delete=models.CASCADE, related_name="mails")
    digest = models.CharField(
        max_length=64, unique=True, help_text="SHA-256 of the parts that are the same in each delivery."
    )
    message_id = models.CharField(max_length=255, db_index=True, blank=True)
    sender = models.EmailField()
    text = models.TextField(blank=True)
    received_at = models.DateTimeField(auto_now_add=True)
    answered = models.BooleanField(default=False, help_text="Our answer has left (or none was due).")

    class Meta:
        ordering = ["received_at"]

    def __str__(self) -> str:
        return f"{self.sender} {self.received_at:%Y-%m-%d %H:%M}"


class Post(models.Model):
    """A mail to the Twitter gateway."""

    digest = models.CharField(max_length=64, unique=True)
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
