"""The handshake of a client after its CONNECT, until it is accepted or refused (3.1, 3.2): who it is, and what it is
granted. Pure.

The steps are those of :data:`protocols.mqtt.handshake.SERVER`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from protocols.errors import Disconnected
from protocols.mqtt import handshake
from protocols.mqtt.broker.broker import Broker
from protocols.mqtt.broker.message import ApplicationMessage
from protocols.mqtt.broker.outgoing import Outgoing
from protocols.mqtt.broker.rules import Rules
from protocols.mqtt.broker.will import Will
from protocols.mqtt.connection.accepted import AcceptedConnection
from protocols.mqtt.connection.answer import encoded
from protocols.mqtt.connection.authentication import Authentication
from protocols.mqtt.connection.errors import Goodbye, broken
from protocols.mqtt.settings import MQTTSettings
from protocols.mqtt.wire import packets, reasons
from protocols.mqtt.wire.aliases import ALIASES
from protocols.mqtt.wire.packets import Auth, Connect, Disconnect, Packet


class Handshake:
    """Goes from CONNECT to CONNACK. ``assigned``: the client identifier is the server's (MQTT-3.1.3-6)."""

    __slots__ = (
        *("_assigned", "_authentication", "_broker", "_expiry", "_outgoing", "_problems", "_settings", "connect"),
        *("keepalive", "rules", "state", "user"),
    )

    def __init__(
        self, broker: Broker, settings: MQTTSettings, connect: Connect, outgoing: Outgoing, *, assigned: bool = False
    ) -> None:
        self.state = handshake.CHECK
        self._broker = broker
        self._settings = settings
        self.connect = connect
        self._outgoing = outgoing
        self._assigned = assigned
        self._problems = connect.properties.get("request_problem_information", 1) == 1
        method = connect.properties.get("authentication_method")
        self._authentication = Authentication(outgoing, method, problems=self._problems)
        self._expiry = self._wanted_expiry()
        self.keepalive = self._wanted_keepalive()
        """The keep-alive in seconds: the client's, or the one that the server tells it (3.2.2.3.14)."""
        self.user = connect.username
        """The client's user name; the proved one, once that is known."""
        self.rules: Rules | None = None
        """What the client may do; None: everything."""

    def _wanted_expiry(self) -> float:
        connect, longest = self.connect, self._settings.max_session_expiry
        if connect.version == 4:
            return 0.0 if connect.clean else longest
        return min(float(connect.properties.get("session_expiry_interval", 0)), longest)

    def _wanted_keepalive(self) -> int:
        longest = int(self._settings.max_keepalive)
        if self.connect.version == 4 or not longest:
            return self.connect.keepalive
        return min(self.connect.keepalive or longest, longest)

    def may_have_will(self) -> bool:
        """Whether the rules let its will be published."""
        will = self.connect.will
        return will is None or self.rules is None or self.rules.may_publish(will["topic"])

    def handle(self, packets: Sequence[Packet]) -> Iterator[Any]:
        """Return the application's events for what a client may send before it is accepted: AUTH and DISCONNECT.

        Raises RemoteProtocolError at anything else, Goodbye at DISCONNECT.
        """
        for packet in packets:
            what = _COMES.get(type(packet), handshake.OTHER)
            if what == handshake.OTHER:  # the caller refuses
                raise broken("other than AUTH while it authenticates [MQTT-3.1.2-30]")
            if isinstance(packet, Auth) and packet.code != reasons.CONTINUE_AUTHENTICATION:
                raise broken(f"AUTH {packet.code:#x} before it is accepted [MQTT-4.12.0-3]")
            self._goto(what)
            if isinstance(packet, Disconnect):
                raise Goodbye(packet.code)
            yield self._authentication.heard(cast("Auth", packet))

    def _goto(self, what: str) -> str:
        """Take the step that follows when ``what`` came; return what to answer."""
        self.state, answer, _ = handshake.SERVER[self.state][what]
        return answer

    def admit(self) -> None:
        """Ask the application, because the server's users and rules let the client in."""
        self._goto(handshake.ADMIT)

    def authenticate(self, event: Mapping[str, Any]) -> None:
        """Take ``mqtt.auth``: a step of the enhanced authentication. Raises LocalProtocolError."""
        self._authentication.ask(event)

    def accept(self, event: Mapping[str, Any]) -> AcceptedConnection:
        """Accept the client, as the application wants it: take its session over, send CONNACK, resume delivery.

        The application may set another keep-alive and life of the session. Raises LocalProtocolError for properties
        that CONNACK cannot have.
        """
        connect = self.connect
        properties = self._granted() | dict(event.get("properties") or {})
        self._connack(reasons.SUCCESS, properties)  # is it legal?
        if connect.version == 5:
            self._expiry = float(properties.get("session_expiry_interval", self._expiry))
            self.keepalive = properties.get("server_keep_alive", self.keepalive)
        self._goto(handshake.APP_ACCEPT)
        session, present = self._broker.open(
            connect.client_id,
            clean=connect.clean,
            expiry=self._expiry,
            will=self._will(),
            outgoing=self._outgoing,
            user=self.user,
        )
        if self.rules is not None:
            self._broker.restrict(session, self.rules)
        connection = AcceptedConnection(
            self._broker,
            self._settings,
            session,
            self._outgoing,
            rules=self.rules,
            asks=bool(event.get("subscribe", False)),
            problems=self._problems,
            authentication=self._authentication,
        )
        self._outgoing.write(self._connack(reasons.SUCCESS, properties, present=present))
        session.resume(self._outgoing, connect.properties.get("receive_maximum", 65535))
        return connection

    def follow(self, rules: Rules | None) -> list[str]:
        """Go by other rules. There are no subscriptions yet that they could forbid."""
        self.rules = rules
        return []

    def _will(self) -> Will | None:
        will = self.connect.will
        if will is None:
            return None
        properties = will["properties"]
        message = ApplicationMessage(
            will["topic"], will["payload"], will["qos"], retain=will["retain"], properties=properties
        )
        return Will(message, float(properties.get("will_delay_interval", 0)))

    def _granted(self) -> dict[str, Any]:
        """The properties of CONNACK: what differs from the defaults, or from what the client asked for."""
        if self.connect.version == 4:
            return {}
        settings, asked = self._settings, self.connect.properties
        properties: dict[str, Any] = {
            "receive_maximum": settings.max_unacked,
            "maximum_packet_size": settings.max_packet,
            "topic_alias_maximum": ALIASES,
        }
        if self._assigned:
            properties["assigned_client_identifier"] = self.connect.client_id
        if float(asked.get("session_expiry_interval", 0)) != self._expiry:
            properties["session_expiry_interval"] = int(self._expiry)
        if self.keepalive != self.connect.keepalive:
            properties["server_keep_alive"] = self.keepalive
        if "authentication_method" in asked:
            properties["authentication_method"] = asked["authentication_method"]
        return properties

    def acknowledge(self, event: Mapping[str, Any]) -> None:
        """Take ``mqtt.ack``. Raises Disconnected: a client that is not accepted has sent no message, so the event can
        only come when the client is gone."""
        raise Disconnected("mqtt.ack: the client is gone")

    def refuse(self, what: str, reason_code: int, properties: Mapping[str, Any] | None = None) -> None:
        """Refuse the client, because ``what`` of the table came. Raises LocalProtocolError for illegal properties."""
        data = self._connack(reason_code, dict(properties or {}))
        if self._goto(what) == handshake.CONNACK_ERROR:
            self._outgoing.write(data)

    def _connack(self, code: int, properties: dict[str, Any], *, present: bool = False) -> bytes:
        return encoded(self._outgoing, packets.connack, self.connect.version, code, present, properties=properties)


_COMES: dict[type, str] = {Auth: handshake.AUTH, Disconnect: handshake.DISCONNECT}
"""The table's names for packets; any other is ``OTHER``."""
