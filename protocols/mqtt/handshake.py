"""From CONNECT to CONNACK as tables, for both roles: state, what came -> state, what to answer. Pure.

Rule 1: every state of a connection before it is accepted, and every step between two of them, is in this file.
Rule 2: what a state has no step for is answered as ``OTHER`` is.

The rules are quoted from MQTT 5.0. 3.1.1 has the same without AUTH (its 3.1, 3.2). The diagrams of docs/asgi/mqtt.md
are drawn from these tables (``make schema``).
"""

from typing import Final

from protocols.mqtt.steps import Step, Table

# States.

WAIT_CONNECT: Final = "wait for CONNECT"
CHECK: Final = "check"
"""The server's own users and rules decide whether the client may connect."""
ASK: Final = "ask"
"""The application decides. It and the client may exchange AUTH packets until it does."""
OPEN: Final = "open"
CLOSED: Final = "closed"
WAIT_CONNACK: Final = "wait for CONNACK"

# What comes, besides the packets of these names.

CONNECT: Final = "CONNECT"
AUTH: Final = "AUTH"
DISCONNECT: Final = "DISCONNECT"
OTHER: Final = "another packet"
"""Any other, and bytes that are not a packet."""
CONNACK: Final = "CONNACK 0"
CONNACK_ERROR: Final = "CONNACK 0x80+"
"""CONNACK that refuses: 0x80 or greater; in 3.1.1 any return code but 0."""
ADMIT: Final = "admit"
"""Users and rules let the client in."""
TURN_AWAY: Final = "turn away"
"""They do not."""
APP_ACCEPT: Final = "mqtt.accept"
APP_REJECT: Final = "mqtt.reject"
APP_AUTH: Final = "mqtt.auth"
APP_END: Final = "application ends"
TIMEOUT: Final = "timeout"
"""``connect_timeout`` has passed."""
STOP: Final = "server stops"
LOST: Final = "connection lost"

# Answers, besides the packets above.

EVENT_CONNECT: Final = "event mqtt.connect"
EVENT_AUTH: Final = "event mqtt.auth"
EVENT_DISCONNECT: Final = "event mqtt.disconnect"

_ONLY_AUTH = (
    'MQTT-3.1.2-30: "If a Client sets an Authentication Method in the CONNECT, the Client MUST NOT send any packets '
    'other than AUTH or DISCONNECT packets until it has received a CONNACK packet"'
)
_REFUSED = (
    'MQTT-3.2.2-7: "If a Server sends a CONNACK packet containing a Reason code of 128 or greater it MUST then close '
    'the Network Connection"'
)
_UNAVAILABLE = f"3.2.2.2: 0x88, server unavailable. {_REFUSED}"

SERVER: Table = {
    WAIT_CONNECT: {
        CONNECT: Step(
            CHECK,
            rule='MQTT-3.1.4-1: "The Server MUST validate that the CONNECT packet matches the format described in '
            'section 3.1 and close the Network Connection if it does not match"',
        ),
        OTHER: Step(
            CLOSED,
            CONNACK_ERROR,
            'MQTT-3.1.0-1: "After a Network Connection is established by a Client to a Server, the first packet sent '
            'from the Client to the Server MUST be a CONNECT packet". 4.13.1: CONNACK where the version is known to '
            "have a code for it",
        ),
        TIMEOUT: Step(
            CLOSED,
            rule='3.1.4: "If the Server does not receive a CONNECT packet within a reasonable amount of time after the '
            'Network Connection is established, the Server SHOULD close the Network Connection"',
        ),
        STOP: Step(CLOSED, rule="the application does not know of the client yet"),
    },
    CHECK: {
        ADMIT: Step(ASK, EVENT_CONNECT, "docs/asgi/mqtt.md: the application decides about the clients that passed"),
        TURN_AWAY: Step(
            CLOSED,
            CONNACK_ERROR,
            'MQTT-3.1.4-2: the server "SHOULD perform authentication and authorization checks. If any of these checks '
            'fail, it MUST close the Network Connection"',
        ),
        TIMEOUT: Step(CLOSED, CONNACK_ERROR, _UNAVAILABLE),
        STOP: Step(CLOSED, CONNACK_ERROR, _UNAVAILABLE),
        APP_END: Step(CLOSED, CONNACK_ERROR, _UNAVAILABLE),
        LOST: Step(CLOSED, rule="the application does not know of the client yet"),
    },
    ASK: {
        APP_ACCEPT: Step(
            OPEN,
            CONNACK,
            'MQTT-3.1.4-5: "The Server MUST acknowledge the CONNECT packet with a CONNACK packet containing a 0x00 '
            '(Success) Reason Code"',
        ),
        APP_REJECT: Step(CLOSED, CONNACK_ERROR, _REFUSED),
        APP_AUTH: Step(
            ASK,
            AUTH,
            'MQTT-4.12.0-2: "If the Server requires additional information to complete the authentication, it can send '
            'an AUTH packet to the Client. This packet MUST contain a Reason Code of 0x18 (Continue authentication)"',
        ),
        AUTH: Step(
            ASK,
            EVENT_AUTH,
            'MQTT-4.12.0-3: "The Client responds to an AUTH packet from the Server by sending a further AUTH packet. '
            'This packet MUST contain a Reason Code of 0x18 (Continue authentication)"',
        ),
        DISCONNECT: Step(CLOSED, EVENT_DISCONNECT, _ONLY_AUTH),
        OTHER: Step(CLOSED, CONNACK_ERROR, _ONLY_AUTH),
        TIMEOUT: Step(CLOSED, CONNACK_ERROR, _UNAVAILABLE),
        STOP: Step(ASK, rule="the application may still answer within the grace; then it ends"),
        APP_END: Step(CLOSED, CONNACK_ERROR, _UNAVAILABLE),
        LOST: Step(CLOSED, EVENT_DISCONNECT, "docs/asgi/mqtt.md: the last event, exactly once"),
    },
}
"""Ours, to a client that connects."""

CLIENT: Table = {
    WAIT_CONNACK: {
        CONNACK: Step(OPEN, rule="3.2: the answer to CONNECT"),
        CONNACK_ERROR: Step(CLOSED, rule=_REFUSED),
        OTHER: Step(
            CLOSED,
            rule='MQTT-3.2.0-1: "The Server MUST send a CONNACK with a 0x00 (Success) Reason Code before sending any '
            'Packet other than AUTH"; we name no authentication method, so that AUTH may not come (MQTT-4.12.0-6)',
        ),
        TIMEOUT: Step(
            CLOSED,
            rule='3.2: "If the Client does not receive a CONNACK packet from the Server within a reasonable amount of '
            'time, the Client SHOULD close the Network Connection"',
        ),
        STOP: Step(CLOSED, rule="no clause: nothing of ours is under way before CONNACK"),
        LOST: Step(CLOSED, rule="4.2: nothing can be sent without a network connection"),
    },
}
"""Ours, to a broker: CONNECT was sent."""
