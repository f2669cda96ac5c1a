"""Any sender of signed JSON: a phone that runs a gateway app, a script, a provider that has no file here yet.

``X-Signature`` is the HMAC-SHA256 of the raw body, in hex, with or without ``sha256=`` before it. With an
``X-Timestamp`` header (Unix seconds) it is the HMAC of ``<timestamp>.<body>``, and the time must be close to ours.
Removing the header makes the signature wrong.
"""

import hmac
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from protocols.asgi import Media
from protocols.errors import RemoteProtocolError
from protocols.secret import Secret
from protocols.server import SETTINGS_CONFIG
from protocols.sms.provider import (
    DeliveryReceipt,
    OutgoingText,
    Provider,
    ProviderResponse,
    Reply,
    Request,
    Response,
    TextMessage,
    check_url,
    count,
    is_fresh,
    judge,
    keys_of,
    same,
)
from protocols.sms.senders import as_sent
from protocols.sms.sending_settings import SendingSettings
from protocols.units import Count, Length, Timeout


@dataclass(frozen=True, kw_only=True)
class GenericSettings:
    """Texts as JSON, signed with HMAC-SHA256, from a provider or a program of your own."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    protocol: Literal["sms"] = "sms"
    provider: Literal["generic"] = "generic"
    on: str
    """Name of the http server that carries the webhook."""
    path: str
    """Path of the webhook on that server: ``/hooks/sms``."""
    secret: Secret | tuple[Secret, ...] = ()
    """The key that signs requests; several (old and new) while they rotate."""
    require_timestamp: bool = False
    """Refuse requests without a signed X-Timestamp. Without one, a captured request can be replayed."""
    tolerance: Timeout = 300.0
    """How far a signed timestamp may differ from this machine's clock."""
    insecure: bool = False
    """Take requests without checking their signature: for a laptop, never for a machine that others can reach."""
    max_body: Length = 256 * 1024
    """A longer body is refused with 413."""
    max_messages: Count = 100
    """Messages in one request; more are refused with 400."""
    timeout: Timeout = 10.0
    """Time for the body to arrive and the handlers to finish; after it the answer is 503."""
    send_url: str = ""
    """The URL that texts outside a webhook's answer (`inbox: true`) are posted to, signed as the webhook's requests.
    `file:var/texts` writes each into a file there."""
    number: str = ""
    """The number (or the name) that a text is from if it names none: `+447700900123`."""
    sending: SendingSettings = field(default_factory=SendingSettings)
    """How texts are sent: how many in a second, when, by which other provider."""

    def __post_init__(self) -> None:
        """Raises ValueError without a key, unless ``insecure`` allows that, and for a URL that is not one."""
        if not (self.insecure or keys_of(self.secret)):
            raise ValueError("secret is missing: without it anybody could post texts (insecure: true allows that)")
        if self.send_url and not self.folder:
            check_url("send_url", self.send_url)

    @property
    def folder(self) -> str:
        """The folder of ``file:FOLDER``."""
        return self.send_url.removeprefix("file:") if self.send_url.startswith("file:") else ""

    @property
    def lacks_to_send(self) -> str:
        """The setting that is needed for sending and is empty; empty itself if texts can be sent."""
        return "" if self.send_url else "send_url"


class Generic(Provider[GenericSettings]):
    name = "generic"
    fetches_media = False
    settings_class = GenericSettings
    methods = ("POST",)
    repeats = True
    deadline = math.inf
    """A program of one's own waits for as long as it likes."""

    def __init__(self, settings: GenericSettings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self.folder = settings.folder
        self._keys = keys_of(settings.secret)
        self._clock = clock

    def verify(self, request: Request) -> bool:
        given = request.headers.get("x-signature", "").strip().removeprefix("sha256=").lower()
        timestamp = request.headers.get("x-timestamp")
        if not self._fresh(timestamp):
            return False
        return any(same(_signature(key, timestamp, request.body), given) for key in self._keys)

    def _fresh(self, timestamp: str | None) -> bool:
        if timestamp is None:
            return not self._settings.require_timestamp
        return is_fresh(timestamp, self._settings.tolerance, self._clock())

    def explain(self, request: Request) -> str:
        if "x-signature" not in request.headers:
            return "no X-Signature header"
        if not self._fresh(request.headers.get("x-timestamp")):
            return f"X-Timestamp is missing, or not within {self._settings.tolerance:g} s of our clock"
        return "wrong X-Signature: made with another secret, or for another body"

    def parse(self, request: Request) -> Sequence[TextMessage | DeliveryReceipt]:
        items = request.json if isinstance(request.json, list) else [request.json]
        if len(items) > self._settings.max_messages:
            raise RemoteProtocolError(f"more than {self._settings.max_messages} messages", answer=400)
        return [_item(item) for item in items]

    def answer(self, request: Request, replies: Sequence[Reply]) -> Response:
        body = json.dumps({"replies": [_reply(reply) for reply in replies]}, ensure_ascii=False)
        return Response(200, "application/json", body.encode("utf-8", "replace"))

    def sign(self, url: str, message: TextMessage) -> Request:
        body = json.dumps(
            {
                "id": message.message_id,
                "from": message.sender,
                "to": message.recipient,
                "text": message.text,
                "media": message.media,
            }
        ).encode()
        return self._signed(url, body)

    def request(self, text: OutgoingText) -> Request:
        fields = {"id": text.id, "to": text.to, "from": text.sender, "text": text.text, "media": list(text.media)}
        return self._signed(self._settings.send_url, json.dumps(fields).encode())

    def judge(self, response: ProviderResponse) -> None:
        judge(response, range(200, 300))

    def sent_id(self, response: ProviderResponse) -> str:
        """``{"id": ...}``; without one, receipts call the text by the id that we gave it."""
        try:
            given = json.loads(response.body)["id"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return ""
        return given if isinstance(given, str) else ""

    def _signed(self, url: str, body: bytes) -> Request:
        timestamp = str(int(self._clock()))
        key = self._keys[0] if self._keys else Secret("")
        headers = {
            "content-type": "application/json",
            "x-timestamp": timestamp,
            "x-signature": _signature(key, timestamp, body),
        }
        return Request("POST", url, headers, body)


def _signature(key: Secret, timestamp: str | None, body: bytes) -> str:
    signed = body if timestamp is None else timestamp.encode() + b"." + body
    return hmac.digest(key.reveal().encode(), signed, "sha256").hex()


def _item(item: Any) -> TextMessage | DeliveryReceipt:
    if not isinstance(item, dict):
        raise RemoteProtocolError("a message is not a JSON object", answer=400)
    return _status(item) if "status" in item else _message(item)


def _message(item: Mapping[str, Any]) -> TextMessage:
    return TextMessage(
        sender=as_sent(_text(item, "from")),
        recipient=as_sent(_text(item, "to")),
        message_id=_text(item, "id"),
        text=_text(item, "text"),
        media=_media(item.get("media") or []),
        segments=count(str(item.get("segments", ""))),
        fields=_fields(item),
    )


def _status(item: Mapping[str, Any]) -> DeliveryReceipt:
    return DeliveryReceipt(
        sender=as_sent(_text(item, "to")),  # the receipt is for a text of ours: its "to" is the other party
        recipient=as_sent(_text(item, "from")),
        message_id=_text(item, "id"),
        status=_text(item, "status"),
        error=_text(item, "error") if item.get("error") else None,
        fields=_fields(item),
    )


def _text(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key)
    if not isinstance(value, str):
        raise RemoteProtocolError(f"'{key}' must be a string", answer=400)
    return value


def _media(items: Any) -> list[Media]:
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise RemoteProtocolError("'media' must be a list of objects", answer=400)
    return [{"url": _text(item, "url"), "content_type": _text(item, "content_type")} for item in items]


def _fields(item: Mapping[str, Any]) -> dict[str, str]:
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in item.items()}


def _reply(reply: Reply) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "to": reply.to or reply.answers.sender,
        "from": reply.sender or reply.answers.recipient,
        "text": reply.text,
    }
    return fields | ({"media": list(reply.media)} if reply.media else {})
