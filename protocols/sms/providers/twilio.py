"""Twilio Programmable Messaging: signed forms in, TwiML out, and forms to its REST interface.

The signature is base64(HMAC(token, URL + every form parameter, sorted, name and value run together)). It covers no time
and no nonce, so a captured request can be replayed for ever; only deduplication on ``MessageSid`` defends against that.
https://www.twilio.com/docs/usage/security
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from protocols.asgi import Media
from protocols.errors import AccountRefused, NotSent, PermanentFailure, RemoteProtocolError
from protocols.secret import Secret
from protocols.server import SETTINGS_CONFIG
from protocols.sms.provider import (
    REFERENCE,
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
    judge,
    keys_of,
    same,
    split,
)
from protocols.sms.senders import as_sent
from protocols.sms.sending_settings import SendingSettings
from protocols.sms.signed_url import explain_url, loggable, signed_url, split_url
from protocols.units import Count, Length, Timeout


@dataclass(frozen=True, kw_only=True)
class TwilioSettings:
    """Texts through Twilio: its webhook, and its REST API for texts outside the webhook's answer."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    protocol: Literal["sms"] = "sms"
    provider: Literal["twilio"] = "twilio"
    on: str
    """Name of the http server that carries the webhook."""
    path: str
    """Path of the webhook on that server: ``/hooks/twilio``."""
    auth_token: Secret | tuple[Secret, ...] = ()
    """The account's primary auth token; several (old and new, or of sub-accounts) while they rotate."""
    shared_keys: dict[str, Secret] = field(default_factory=dict)
    """Twilio's webhook shared keys, by name: they sign requests that name one of them (SHA-256)."""
    public_url: str | None = None
    """The URL in Twilio's console, which is the one that Twilio signs. It is needed behind a proxy that changes scheme,
    host or path. If it has no path, the request's own is added. Default: the URL of the request."""
    insecure: bool = False
    """Take requests without checking their signature: for a laptop, never for a machine that others can reach."""
    max_body: Length = 256 * 1024
    """A longer body is refused with 413."""
    max_fields: Count = 1000
    """A form with more fields is refused with 400."""
    timeout: Timeout = 10.0
    """Time for the body to arrive and the handler to finish; after it the answer is 503. Twilio waits for 15 s."""
    account_sid: str = ""
    """The account (`AC...`) that sends texts outside a webhook's answer (`inbox: true`). Its password is the first
    `auth_token`."""
    api_url: str = "https://api.twilio.com"
    """The URL of Twilio's REST API; another one for a region or a proxy."""
    number: str = ""
    """The number (or the name) that a text is from if it names none: `+447700900123`."""
    sending: SendingSettings = field(default_factory=SendingSettings)
    """How texts are sent: how many in a second, when, by which other provider."""

    def __post_init__(self) -> None:
        """Raises ValueError without a key, unless ``insecure`` allows that, and for a URL that is not one."""
        if not (self.insecure or keys_of(self.auth_token) or self.shared_keys):
            raise ValueError("auth_token is missing: without it anybody could post texts (insecure: true allows that)")
        check_url("api_url", self.api_url)
        if self.public_url:
            check_url("public_url", self.public_url)

    @property
    def lacks_to_send(self) -> str:
        """The setting that is needed for sending and is empty; empty itself if texts can be sent."""
        if not self.account_sid:
            return "account_sid"
        return "" if keys_of(self.auth_token) else "auth_token"


_ALGORITHMS = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}
_FORM = "application/x-www-form-urlencoded"
_ILLEGAL_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # all but Char of XML 1.0, 2.2
_CREATED = range(201, 202)
_OPTS: Mapping[str, Literal["out", "in", "help"]] = {"STOP": "out", "START": "in", "HELP": "help"}


class Twilio(Provider[TwilioSettings]):
    name = "twilio"
    settings_class = TwilioSettings
    methods = ("POST", "GET")
    repeats = False
    longest = 1600
    """Twilio refuses a longer body as a whole (error 21617)."""

    def __init__(self, settings: TwilioSettings) -> None:
        self._settings = settings
        self._tokens = keys_of(settings.auth_token)
        self.max_fields = settings.max_fields

    def verify(self, request: Request) -> bool:
        return self._matches(request, signed_url(request, self._settings.public_url))

    def _matches(self, request: Request, url: str) -> bool:
        given = request.headers.get("x-twilio-signature", "")
        keys, algorithm = self._keys(request.headers.get("x-twilio-webhooks-signature-settings", ""))
        pairs = _signed_pairs(request)
        if not _covers_body(url, pairs, request.body):
            return False
        return any(same(_signature(key, one, pairs, algorithm), given) for key in keys for one in _variants(url))

    def _keys(self, header: str) -> tuple[Sequence[Secret], str]:
        """Return the keys that may have signed, and the algorithm.

        ``key=webhooks_sharedkey_...,algorithm=HMAC_SHA256`` names a shared key; then only that key counts.
        """
        named = dict(part.strip().partition("=")[::2] for part in header.split(","))
        algorithm = _ALGORITHMS.get(named.get("algorithm", "HMAC_SHA1").upper(), "")
        if not algorithm:
            return [], algorithm
        if "key" in named:
            return [key for name, key in self._settings.shared_keys.items() if name == named["key"] and key], algorithm
        return self._tokens, algorithm

    def explain(self, request: Request) -> str:
        tried = signed_url(request, self._settings.public_url)
        if "x-twilio-signature" not in request.headers:
            return f"no X-Twilio-Signature header (URL {loggable(tried)})"
        if not _covers_body(tried, _signed_pairs(request), request.body):
            return f"the body is not a form, and {loggable(tried)} has no bodySHA256 of it: nobody signed it"
        if said := explain_url(request, self._settings.public_url, lambda url: self._matches(request, url)):
            return said
        return f"wrong signature for {loggable(tried)}: Twilio's console has another URL, or another token"

    def parse(self, request: Request) -> Sequence[TextMessage | DeliveryReceipt]:
        fields = _fields(request)
        try:
            if "MessageStatus" in fields and fields.get("SmsStatus") != "received":
                return [_status(fields, dict(request.query).get(REFERENCE, ""))]
            return [_message(fields)]
        except KeyError as error:
            raise RemoteProtocolError(f"the field {error} is missing", answer=400) from error

    def answer(self, request: Request, replies: Sequence[Reply]) -> Response:
        messages = "".join(twiml for reply in replies for twiml in _messages(reply))
        document = f'<?xml version="1.0" encoding="UTF-8"?><Response>{messages}</Response>'
        # Always XML: Twilio would send a text/plain answer to the user.
        return Response(200, "text/xml; charset=utf-8", document.encode())

    def sign(self, url: str, message: TextMessage) -> Request:
        fields = _as_form(message)
        key = self._tokens[0] if self._tokens else Secret("")
        headers = {
            "content-type": _FORM,
            "x-twilio-signature": _signature(key, url, sorted(fields.items()), "sha1"),
        }
        return Request("POST", url, headers, urlencode(fields).encode())

    def media_login(self, url: str) -> Mapping[str, str]:
        """Twilio redirects from there to a URL that is signed, at another host."""
        own, asked = urlsplit(self._settings.api_url), urlsplit(url)
        if self._settings.lacks_to_send or (own.scheme, own.netloc) != (asked.scheme, asked.netloc):
            return {}
        return {"authorization": self._login}

    @property
    def _login(self) -> str:
        login = f"{self._settings.account_sid}:{self._tokens[0].reveal()}".encode()
        return f"Basic {base64.b64encode(login).decode()}"

    def request(self, text: OutgoingText) -> Request:
        """See https://www.twilio.com/docs/messaging/api/message-resource. Twilio has no idempotency key."""
        account = quote(self._settings.account_sid, safe="")
        url = f"{self._settings.api_url.rstrip('/')}/2010-04-01/Accounts/{account}/Messages.json"
        headers = {"content-type": _FORM, "authorization": self._login}
        pairs = [("To", text.to), ("From", text.sender), ("Body", text.text)]
        media = [("MediaUrl", url) for url in text.media]
        asked = [("StatusCallback", text.status_url)] if text.status_url else []
        return Request("POST", url, headers, urlencode([*pairs, *media, *asked], errors="replace").encode())

    def sent_id(self, response: ProviderResponse) -> str:
        sid = _field(response.body, "sid")
        return sid if isinstance(sid, str) else ""

    def judge(self, response: ProviderResponse) -> None:
        code = _error_code(response.body)
        detail = f", error {code} (https://www.twilio.com/docs/api/errors/{code})" if code else ""
        opted_out = ": the recipient has opted out" if code == _OPTED_OUT else ""
        judge(response, _CREATED, detail + opted_out, _BY_CODE.get(code))


# Signatures


def _signature(key: Secret, url: str, pairs: Iterable[tuple[str, str]], algorithm: str) -> str:
    text = url + "".join(name + value for name, value in pairs)
    digest = hmac.digest(key.reveal().encode(), text.encode("utf-8", "surrogatepass"), algorithm)
    return base64.b64encode(digest).decode()


def _signed_pairs(request: Request) -> list[tuple[str, str]]:
    """The form's parameters, sorted, each value once. A GET has them in its URL; JSON is signed by its hash there."""
    return sorted(set(request.form)) if request.method == "POST" and request.media_type == _FORM else []


def _covers_body(url: str, pairs: Sequence[tuple[str, str]], body: bytes) -> bool:
    """Whether the signature covers the body.

    Without form parameters the URL must contain the body's hash. Otherwise a client that saw one signed URL could post
    any other body to it.
    """
    if pairs:
        return True
    claimed = dict(parse_qsl(split_url(url).query)).get("bodySHA256")
    return same(hashlib.sha256(body).hexdigest(), claimed) if claimed is not None else not body


def _variants(url: str) -> Iterable[str]:
    """The forms in which Twilio may have signed ``url``. Twilio is inconsistent, and its own libraries try these too:
    with its port, without, or with the default port; the query as it came, normalised, or decoded and encoded again."""
    yield url
    parts = split_url(url)
    user, at, host = parts.netloc.rpartition("@")
    bare = re.sub(r":\d*$", "", host)
    full = host if bare != host else f"{bare}:{443 if parts.scheme == 'https' else 80}"
    queries = dict.fromkeys((parts.query, parts.query.replace("'", "%27"), _encoded_again(parts.query)))
    for one in dict.fromkeys((host, bare, full)):
        for query in queries:
            yield urlunsplit((parts.scheme, user + at + one, parts.path, query, ""))


def _encoded_again(query: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True)
    return "&".join(f"{quote(name, safe='~!*()-._')}={quote(value, safe='~!*()-._')}" for name, value in pairs)


# Fields


def _fields(request: Request) -> dict[str, str]:
    if request.method == "GET":
        return dict(request.query)
    if request.media_type != "application/json":
        return dict(request.form)
    if not isinstance(request.json, dict):
        raise RemoteProtocolError("the JSON is not an object", answer=400)
    return {name: str(value) for name, value in request.json.items() if value is not None}


def _message(fields: dict[str, str]) -> TextMessage:
    return TextMessage(
        sender=as_sent(fields["From"]),
        recipient=as_sent(fields["To"]),
        message_id=fields["MessageSid"],
        text=fields.get("Body", ""),
        media=_media(fields),
        opt=_OPTS.get(fields.get("OptOutType", "").upper()),
        segments=count(fields.get("NumSegments", "")),
        fields=fields,
    )


def _status(fields: dict[str, str], reference: str) -> DeliveryReceipt:
    return DeliveryReceipt(
        sender=as_sent(fields.get("To", "")),  # the receipt is for a text of ours: its To is the other party
        recipient=as_sent(fields.get("From", "")),
        message_id=fields["MessageSid"],
        status=fields["MessageStatus"],
        error=fields.get("ErrorCode") or None,
        segments=count(fields.get("NumSegments", "")),
        fields=fields,
        reference=reference,
    )


def _media(fields: dict[str, str]) -> list[Media]:
    media: list[Media] = []
    while url := fields.get(f"MediaUrl{len(media)}"):
        media.append({"url": url, "content_type": fields.get(f"MediaContentType{len(media)}", "")})
    return media


def _as_form(message: TextMessage) -> dict[str, str]:
    form = {
        "MessageSid": message.message_id,
        "From": message.sender,
        "To": message.recipient,
        "Body": message.text,
        "NumMedia": str(len(message.media)),
        "NumSegments": str(message.segments),
        "SmsStatus": "received",
        "ApiVersion": "2010-04-01",
    }
    for number, media in enumerate(message.media):
        form |= {f"MediaUrl{number}": media["url"], f"MediaContentType{number}": media["content_type"]}
    return form | message.fields


# The REST API


_OPTED_OUT = 21610
# https://www.twilio.com/docs/api/errors. Other errors go by their HTTP status.
_BY_CODE: Mapping[int, type[NotSent]] = {
    **dict.fromkeys((20003, 20005, 20006, 20008), AccountRefused),  # wrong login, account not active, test credentials
    **dict.fromkeys((10001, 10002, 90010), AccountRefused),  # suspended, mostly for lack of funds; a trial's limits
    **dict.fromkeys((20403, 20404, 30002), AccountRefused),  # no permission, no such account, account suspended
    **dict.fromkeys((14107, 20429, 21611, 30001, 63038), NotSent),  # too fast, a full queue, the day's limit
    **dict.fromkeys((21211, 21214, 21217, 21614, 21635), PermanentFailure),  # not a number, or not one for texts
    _OPTED_OUT: PermanentFailure,
    **dict.fromkeys((21408, 21612, 21608), PermanentFailure),  # no way from our number to this one
    **dict.fromkeys((21212, 21603, 21606, 21660, 21661), PermanentFailure),  # the From of this text is not ours
    **dict.fromkeys((21602, 21617, 21619, 21620, 21623), PermanentFailure),  # no body, too long, wrong media
}


def _error_code(body: bytes) -> int:
    """Twilio's error code, from the JSON of its response; 0 if there is none. Its message may repeat the text that we
    sent, and is not read."""
    code = _field(body, "code")
    return code if isinstance(code, int) else 0


def _field(body: bytes, name: str) -> Any:
    """Return one value of the JSON of a response; None if there is none."""
    try:
        return json.loads(body)[name]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


# TwiML


def _messages(reply: Reply) -> Iterable[str]:
    """One <Message> for each part; the media go with the first."""
    from xml.sax.saxutils import escape  # imports the standard library's HTTP client

    attributes = _attribute("to", reply.to) + _attribute("from", reply.sender)
    media = "".join(f"<Media>{escape(_clean(url))}</Media>" for url in reply.media)
    for number, part in enumerate(split(_clean(reply.text), Twilio.longest)):
        yield f"<Message{attributes}><Body>{escape(part)}</Body>{media if number == 0 else ''}</Message>"


def _attribute(name: str, value: str | None) -> str:
    from xml.sax.saxutils import quoteattr

    return "" if value is None else f" {name}={quoteattr(_clean(value))}"


def _clean(text: str) -> str:
    """Remove the characters that XML forbids: with a single one of them Twilio sends nothing (error 12100)."""
    return _ILLEGAL_IN_XML.sub("", text)
