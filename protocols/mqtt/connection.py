"""One network connection, from CONNECT to its end, sans I/O: packets in, events for the application and bytes out."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

from protocols.asgi import MQTTReceiveEvent
from protocols.errors import Disconnected, LocalProtocolError, RemoteProtocolError
from protocols.event import new_id
from protocols.mqtt import packets, reasons
from protocols.mqtt.broker import Broker
from protocols.mqtt.message import Message
from protocols.mqtt.packets import (
    Auth,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Puback,
    Pubcomp,
    Pubrec,
    Pubrel,
    Subscribe,
    Unsubscribe,
)
from protocols.mqtt.session import Inbound, Outlet, Session, Will
from protocols.mqtt.settings import MQTTSettings
from protocols.mqtt.topics import Grant

UNRELEASED = 4096
"""Messages at QoS 2 of one client for which its PUBREL has not come: 3.1.1 has no receive maximum."""
ALIASES = 32
"""Topic aliases that a client may use, and that we use where a client takes some."""
UNANSWERED = 64
"""SUBSCRIBE packets of one client that wait for the application."""

P = TypeVar("P")
Event = Any


class Peer(Outlet, Protocol):
    """The socket's side of a connection."""

    def tell(self, event: Event) -> None:
        """Feed the application with ``event``, which had to wait."""


class Rules(Protocol):
    """What one client may do."""

    def may_publish(self, topic: str) -> bool: ...
    def may_subscribe(self, topic_filter: str) -> bool: ...


class Goodbye(Exception):
    """The client said DISCONNECT, with this reason code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Connection:
    """What a client may say once it is accepted, and what follows.

    :attr:`unacked` holds, by packet identifier, the QoS 1 messages that the application has not acknowledged, with the
    position in the journal that their PUBACK waits for (0: nothing).
    """

    __slots__ = (
        *("_aliases", "_asked", "_asks", "_assigned", "_begun", "_broker", "_connect", "_expiry", "_handling"),
        *("_journal", "keepalive"),
        *("_matches", "_most", "_over", "_peer", "_problems", "_queue", "_settings", "_told"),
        *("refused", "rules", "session", "unacked", "user", "version"),
    )

    def __init__(
        self,
        broker: Broker,
        settings: MQTTSettings,
        connect: Connect,
        peer: Peer,
        *,
        assigned: bool = False,
    ) -> None:
        self.unacked: dict[int, int] = {}
        self.session: Session | None = None
        self.version = connect.version
        self.refused = 0
        """Messages that the rules did not let through."""
        self._broker = broker
        self._journal = broker.journal
        self._matches = broker.matches
        self._settings = settings
        self._connect = connect
        self._peer = peer
        self.user = connect.username
        """Who the client is, once that is known."""
        self.rules: Rules | None = None
        """What the client may do; None: everything."""
        self._problems = connect.properties.get("request_problem_information", 1) == 1
        self._most = settings.max_unacked if connect.version == 5 else 65536
        self._expiry = self._wanted_expiry()
        self.keepalive = self._wanted_keepalive()
        """Seconds; the client's, or what it is told (3.2.2.3.14)."""
        self._handling: set[int] = set()  # at QoS 2, with this connection's application
        self._begun = 0  # at QoS 2, and not over: what counts for the receive maximum (4.9)
        self._aliases: dict[int, str] = {}  # the client's
        self._told: dict[str, int] = {}  # ours
        self._queue: list[tuple[int, Event]] = []  # as the session's: an empty deque is a tenth of an idle device
        self._assigned = assigned
        self._asks = False
        self._asked: dict[int, Subscribe] = {}
        self._over = False

    # CONNECT.

    def _wanted_expiry(self) -> float:
        connect, longest = self._connect, self._settings.max_session_expiry
        if connect.version == 4:
            return 0.0 if connect.clean else longest
        return min(float(connect.properties.get("session_expiry_interval", 0)), longest)

    @property
    def open(self) -> bool:
        """Whether it was accepted and is not over."""
        return self.session is not None and not self._over

    @property
    def waiting(self) -> int:
        """Events that wait until something is kept."""
        return len(self._queue)

    @property
    def busy(self) -> bool:
        """Whether the application has something to answer yet."""
        return bool(self.unacked or self._handling or self._queue or self._asked)

    def _wanted_keepalive(self) -> int:
        longest = int(self._settings.max_keepalive)
        if self.version == 4 or not longest:
            return self._connect.keepalive
        return min(self._connect.keepalive or longest, longest)

    def accept(self, event: Mapping[str, Any]) -> None:
        """The application accepts the client: take its session over, say CONNACK, resume delivery.

        The application may set another keep-alive and life of the session. Raises LocalProtocolError for properties
        that CONNACK cannot have.
        """
        connect = self._connect
        properties = self._connack_properties() | dict(event.get("properties") or {})
        self._connack(reasons.SUCCESS, properties)  # is it legal?
        self._asks = bool(event.get("subscribe", False))
        if self.version == 5:
            self._expiry = float(properties.get("session_expiry_interval", self._expiry))
            self.keepalive = properties.get("server_keep_alive", self.keepalive)
        self.session, present = self._broker.open(
            connect.client_id,
            clean=connect.clean,
            expiry=self._expiry,
            will=self._will(),
            outlet=self._peer,
            user=self.user,
        )
        self._drop_forbidden(self.session)
        self._peer.write(self._connack(reasons.SUCCESS, properties, present=present))
        self.session.resume(self._peer, connect.properties.get("receive_maximum", 65535))

    def _drop_forbidden(self, session: Session) -> None:
        """Subscriptions of a kept session that the rules allow no more."""
        if self.rules is not None:
            for topic_filter in [each for each in session.grants if not self.rules.may_subscribe(each)]:
                self._broker.unsubscribe(session, topic_filter)
            session.save()

    def _will(self) -> Will | None:
        will = self._connect.will
        if will is None:
            return None
        properties = will["properties"]
        message = Message(will["topic"], will["payload"], will["qos"], retain=will["retain"], properties=properties)
        return Will(message, float(properties.get("will_delay_interval", 0)))

    def _connack_properties(self) -> dict[str, Any]:
        """What differs from the defaults, or from what the client asked for."""
        if self.version == 4:
            return {}
        settings, asked = self._settings, self._connect.properties
        properties: dict[str, Any] = {
            "receive_maximum": settings.max_unacked,
            "maximum_packet_size": settings.max_packet,
            "topic_alias_maximum": ALIASES,
        }
        if self._assigned:
            properties["assigned_client_identifier"] = self._connect.client_id
        if float(asked.get("session_expiry_interval", 0)) != self._expiry:
            properties["session_expiry_interval"] = int(self._expiry)
        if self.keepalive != self._connect.keepalive:
            properties["server_keep_alive"] = self.keepalive
        if "authentication_method" in asked:
            properties["authentication_method"] = asked["authentication_method"]
        return properties

    def refuse(self, reason_code: int, properties: Mapping[str, Any] | None = None) -> None:
        """The application, or the server, does not accept it. Raises LocalProtocolError for illegal properties."""
        _check_code("mqtt.reject", reason_code)
        self._peer.write(self._connack(reason_code, dict(properties or {})))

    def _connack(self, code: int, properties: dict[str, Any], *, present: bool = False) -> bytes:
        return self._encoded(packets.connack, self.version, code, present, properties=properties)

    def may_have_will(self) -> bool:
        """Whether the rules let its will be published."""
        will = self._connect.will
        return will is None or self.rules is None or self.rules.may_publish(will["topic"])

    # Packets.

    def handle(self, packets: Iterable[Packet]) -> Iterator[Event]:
        """The application's events for ``packets``, in order; the others are answered as they come up.

        Raises RemoteProtocolError at one that breaks the rules, Goodbye at DISCONNECT. What a device publishes goes to
        its subscribers here, at its arrival, whatever the application makes of it.
        """
        if self.session is None:
            packets = _before_accept(packets)
        unacked, handling, matches, rules, most = self.unacked, self._handling, self._matches, self.rules, self._most
        for packet in packets:
            if not isinstance(packet, dict):
                yield from self._other(packet)
                continue
            if (packet["properties"] or rules is not None) and not self._passes(packet):
                continue
            packet_id, qos = packet["id"], packet["qos"]
            if packet_id is not None:
                room = len(unacked) + self._begun < most
                if qos == 1 and packet_id not in unacked and room and packet_id not in handling:
                    unacked[packet_id] = 0
                elif not self._begin(packet_id, packet):
                    yield from self._repeated(packet)
                    continue
            if packet["retain"] or matches[packet["topic"]]:
                self._fan_out(packet)
            if self._queue or qos == 2:
                yield from self._in_turn(packet)
            else:
                yield packet

    def _other(self, packet: Packet) -> Iterator[Event]:
        event = _HANDLERS[type(packet)](self, packet)
        if event is not None:
            yield from self._in_turn(event)

    def _passes(self, packet: MQTTReceiveEvent) -> bool:
        """Whether the rules let it through, its properties looked at."""
        if packet["properties"]:
            self._unfold(packet)
        if self.rules is None or self.rules.may_publish(packet["topic"]):
            return True
        self.refused += 1
        if packet["id"] is not None:  # 3.1.1 has no word for it: acknowledged, and it goes nowhere (3.3.5)
            answer = packets.puback if packet["qos"] == 1 else packets.pubrec
            self._peer.write(answer(self.version, packet["id"], reasons.NOT_AUTHORIZED))
        return False

    def _unfold(self, packet: MQTTReceiveEvent) -> None:
        """MQTT 5's properties of a PUBLISH that are between client and server."""
        properties = packet["properties"]
        alias = properties.pop("topic_alias", None)
        if alias is None:
            return
        if not 1 <= alias <= ALIASES:
            raise _broken(f"PUBLISH with topic alias {alias} [MQTT-3.3.2-9]", reasons.TOPIC_ALIAS_INVALID)
        if packet["topic"]:
            self._aliases[alias] = packet["topic"]
        elif alias in self._aliases:
            packet["topic"] = self._aliases[alias]
        else:
            raise _broken(f"PUBLISH with the unknown topic alias {alias} [3.3.2.3.4]", reasons.PROTOCOL_ERROR)

    def _fan_out(self, message: MQTTReceiveEvent) -> None:
        # 4.7.2: clients must not use $-topics to exchange messages. The application may.
        if message["topic"].startswith("$"):
            return
        keys = message["topic"], message["payload"], message["qos"]
        sent = self._broker.message(*keys, retain=message["retain"], properties=message["properties"])
        self._broker.publish(sent, self.session)
        if self._journal is not None and message["id"] in self.unacked:
            self.unacked[message["id"]] = self._journal.position

    # QoS 2 inbound (4.3.3): an event once, whatever the number of PUBLISH packets.

    def _begin(self, packet_id: int, packet: MQTTReceiveEvent) -> bool:
        """Whether this is new: at QoS 2, or at QoS 1 where it was not plainly so.

        What is not new goes to no subscriber; it has an ``event`` where the application is to hear it all the same.
        """
        if packet_id in self.unacked or packet_id in self._handling:
            _check_repeated(packet["dup"])
            return False
        if packet["qos"] == 1:
            raise _too_many()
        known = self._session.inbound.get(packet_id)
        if known is None:
            self._note(packet_id, packet)
            return True
        if known.handled:  # which may not be kept yet
            self._session.after(lambda: self._peer.write(packets.pubrec(self.version, packet_id)))
        elif known.idle:
            self._take(packet_id, packet, known)
        else:
            known.again = packet
        return False

    def _repeated(self, packet: MQTTReceiveEvent) -> Iterator[Event]:
        return self._in_turn(packet) if "event" in packet else iter(())

    def _note(self, packet_id: int, packet: MQTTReceiveEvent) -> None:
        if len(self.unacked) + self._begun >= self._most:
            raise _too_many()
        if len(self._session.inbound) >= UNRELEASED:
            raise _broken("too many messages at QoS 2 that it has not released", reasons.QUOTA_EXCEEDED)
        self._begun += 1
        known = Inbound(new_id())
        self._session.note(packet_id, known)
        self._take(packet_id, packet, known)

    def _take(self, packet_id: int, packet: MQTTReceiveEvent, known: Inbound) -> None:
        """It is this connection's application's."""
        packet["event"] = known.event
        known.idle = False
        self._handling.add(packet_id)

    def _settle(self, packet_id: int) -> bool:
        self._begun = max(0, self._begun - 1)
        return self._session.settle(packet_id)

    def again(self, packet: MQTTReceiveEvent) -> None:
        """Nobody has it any more: it is this connection's."""
        packet_id = packet["id"] or 0
        if (known := self._session.inbound.get(packet_id)) is not None:
            self._take(packet_id, packet, known)
            self._peer.tell(packet)

    def abandon(self) -> None:
        """The application has ended: what it has not answered at QoS 2 is for whoever the client sends it to again."""
        session, handling = self.session, self._handling
        if session is None:
            return
        for packet_id in handling:
            inbound = session.inbound.get(packet_id)
            if inbound is None:
                continue
            packet, inbound.again = inbound.again, None
            if packet is not None and session.outlet is not None:
                session.outlet.again(packet)
            else:
                inbound.idle = True
        handling.clear()

    def _pubrel(self, packet: Pubrel) -> None:
        known = self._session.inbound.get(packet.id)
        if known is not None and not known.handled:
            raise _broken("PUBREL before there was a PUBREC [4.3.3]")
        code = reasons.SUCCESS if self._settle(packet.id) else reasons.PACKET_ID_NOT_FOUND
        self._session.after(lambda: self._peer.write(packets.pubcomp(self.version, packet.id, code)))

    # What the application says.

    def acknowledge(self, event: Mapping[str, Any]) -> None:
        """The application is done with a message: its PUBACK or PUBREC may leave, when all that it stands for is kept.

        At QoS 2 also after the connection is over: the client may ask on the next. Raises LocalProtocolError, and
        Disconnected where it comes too late.
        """
        packet_id, code = event["id"], event.get("reason_code", reasons.SUCCESS)
        if not isinstance(packet_id, int):
            raise LocalProtocolError(f"mqtt.ack: {packet_id!r} is no id")
        _check_code("mqtt.ack", code, reasons.SUCCESS, reasons.NO_MATCHING_SUBSCRIBERS)
        properties = dict(event.get("properties") or {}) if self._problems else {}
        if packet_id in self._handling:
            self._acknowledge_2(packet_id, code, properties)
            return
        if self._over:
            raise Disconnected("mqtt.ack: the client is gone, and sends it again")
        if packet_id not in self.unacked:
            raise LocalProtocolError(f"mqtt.ack: no message {packet_id!r} is waiting for it")
        data = self._encoded(packets.puback, self.version, packet_id, code, properties=properties)
        position = self.unacked.pop(packet_id)
        if self._journal is None:
            self._peer.write(data)
        else:
            self._journal.when(position, lambda: self._peer.write(data))

    def _acknowledge_2(self, packet_id: int, code: int, properties: dict[str, Any]) -> None:
        session = self._session
        data = self._encoded(packets.pubrec, self.version, packet_id, code, properties=properties)
        self._handling.discard(packet_id)
        inbound = session.inbound.get(packet_id)
        if inbound is None or (session.outlet is None and not session.expiry):
            raise Disconnected("mqtt.ack: the session is over")
        if code >= 0x80 and self.version == 5:  # the exchange ends here (4.3.3)
            self._settle(packet_id)
        else:
            inbound.handled, inbound.again = True, None
            session.note(packet_id, inbound)

        def answer() -> None:
            if session.outlet is not None:
                session.outlet.write(data)

        if self._journal is None:
            answer()
        else:  # what others are to get of it is kept where this session itself is not
            self._journal.when(self._journal.position, answer)

    def publish(self, event: Mapping[str, Any]) -> None:
        """``mqtt.send``: to the matching subscribers of the server. Raises LocalProtocolError."""
        self._broker.send(event)

    def granted(self, event: Mapping[str, Any]) -> None:
        """``mqtt.suback``: the application has decided about a SUBSCRIBE. Raises LocalProtocolError."""
        packet = self._asked.pop(event["id"], None)
        if packet is None:
            raise LocalProtocolError(f"mqtt.suback: no mqtt.subscribe {event['id']!r} is waiting for it")
        codes = list(event["reason_codes"])
        if len(codes) != len(packet.filters) or not all(code in (0, 1, 2) or 0x80 <= code <= 0xFF for code in codes):
            raise LocalProtocolError("mqtt.suback: a reason code for each filter: 0, 1, 2, or 0x80 and above")
        self._grant(packet, codes)

    def authenticate(self, event: Mapping[str, Any]) -> None:
        """``mqtt.auth``: a step of the extended authentication (4.12). Raises LocalProtocolError."""
        method = self._connect.properties.get("authentication_method")
        if method is None:
            raise LocalProtocolError("mqtt.auth: the client has named no authentication method [MQTT-4.12.0-6]")
        properties = {"authentication_method": method} | dict(event.get("properties") or {})
        if event.get("data") is not None:
            properties["authentication_data"] = event["data"]
        if not self._problems:  # 3.1.2.11.7
            properties = _without_problems(properties)
        code = event.get("reason_code", reasons.CONTINUE_AUTHENTICATION)
        self._peer.write(self._encoded(packets.auth, code, properties=properties))

    def goodbye(self, reason_code: int, properties: Mapping[str, Any] | None = None) -> None:
        """The server closes the connection, and says why where MQTT has a word for it."""
        _check_code("mqtt.disconnect", reason_code, reasons.SUCCESS)
        if self.version == 5 and self.open:
            self._peer.write(self._encoded(packets.disconnect, reason_code, properties=dict(properties or {})))

    def _encoded(self, encode: Callable[..., bytes], *fields: Any, properties: dict[str, Any]) -> bytes:
        """A packet; without what is for people where the client does not take it so long (MQTT-3.1.2-24).

        Raises LocalProtocolError for illegal properties.
        """
        data = _legal(encode, *fields, properties)
        if self._peer.max_packet and len(data) > self._peer.max_packet:
            data = _legal(encode, *fields, _without_problems(properties))
        return data

    # How it ends.

    def end(self, *, with_will: bool) -> None:
        """The connection is over. Unless the client said goodbye, its will is published (MQTT-3.1.2-8)."""
        if self.open:
            self._over = True
            self._queue.clear()
            self._broker.close(self._session, with_will=with_will, expiry=self._expiry)

    # What has to wait until it is kept.

    def _in_turn(self, event: Event) -> Iterator[Event]:
        """``event``, now or, where something before it or itself is not kept yet, later."""
        journal = self.session.journal if self.session is not None else None  # none before it is accepted
        position = journal.position if journal is not None else 0
        if journal is None or (not self._queue and position <= journal.committed):
            yield event
            return
        self._queue.append((position, event))
        journal.when(position, self._release)

    def _release(self) -> None:
        journal, queue = self._session.journal, self._queue
        while journal is not None and queue and queue[0][0] <= journal.committed:
            self._peer.tell(queue.pop(0)[1])

    # The other packets.

    @property
    def _session(self) -> Session:
        if self.session is None:
            raise LocalProtocolError("the client is not accepted yet")
        return self.session

    def _puback(self, packet: Puback) -> None:
        self._session.acknowledged(packet.id)

    def _pubrec(self, packet: Pubrec) -> None:
        session = self._session
        if not session.received(packet.id, packet.code):
            self._peer.write(packets.pubrel(self.version, packet.id, reasons.PACKET_ID_NOT_FOUND))
        elif packet.code < 0x80:
            session.after(lambda: self._peer.write(packets.pubrel(self.version, packet.id)))

    def _pubcomp(self, packet: Pubcomp) -> None:
        self._session.completed(packet.id)

    def _subscribe(self, packet: Subscribe) -> Event:
        codes = [self._first_look(topic_filter, options) for topic_filter, options in packet.filters]
        if self._asks and any(code < 0x80 for code in codes):
            self._ask(packet)
            filters = [(topic_filter, options.qos) for topic_filter, options in packet.filters]
            return {"type": "mqtt.subscribe", "id": packet.id, "filters": filters, "properties": packet.properties}
        self._grant(packet, codes)
        return None

    def _ask(self, packet: Subscribe) -> None:
        if packet.id in self._asked:  # the answer to the one would be taken for the other's
            raise _broken("SUBSCRIBE with a packet identifier in use [MQTT-2.2.1-3]")
        if len(self._asked) >= UNANSWERED:
            raise _broken("too many SUBSCRIBE packets that the application has not answered", reasons.QUOTA_EXCEEDED)
        self._asked[packet.id] = packet

    def _first_look(self, topic_filter: str | None, options: packets.Options) -> int:
        if topic_filter is None:
            return reasons.FILTER_INVALID
        if self.rules is not None and not self.rules.may_subscribe(topic_filter):
            return reasons.NOT_AUTHORIZED
        return options.qos

    def _grant(self, packet: Subscribe, codes: list[int]) -> None:
        """Subscribe at the QoS that ``codes`` give; SUBACK; then what is retained (3.8.4)."""
        session = self._session
        given = packet.properties.get("subscription_identifier")
        identifiers = (given,) if given else ()
        replays: list[tuple[str, Grant]] = []
        for number, (topic_filter, options) in enumerate(packet.filters):
            if topic_filter is None or self._first_look(topic_filter, options) >= 0x80:
                codes[number] = max(codes[number], self._first_look(topic_filter, options))
                continue
            if codes[number] >= 0x80:
                continue
            new = topic_filter not in session.grants
            granted = options._replace(qos=min(codes[number], options.qos))
            codes[number] = self._broker.subscribe(session, topic_filter, granted, identifiers)
            wanted = options.retain_handling == 0 or (options.retain_handling == 1 and new)
            if codes[number] < 0x80 and wanted:
                replays.append((topic_filter, session.grants[topic_filter]))
        session.save()
        session.after(lambda: self._peer.write(packets.suback(self.version, packet.id, codes)))
        for topic_filter, grant in replays:
            self._broker.replay(session, topic_filter, grant)

    def _unsubscribe(self, packet: Unsubscribe) -> Event:
        session = self._session
        codes = [self._broker.unsubscribe(session, topic_filter) for topic_filter in packet.filters]
        session.save()
        session.after(lambda: self._peer.write(packets.unsuback(self.version, packet.id, codes)))
        if not self._asks:
            return None
        return {"type": "mqtt.unsubscribe", "filters": packet.filters, "properties": packet.properties}

    def _pingreq(self, packet: Pingreq) -> None:
        self._peer.write(packets.PINGRESP)

    def _auth(self, packet: Auth) -> Event:
        method = self._connect.properties.get("authentication_method")
        if method is None or packet.properties.get("authentication_method") != method:
            raise _broken("AUTH of another authentication method [MQTT-4.12.0-5]", reasons.PROTOCOL_ERROR)
        data = packet.properties.get("authentication_data")
        return {"type": "mqtt.auth", "reason_code": packet.code, "data": data, "properties": packet.properties}

    def _disconnect(self, packet: Disconnect) -> None:
        expiry = packet.properties.get("session_expiry_interval")
        if expiry is not None:
            if expiry and not self._expiry:
                raise _broken("DISCONNECT gives a life to a session without one [3.14.2.2.2]", reasons.PROTOCOL_ERROR)
            self._expiry = min(float(expiry), self._settings.max_session_expiry)
        raise Goodbye(packet.code)

    def _connect_again(self, packet: Connect) -> None:
        raise _broken("a second CONNECT [MQTT-3.1.0-2]", reasons.PROTOCOL_ERROR)

    # Topic aliases to the client.

    def alias(self, topic: str) -> tuple[int, bool]:
        """Ours for ``topic``, 0 for none; and whether the client knows it."""
        known = self._told.get(topic)
        if known is not None:
            return known, True
        return (0 if len(self._told) >= self._peer.aliases else len(self._told) + 1), False

    def named(self, topic: str, alias: int) -> None:
        """The client knows it now."""
        self._told[topic] = alias


def _before_accept(packets: Iterable[Packet]) -> Iterator[Packet]:
    for packet in packets:
        if not isinstance(packet, Auth | Disconnect):
            raise _broken("other than AUTH while it authenticates [MQTT-3.1.2-30]")
        yield packet


def _legal(encode: Callable[..., bytes], *fields: Any, **more: Any) -> bytes:
    try:
        return encode(*fields, **more)
    except ValueError as error:
        raise LocalProtocolError(str(error)) from error


def _without_problems(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is for people, and may be left out."""
    return {key: value for key, value in properties.items() if key not in ("reason_string", "user_property")}


def _check_code(what: str, code: Any, *legal: int) -> None:
    if not isinstance(code, int) or not (code in legal or 0x80 <= code <= 0xFF):
        raise LocalProtocolError(f"{what}: the reason code {code!r} is none")


def _too_many() -> RemoteProtocolError:
    return _broken("more than the receive maximum [MQTT-3.3.4-9]", reasons.RECEIVE_MAXIMUM_EXCEEDED)


def _check_repeated(dup: bool) -> None:
    """A message that is sent again while its handler runs is answered once, by that handler. A new one under an
    identifier in use could not be told apart."""
    if not dup:
        raise _broken("PUBLISH with a packet identifier in use [MQTT-2.2.1-3]")


def _broken(why: str, code: int = reasons.PROTOCOL_ERROR) -> RemoteProtocolError:
    return RemoteProtocolError(why, answer=code)


_HANDLERS: dict[type, Callable[[Connection, Any], Event]] = {
    Puback: Connection._puback,  # noqa: SLF001 -- the class's own table
    Pubrec: Connection._pubrec,  # noqa: SLF001 -- the class's own table
    Pubrel: Connection._pubrel,  # noqa: SLF001 -- the class's own table
    Pubcomp: Connection._pubcomp,  # noqa: SLF001 -- the class's own table
    Subscribe: Connection._subscribe,  # noqa: SLF001 -- the class's own table
    Unsubscribe: Connection._unsubscribe,  # noqa: SLF001 -- the class's own table
    Pingreq: Connection._pingreq,  # noqa: SLF001 -- the class's own table
    Auth: Connection._auth,  # noqa: SLF001 -- the class's own table
    Disconnect: Connection._disconnect,  # noqa: SLF001 -- the class's own table
    Connect: Connection._connect_again,  # noqa: SLF001 -- the class's own table
}
