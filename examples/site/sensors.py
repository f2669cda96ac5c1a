"""Temperatures by MQTT: ``sensors/<id>/temperature`` -> a row -> the page."""

import json
import logging
import math
import re
from collections.abc import Sequence
from typing import Any

import alarms
import live
from helpdesk.models import Reading

from gateway import MqttBatchConsumer, MqttMessage

logger = logging.getLogger(__name__)

TOPIC = re.compile(r"sensors/([^/]{1,64})/temperature")
ABSOLUTE_ZERO = -273.15
HOTTEST = 10_000.0


def celsius(payload: bytes) -> float:
    """Return the temperature in ``{"celsius": 21.5}`` or ``21.5``. Raises ValueError."""
    value: Any = json.loads(payload)
    if isinstance(value, dict):
        value = value.get("celsius")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("not a number")
    if not (math.isfinite(value) and ABSOLUTE_ZERO <= value <= HOTTEST):
        raise ValueError("not a temperature")
    return float(value)


def reading(message: MqttMessage) -> Reading | None:
    """Return the row of one message, or None if it is not a temperature."""
    match = TOPIC.fullmatch(message.topic)
    if match is None:
        return None
    try:
        return Reading(sensor=match[1], celsius=celsius(message.payload))
    except (ValueError, RecursionError) as error:
        logger.warning("%s: ignored, %s (%d bytes)", message.topic, type(error).__name__, len(message.payload))
        return None


class MqttTemperatureConsumer(MqttBatchConsumer):
    """Sync, so it may use the ORM: it runs on a thread. Messages that arrive within 50 ms, of however many devices, are
    one INSERT, and each is acknowledged after its row is committed.

    A payload that is not a temperature is acknowledged too, with a line in the log: it would be no better if it came
    again. Any other failure (a full disk) is raised: then the device keeps its message and sends it again.
    """

    def receive_batch(self, messages: Sequence[MqttMessage]) -> None:
        rows = Reading.objects.bulk_create(row for message in messages if (row := reading(message)))
        if rows:
            alarms.look(rows)
            self.group_send(live.GROUP, live.update("reading", *(row.shown() for row in rows)))
