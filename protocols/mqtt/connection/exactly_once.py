"""QoS 2 inbound: a message is one event, however many PUBLISH packets and connections bring it (4.3.3). Pure.

The steps are those of :data:`protocols.mqtt.qos.RECEIVER_2`.
"""

from typing import Any

from protocols.asgi import MQTTReceiveEvent
from protocols.event_id import new_id
from protocols.mqtt import qos
from protocols.mqtt.broker.fan_out import FanOut
from protocols.mqtt.broker.inbound import Inbound
from protocols.mqtt.broker.journal import Journal
from protocols.mqtt.broker.outgoing import Outgoing
from protocols.mqtt.broker.session import Session
from protocols.mqtt.connection.answer import encoded
from protocols.mqtt.connection.errors import broken
from protocols.mqtt.qos import RECEIVER_2, step
from protocols.mqtt.wire import packets, reasons
from protocols.mqtt.wire.packets import Pubrel

UNRELEASED = 4096
"""The most QoS 2 messages of one client whose PUBREL has not come, because 3.1.1 has no receive maximum."""


class ExactlyOnce:
    """One connection's part in its session's exchanges.

    The session knows every message from its PUBLISH to its PUBREL; the connection whose application has it is its
    owner, also after its end.
    """

    __slots__ = ("_journal", "_outgoing", "_session", "begun")

    def __init__(self, session: Session, outgoing: Outgoing, journal: Journal | None) -> None:
        self._session = session
        self._outgoing = outgoing
        self._journal = journal  # the broker's: what others are to get is kept where this session itself is not
        self.begun = 0
        """Exchanges of this connection that are not over, which count towards the receive maximum (4.9)."""

    def owns(self, packet_id: Any) -> bool:
        """Whether this connection's application has the message, and has not acknowledged it."""
        inbound = self._session.inbound.get(packet_id)
        return inbound is not None and inbound.owner is self

    @property
    def busy(self) -> bool:
        """Whether the application still has one of them."""
        return any(inbound.owner is self for inbound in self._session.inbound.values())

    def repeated(self, packet_id: int, packet: MQTTReceiveEvent) -> bool:
        """Whether the client has sent this before, on another connection, or it is handled; then it is answered here.

        It then goes to no subscriber. It has an ``event`` if the application gets it all the same, and ``dup``,
        whatever the client says: the application may have stored it before.
        """
        known = self._session.inbound.get(packet_id)
        if known is None:
            return False
        packet["dup"] = True
        answer = RECEIVER_2[known.state][qos.PUBLISH_DUP].answer
        if answer == qos.PUBREC:  # that it was handled may not be kept yet
            self._session.after(lambda: self._outgoing.write(packets.pubrec(self._outgoing.version, packet_id)))
        elif answer == qos.EVENT:
            self._take(packet, known)
        else:
            known.again = self, packet
        return True

    def begin(self, packet_id: int, packet: MQTTReceiveEvent) -> None:
        """Begin the exchange of a PUBLISH that is new. Raises RemoteProtocolError if there are too many."""
        if len(self._session.inbound) >= UNRELEASED:
            raise broken("too many messages at QoS 2 that it has not released", reasons.QUOTA_EXCEEDED)
        self.begun += 1
        known = Inbound(new_id())
        self._session.note(packet_id, known)
        self._take(packet, known)

    def fan_out(self, packet_id: int, fan_out: FanOut) -> None:
        """Note that a new message goes to many subscribers. What is known of it is kept together with what the last of
        them gets: after a crash before that the client sends it again, and it goes to all of them."""
        session = self._session
        known = session.inbound[packet_id]
        known.fan_out = fan_out
        session.withhold(packet_id)

        def done() -> None:
            known.fan_out = None
            if session.inbound.get(packet_id) is known:
                session.note(packet_id, known)

        fan_out.when_done(done)

    def under_way(self, packet_id: int) -> FanOut | None:
        """Return the fan-out of this message, unless it is over or there is none."""
        known = self._session.inbound.get(packet_id)
        return None if known is None else known.fan_out

    def _take(self, packet: MQTTReceiveEvent, known: Inbound) -> None:
        """Make this connection the owner of the message."""
        packet["event"] = known.event
        known.state, known.owner = qos.HANDLING, self

    def acknowledge(self, packet_id: int, code: int, properties: dict[str, Any]) -> None:
        """Acknowledge a message that the application is done with: PUBREC leaves when all that it acknowledges is kept.

        It leaves on the connection that the session has then, which need not be this one. Raises LocalProtocolError for
        illegal properties.
        """
        session, outgoing = self._session, self._outgoing
        data = encoded(outgoing, packets.pubrec, outgoing.version, packet_id, code, properties=properties)
        inbound = session.inbound[packet_id]
        inbound.owner = inbound.again = None
        error = code >= reasons.UNSPECIFIED and outgoing.version == 5
        inbound.state = RECEIVER_2[inbound.state][qos.ACK_ERROR if error else qos.ACK].state
        if inbound.state == qos.FREE:
            self._settle(packet_id)
        else:
            session.note(packet_id, inbound)

        def answer() -> None:
            if session.outgoing is not None:
                session.outgoing.write(data)

        if self._journal is None:
            answer()
        else:
            self._journal.when(self._journal.position, answer)

    def release(self, packet: Pubrel) -> None:
        """Answer the client's PUBREL with PUBCOMP. Raises RemoteProtocolError if this connection has not sent PUBREC
        yet."""
        known = self._session.inbound.get(packet.id)
        answer = step(RECEIVER_2, qos.FREE if known is None else self._state(known), qos.PUBREL).answer
        if known is not None:
            self._settle(packet.id)
        code = reasons.SUCCESS if answer == qos.PUBCOMP else reasons.PACKET_ID_NOT_FOUND
        self._session.after(lambda: self._outgoing.write(packets.pubcomp(self._outgoing.version, packet.id, code)))

    def _state(self, known: Inbound) -> str:
        """The state of a message on this connection: one that the application of an earlier connection has is unhandled
        here."""
        return qos.UNHANDLED if known.state == qos.HANDLING and known.owner is not self else known.state

    def _settle(self, packet_id: int) -> None:
        self.begun = max(0, self.begun - 1)  # it may have begun on an earlier connection
        self._session.settle(packet_id)

    def abandon(self) -> None:
        """Give up the messages that the application has not acknowledged, because it has ended. They go to the
        application of the connection on which the client sends them again."""
        for inbound in self._session.inbound.values():
            if inbound.owner is self:
                inbound.state, inbound.owner = RECEIVER_2[inbound.state][qos.ABANDON].state, None
                if inbound.again is not None:
                    (heir, packet), inbound.again = inbound.again, None
                    heir.inherit(packet, inbound)

    def inherit(self, packet: MQTTReceiveEvent, known: Inbound) -> None:
        """Take over a message that no application has any more, if this is still the client's connection."""
        if self._session.outgoing is self._outgoing:
            self._take(packet, known)
            self._outgoing.tell(packet)
