"""Texts: stored, shown and answered, by a handler for each part of the world. ``temp?`` is answered with the newest
temperatures."""

from collections.abc import Sequence
from itertools import islice
from typing import Any, ClassVar

import live
from helpdesk.models import Reading, Text, sensors

from gateway import SMSConsumer


class TextHandler(SMSConsumer):
    """What the three handlers share. Sync, so it may use the ORM."""

    answer: ClassVar[str]

    def receive(self, text: str, media: Sequence[Any]) -> None:
        row, new = self.store(text)
        if new:
            self.group_send(live.GROUP, live.update("text", row.shown()))
        self.reply(row.answer)

    def store(self, text: str) -> tuple[Text, bool]:
        """Return the row of this text, and whether it is new. A provider that got no answer sends the text again, and
        then its row is there already."""
        return Text.objects.get_or_create(
            provider=self.scope["provider"],
            message_id=self.scope["message_id"],
            defaults={
                "sender": self.scope["sender"],
                "recipient": self.scope["recipient"],
                "text": text,
                "answer": temperatures() if asks_for_temperatures(text) else self.answer,
                "handler": type(self).__name__,
            },
        )


def asks_for_temperatures(text: str) -> bool:
    return text.strip(" ?!.").lower() in ("temp", "temperature", "temperatures")


def temperatures() -> str:
    """Return the newest reading of each sensor, of a few; a text is short."""
    newest = [Reading.objects.filter(sensor=name)[0] for name in islice(sensors(), SENSORS)]
    return ", ".join(f"{each.sensor} {each.celsius:.1f} °C" for each in newest) or "Nothing is measured yet."


SENSORS = 5


class UKTextHandler(TextHandler):
    answer = "Thanks! Somebody in London will read this after tea."


class USTextHandler(TextHandler):
    answer = "Thanks! Somebody in Denver will get back to you shortly."


class UnknownTextHandler(TextHandler):
    answer = "Thanks! We will find somebody who speaks your language."
