"""SUBSCRIBE and UNSUBSCRIBE, and what the rules and the application make of them (3.8 to 3.11). Pure."""

from collections.abc import Mapping
from typing import Any

from protocols.errors import LocalProtocolError
from protocols.mqtt.broker.broker import Broker
from protocols.mqtt.broker.grant import Grant
from protocols.mqtt.broker.outgoing import Outgoing
from protocols.mqtt.broker.rules import Rules
from protocols.mqtt.broker.session import Session
from protocols.mqtt.connection.errors import broken
from protocols.mqtt.wire import packets, reasons
from protocols.mqtt.wire.packets import Options, Subscribe, Unsubscribe

UNANSWERED = 64
"""SUBSCRIBE packets of one client that wait for the application."""
_NOTHING: dict[int, Subscribe] = {}
"""What most clients have: a dictionary of its own would be a hundredth of an idle one. Never written to."""


class Subscribing:
    """``asks``: the application decides about each, and hears of the ends."""

    __slots__ = ("_asked", "_asks", "_broker", "_outgoing", "_rules", "_session")

    def __init__(
        self, broker: Broker, session: Session, outgoing: Outgoing, rules: Rules | None, *, asks: bool
    ) -> None:
        self._broker = broker
        self._session = session
        self._outgoing = outgoing
        self._rules = rules
        self._asks = asks
        self._asked: dict[int, Subscribe] = _NOTHING

    def follow(self, rules: Rules | None) -> None:
        """Go by other rules from now on."""
        self._rules = rules

    @property
    def busy(self) -> bool:
        """Whether the application has to decide yet."""
        return bool(self._asked)

    def subscribe(self, packet: Subscribe) -> dict[str, Any] | None:
        """Answer it, or return what the application is asked. Raises RemoteProtocolError."""
        codes = [self._first_look(topic_filter, options) for topic_filter, options in packet.filters]
        if self._asks and any(code < 0x80 for code in codes):
            self._ask(packet)
            filters = [(topic_filter, options.qos) for topic_filter, options in packet.filters]
            return {"type": "mqtt.subscribe", "id": packet.id, "filters": filters, "properties": packet.properties}
        self._grant(packet, codes)
        return None

    def _first_look(self, topic_filter: str | None, options: Options) -> int:
        if topic_filter is None:
            return reasons.FILTER_INVALID
        if self._rules is not None and not self._rules.may_subscribe(topic_filter):
            return reasons.NOT_AUTHORIZED
        return options.qos

    def _ask(self, packet: Subscribe) -> None:
        if packet.id in self._asked:  # the answer to the one would be taken for the other's
            raise broken("SUBSCRIBE with a packet identifier in use [MQTT-2.2.1-3]")
        if len(self._asked) >= UNANSWERED:
            raise broken("too many SUBSCRIBE packets that the application has not answered", reasons.QUOTA_EXCEEDED)
        if self._asked is _NOTHING:
            self._asked = {}
        self._asked[packet.id] = packet

    def granted(self, event: Mapping[str, Any]) -> None:
        """``mqtt.suback``: the application has decided. Raises LocalProtocolError."""
        packet = self._asked.pop(event["id"], None)
        if packet is None:
            raise LocalProtocolError(f"mqtt.suback: no mqtt.subscribe {event['id']!r} is waiting for it")
        codes = event["reason_codes"]
        if len(codes) != len(packet.filters):
            raise LocalProtocolError(f"mqtt.suback: {len(codes)} reason codes for {len(packet.filters)} filters")
        looks = (self._first_look(topic_filter, options) for topic_filter, options in packet.filters)
        self._grant(packet, [look if look >= 0x80 > code else code for code, look in zip(codes, looks, strict=True)])

    def _grant(self, packet: Subscribe, codes: list[int]) -> None:
        """Subscribe at the QoS that ``codes`` give; SUBACK; then what is retained (3.8.4)."""
        session = self._session
        given = packet.properties.get("subscription_identifier")
        replays: list[tuple[str, Grant]] = []
        for number, (topic_filter, options) in enumerate(packet.filters):
            if topic_filter is None or codes[number] >= 0x80:
                continue
            new = topic_filter not in session.grants
            granted = options._replace(qos=min(codes[number], options.qos))
            codes[number] = self._broker.subscribe(session, topic_filter, granted, (given,) if given else ())
            wanted = options.retain_handling == 0 or (options.retain_handling == 1 and new)
            if codes[number] < 0x80 and wanted:
                replays.append((topic_filter, session.grants[topic_filter]))
        session.save()
        session.after(lambda: self._outgoing.write(packets.suback(self._outgoing.version, packet.id, codes)))
        for topic_filter, grant in replays:
            self._broker.replay(session, topic_filter, grant)
        if session.replaying:
            session.save()

    def unsubscribe(self, packet: Unsubscribe) -> dict[str, Any] | None:
        """Answer it; what the application hears of it."""
        session = self._session
        codes = [self._broker.unsubscribe(session, topic_filter) for topic_filter in packet.filters]
        session.save()
        session.after(lambda: self._outgoing.write(packets.unsuback(self._outgoing.version, packet.id, codes)))
        if not self._asks:
            return None
        return {"type": "mqtt.unsubscribe", "filters": packet.filters, "properties": packet.properties}
