"""What a provider is, and the messages, requests and responses that it deals with. No I/O, no clock."""

import hashlib
import hmac
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar
from urllib.parse import parse_qsl, urlsplit

from protocols.asgi import Media
from protocols.errors import AccountRefused, NotSent, OutcomeUnknown, PermanentFailure, RemoteProtocolError
from protocols.secret import Secret
from protocols.sms.segments import cut, segments, utf16


@dataclass(frozen=True)
class Request:
    """A complete HTTP request: one to the webhook, or one of ours to the provider.

    The signature of a request to the webhook is checked on these bytes, before they are parsed.
    """

    method: str
    url: str
    """The URL as in the request: scheme, Host header, path and query, with the percent-encoding that they came with."""
    headers: Mapping[str, str]
    """Names are in lower case."""
    body: bytes = b""
    max_fields: int = 1000
    """A form or query with more fields is malformed."""
    key: bytes = b""
    """What is at the URL of :meth:`Provider.key_url`; empty if the provider's requests need no such key."""

    @cached_property
    def media_type(self) -> str:
        """The content type without its parameters, such as ``application/json``; empty if there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @cached_property
    def form(self) -> list[tuple[str, str]]:
        """The form's pairs in order, including blank ones, which are signed too. Raises RemoteProtocolError."""
        try:
            return self._pairs(self.body.decode())
        except UnicodeDecodeError as error:
            raise RemoteProtocolError("the form is not UTF-8", answer=400) from error

    @cached_property
    def query(self) -> list[tuple[str, str]]:
        """The pairs of the URL's query in order, including blank ones. Raises RemoteProtocolError."""
        try:
            return self._pairs(urlsplit(self.url).query)
        except ValueError as error:
            raise RemoteProtocolError("the URL is malformed", answer=400) from error

    @cached_property
    def json(self) -> Any:
        """The body as JSON. Raises RemoteProtocolError."""
        try:
            value = json.loads(self.body.decode())
            json.dumps(value, ensure_ascii=False).encode()  # fails on half of a surrogate pair (RFC 8259, 8.2)
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


MOST_PARTS = 255
"""A network's header has one byte for the number of parts (3GPP TS 23.040, 9.2.3.24.1)."""


def _check_id(message_id: str) -> None:
    """Raise RemoteProtocolError for an empty id.

    Without an id a repeated message could not be recognized, and a signed request could be replayed for ever. Providers
    always send one; a program of your own that does not learns so at its first request.
    """
    if not message_id.strip():
        raise RemoteProtocolError("the message's id is empty", answer=400)


@dataclass(frozen=True)
class Part:
    """The place of a part in a long text. Raises RemoteProtocolError if there is no such place."""

    reference: str
    """The same for all parts of one text from one sender to one recipient."""
    number: int
    """From 1."""
    total: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.total <= MOST_PARTS:
            raise RemoteProtocolError("the number of a part is not one of those of its text", answer=400)


@dataclass(frozen=True)
class TextMessage:
    """A text that arrived, or a part of a long one. Raises RemoteProtocolError if it has no id."""

    sender: str
    recipient: str
    message_id: str
    """The same each time that the provider delivers it; see :func:`content_id` where the provider's own is not."""
    text: str
    media: list[Media] = field(default_factory=list)
    segments: int = 1
    fields: dict[str, str] = field(default_factory=dict)
    opt: Literal["out", "in", "help"] | None = None
    """What its sender asked for by it (STOP, START, HELP), if the provider knows and has answered that itself."""
    part: Part | None = None
    """Its place in a long text, if the provider delivers the parts of one by themselves."""
    complete: bool = True
    """False for a long text with missing parts."""

    def __post_init__(self) -> None:
        _check_id(self.message_id)


@dataclass(frozen=True)
class DeliveryReceipt:
    """A receipt for a text that we sent. Raises RemoteProtocolError if it has no id.

    ``sender`` is the party that the text went to, so that a receipt takes the route of its conversation.
    """

    sender: str
    recipient: str
    message_id: str
    status: str
    error: str | None = None
    segments: int = 1
    fields: dict[str, str] = field(default_factory=dict)
    reference: str = ""
    """The id that we gave the text (:attr:`OutgoingText.id`), where the provider says it in the receipt."""

    def __post_init__(self) -> None:
        _check_id(self.message_id)


@dataclass(frozen=True)
class Confirmation:
    """A request that asks us to confirm that its messages are wanted, by a GET of a URL. It makes no scope."""

    url: str
    """Its host is one that the provider's file names: a request cannot choose any."""


Item = TextMessage | DeliveryReceipt | Confirmation
"""What a request brings."""


@dataclass(frozen=True)
class Reply:
    """A text in the response to the webhook. ``to`` and ``sender`` are None if the application left them out."""

    answers: TextMessage
    text: str
    media: Sequence[str] = ()
    to: str | None = None
    sender: str | None = None


@dataclass(frozen=True)
class OutgoingText:
    """A text that is sent by the provider's API."""

    id: str
    """Its id, which is the same at each attempt."""
    sender: str
    to: str
    text: str
    media: Sequence[str] = ()
    status_url: str = ""
    """The URL for its delivery receipts, which tells them :attr:`id`; empty if they are not asked for."""


@dataclass(frozen=True)
class Response:
    """The HTTP response to the webhook. Without a body it has no content type, or a provider may send it as a text."""

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
class ProviderResponse:
    """The provider's response to a request of ours."""

    status: int
    body: bytes = b""
    """The beginning of the body."""
    retry_after: float | None = None
    """Seconds for which the provider wants no more requests, if it says so."""


class ProviderSettings(Protocol):
    """The settings that every provider has; those of one provider are a frozen dataclass with these fields."""

    @property
    def provider(self) -> str:
        """The provider's name, a ``Literal`` in each class: it tells in gateway.yaml which settings these are."""

    @property
    def on(self) -> str:
        """Name of the http server that carries the webhook."""

    @property
    def path(self) -> str:
        """Path of the webhook on that server."""

    @property
    def insecure(self) -> bool:
        """Take requests without checking their signature."""

    @property
    def max_body(self) -> int:
        """A longer body is refused with 413."""

    @property
    def timeout(self) -> float:
        """Seconds for the body to arrive and the handlers to finish."""

    @property
    def number(self) -> str:
        """The number, or the name, that a text is from if it names none."""

    @property
    def lacks_to_send(self) -> str:
        """The setting that is needed for sending and is empty; empty itself if texts can be sent."""


MARGIN = 0.5
"""Seconds between our answer and the moment when the provider no longer waits for it."""
S = TypeVar("S", bound=ProviderSettings)


class Provider(ABC, Generic[S]):
    """How one provider signs, what its requests mean, and how it wants to be answered. Its methods are pure."""

    name: ClassVar[str]
    settings_class: ClassVar[type[Any]]
    """``S``, by which gateway.yaml is read."""
    methods: ClassVar[tuple[str, ...]]
    """The HTTP methods of its requests."""
    longest: ClassVar[int | None] = None
    """The most characters of one text, see :func:`split`; a longer text is sent in :func:`parts`. None: no limit."""
    carries_replies: ClassVar[bool] = True
    """Whether the response to the webhook can carry replies. If not, they are sent by :meth:`request`, and
    :meth:`answer` gets none."""
    deadline: ClassVar[float] = 15.0
    """Seconds after which the provider no longer waits for the answer."""
    repeats: ClassVar[bool]
    """Whether the provider, as it is set up by default, delivers a message again that was answered with 5xx."""
    refusal: ClassVar[int] = 403
    """The status for a request that none of our keys signed."""
    numbers_lack_sign: ClassVar[bool] = False
    """Whether its international numbers have no ``+``. Then the webhook adds it."""
    fetches_media: ClassVar[bool] = True
    """Whether it fetches media from their URLs, so that it needs one for a file. If not, a file is a ``data:`` URL."""
    max_fields: int = 0
    """The most fields of a form; 0 for a provider that sends none."""
    folder: str = ""
    """A folder that takes our texts, in place of the provider."""

    @abstractmethod
    def __init__(self, settings: S) -> None: ...

    @classmethod
    def time_for(cls, timeout: float) -> float:
        """Return the seconds that an answer may take: ``timeout`` of the settings, or less if that is too long."""
        return min(timeout, cls.deadline - MARGIN)

    def key_url(self, request: Request) -> str | None:
        """Return the URL of the public key that ``request`` says it is signed with; None if our settings have the key.

        The webhook fetches it, without redirects, and keeps it; :meth:`verify` then finds it in :attr:`Request.key`. An
        attacker may have chosen the URL, so this checks its host. Raises RemoteProtocolError for any other URL.
        """
        return None

    def media_login(self, url: str) -> Mapping[str, str]:
        """Return the header fields with our login for media at ``url``; none for a URL that is not the provider's: a
        text may name any, and so may a redirect."""
        return {}

    @abstractmethod
    def verify(self, request: Request) -> bool:
        """Whether one of our keys signed ``request``. Raises RemoteProtocolError for a body that cannot be read."""

    @abstractmethod
    def parse(self, request: Request) -> Sequence[Item]:
        """What ``request`` brings, from nothing to 100 items. Raises RemoteProtocolError if it is malformed."""

    @abstractmethod
    def explain(self, request: Request) -> str:
        """Why :meth:`verify` returned False: one sentence for the operator, without secrets or content."""

    @abstractmethod
    def answer(self, request: Request, replies: Sequence[Reply]) -> Response:
        """The response to ``request`` that accepts its messages, and has the provider send ``replies``."""

    @abstractmethod
    def sign(self, url: str, message: TextMessage) -> Request:
        """The signed request that the provider would post to ``url`` for ``message``; for tests and clients."""

    @abstractmethod
    def request(self, text: OutgoingText) -> Request:
        """The request that sends ``text``, which is not longer than ``longest``."""

    @abstractmethod
    def judge(self, response: ProviderResponse) -> None:
        """Return if the provider has taken the text of a :meth:`request`.

        Raises PermanentFailure if it will never take this text, AccountRefused if it takes none of ours, OutcomeUnknown
        if it may have taken it, NotSent if it has not and a later attempt may succeed.
        """

    def sent_id(self, response: ProviderResponse) -> str:
        """Return the id that the provider has given to the text, by which receipts call it; empty if it says none."""
        return ""


REFERENCE = "text"
"""The parameter of :attr:`OutgoingText.status_url` that has the text's id."""

PATIENCE = 30.0
"""Seconds to wait after a 429 that does not say how long."""

Failure = type[NotSent]
_BY_STATUS: Mapping[int, Failure] = {
    **dict.fromkeys((301, 302, 303, 307, 308), AccountRefused),  # a redirect: the login is not sent to another URL
    **dict.fromkeys((401, 402, 403, 407), AccountRefused),  # the login, the balance or a permission
    **dict.fromkeys((404, 405), AccountRefused),  # the URL in the settings, or the account in it
    **dict.fromkeys((408, 421, 423, 425, 429), NotSent),  # RFC 9110 15.5.9, RFC 8470, RFC 6585: again, later
    503: NotSent,  # RFC 9110 15.6.4: it cannot handle the request now. Other 5xx say nothing about that
}


def judge(response: ProviderResponse, taken: range, detail: str = "", failure: Failure | None = None) -> None:
    """Raise unless the status is in ``taken``: ``failure`` if the provider's own code names one, else by the status.

    A 4xx is the fault of the message, except those about our account and those that ask us to wait.
    """
    status = response.status
    if status in taken:
        return
    failure = failure or _BY_STATUS.get(status) or (PermanentFailure if 400 <= status < 500 else OutcomeUnknown)
    said = f"the provider answered {status}{detail}"
    if failure is PermanentFailure:
        raise failure(said)
    unspecified = status == 429 and response.retry_after is None
    raise failure(said, retry_after=PATIENCE if unspecified else response.retry_after)


def split(text: str, longest: int | None) -> list[str]:
    """Cut ``text`` into pieces of at most ``longest`` characters; at least one piece, which may be empty.

    Characters are counted in UTF-16, as providers count them. A piece has as many whole :func:`segments` as fit, so
    that the network does not send a last one that is nearly empty; a character is never cut. Pieces of nothing but
    white space are left out, because providers refuse an empty text.
    """
    if longest is None or utf16(text) <= longest:
        return [text]
    pieces: list[str] = []
    for segment in segments(text):
        if pieces and utf16(pieces[-1]) + utf16(segment) <= longest:
            pieces[-1] += segment
        else:
            pieces += cut(segment, longest, utf16)
    return [piece for piece in pieces if piece.strip()] or pieces[:1]


def parts(event: Mapping[str, Any], longest: int | None) -> list[dict[str, Any]]:
    """Cut an ``sms.send`` into the ones to send, in their order; the media go with the first."""
    first, *rest = split(event["text"], longest)
    return [{**event, "text": first}, *({**event, "text": piece, "media": []} for piece in rest)]


def check_url(key: str, url: str) -> None:
    """Raise ValueError unless ``url`` is one that a request can be posted to."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"{key} is not a URL; write https://www.example.org/path")


def same(one: str, other: str) -> bool:
    """Compare in constant time. A header that is not ASCII is unequal, and raises nothing."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def is_fresh(timestamp: str | None, tolerance: float, now: float) -> bool:
    """Whether a time in a header (Unix seconds) is at most ``tolerance`` seconds from ``now``. Text is never fresh."""
    if timestamp is None or not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 12):
        return False
    return abs(now - int(timestamp)) <= tolerance


def content_id(*parts: str) -> str:
    """Return an id made of what a message says, for a provider that gives a message another id each time."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def keys_of(secrets: Secret | Sequence[Secret]) -> list[Secret]:
    """The keys that are set: one, or several while they rotate; empty ones do not count."""
    return [secret for secret in ([secrets] if isinstance(secrets, Secret) else secrets) if secret]


def count(text: str) -> int:
    """The number of segments that a provider gives; 1 if it is not a sensible number."""
    return int(text) if text.isascii() and text.isdecimal() and 0 < len(text) < 4 else 1
