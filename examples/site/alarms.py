"""Alarms: when it gets too hot somewhere, the team gets one mail and one text, and no more until it has cooled down."""

from collections.abc import Sequence

from django.conf import settings
from django.db import transaction
from helpdesk.models import Alarm, Reading

from gateway import send_mail, send_text

HYSTERESIS = 1.0
"""Degrees below the limit at which an alarm is over: a temperature about the limit would raise one after the other."""


def look(readings: Sequence[Reading]) -> None:
    """Raise and end alarms for ``readings``, which are in the order in which they came."""
    named = {reading.sensor for reading in readings}
    hot = set(Alarm.objects.filter(sensor__in=named, ended_at=None).values_list("sensor", flat=True))
    for reading in readings:
        if reading.sensor in hot and reading.celsius < settings.ALARM_LIMIT - HYSTERESIS:
            Alarm.objects.filter(sensor=reading.sensor, ended_at=None).update(ended_at=reading.measured_at)
            hot.discard(reading.sensor)
        elif reading.sensor not in hot and reading.celsius > settings.ALARM_LIMIT:
            sound(reading)
            hot.add(reading.sensor)


@transaction.atomic
def sound(reading: Reading) -> None:
    """Store the alarm and tell the team.

    Both messages are in the gateway's store before the alarm's row is committed: if the process dies in between, they
    come twice, and not never.
    """
    _, new = Alarm.objects.get_or_create(sensor=reading.sensor, ended_at=None, defaults={"celsius": reading.celsius})
    if new:
        said = f"{reading.sensor}: {reading.celsius:.1f} °C, the limit is {settings.ALARM_LIMIT:g} °C"
        send_mail(settings.ALARM_MAIL, subject=f"Too hot: {reading.sensor}", text=said)
        send_text(settings.ALARM_TEXT, said)
