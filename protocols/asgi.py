"""The types of every scope and event of the servers.

Those of HTTP, WebSocket and lifespan are asgiref's; those of mqtt, email, sms and task are ours, and specified in
``docs/asgi/``. A test compares the key tables of those pages with the types here.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Literal, NotRequired, Protocol, TypedDict, runtime_checkable

from asgiref import typing as asgiref
from asgiref.typing import (
    ASGIReceiveEvent,
    ASGISendEvent,
    ASGIVersions,
    HTTPDisconnectEvent,
    HTTPRequestEvent,
    LifespanScope,
    WebSocketConnectEvent,
    WebSocketDisconnectEvent,
    WebSocketReceiveEvent,
)

__all__ = [
    "DESCRIPTIONS",
    "VERSIONS",
    "ASGIVersions",
    "Application",
    "Carrier",
    "DSNRequest",
    "EmailAcceptEvent",
    "EmailDeferEvent",
    "EmailDisconnectEvent",
    "EmailReceiveEvent",
    "EmailRejectEvent",
    "EmailScope",
    "EmailSendEvent",
    "HTTPDisconnectEvent",
    "HTTPRequestEvent",
    "HTTPScope",
    "HostPort",
    "LifespanScope",
    "MQTTAcceptEvent",
    "MQTTAckEvent",
    "MQTTAuthEvent",
    "MQTTConnectEvent",
    "MQTTDeferEvent",
    "MQTTDisconnectEvent",
    "MQTTDropEvent",
    "MQTTReceiveEvent",
    "MQTTRejectEvent",
    "MQTTScope",
    "MQTTSendEvent",
    "MQTTSubackEvent",
    "MQTTSubscribeEvent",
    "MQTTSubscribeRequestEvent",
    "MQTTUnsubscribeEvent",
    "MQTTUnsubscribeRequestEvent",
    "MQTTWill",
    "Mailbox",
    "Media",
    "Receive",
    "ReceiveEvent",
    "Recipient",
    "Routable",
    "SMSAcceptEvent",
    "SMSDeferEvent",
    "SMSDisconnectEvent",
    "SMSReceiveEvent",
    "SMSRejectEvent",
    "SMSScope",
    "SMSSendEvent",
    "SMSStatusEvent",
    "Scope",
    "Send",
    "SendEvent",
    "TaskAcceptEvent",
    "TaskDeferEvent",
    "TaskDisconnectEvent",
    "TaskReceiveEvent",
    "TaskRejectEvent",
    "TaskScope",
    "URLRoute",
    "WebSocketConnectEvent",
    "WebSocketDisconnectEvent",
    "WebSocketReceiveEvent",
    "WebSocketScope",
    "describe",
]

VERSIONS: ASGIVersions = {"version": "3.0", "spec_version": "1.0"}
"""The value of ``scope["asgi"]`` in the scopes that are ours."""

HostPort = tuple[str, int]


class URLRoute(TypedDict):
    """What the URL patterns of the routers above have captured, as Channels has it."""

    args: tuple[str, ...]
    kwargs: dict[str, Any]
    """Text, except where a converter of Django's ``path()`` has made something else of it."""


class HTTPScope(asgiref.HTTPScope):
    listener: NotRequired[str]
    """The server's name in gateway.yaml."""
    url_route: NotRequired[URLRoute]
    """Added by a URL router."""
    path_remaining: NotRequired[str]
    """Added by a URL router: the end of the path, which a router below matches."""


class WebSocketScope(asgiref.WebSocketScope):
    listener: NotRequired[str]
    """The server's name in gateway.yaml."""
    url_route: NotRequired[URLRoute]
    """Added by a URL router."""
    path_remaining: NotRequired[str]
    """Added by a URL router: the end of the path, which a router below matches."""


class _OurScope(TypedDict):
    """The keys that the scopes of our own protocols share."""

    asgi: ASGIVersions
    listener: str
    """The server's name in gateway.yaml."""
    client: HostPort | None
    server: HostPort | None
    extensions: dict[str, Any]
    state: dict[str, Any]
    """The lifespan's state, as ASGI has it: the application's own, shared by all its scopes."""


# mqtt: one network connection


class MQTTWill(TypedDict):
    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: dict[str, Any]


class MQTTScope(_OurScope):
    type: Literal["mqtt"]
    role: Literal["server", "client"]
    """``server``: a device connected to us. ``client``: we are connected to a broker."""
    protocol_version: Literal["3.1.1", "5.0"]
    client_id: str
    username: str | None
    clean_start: bool
    keepalive: int
    """Seconds; 0 means none."""
    session_present: bool
    will: MQTTWill | None
    properties: dict[str, Any]
    transport: Literal["tcp", "websocket"]


class MQTTConnectEvent(TypedDict):
    type: Literal["mqtt.connect"]
    username: str | None
    password: bytes | None
    """Here only: never in the scope, never logged."""


class MQTTReceiveEvent(TypedDict):
    type: Literal["mqtt.receive"]
    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    id: int | None
    """What ``mqtt.ack`` names; None at QoS 0."""
    properties: dict[str, Any]
    event: NotRequired[str]
    """QoS 2: the event id, the same each time the peer sends the message."""
    captures: NotRequired[dict[str, str]]
    """What the topic of a :class:`gateway.TopicRouter`'s route captured; below such a router only."""
    trace: NotRequired[dict[str, str]]
    """The trace that it belongs to, if it is traced, as W3C Trace Context writes it: ``traceparent``."""


class MQTTSubscribeRequestEvent(TypedDict):
    """Received in the server role, if ``mqtt.accept`` asked for it: may the client subscribe? ``filters`` holds
    (filter, QoS) pairs; an invalid filter is None, and the server refuses it whatever the answer."""

    type: Literal["mqtt.subscribe"]
    id: int
    """What ``mqtt.suback`` names."""
    filters: list[tuple[str | None, int]]
    properties: dict[str, Any]


class MQTTUnsubscribeRequestEvent(TypedDict):
    """Received in the server role, if ``mqtt.accept`` asked for it: the client has unsubscribed."""

    type: Literal["mqtt.unsubscribe"]
    filters: list[str]
    properties: dict[str, Any]


class MQTTAuthEvent(TypedDict):
    """Received and sent: a step of MQTT 5's enhanced authentication (4.12)."""

    type: Literal["mqtt.auth"]
    reason_code: NotRequired[int]
    """0x18, continue (default); 0x19 from a client that authenticates anew; 0, success, to such a one."""
    data: NotRequired[bytes | None]
    properties: NotRequired[dict[str, Any]]


class MQTTDisconnectEvent(TypedDict):
    """Received: the connection is over. Carries MQTT 5's reason code (0 and 4: the peer said goodbye)."""

    type: Literal["mqtt.disconnect"]
    reason_code: int
    reason: str
    clean: bool


class MQTTAcceptEvent(TypedDict):
    type: Literal["mqtt.accept"]
    subscribe: NotRequired[bool]
    """Ask the application about subscriptions (``mqtt.subscribe``); default: they are granted."""
    properties: NotRequired[dict[str, Any]]
    """MQTT 5's CONNACK properties, besides the server's own."""


class MQTTRejectEvent(TypedDict):
    type: Literal["mqtt.reject"]
    reason_code: NotRequired[int]
    """MQTT 5's CONNACK reason code; default 0x87, not authorized. 3.1.1 peers get the nearest return code."""
    properties: NotRequired[dict[str, Any]]
    """MQTT 5's: ``reason_string``, ``server_reference`` ..."""


class MQTTAckEvent(TypedDict):
    type: Literal["mqtt.ack"]
    id: int
    reason_code: NotRequired[int]
    properties: NotRequired[dict[str, Any]]


class MQTTSubackEvent(TypedDict):
    """Sent in the server role: the answer to ``mqtt.subscribe``, a reason code for each filter."""

    type: Literal["mqtt.suback"]
    id: int
    reason_codes: list[int]


class MQTTDeferEvent(TypedDict):
    """Sent: try a message from the gateway's store again later. MQTT itself has no packet for it."""

    type: Literal["mqtt.defer"]
    id: int
    retry_after: NotRequired[float]


class MQTTSendEvent(TypedDict):
    type: Literal["mqtt.send"]
    topic: str
    payload: bytes
    qos: NotRequired[int]
    retain: NotRequired[bool]
    properties: NotRequired[dict[str, Any]]
    wait: NotRequired[bool]


class MQTTSubscribeEvent(TypedDict):
    """Sent in the client role: subscribe at the broker; ``filters`` holds (filter, QoS) pairs."""

    type: Literal["mqtt.subscribe"]
    filters: list[tuple[str, int]]


class MQTTUnsubscribeEvent(TypedDict):
    type: Literal["mqtt.unsubscribe"]
    filters: list[str]


class MQTTDropEvent(TypedDict):
    """Sent: close the connection."""

    type: Literal["mqtt.disconnect"]
    reason_code: NotRequired[int]
    properties: NotRequired[dict[str, Any]]


# email: one message


class Mailbox(TypedDict):
    account: str
    """The login name."""
    folder: str
    uid: int
    uidvalidity: int


class Recipient(TypedDict):
    """One recipient of a message."""

    address: str
    source: str
    """``envelope``; for a message in a mailbox the header field that names it, in lower case, or ``login``."""
    tag: str | None
    """``bill7`` of ``help+bill7@example.org``."""


class EmailScope(_OurScope):
    type: Literal["email"]
    transport: Literal["smtp", "lmtp", "imap"]
    mail_from: str
    """The envelope's sender; empty for the null reverse-path (bounces)."""
    rcpt_to: list[str]
    recipients: list[Recipient]
    """The same recipients in the same order, each with its source and its tag."""
    headers: list[tuple[bytes, bytes]]
    """Names lower-cased, values raw (unfolded, not decoded), in order."""
    message_id: str | None
    size: int
    helo: str | None
    user: str | None
    mailbox: Mailbox | None
    authentication: dict[str, str] | None
    received_at: float
    url_route: NotRequired[URLRoute]
    """Added by a router: the captures of the route's regular expression."""
    kind: NotRequired[str]
    """Added by a router whose routes ask for it: what wrote the message."""


class EmailReceiveEvent(TypedDict):
    type: Literal["email.receive"]
    body: bytes
    more_body: bool


class EmailDisconnectEvent(TypedDict):
    type: Literal["email.disconnect"]


class EmailAcceptEvent(TypedDict):
    """A verdict. ``rcpt_to``: the recipients that it is for; without it, all that have none yet."""

    type: Literal["email.accept"]
    rcpt_to: NotRequired[list[str]]
    failed: NotRequired[bool]


class EmailRejectEvent(TypedDict):
    type: Literal["email.reject"]
    code: NotRequired[int]
    reason: NotRequired[str]
    rcpt_to: NotRequired[list[str]]


class EmailDeferEvent(TypedDict):
    type: Literal["email.defer"]
    reason: NotRequired[str]
    retry_after: NotRequired[float]
    rcpt_to: NotRequired[list[str]]


class DSNRequest(TypedDict):
    """Asks for delivery status notifications (RFC 3461), as far as the servers on the way have them."""

    notify: NotRequired[list[str]]
    """``never``, or one or more of ``success``, ``failure``, ``delay``."""
    ret: NotRequired[Literal["full", "hdrs"]]
    """Whether a notification of failure returns the whole message, or its header fields."""
    envid: NotRequired[str]
    """Notifications repeat it as Original-Envelope-Id. Default: the id of the outgoing item, or the Message-ID."""


class EmailSendEvent(TypedDict):
    type: Literal["email.send"]
    mail_from: str
    rcpt_to: list[str]
    message: bytes
    dsn: NotRequired[DSNRequest]
    wait: NotRequired[bool]


# sms: one webhook delivery


class Media(TypedDict):
    url: str
    content_type: str


class SMSScope(_OurScope):
    type: Literal["sms"]
    provider: str
    sender: str
    sender_type: Literal["number", "shortcode", "alphanumeric", "other"]
    sender_e164: str | None
    recipient: str
    message_id: str
    country: str | None
    keyword: str
    segments: int
    fields: dict[str, str]


class SMSReceiveEvent(TypedDict):
    type: Literal["sms.receive"]
    text: str
    media: list[Media]
    opt: NotRequired[Literal["out", "in", "help"]]
    complete: NotRequired[bool]


class SMSStatusEvent(TypedDict):
    type: Literal["sms.status"]
    message_id: str
    status: str
    error: str | None
    event_id: str | None
    text_id: str | None


class SMSDisconnectEvent(TypedDict):
    type: Literal["sms.disconnect"]


class SMSAcceptEvent(TypedDict):
    type: Literal["sms.accept"]


class SMSRejectEvent(TypedDict):
    type: Literal["sms.reject"]
    reason: NotRequired[str]


class SMSDeferEvent(TypedDict):
    type: Literal["sms.defer"]
    retry_after: NotRequired[float]


# "from" is a keyword, so this one type is written as a call.
SMSSendEvent = TypedDict(
    "SMSSendEvent",
    {
        "type": Literal["sms.send"],
        "text": str,
        "media": NotRequired[list[str]],
        "to": NotRequired[str],
        "from": NotRequired[str],
    },
)


# task: one attempt at a call that code has put into the store


class TaskScope(_OurScope):
    type: Literal["task"]
    task: str
    queue: str
    priority: int
    run_after: float | None
    enqueued_at: float
    result_ttl: float


class TaskReceiveEvent(TypedDict):
    type: Literal["task.receive"]
    args: list[Any]
    kwargs: dict[str, Any]


class TaskDisconnectEvent(TypedDict):
    type: Literal["task.disconnect"]


class TaskAcceptEvent(TypedDict):
    type: Literal["task.accept"]
    return_value: NotRequired[Any]


class TaskRejectEvent(TypedDict):
    type: Literal["task.reject"]
    reason: NotRequired[str]


class TaskDeferEvent(TypedDict):
    type: Literal["task.defer"]
    retry_after: NotRequired[float]


Scope = HTTPScope | WebSocketScope | LifespanScope | MQTTScope | EmailScope | SMSScope | TaskScope

ReceiveEvent = (
    ASGIReceiveEvent
    | MQTTConnectEvent
    | MQTTReceiveEvent
    | MQTTSubscribeRequestEvent
    | MQTTUnsubscribeRequestEvent
    | MQTTAuthEvent
    | MQTTDisconnectEvent
    | EmailReceiveEvent
    | EmailDisconnectEvent
    | SMSReceiveEvent
    | SMSStatusEvent
    | SMSDisconnectEvent
    | TaskReceiveEvent
    | TaskDisconnectEvent
)

SendEvent = (
    ASGISendEvent
    | MQTTAcceptEvent
    | MQTTRejectEvent
    | MQTTAckEvent
    | MQTTSubackEvent
    | MQTTAuthEvent
    | MQTTDeferEvent
    | MQTTSendEvent
    | MQTTSubscribeEvent
    | MQTTUnsubscribeEvent
    | MQTTDropEvent
    | EmailAcceptEvent
    | EmailRejectEvent
    | EmailDeferEvent
    | EmailSendEvent
    | SMSAcceptEvent
    | SMSRejectEvent
    | SMSDeferEvent
    | SMSSendEvent
    | TaskAcceptEvent
    | TaskRejectEvent
    | TaskDeferEvent
)

# Users write applications with plain dicts as often as with the types above; Any accepts both.
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Any, Receive, Send], Awaitable[None]]


@runtime_checkable
class Routable(Protocol):
    """An application that can tell before it runs whether it takes a scope, as our routers can.

    A server asks if its protocol can refuse early (SMTP at RCPT TO). Other applications take everything.
    """

    def routable(self, scope: Scope) -> bool: ...


@runtime_checkable
class Carrier(Protocol):
    """An application in front of another one, with servers at paths of its own."""

    def carried(self, scope: Any) -> str:
        """Return the label of the server that has ``scope``; empty if the application has it."""


def _describe_email(scope: EmailScope) -> str:
    return f"email {scope['mail_from'] or '<>'} -> {', '.join(scope['rcpt_to']) or '(no recipient)'}"


DESCRIPTIONS: dict[str, Callable[[Any], str]] = {
    "http": lambda scope: f"http {scope['method']} {scope['path']}",
    "websocket": lambda scope: f"websocket {scope['path']}",
    "mqtt": lambda scope: f"mqtt {scope['client_id']}",
    "email": _describe_email,
    "sms": lambda scope: f"sms {scope['sender']} -> {scope['recipient']}",
    "task": lambda scope: f"task {scope['task']} -> {scope['queue']}",
}
"""What :func:`describe` says of a scope, by its type; other distributions add theirs."""


def describe(scope: Scope) -> str:
    """Describe ``scope`` in a few words for a log line: the protocol and the peers, no secrets and no content."""
    kind: str = scope["type"]
    return DESCRIPTIONS[kind](scope) if kind in DESCRIPTIONS else kind
