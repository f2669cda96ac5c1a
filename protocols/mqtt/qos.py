"""QoS 1 and 2 (section 4.3) as tables: state, what came -> state, what to answer. Pure.

Rule 1: every state of a message at QoS 1 or 2, and every step between two of them, is in this file.
Rule 2: the tables know no role. A server and a client of a broker use both, ``SENDER`` for what they publish and
``RECEIVER`` for what they are sent; a state belongs to one packet identifier in one direction of one session.

A state says what the message waits for. ``FREE`` is that of a packet identifier which is not in use: a message begins
there and ends there. What a state has no step for breaks the protocol: :func:`step` raises.

The rules are quoted from MQTT 5.0. 3.1.1 has the same without reason codes (its 4.3.2, 4.3.3, 4.4). The diagrams of
docs/asgi/mqtt.md are drawn from these tables (``make schema``).
"""

from typing import Final

from protocols.errors import RemoteProtocolError
from protocols.mqtt.steps import Step, Table
from protocols.mqtt.wire import reasons

FREE: Final = "free"
"""The packet identifier is not in use: no message, or one that is over."""

# Of the sender: states and what comes.

WAIT_PUBACK: Final = "wait for PUBACK"
WAIT_PUBREC: Final = "wait for PUBREC"
WAIT_PUBCOMP: Final = "wait for PUBCOMP"

SEND: Final = {1: "send QoS 1", 2: "send QoS 2"}
"""There is a new message to send; by QoS."""
PUBACK: Final = "PUBACK"
PUBREC: Final = "PUBREC"
PUBREC_ERROR: Final = "PUBREC 0x80+"
"""PUBREC with a reason code of 0x80 or greater: the receiver does not take the message (only MQTT 5.0)."""
PUBCOMP: Final = "PUBCOMP"
RECONNECT: Final = "reconnect"
"""There is a new connection, and the session goes on."""

# Of the sender: answers.

PUBLISH: Final = "PUBLISH"
PUBLISH_DUP: Final = "PUBLISH DUP"
"""PUBLISH with the DUP flag."""
PUBREL: Final = "PUBREL"
PUBREL_NOT_FOUND: Final = "PUBREL 0x92"
"""PUBREL that says: packet identifier not found. 3.1.1 has no reason codes: a plain PUBREL."""

_NOT_FOUND = (
    '3.6.2.1, 3.7.2.1: "The Packet Identifier is not known. This is not an error during recovery, but at other times '
    'indicates a mismatch between the Session State on the Client and Server"'
)
_LATE = "4.4: after a reconnect an answer may come for an exchange that is over"
_RESEND = (
    'MQTT-4.4.0-1: "When a Client reconnects with Clean Start set to 0 and a session is present, both the Client and '
    "Server MUST resend any unacknowledged PUBLISH packets (where QoS > 0) and PUBREL packets using their original "
    'Packet Identifiers"; MQTT-3.3.1-1: the DUP flag "MUST be set to 1 [...] when it attempts to re-deliver a PUBLISH '
    'packet"'
)

SENDER: Table = {
    FREE: {
        SEND[1]: Step(
            WAIT_PUBACK,
            PUBLISH,
            'MQTT-4.3.2-2: the sender "MUST send a PUBLISH packet containing this Packet Identifier with QoS set to 1 '
            'and DUP flag set to 0"; MQTT-4.3.2-3: and "MUST treat the PUBLISH packet as unacknowledged until it has '
            'received the corresponding PUBACK packet from the receiver"',
        ),
        SEND[2]: Step(
            WAIT_PUBREC,
            PUBLISH,
            'MQTT-4.3.3-2: the sender "MUST send a PUBLISH packet containing this Packet Identifier with QoS set to 2 '
            'and DUP flag set to 0"; MQTT-4.3.3-3: and "MUST treat the PUBLISH packet as unacknowledged until it has '
            'received the corresponding PUBREC packet from the receiver"',
        ),
        PUBACK: Step(FREE, rule=_LATE),
        PUBREC: Step(FREE, PUBREL_NOT_FOUND, _NOT_FOUND),
        PUBREC_ERROR: Step(FREE, PUBREL_NOT_FOUND, _NOT_FOUND),
        PUBCOMP: Step(FREE, rule=_LATE),
    },
    WAIT_PUBACK: {
        PUBACK: Step(FREE, rule='4.3.2, figure 4.2: "Discard message", whatever the reason code (MQTT-4.4.0-2)'),
        PUBREC: Step(WAIT_PUBACK, PUBREL_NOT_FOUND, _NOT_FOUND),
        PUBREC_ERROR: Step(WAIT_PUBACK, PUBREL_NOT_FOUND, _NOT_FOUND),
        PUBCOMP: Step(WAIT_PUBACK, rule=_LATE),
        RECONNECT: Step(WAIT_PUBACK, PUBLISH_DUP, _RESEND),
    },
    WAIT_PUBREC: {
        PUBACK: Step(WAIT_PUBREC, rule=_LATE),
        PUBREC: Step(
            WAIT_PUBCOMP,
            PUBREL,
            'MQTT-4.3.3-4: the sender "MUST send a PUBREL packet when it receives a PUBREC packet from the receiver '
            'with a Reason Code value less than 0x80"; MQTT-4.3.3-6: and "MUST NOT re-send the PUBLISH once it has '
            'sent the corresponding PUBREL packet"',
        ),
        PUBREC_ERROR: Step(
            FREE,
            rule='MQTT-4.4.0-2: "If PUBACK or PUBREC is received containing a Reason Code of 0x80 or greater the '
            'corresponding PUBLISH packet is treated as acknowledged, and MUST NOT be retransmitted"',
        ),
        PUBCOMP: Step(WAIT_PUBREC, rule=_LATE),
        RECONNECT: Step(WAIT_PUBREC, PUBLISH_DUP, _RESEND),
    },
    WAIT_PUBCOMP: {
        PUBACK: Step(WAIT_PUBCOMP, rule=_LATE),
        PUBREC: Step(
            WAIT_PUBCOMP,
            PUBREL,
            'MQTT-4.3.3-5: the sender "MUST treat the PUBREL packet as unacknowledged until it has received the '
            'corresponding PUBCOMP packet from the receiver"',
        ),
        PUBREC_ERROR: Step(WAIT_PUBCOMP, rule="4.3.3: the receiver had taken the message, and only PUBCOMP ends this"),
        PUBCOMP: Step(FREE, rule='4.3.3, figure 4.3: "Discard stored state"'),
        RECONNECT: Step(WAIT_PUBCOMP, PUBREL, _RESEND),
    },
}
"""A message that we send."""

SENT: Final = {qos: SENDER[FREE][what].state for qos, what in SEND.items()}
"""The state of a message that was sent; by QoS."""

# Of the receiver: states and what comes.

HANDLING: Final = "handling"
"""The application has the message."""
UNHANDLED: Final = "unhandled"
"""QoS 2: the application that had it has ended without acknowledging it; the sender has to send it again."""
WAIT_PUBREL: Final = "wait for PUBREL"
"""QoS 2: the application has acknowledged it."""

# PUBLISH and PUBLISH_DUP come, too. On a later connection a PUBLISH under an identifier in use is a repetition,
# whatever its flag says.
ACK: Final = "ack"
"""The application acknowledges the message."""
ACK_ERROR: Final = "ack 0x80+"
"""It acknowledges it with a reason code of 0x80 or greater (only MQTT 5.0; for 3.1.1 it is ``ACK``)."""
ABANDON: Final = "abandon"
"""It has ended without acknowledging it."""

# Of the receiver: answers. PUBACK, PUBREC and PUBCOMP, too.

EVENT: Final = "event"
"""The message goes on: to the application, and to subscribers where it is the first time."""
PUBCOMP_NOT_FOUND: Final = "PUBCOMP 0x92"
"""PUBCOMP that says: packet identifier not found. 3.1.1 has no reason codes: a plain PUBCOMP."""

_NEW_1 = (
    'MQTT-4.3.2-5: after PUBACK "the receiver MUST treat any incoming PUBLISH packet that contains the same Packet '
    'Identifier as being a new Application Message, irrespective of the setting of its DUP flag"'
)
_NEW_2 = (
    'MQTT-4.3.3-12: after PUBCOMP "the receiver MUST treat any subsequent PUBLISH packet that contains that Packet '
    'Identifier as being a new Application Message"'
)
_AGAIN_2 = (
    'MQTT-4.3.3-10: "Until it has received the corresponding PUBREL packet, the receiver MUST acknowledge any '
    "subsequent PUBLISH packet with the same Packet Identifier by sending a PUBREC. It MUST NOT cause duplicate "
    'messages to be delivered to any onward recipients in this case"'
)
_WHEN_HANDLED = "it is answered once, when the application has acknowledged it"

RECEIVER_1: Table = {
    FREE: {
        PUBLISH: Step(HANDLING, EVENT, _NEW_1),
        PUBLISH_DUP: Step(HANDLING, EVENT, _NEW_1),
    },
    HANDLING: {
        PUBLISH_DUP: Step(HANDLING, rule=f"4.3.2: {_WHEN_HANDLED}"),
        ACK: Step(
            FREE,
            PUBACK,
            'MQTT-4.3.2-4: the receiver "MUST respond with a PUBACK packet containing the Packet Identifier from the '
            'incoming PUBLISH packet, having accepted ownership of the Application Message"',
        ),
        ACK_ERROR: Step(FREE, PUBACK, "3.4.2.1: PUBACK with that reason code"),
        ABANDON: Step(FREE, rule="4.3.2: without PUBACK the sender sends it again on its next connection"),
    },
}
"""A message at QoS 1 that we are sent. Its state ends with the connection."""

RECEIVER_2: Table = {
    FREE: {
        PUBLISH: Step(HANDLING, EVENT, _NEW_2),
        PUBLISH_DUP: Step(HANDLING, EVENT, _NEW_2),
        PUBREL: Step(FREE, PUBCOMP_NOT_FOUND, _NOT_FOUND),
    },
    HANDLING: {
        PUBLISH_DUP: Step(HANDLING, rule=f"{_AGAIN_2}: {_WHEN_HANDLED}"),
        ACK: Step(
            WAIT_PUBREL,
            PUBREC,
            'MQTT-4.3.3-8: the receiver "MUST respond with a PUBREC containing the Packet Identifier from the incoming '
            'PUBLISH packet, having accepted ownership of the Application Message"',
        ),
        ACK_ERROR: Step(
            FREE,
            PUBREC,
            'MQTT-4.3.3-9: "If it has sent a PUBREC with a Reason Code of 0x80 or greater, the receiver MUST treat any '
            'subsequent PUBLISH packet that contains that Packet Identifier as being a new Application Message"',
        ),
        ABANDON: Step(UNHANDLED, rule="4.3.3: without PUBREC the sender sends it again on its next connection"),
    },
    UNHANDLED: {
        PUBLISH: Step(HANDLING, EVENT, "4.3.3: the same event again, to the application alone"),
        PUBLISH_DUP: Step(HANDLING, EVENT, "4.3.3: the same event again, to the application alone"),
        PUBREL: Step(FREE, PUBCOMP_NOT_FOUND, "no clause: a sender that kept only the identifier releases it"),
    },
    WAIT_PUBREL: {
        PUBLISH: Step(WAIT_PUBREL, PUBREC, _AGAIN_2),
        PUBLISH_DUP: Step(WAIT_PUBREL, PUBREC, _AGAIN_2),
        PUBREL: Step(
            FREE,
            PUBCOMP,
            'MQTT-4.3.3-11: the receiver "MUST respond to a PUBREL packet by sending a PUBCOMP packet containing the '
            'same Packet Identifier as the PUBREL"',
        ),
    },
}
"""A message at QoS 2 that we are sent. Its state belongs to the session, and outlives the connection."""

RECEIVER: Final = {1: RECEIVER_1, 2: RECEIVER_2}
"""The receiver's table; by QoS."""

_BROKEN = {
    PUBLISH: "PUBLISH with a packet identifier in use [MQTT-2.2.1-3]",
    PUBREL: "PUBREL before there was a PUBREC [4.3.3]",
}
"""What a peer did where a state has no step for it. MQTT-2.2.1-3: each time it sends a new PUBLISH it "MUST assign it a
non-zero Packet Identifier that is currently unused"; without DUP it could not be told from the one in use."""


def step(table: Table, state: str, what: str) -> Step:
    """The step from ``state`` when ``what`` came. Raises RemoteProtocolError if there is none."""
    found = table[state].get(what)
    if found is None:
        why = _BROKEN.get(what, f"{what} in the state {state!r} [4.3]")
        raise RemoteProtocolError(why, answer=reasons.PROTOCOL_ERROR)
    return found
