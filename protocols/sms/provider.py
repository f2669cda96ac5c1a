"""What a provider is: it verifies a request, says which messages it carries, forms the answer, and the request that
sends a text later. No I/O, no clock."""

import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Protocol
from urllib.parse import parse_qsl, urlsplit

from protocols.asgi import Media
from protocols.errors import AccountRefused, NotSent, PermanentFailure, RemoteProtocolError
from protocols.secret import Secret


@dataclass(frozen=True)
class Request:
    """An HTTP request, its body complete: a webhook's, whose signature is checked on these bytes, before they are
    parsed; or one of ours to the provider."""

    method: str
    url: str
    """As the request says it: scheme, Host header, path and query, percent-encoded as they came."""
    headers: Mapping[str, str]
    """Names lower-cased."""
    body: bytes = b""
    max_fields: int = 1000
    """More in a form or query make it malformed."""

    @cached_property
    def media_type(self) -> str:
        """``application/json``: the content type without its parameters; empty where there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @cached_property
    def form(self) -> list[tuple[str, str]]:
        """The form body's pairs in order, blanks kept (they are signed). Raises RemoteProtocolError."""
        try:
            return self._pairs(self.body.decode())
        except UnicodeDecodeError as error:
            raise RemoteProtocolError("the form is not UTF-8", answer=400) from error

    @cached_property
    def query(self) -> list[tuple[str, str]]:
        """The URL's query pairs in order, blanks kept. Raises RemoteProtocolError."""
        try:
            return self._pairs(urlsplit(self.url).query)
        except ValueError as error:
            raise RemoteProtocolError("the URL is malformed", answer=400) from error

    @cached_property
    def json(self) -> Any:
        """Raises RemoteProtocolError."""
        try:
            value = json.loads(self.body.decode())
            json.dumps(value, ensure_ascii=False).encode()  # an escaped half of a surrogate pair (RFC 8259, 8.2)
            return value
        except (ValueError, RecursionError) as error:
            raise RemoteProtocolError("the body is not JSON", answer=400) from error

    def _pairs(self, text: str) -> list[tuple[str, str]]:
        try:
            return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=self.max_fields)
        except UnicodeDecodeError as error:
            raise RemoteProtocolError("the form is not UTF-8", answer=400) from error
        except ValueError as error:
            raise RemoteProtocolError(f"more than {self.max_fields} fields", answer=400) from error


def _check_id(message_id: str) -> None:
    """Raises RemoteProtocolError where it names nothing: what its provider sends again could not be known again, and a
    signed request could be replayed for ever. No provider leaves it out; a program of your own is told so at once."""
    if not message_id.strip():
        raise RemoteProtocolError("the message's id is empty", answer=400)


@dataclass(frozen=True)
class Message:
    """A text that arrived. Raises RemoteProtocolError where it has no id, whichever provider made it."""

    sender: str
    recipient: str
    message_id: str
    text: str
    media: list[Media] = field(default_factory=list)
    segments: int = 1
    fields: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_id(self.message_id)


@dataclass(frozen=True)
class Status:
    """A delivery receipt of a message that we had sent: ``sender`` is the party that it went to.

    So a receipt takes the route of its conversation. It has an id, as a message has.
    """

    sender: str
    recipient: str
    message_id: str
    status: str
    error: str | None = None
    segments: int = 1
    fields: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_id(self.message_id)


@dataclass(frozen=True)
class Reply:
    """A text that rides in the response. ``to`` and ``sender`` are None where the application left them out."""

    answers: Message
    text: str
    media: Sequence[str] = ()
    to: str | None = None
    sender: str | None = None


@dataclass(frozen=True)
class Text:
    """A text that leaves on its own, by the provider's interface."""

    id: str
    """The same each time it is tried."""
    sender: str
    to: str
    text: str
    media: Sequence[str] = ()


@dataclass(frozen=True)
class Response:
    """An HTTP response. Without a body it has no content type, so that no provider takes it for a text to send."""

    status: int
    content_type: str = ""
    body: bytes = b""
    allow: Sequence[str] = ()
    retry_after: int | None = None
    """Seconds, with 503."""

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        headers = [(b"content-length", str(len(self.body)).encode())]
        if self.content_type:
            headers.append((b"content-type", self.content_type.encode()))
        if self.allow:
            headers.append((b"allow", ", ".join(self.allow).encode()))
        if self.retry_after is not None:
            headers.append((b"retry-after", str(self.retry_after).encode()))
        return headers


@dataclass(frozen=True)
class Answer:
    """What the provider says to a request of ours."""

    status: int
    body: bytes = b""
    """Its beginning."""
    retry_after: float | None = None
    """Seconds for which it wants no more requests, where it says so."""


class Provider(Protocol):
    """One provider's scheme. Its methods are pure, and the first two never raise but RemoteProtocolError."""

    name: ClassVar[str]
    methods: ClassVar[tuple[str, ...]]
    longest: ClassVar[int | None]
    """Characters that one text may have, see `split`; a longer one leaves in `parts`. None: as many as one likes."""
    max_fields: int
    """Fields that a form may have."""

    def verify(self, request: Request) -> bool:
        """Whether one of our keys signed ``request``. Raises RemoteProtocolError for a body that cannot be read."""
        ...

    def parse(self, request: Request) -> Sequence[Message | Status]:
        """What ``request`` carries. Raises RemoteProtocolError where it is malformed."""
        ...

    def explain(self, request: Request) -> str:
        """Why `verify` said no, for the operator: one sentence without secrets or content."""
        ...

    def answer(self, replies: Sequence[Reply]) -> Response:
        """Accepted; with ``replies`` the provider sends them."""
        ...

    def sign(self, url: str, message: Message) -> Request:
        """The signed request that the provider would post to ``url`` for ``message``: `verify`'s twin, for clients."""
        ...

    def request(self, text: Text) -> Request:
        """What sends ``text``, which is not longer than ``longest``."""
        ...

    def judge(self, answer: Answer) -> None:
        """The answer to `request`. Raises PermanentFailure where this text will never be taken, AccountRefused where
        none of ours is, NotSent where a later try may do."""
        ...


PATIENCE = 30.0
"""Seconds for which 429 wants no more, where it says no number itself."""

Kind = type[NotSent]
_BY_STATUS: Mapping[int, Kind] = {
    **dict.fromkeys((301, 302, 303, 307, 308), AccountRefused),  # another URL, to which no login is sent
    **dict.fromkeys((401, 402, 403, 407), AccountRefused),  # the login, the balance, a right
    **dict.fromkeys((404, 405), AccountRefused),  # the URL in the settings, or the account in it
    **dict.fromkeys((408, 421, 423, 425, 429), NotSent),  # RFC 9110 15.5.9, RFC 8470, RFC 6585: again, later
}


def judge(answer: Answer, taken: range, detail: str = "", kind: Kind | None = None) -> None:
    """By ``kind``, where the provider's own code says that much, else by the status: 4xx is the fault of the message,
    but for those that are about our account, and those that ask for patience."""
    if answer.status in taken:
        return
    kind = kind or _BY_STATUS.get(answer.status) or (PermanentFailure if 400 <= answer.status < 500 else NotSent)
    said = f"the provider answered {answer.status}{detail}"
    if kind is PermanentFailure:
        raise kind(said)
    impatient = answer.status == 429 and answer.retry_after is None
    raise kind(said, retry_after=PATIENCE if impatient else answer.retry_after)


def split(text: str, longest: int | None) -> list[str]:
    """``text`` in pieces of at most ``longest`` characters; at least one, which may be empty.

    They are counted in UTF-16, as the networks count them: an emoji is two, which stay together. Pieces of spaces and
    line breaks alone are left out: providers refuse an empty text.
    """
    if longest is None or 2 * len(text) <= longest:
        return [text]
    pieces, start, room = [], 0, longest
    for at, character in enumerate(text):
        size = 2 if character > "\uffff" else 1
        if size > room and at > start:
            pieces.append(text[start:at])
            start, room = at, longest
        room -= size
    pieces.append(text[start:])
    return [piece for piece in pieces if piece.strip()] or pieces[:1]


def parts(event: Mapping[str, Any], longest: int | None) -> list[dict[str, Any]]:
    """An ``sms.send`` as the ones that leave, in their order; the media goes with the first."""
    first, *rest = split(event["text"], longest)
    return [{**event, "text": first}, *({**event, "text": piece, "media": []} for piece in rest)]


def check_url(key: str, url: str) -> None:
    """Raises ValueError where ``url`` is none that one can post to."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"{key} is no URL; write https://www.example.org/path")


def same(one: str, other: str) -> bool:
    """Compare in constant time. Unequal, never an exception, where a header is not ASCII."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def keys_of(secrets: Secret | Sequence[Secret]) -> list[Secret]:
    """The keys that are set: one, or several while they rotate; an empty one is none."""
    return [secret for secret in ([secrets] if isinstance(secrets, Secret) else secrets) if secret]


def count(text: str) -> int:
    """Segments as a provider writes them; 1 where it is not a sensible number."""
    return int(text) if text.isascii() and text.isdecimal() and 0 < len(text) < 4 else 1
