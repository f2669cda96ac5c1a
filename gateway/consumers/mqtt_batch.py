"""Consumers of the mqtt scope that handle many messages at once, whichever connection they came by."""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, TypeVar

from gateway.atomic import Part, RunAgain, current_part
from gateway.consumers.base import Asked
from gateway.consumers.failure import failed_with
from gateway.consumers.forms import AsyncForm, Awaited, SyncForm
from gateway.consumers.gathering import Gathering
from gateway.consumers.gathering import Part as GatheredPart
from gateway.consumers.hooks import Call, require
from gateway.consumers.mqtt import OF_A_CONNECTION, TAKEN, MqttConnection, never, not_now
from gateway.event_sender import Keeper, current_keeper
from gateway.spans import TRACE, Carrier, spans
from protocols.asgi import Application, MQTTReceiveEvent, MQTTScope, Receive, Send
from protocols.checkpoint import checkpoint
from protocols.errors import Disconnected, LocalProtocolError
from protocols.events import Event, step
from protocols.mqtt.events import BATCH, CHECKS

CONFLICTS = 20
"""How often a batch is handled, if other transactions are in the way."""
R = TypeVar("R")
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class MqttMessage:
    """One message of a batch."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    properties: Mapping[str, Any] = field(default_factory=dict)
    """MQTT 5's."""
    captures: Mapping[str, str] = field(default_factory=dict)
    """What the route's topic captured."""
    scope: MQTTScope | None = None
    """The scope of the connection that it came by."""
    id: int | None = None
    """What ``mqtt.ack`` names; None at QoS 0."""
    event: str | None = None
    """Its event id, the same each time it is delivered: at QoS 2, and on routes with a policy. Store under it."""
    trace: Carrier | None = field(default=None, repr=False)
    """The trace that it belongs to, if it is traced."""
    verdict: Mapping[str, Any] = field(default_factory=lambda: TAKEN)
    to_peer: Send | None = field(default=None, repr=False)
    """Sends an event to its connection."""
    keeper: Keeper | None = field(default=None, repr=False)
    """Keeps what leaves with this message's "done", on routes with a policy."""
    part: Part | None = field(default=None, repr=False)
    """Its part in the batch's transaction, on routes with ``atomic: true``."""

    @property
    def is_deferred(self) -> bool:
        return bool(self.verdict["type"] == "mqtt.defer")

    def defer(self, retry_after: float | None = None) -> None:
        """Ask for this message again, after ``retry_after`` seconds or the route's backoff. For routes with a
        policy."""
        self.verdict = not_now(self.scope, retry_after)

    def reject(self, reason_code: int = 0x80, reason: str = "") -> None:
        """Refuse this message for good: it is acknowledged with an MQTT 5 reason code, and with ``reason`` for people
        to read."""
        self.verdict = never("reject", reason_code, reason)


class MqttBatchMethods(MqttConnection[R]):
    """The methods of both forms. Write ``receive_batch``, and ``connect`` if not every device may connect.

    Each connection has an instance, as with other consumers, and so has each batch. In ``receive_batch``, ``self`` has
    the helpers ``publish`` and ``group_send``, but no ``scope``: each message has its own.
    """

    _hooks = {**OF_A_CONNECTION, "receive_batch": Call(("messages",))}
    _required = ("receive_batch", "handle")
    instead = {**MqttConnection.asks, "mqtt.receive": Asked("receive_batch", "self.publish(topic, payload)")}

    gathers: ClassVar = True
    """Whether a transaction is one of a batch, and not of a message."""
    max_batch: ClassVar[int] = 100
    """Messages at once."""
    max_delay: ClassVar[float] = 0.05
    """Seconds that the first of them waits for others. What comes from the store does not wait."""

    disconnect_wait = None  # it comes when all of this connection's messages are handled

    gathering: Gathering[MqttMessage]
    """Shared by the connections of one application."""
    _part: GatheredPart[MqttMessage]

    @classmethod
    def as_asgi(cls, **initkwargs: Any) -> Application:
        """Return an ASGI application, as for all consumers; its connections share its batches."""
        require(cls, cls._required)
        make: Callable[[], MqttBatchMethods[R]] = partial(cls, **initkwargs)
        gathering: Gathering[MqttMessage] = Gathering(lambda batch: make().handle(batch), cls.max_batch, cls.max_delay)

        async def application(scope: MQTTScope, receive: Receive, send: Send) -> None:
            consumer = make()
            consumer.gathering = gathering
            await consumer.run(scope, receive, send)

        application.__dict__["consumer_class"] = cls
        return application

    async def _serve(self, receive: Receive) -> None:
        delivery = self.scope["extensions"].get("delivery")
        stored = delivery is not None
        # A message that failed, or killed the process, must not do that to the other messages of a batch.
        again = delivery is not None and delivery["attempt"] > 1
        async with GatheredPart(self.gathering, _acknowledge, at_once=stored, alone=again) as self._part:
            await super()._serve(receive)
            await self._part.idle()

    async def dispatch(self, event: Any) -> None:
        """Messages go into the next batch; the disconnect comes when all of this connection's are handled."""
        if event["type"] == "mqtt.receive":
            await self._part.add(_message(event, self.scope, self._to_peer))
            return
        if event["type"] == "mqtt.disconnect":
            await self._part.idle()
        await super().dispatch(event)

    def receive_batch(self, messages: Sequence[MqttMessage]) -> Any:
        """Handle a list of at least one message, in the order of arrival. Their senders get their acknowledgements
        after this has returned. If it raises, none of the messages is taken: they come again, one by one.
        """

    async def handle(self, messages: Sequence[MqttMessage]) -> None:
        """Call ``receive_batch``. What it publishes leaves when it has returned, and not at all when it raises."""
        parts = [message.part for message in messages if message.part is not None]
        if not parts:
            await self._handle(messages)
            return
        for tried in range(1, CONFLICTS + 1):
            try:
                await self._handle_in_transaction(messages, parts)
            except RunAgain:
                if tried == CONFLICTS:
                    raise
                await asyncio.sleep(random.uniform(0, 0.01 * tried))  # noqa: S311 - so that two do not meet again
            else:
                return

    async def _handle_in_transaction(self, messages: Sequence[MqttMessage], parts: Sequence[Part]) -> None:
        """Commit what the handler does together with the "done" of all messages that it does not defer."""
        transaction = await parts[0].begin_with(parts[1:])
        try:
            async with transaction.entered():
                await self._handle(messages)
            done = [not message.is_deferred for message in messages if message.part is not None]
            if any(done):
                await transaction.commit(done)
            else:
                await transaction.roll_back(None)
        except BaseException as error:
            await transaction.roll_back(error)
            raise

    async def _handle(self, messages: Sequence[MqttMessage]) -> None:
        sent: list[tuple[Any, Context]] = []

        async def keep(event: Any) -> None:
            await checkpoint()
            checked = step(BATCH, CHECKS, "open", event)[1]
            if checked.get("wait"):
                raise LocalProtocolError(
                    "mqtt.send: wait is not possible here, because a batch publishes after it has returned"
                )
            sent.append((checked, copy_context()))

        for message in messages:
            message.verdict = TAKEN  # a batch that has failed may have changed it
        self._to_peer = keep
        self._answered = False
        self._loop = asyncio.get_running_loop()
        held = _Held(messages[0].event or "") if any(message.keeper for message in messages) else None
        token = current_keeper.set(held)
        try:
            await self._receive(messages)
        except Exception as error:
            if len(messages) == 1:  # of more they are tried one by one
                failed_with(error, messages[0].topic)
            raise
        else:
            if held is not None:
                held.give(messages)
        finally:
            current_keeper.reset(token)
            if held is not None:
                held.end()
        await _publish_all(sorted(messages, key=lambda message: message.is_deferred), sent)

    async def _receive(self, messages: Sequence[MqttMessage]) -> None:
        result = await self._call(type(self).receive_batch, messages)
        if result is not None and (scope := messages[0].scope) is not None:
            self._tell_returned(scope, "mqtt.receive", result)


class _Held:
    """What a batch sends without a scope, mail by Django, until its handler has returned."""

    def __init__(self, event_id: str) -> None:
        self._event_id = event_id
        """That of the first message, with which it leaves unless that one is deferred."""
        self._events: list[Event] = []
        self._over = False

    def keep(self, event: Event) -> str | None:
        if self._over:
            return None
        self._events.append(event)
        return self._event_id

    def end(self) -> None:
        """Keep nothing more: the handler has ended."""
        self._over = True

    def give(self, messages: Sequence[MqttMessage]) -> None:
        """Let it leave with the first message that is not deferred. If all are, the handler sends it again."""
        self.end()
        keepers = [message.keeper for message in messages if not message.is_deferred and message.keeper]
        for event in self._events:
            any(keeper.keep(event) is not None for keeper in keepers)


def _message(event: MQTTReceiveEvent, scope: MQTTScope, to_peer: Send) -> MqttMessage:
    delivery = scope["extensions"].get("delivery", {})
    return MqttMessage(
        event["topic"],
        event["payload"],
        event["qos"],
        event["retain"],
        event["dup"],
        event["properties"],
        event.get("captures") or {},
        scope,
        event["id"],
        event.get("event") or delivery.get("id"),
        event.get(TRACE),
        to_peer=to_peer,
        keeper=current_keeper.get(),
        part=current_part.get(),
    )


async def _acknowledge(message: MqttMessage) -> None:
    if message.id is not None and message.to_peer is not None:
        await message.to_peer({**message.verdict, "id": message.id})


async def _publish_all(messages: Sequence[MqttMessage], sent: Sequence[tuple[Any, Context]]) -> None:
    """Publish what a batch sends, each in the context in which it was sent: it belongs to its span."""
    for event, context in sent:
        await checkpoint()  # a connection that is not our server's may take them all without one
        if spans.by is None:
            await _publish(messages, event)
        else:
            await asyncio.create_task(_publish(messages, event), context=context)


async def _publish(messages: Sequence[MqttMessage], event: Mapping[str, Any]) -> None:
    """Publish by the first connection of a batch that is still there: all of them reach the same subscribers."""
    for message in messages:
        if message.to_peer is not None:
            with suppress(Disconnected):
                await message.to_peer(event)
                return
    logger.warning("%s: not published, every device of its batch has left", event["topic"], extra={"lost": True})


class MqttBatchConsumer(MqttBatchMethods[None], SyncForm):
    """Plain methods, called on a thread: one hop for many messages."""


class AsyncMqttBatchConsumer(MqttBatchMethods[Awaited], AsyncForm):
    """``async def`` methods; the helpers are awaited."""
