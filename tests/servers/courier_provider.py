"""A provider that is no part of the gateway: a test copies this file beside the others.

It signs with a key that has to be fetched, repeats, has no plus in its numbers, and reads no replies in an answer. It
asks to be confirmed, and delivers the parts of long texts by themselves.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocols.errors import RemoteProtocolError
from protocols.secret import Secret
from protocols.server import SETTINGS_CONFIG
from protocols.sms.provider import (
    Confirmation,
    DeliveryReceipt,
    Item,
    OutgoingText,
    Part,
    Provider,
    ProviderResponse,
    Reply,
    Request,
    Response,
    TextMessage,
    judge,
)
from protocols.units import Length, Timeout


@dataclass(frozen=True, kw_only=True)
class CourierSettings:
    """Texts by courier."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    protocol: Literal["sms"] = "sms"
    provider: Literal["courier"] = "courier"
    on: str
    path: str
    key_host: str
    """The beginning of all URLs of keys."""
    private_key: Secret
    """For tests: what the courier itself has, 32 bytes in hex."""
    insecure: bool = False
    max_body: Length = 256 * 1024
    timeout: Timeout = 10.0
    api_url: str = ""
    number: str = ""

    @property
    def lacks_to_send(self) -> str:
        return "" if self.api_url else "api_url"


class Courier(Provider[CourierSettings]):
    name = "courier"
    settings_class = CourierSettings
    methods = ("POST",)
    deadline = 5.0
    repeats = True
    refusal = 401
    carries_replies = False
    numbers_lack_sign = True

    def __init__(self, settings: CourierSettings) -> None:
        self._settings = settings
        self._private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(settings.private_key.reveal()))

    @property
    def public_key(self) -> str:
        """What is at the URL of its key."""
        return base64.b64encode(self._private.public_key().public_bytes_raw()).decode()

    def key_url(self, request: Request) -> str | None:
        url = request.headers.get("x-key-url", "")
        if not url.startswith(self._settings.key_host):
            raise RemoteProtocolError("its key is not the courier's", answer=self.refusal)
        return url

    def verify(self, request: Request) -> bool:
        try:
            given = base64.b64decode(request.headers.get("x-signature", ""), validate=True)
            Ed25519PublicKey.from_public_bytes(base64.b64decode(request.key)).verify(given, request.body)
        except (ValueError, InvalidSignature):
            return False
        return True

    def explain(self, request: Request) -> str:
        return "wrong X-Signature"

    def parse(self, request: Request) -> Sequence[Item]:
        return [self._item(each) for each in request.json]

    def _item(self, each: dict[str, Any]) -> Item:
        if "confirm" in each:
            return Confirmation(each["confirm"])
        if "status" in each:
            return DeliveryReceipt(each["to"], each["from"], each["id"], each["status"])
        part = Part(*each["part"]) if "part" in each else None
        return TextMessage(each["from"], each["to"], each["id"], each["text"], part=part)

    def answer(self, request: Request, replies: Sequence[Reply]) -> Response:
        return Response(200, "text/plain", request.headers.get("x-challenge", "").encode())

    def sign(self, url: str, message: TextMessage) -> Request:
        sender, recipient = message.sender.removeprefix("+"), message.recipient.removeprefix("+")
        fields = {"from": sender, "to": recipient, "id": message.message_id, "text": message.text}
        return self.signed(url, [fields])

    def signed(self, url: str, items: Sequence[Any]) -> Request:
        """The request that brings ``items``, as JSON."""
        body = json.dumps(items).encode()
        signature = base64.b64encode(self._private.sign(body)).decode()
        return Request("POST", url, {"x-signature": signature, "x-key-url": f"{self._settings.key_host}/key"}, body)

    def request(self, text: OutgoingText) -> Request:
        body = json.dumps({"from": text.sender, "to": text.to, "text": text.text}).encode()
        return Request("POST", self._settings.api_url, {"content-type": "application/json"}, body)

    def judge(self, response: ProviderResponse) -> None:
        judge(response, range(200, 300))
