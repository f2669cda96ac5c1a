"""One run of the application over our connection to a broker."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from protocols.app_run import AppRun
from protocols.asgi import (
    Application,
    MQTTAcceptEvent,
    MQTTAckEvent,
    MQTTDropEvent,
    MQTTReceiveEvent,
    MQTTRejectEvent,
    MQTTScope,
    MQTTSendEvent,
    MQTTSubscribeEvent,
    MQTTUnsubscribeEvent,
    SendEvent,
    describe,
)
from protocols.errors import LocalProtocolError, NotSent, PermanentFailure
from protocols.events import checked, type_of
from protocols.mqtt import events
from protocols.mqtt.client.broker_connection import BrokerConnection
from protocols.mqtt.client.refused import Refused
from protocols.mqtt.client.settings import MQTTClientSettings
from protocols.mqtt.wire.reasons import NEVER_TAKEN
from protocols.unsent import report_unsent

logger = logging.getLogger(__name__)

OVERFLOW = 16
"""Times the queue that may wait while we read on, although it is full, for an answer from the broker."""


class Flow(Protocol):
    """What a run tells the connection that it is one of."""

    async def accepted(self) -> None: ...

    def ends_because(self, reason: str) -> None: ...

    def start_over(self) -> None: ...

    def stop_reading(self, run: "MQTTClientRun") -> None: ...

    def read_on(self, run: "MQTTClientRun") -> None: ...


class MQTTClientRun(AppRun):
    """``arrived`` gives it its messages; what it sends goes to the broker."""

    is_connection = True
    sends: ClassVar = events.CLIENT
    checks: ClassVar = events.CHECKS

    def __init__(
        self, app: Application, scope: MQTTScope, broker: BrokerConnection, flow: Flow, settings: MQTTClientSettings
    ) -> None:
        super().__init__(app, scope)
        self._settings = settings
        self.limit = settings.max_unacked  # type: ignore[misc]  # the class's default, but for this run
        self.unacknowledged: set[int] = set()
        self.settled = asyncio.Event()
        """Set while nothing that arrived waits for its ``mqtt.ack``."""
        self.settled.set()
        self.draining = False
        """What arrives is left to the broker, which keeps it for our next connection."""
        self.leaves = False
        """The same, but for QoS 0, which the broker does not keep."""
        self._broker = broker
        self._flow = flow
        self._most = OVERFLOW * self.limit
        self._dropped = 0
        self.feed({"type": "mqtt.connect", "username": scope["username"], "password": None})

    @property
    def disconnect_grace(self) -> float:
        return self._settings.disconnect_grace

    def arrived(self, event: MQTTReceiveEvent) -> None:
        if self.draining:
            return
        if event["id"] is None:
            if len(self._queue) >= self._most:
                self._drop()
                return
        elif self.leaves:
            return
        elif len(self.unacknowledged) >= self._most:
            self._flow.start_over()
            return
        else:
            self.unacknowledged.add(event["id"])
            self.settled.clear()
        self.feed(event)

    def _drop(self) -> None:
        """QoS 0 that arrives although the queue overflows: we read on, for an answer that the application waits for."""
        self._dropped += 1
        if self._dropped == 1:
            said = "%s: too slow; messages at QoS 0 are dropped"
            logger.warning(said, describe(self.scope), extra={"lost": True})

    def end(self, reason: str, code: int, clean: bool = False) -> None:
        if self._dropped > 1 and not self.gone:
            said = "%s: %d messages at QoS 0 were dropped"
            logger.warning(said, describe(self.scope), self._dropped, extra={"lost": True})
        self.disconnect({"type": "mqtt.disconnect", "reason_code": code, "reason": reason, "clean": clean})

    def pause(self) -> None:
        self._flow.stop_reading(self)

    def resume(self) -> None:
        self._flow.read_on(self)

    async def send(self, event: SendEvent | Mapping[str, Any]) -> None:
        if self.gone and not self.ended and type_of(event) == "mqtt.ack":
            # The connection went while its handler ran. At QoS 2 the next one has to know that it has finished.
            self.mqtt_ack(checked(self.checks, event))
        await super().send(event)

    async def mqtt_accept(self, event: MQTTAcceptEvent) -> None:
        await self._flow.accepted()

    async def mqtt_reject(self, event: MQTTRejectEvent) -> None:
        self._flow.ends_because("the application rejected the connection")
        await self._broker.close()

    def mqtt_ack(self, event: MQTTAckEvent | Mapping[str, Any]) -> None:
        if event["id"] not in self.unacknowledged:
            raise LocalProtocolError(f"mqtt.ack: no message {event['id']} is waiting for it")
        self.unacknowledged.discard(event["id"])
        self._broker.acknowledge(event["id"], event.get("reason_code", 0))
        if not self.unacknowledged:
            self.settled.set()

    async def mqtt_send(self, event: MQTTSendEvent) -> None:
        """What the broker refuses is logged, and does not fail the handler, unless it waits for it."""
        try:
            await publish(self._broker, event)
        except NotSent as error:
            if event.get("wait"):
                raise
            report_unsent(self.scope, "publication", event["topic"], error)

    async def mqtt_subscribe(self, event: MQTTSubscribeEvent) -> None:
        await self._broker.subscribe(event["filters"])

    async def mqtt_unsubscribe(self, event: MQTTUnsubscribeEvent) -> None:
        await self._broker.unsubscribe(event["filters"])

    async def mqtt_disconnect(self, event: MQTTDropEvent) -> None:
        self._flow.ends_because("the application closed the connection")
        await self._broker.close(event["reason_code"])


async def publish(broker: BrokerConnection, event: MQTTSendEvent) -> None:
    """``mqtt.send``. Raises Disconnected; NotSent where the broker does not take it, PermanentFailure where it never
    will."""
    try:
        await broker.publish(event["topic"], event["payload"], event["qos"], event["retain"], event["properties"])
    except Refused as error:
        raise (PermanentFailure if error.answer in NEVER_TAKEN else NotSent)(str(error)) from error
