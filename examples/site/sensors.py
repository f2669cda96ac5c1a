"""Temperatures by MQTT: ``sensors/<id>/temperature`` -> a row -> the page."""

import json
import logging
import math
import re
from typing import Any

import live
from helpdesk.models import Reading

from gateway import MqttConsumer

logger = logging.getLogger(__name__)

TOPIC = re.compile(r"sensors/([^/]{1,64})/temperature")
ABSOLUTE_ZERO = -273.15
HOTTEST = 10_000.0


def celsius(payload: bytes) -> float:
    """The temperature in ``{"celsius": 21.5}`` or ``21.5``. Raises ValueError."""
    value: Any = json.loads(payload)
    if isinstance(value, dict):
        value = value.get("celsius")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("no number")
    if not (math.isfinite(value) and ABSOLUTE_ZERO <= value <= HOTTEST):
        raise ValueError("no temperature")
    return float(value)


class MqttTemperatureConsumer(MqttConsumer):
    """Sync, so it may use the ORM: it runs on a thread, and each message is acknowledged after its row is committed.

    A payload that is no temperature will not become one by being sent again, so it is acknowledged too, with a line
    in the log. Any other failure (a full disk) is raised: then the device keeps its message and sends it again.
    """

    def receive(self, topic: str, payload: bytes) -> None:
        match = TOPIC.fullmatch(topic)
        if match is None:
            return
        try:
            value = celsius(payload)
        except (ValueError, RecursionError) as error:
            logger.warning("%s: ignored, %s (%d bytes)", topic, type(error).__name__, len(payload))
            return
        reading = Reading.objects.create(sensor=match[1], celsius=value)
        self.group_send(live.GROUP, live.update("reading", reading.shown()))
