"""What the server keeps for one client identifier: its subscriptions, and the messages on their way to it. Pure.

The session outlives the network connection where the client asked for that. While there is one, the connection is the
session's :class:`Outgoing`.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from protocols.mqtt.broker import record
from protocols.mqtt.broker.backlog import Backlog
from protocols.mqtt.broker.grant import Grant
from protocols.mqtt.broker.inbound import Inbound
from protocols.mqtt.broker.journal import Journal
from protocols.mqtt.broker.message import ApplicationMessage
from protocols.mqtt.broker.outbound import Outbound
from protocols.mqtt.broker.outgoing import Outgoing
from protocols.mqtt.broker.share import Share
from protocols.mqtt.broker.will import Will
from protocols.mqtt.qos import FREE, PUBREL, RECONNECT, SENDER
from protocols.mqtt.settings import MQTTSettings
from protocols.mqtt.wire import packets, reasons
from protocols.net.byte_budget import ByteBudget

SLICE = 64
"""Waiting messages, or steps of the search for retained ones, that are handled without a pause."""

_EMPTY: deque[Any] = deque()
"""What nothing waits in: a deque of its own would be a tenth of what an idle client costs. Never written to."""
_NOTHING: dict[Any, Any] = {}
"""For the same reason. Never written to."""
_NONE_LEFT: Iterator[Any] = iter(())


class Session:
    """Subscriptions, outbound messages, and what is known of inbound ones at QoS 2, of one client."""

    __slots__ = (
        *(
            "_backlog",
            "_clock",
            "_last_id",
            "_queue",
            "_queued",
            "_replays",
            "_resends",
            "_room",
            "settings",
            "_unsent",
            "_window",
            "client_id",
            "dropped",
        ),
        *("ends", "expiry", "grants", "inbound", "inflight", "journal", "outgoing", "user", "will"),
    )

    def __init__(
        self,
        client_id: str,
        *,
        settings: MQTTSettings,
        room: ByteBudget,
        backlog: Backlog,
        clock: Callable[[], float],
        journal: Journal | None = None,
    ) -> None:
        self.client_id = client_id
        self.expiry = 0.0
        """Seconds for which the session outlives its connection."""
        self.user: str | None = None
        """The user to whom it belongs: nobody else gets the messages that wait in it."""
        self.ends = 0.0
        """The Unix time at which it expires, while the client is away."""
        self.grants: dict[str, Grant] = {}
        """What was granted, by topic filter, ``$share/...`` included."""
        self.inflight: dict[int, Outbound] = {}
        """Messages that were sent and not acknowledged, by packet identifier, in order."""
        self.inbound: dict[int, Inbound] = {}
        """QoS 2 messages of the client, each from its PUBLISH to its PUBREL, by packet identifier."""
        self.outgoing: Outgoing | None = None
        """The connection; None while the client is away."""
        self.dropped = 0
        """Messages for which there was no room while the client was away."""
        self.will: Will | None = None
        self.journal = journal
        """The journal that keeps it; None if it is not kept."""
        self.settings = settings
        self._room = room  # for what waits in all sessions together
        self._backlog = backlog  # for what takes long to send
        self._clock = clock
        self._window = settings.max_inflight
        self._queue: deque[Outbound] = _EMPTY
        self._queued = 0
        self._resends: dict[int, None] = _NOTHING  # of inflight, what was not sent yet on this connection, in order
        self._unsent: Iterator[int] = _NONE_LEFT  # over the same, and what has been sent or acknowledged since
        self._replays: dict[str, Iterator[tuple[ApplicationMessage, Grant] | None]] = _NOTHING  # by topic filter
        self._last_id = 0

    @property
    def queued(self) -> int:
        """Messages that wait until the client takes more, or is back."""
        return len(self._queue)

    @property
    def queued_bytes(self) -> int:
        return self._queued

    @property
    def replays(self) -> list[str]:
        """The topic filters whose retained messages the client has not all received yet."""
        return list(self._replays)

    # Deliver.

    def deliver(
        self, message: ApplicationMessage, grant: Grant, origin: object = None, share: Share | None = None
    ) -> None:
        """Send ``message`` at the lower of its own and the granted QoS; above 0, keep it until it is acknowledged."""
        if origin is self:
            local = grant.local
            if local is None:
                return
            grant = local
        self._send(message, grant, retain=message.retain and grant.retain_as_published, share=share)

    def _send(self, message: ApplicationMessage, grant: Grant, *, retain: bool, share: Share | None = None) -> None:
        qos = message.qos if message.qos < grant.qos else grant.qos
        if qos:
            self._keep(Outbound(message, qos, retain=retain, identifiers=grant.identifiers, share=share))
            return
        outgoing = self.outgoing
        if outgoing is None:
            return
        aliases = outgoing.aliases
        alias, known = aliases.alias(message.topic) if aliases is not None else (0, False)
        if alias:
            head, tail = message.encode(
                outgoing.version, 0, retain, grant.identifiers, now=self._clock(), alias=alias, known=known
            )
            data = head + tail
        else:
            data = message.packet(
                outgoing.version, retain=retain, identifiers=grant.identifiers, now=self._now(message)
            )
        if outgoing.max_packet and len(data) > outgoing.max_packet:
            return  # MQTT-3.1.2-25: "discard it without sending it and then behave as if it had completed sending"
        if outgoing.offer(data) and aliases is not None and alias and not known:
            aliases.named(message.topic, alias)

    def _now(self, message: ApplicationMessage) -> float:
        return 0.0 if message.expires is None else self._clock()

    def _keep(self, out: Outbound) -> None:
        outgoing = self.outgoing
        if outgoing is not None and not self._queue and len(self.inflight) < self._window:
            self._record(out)
            self._transmit(out, outgoing)
        elif self._queued + out.message.size <= self.settings.max_queued and self._room.take(out.message.size):
            self._record(out)
            self._append(out)
        elif outgoing is not None:
            outgoing.end(reasons.QUOTA_EXCEEDED)
        else:
            self.dropped += 1

    def _append(self, out: Outbound) -> None:
        if self._queue is _EMPTY:
            self._queue = deque()
        self._queue.append(out)
        self._queued += out.message.size

    def answered(self, packet_id: int, what: str) -> str:
        """Take a PUBACK, PUBREC or PUBCOMP and answer it, by the table of :mod:`protocols.mqtt.qos`."""
        out = self.inflight.get(packet_id)
        if out is None:
            return SENDER[FREE][what].answer
        step = SENDER[out.state][what]
        after = step.state
        if after is FREE:
            self._done(packet_id, out)
        elif after is not out.state:
            out.state = after
            self._record_again(out)
        return step.answer

    def _done(self, packet_id: int, out: Outbound) -> None:
        del self.inflight[packet_id]
        self._resends.pop(packet_id, None)
        self._strike(out)
        self.pump()

    def resume(self, outgoing: Outgoing, receive_maximum: int) -> None:
        """Go on with a client that is back: send again what it has not acknowledged (MQTT-4.4.0-1), then what waits."""
        self.outgoing = outgoing
        self._window = min(self.settings.max_inflight, receive_maximum)
        self._resends = dict.fromkeys(self.inflight) if self.inflight else _NOTHING
        self._unsent = iter(list(self._resends)) if self._resends else _NONE_LEFT
        self.pump()

    def _resend(self, outgoing: Outgoing) -> None:
        packet_id = next(id_ for id_ in self._unsent if id_ in self._resends)
        del self._resends[packet_id]
        out = self.inflight[packet_id]
        data = self._again(packet_id, out, outgoing)
        if outgoing.max_packet and len(data) > outgoing.max_packet:  # it was not when it was sent first
            del self.inflight[packet_id]
            self._strike(out)
        elif out.qos == 1:
            outgoing.write(data)
        else:  # that it has this identifier, or was received, may not be kept yet
            self.after(lambda: outgoing.write(data))

    def _again(self, packet_id: int, out: Outbound, outgoing: Outgoing) -> bytes:
        if SENDER[out.state][RECONNECT].answer is PUBREL:
            return packets.pubrel(outgoing.version, packet_id)
        outgoing.published += 1
        head, tail = out.message.encode(
            outgoing.version, out.qos, out.retain, out.identifiers, now=self._clock(), dup=True
        )
        return head + packet_id.to_bytes(2, "big") + tail

    def pump(self) -> None:
        """Send as much as the client takes: first what it has not acknowledged on an earlier connection, then the
        queue, then retained messages. If that takes long, it goes on later."""
        if (self._queue or self._resends or self._replays) and self._send_slice():
            self._backlog.add(self, self._send_slice)

    def _send_slice(self) -> bool:
        """Send a slice; return whether there is more that the client takes."""
        return all(self._send_next() for _ in range(SLICE))

    def _send_next(self) -> bool:
        """Send the next message; return whether there was one that the client takes."""
        outgoing, inflight, window = self.outgoing, len(self.inflight), self._window
        if outgoing is None:
            return False
        if self._resends and inflight - len(self._resends) < window:
            self._resend(outgoing)
        elif inflight >= window:
            return False
        elif self._queue:
            self._send_queued(outgoing)
        elif self._replays and not outgoing.congested:
            self._send_retained()
        else:
            return False
        return True

    def _send_queued(self, outgoing: Outgoing) -> None:
        out = self._queue.popleft()
        if not self._queue:
            self._queue = _EMPTY
        self._queued -= out.message.size
        self._room.give(out.message.size)
        if out.message.expired(self._now(out.message)):
            self._strike(out)
        else:
            self._transmit(out, outgoing)

    def _send_retained(self) -> None:
        """Send one retained message, or look for one for a while."""
        topic_filter = next(iter(self._replays))
        try:
            found = next(self._replays[topic_filter])
        except StopIteration:
            del self._replays[topic_filter]
            self.save()
        else:
            if found is not None:
                self._send(*found, retain=True)

    def replay(self, topic_filter: str, messages: Iterator[tuple[ApplicationMessage, Grant] | None]) -> None:
        """Send the retained messages of a filter as fast as the client takes them. ``messages`` yields None when it has
        found nothing for a while."""
        if self._replays is _NOTHING:
            self._replays = {}
        self._replays[topic_filter] = messages
        if len(self._replays) == 1:  # else the others go first
            self.pump()

    @property
    def replaying(self) -> bool:
        """Whether retained messages are still to be sent."""
        return bool(self._replays)

    def unreplay(self, topic_filter: str) -> None:
        """Send no more retained messages of a filter that the client has unsubscribed from."""
        self._replays.pop(topic_filter, None)

    def _transmit(self, out: Outbound, outgoing: Outgoing) -> None:
        packet_id = out.packet_id = self._next_id()
        message = out.message
        aliases = outgoing.aliases
        alias, known = aliases.alias(message.topic) if aliases is not None and out.qos == 1 else (0, False)
        if alias:
            now = self._clock()
            head, tail = message.encode(
                outgoing.version, out.qos, out.retain, out.identifiers, now=now, alias=alias, known=known
            )
        else:
            head, tail = message.parts(outgoing.version, out.qos, out.retain, out.identifiers, self._now(message))
        if outgoing.max_packet and len(head) + 2 + len(tail) > outgoing.max_packet:
            self._strike(out)  # MQTT-3.1.2-25, as above
            return
        self.inflight[packet_id] = out
        if aliases is not None and alias and not known:
            aliases.named(message.topic, alias)
        data = head + packet_id.to_bytes(2, "big") + tail
        outgoing.published += 1
        if out.qos == 1 or self.journal is None:
            outgoing.write(data)
        else:  # under this identifier and no other, also after a restart
            self._record_again(out)
            self.after(lambda: outgoing.write(data))

    def after(self, call: Callable[[], None]) -> None:
        """Call ``call()`` when everything up to now is kept, or at once if this session is not kept."""
        if self.journal is None:
            call()
        else:
            self.journal.when(self.journal.position, call)

    def _next_id(self) -> int:
        """A packet identifier that is not in use (MQTT-2.2.1-3): 1 to 65,535, round and round."""
        packet_id = self._last_id % 65535 + 1
        while packet_id in self.inflight:
            packet_id = packet_id % 65535 + 1
        self._last_id = packet_id
        return packet_id

    def shared(self) -> Iterator[tuple[Share, ApplicationMessage]]:
        """Return the messages that it was to get as a member of a group and has not acknowledged. Another member gets
        them, except those that were sent at QoS 2: MQTT-4.8.2-5, "If the Client's Session terminates before the Client
        reconnects, the Server MUST NOT send the Application Message to any other subscribed Client"."""
        for out in self.waiting():
            if out.share is not None and (out.qos == 1 or not out.packet_id):
                yield out.share, out.message

    # Keep.

    def waiting(self) -> list[Outbound]:
        """Return the messages that the client has not acknowledged, the oldest first."""
        return [*self.inflight.values(), *self._queue]

    def records(self, number: Callable[[], int]) -> Iterator[tuple[str, bytes]]:
        """Yield what a journal would have of it, and of the messages that wait for it. ``number`` returns a new number,
        larger than all before it."""
        yield record.session_key(self.client_id), self._record_of_itself()
        for out in self.waiting():
            message = out.message
            if not message.number:
                message.number = number()
                yield record.message_key(message.number), record.message(message)
            yield record.outbound_key(number()), record.outbound(self.client_id, out)
        for packet_id, inbound in self.inbound.items():
            yield record.inbound_key(self.client_id, packet_id), record.inbound(inbound)

    def restore(self, out: Outbound) -> None:
        """Restore what a journal has kept, the oldest first."""
        if out.packet_id:
            self.inflight[out.packet_id] = out
            self._last_id = max(self._last_id, out.packet_id)
        else:
            self._append(out)
            self._room.used += out.message.size  # kept before, whatever the limit is now

    def _record(self, out: Outbound) -> None:
        journal = self.journal
        if journal is None:
            return
        message = out.message
        if not message.number:
            message.number = journal.number()
            journal.put(record.message_key(message.number), record.message(message))
        message.holders += 1
        out.number = journal.number()
        journal.put(record.outbound_key(out.number), record.outbound(self.client_id, out))

    def _record_again(self, out: Outbound) -> None:
        if self.journal is not None and out.number:
            self.journal.put(record.outbound_key(out.number), record.outbound(self.client_id, out))

    def _strike(self, out: Outbound) -> None:
        journal = self.journal
        if journal is None or not out.number:
            return
        journal.put(record.outbound_key(out.number), None)
        out.message.holders -= 1
        if not out.message.holders:
            journal.put(record.message_key(out.message.number), None)
            out.message.number = 0

    def forget(self) -> None:
        """Remove the session from the journal, because it is over."""
        for out in self.waiting():
            self._strike(out)
        self._room.give(self._queued)
        for packet_id in list(self.inbound):
            self.settle(packet_id)
        if self.journal is not None:
            self.journal.put(record.session_key(self.client_id), None)

    def save(self) -> None:
        """Keep its subscriptions, its will, its expiry, and which retained messages are still to be sent."""
        if self.journal is not None:
            self.journal.put(record.session_key(self.client_id), self._record_of_itself())

    def save_sent(self) -> None:
        """Keep which messages at QoS 1 were sent: also after a restart they are sent again with DUP (MQTT-3.3.1-1).
        While the client is there, that is not worth a write for each message."""
        for out in self.inflight.values():
            if out.qos == 1:
                self._record_again(out)

    def _record_of_itself(self) -> bytes:
        ends = None if self.outgoing is not None else self.ends
        return record.session(self.expiry, ends, self.grants, self.will, self.user, self.replays)

    def note(self, packet_id: int, inbound: Inbound) -> None:
        """Keep what is known of an inbound message at QoS 2."""
        self.inbound[packet_id] = inbound
        if self.journal is not None:
            self.journal.put(record.inbound_key(self.client_id, packet_id), record.inbound(inbound))

    def withhold(self, packet_id: int) -> None:
        """Do not keep yet what is known of an inbound message."""
        if self.journal is not None:
            self.journal.put(record.inbound_key(self.client_id, packet_id), None)

    def settle(self, packet_id: int) -> bool:
        """Forget an inbound message, because its exchange is over; return whether it was known."""
        if self.inbound.pop(packet_id, None) is None:
            return False
        self.withhold(packet_id)
        return True
