"""The webhook: an ASGI application that takes a provider's HTTP requests and runs another one over ``sms`` scopes."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from protocols.asgi import Application, HTTPScope, Receive, Routable, Send, SMSScope, describe
from protocols.errors import AccountRefused, Disconnected, NotSent, PermanentFailure, RemoteProtocolError
from protocols.event_id import new_id
from protocols.events import checked, missing
from protocols.lazy_names import imported
from protocols.log_facts import about_peer
from protocols.server import Server, ServerStatus
from protocols.sms.events import CHECKS
from protocols.sms.long_texts import LongTexts
from protocols.sms.media_files import content_of, is_file
from protocols.sms.provider import (
    REFERENCE,
    Confirmation,
    DeliveryReceipt,
    Item,
    OutgoingText,
    ProviderSettings,
    Reply,
    Request,
    Response,
    TextMessage,
    parts,
)
from protocols.sms.providers import provider_for
from protocols.sms.repetitions import Repetitions
from protocols.sms.run import ReceiptRun, SMSRun, TextRun
from protocols.sms.scope import sms_scope
from protocols.sms.segments import ascii_punctuation, segments
from protocols.sms.senders import with_sign
from protocols.sms.sending_settings import sending_of

if TYPE_CHECKING:
    from protocols.sms.fetching import Fetcher
    from protocols.sms.sending import ProviderClient
    from protocols.sms.text_folder import TextFolder

logger = logging.getLogger(__name__)
traffic = logging.getLogger("protocols.sms.traffic")

UNAVAILABLE = Response(503, retry_after=30)
"""The only failure that asks for another attempt: providers that retry do so after a 5xx, and some drop the message
after a 4xx."""
_CLIENTS = ("protocols.sms.sending:ProviderClient", "protocols.sms.text_folder:TextFolder")
"""What sends texts: without a folder, which needs a large HTTP client, and with one."""
FILE = "sent-file"
"""The parameter of the webhook's URL by which a provider fetches a file of a text."""
LONGEST_REFERENCE = 64
"""Characters of a text's id in the URL of its receipt; a longer one is none of ours."""
LONGEST_FILE_QUERY = 2000
"""Bytes of such a query."""
_UNFORESEEN = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
T = TypeVar("T")
MOST_ITEMS = 100
"""Messages and receipts of one request."""


class SentTexts(Protocol):
    """Remembers which texts have left."""

    async def receipt(self, listener: str, receipt: DeliveryReceipt) -> str:
        """Note what became of a text. Return the id that we gave it; empty if it is not known. Raises nothing."""

    async def keep_file(self, content_type: str, content: bytes, expiry: float) -> str:
        """Keep a file for ``expiry`` seconds. Return a token by which it is found, and that cannot be guessed. Raises
        NotSent."""

    async def file(self, token: str) -> tuple[str, bytes] | None:
        """Return the content type and the content of a file; None if there is none, or it has expired."""


class SMSWebhook(Server):
    """An ASGI application for the path that a provider posts to; mount it there on an HTTP server.

    Each message in a request makes one ``sms`` scope. The request is answered when the application has ended, or after
    ``settings.timeout`` seconds. ``lifespan`` is passed on to the application, so that a webhook can be served alone
    (``HTTPServer(SMSWebhook(app, settings), ...)``).
    """

    protocol = "sms"
    scope_types = ("sms",)

    def __init__(
        self,
        app: Application,
        settings: ProviderSettings,
        *,
        name: str = "sms",
        state: dict[str, Any] | None = None,
        sent_texts: SentTexts | None = None,
    ) -> None:
        super().__init__(app, name=name, state=state)
        self.settings = settings
        self._sent_texts = sent_texts
        self._segments = 0
        """SMS that the texts took which the provider was given."""
        self.provider = provider_for(settings)
        self._client: ProviderClient | TextFolder = imported(_CLIENTS[bool(self.provider.folder)])(self.provider)
        self._fetchers: list[Fetcher] = []
        self._timeout = self.provider.time_for(settings.timeout)
        self._repetitions = Repetitions(name, answers_again=self.provider.carries_replies)
        self._long_texts = LongTexts(name, None if self.provider.repeats else self._timeout / 2)
        router: object = app
        self._router = router if isinstance(router, Routable) else None
        self._requests: set[asyncio.Task[Any]] = set()

    @property
    def address(self) -> str:
        return f"{self.settings.on}/{self.settings.path.lstrip('/')}"

    def active(self) -> dict[str, int]:
        number = len(self._requests) + len(self.tasks)
        return {"sms": number} if number else {}

    async def start(self) -> None:
        checked = "signatures NOT checked (insecure: true)" if self.settings.insecure else "signatures checked"
        if self.settings.insecure:
            logger.warning("sms %s: %s", self.name, checked)
        if self.settings.timeout > self._timeout:
            said = "sms %s: timeout is %g s, because %s waits for %g s"
            logger.warning(said, self.name, self._timeout, self.provider.name, self.provider.deadline)
        self.status = ServerStatus("ready", f"{self.provider.name}, {checked}")

    async def stop(self, grace: float) -> None:
        """Answer new requests with 503, and wait for those under way."""
        self.status = ServerStatus("draining")
        loop = asyncio.get_running_loop()
        ends = loop.time() + grace
        if self._requests:
            await asyncio.wait(self._requests, timeout=max(0.0, grace))
        if self._requests:
            for task in self._requests:
                task.cancel()
            await asyncio.wait(self._requests, timeout=5.0)
        await self.tasks.drain(ends - loop.time())
        await self.tasks.cancel()
        self.status = ServerStatus("stopped")
        await self._client.close(max(0.0, ends - loop.time()))
        while self._fetchers:
            await self._fetchers.pop().close()

    async def send(self, event: Mapping[str, Any]) -> list[str]:
        """Send an ``sms.send`` outside any run, by the provider's API. When this returns, the provider has taken it.
        Return the provider's id of each text; an id is empty if the provider gives none.

        A text that is too long is sent in parts, one after the other, until one fails. ``to`` and ``from`` are
        required; ``id`` (optional) is passed to a provider that recognizes repetitions by it. Raises NotSent,
        OutcomeUnknown, PermanentFailure, AccountRefused; LocalProtocolError for an invalid event.
        """
        if self.status.state == "stopped":
            raise NotSent(f"sms {self.name} is stopped", retry_after=0.0)  # nor can the next one be sent
        if sending_of(self.settings).ascii_punctuation and isinstance(event.get("text"), str):
            event = {**event, "text": ascii_punctuation(event["text"])}
        texts = _texts(event, self.provider.longest)
        if lacking := self.settings.lacks_to_send:
            raise AccountRefused(f"sms {self.name} cannot send: {lacking} is missing")
        texts = [replace(text, media=await self._hosted(text.media)) for text in texts]
        return [await self._post(replace(text, status_url=self._status_url(text.id))) for text in texts]

    async def _hosted(self, media: Sequence[str]) -> list[str]:
        """Let the provider fetch the files in ``media`` from here. Raises PermanentFailure if it cannot."""
        if not self.provider.fetches_media:
            return list(media)
        return [await self._file_url(url) if is_file(url) else url for url in media]

    async def _file_url(self, url: str) -> str:
        public: str | None = getattr(self.settings, "public_url", None)
        if not public or self._sent_texts is None:
            lacking = "a store" if public else "public_url"
            raise PermanentFailure(f"sms {self.name} cannot send a file: it needs {lacking}; send a URL")
        try:
            content_type, content = content_of(url)
        except ValueError as error:
            raise PermanentFailure(str(error)) from error
        expiry = sending_of(self.settings).media_expiry
        return self._own_url(public, FILE, await self._sent_texts.keep_file(content_type, content, expiry))

    async def _post(self, text: OutgoingText) -> str:
        message_id = await self._client.send(text)
        self._segments += len(segments(text.text))
        return message_id

    def figures(self) -> dict[str, float]:
        return {"sms_segments_sent_total": self._segments}

    def _status_url(self, text_id: str) -> str:
        """The URL for receipts of a text: the one in the provider's console, with the text's id. Empty if it is not
        known, or receipts are not wanted."""
        public: str | None = getattr(self.settings, "public_url", None)
        if not (public and sending_of(self.settings).receipts):
            return ""
        return self._own_url(public, REFERENCE, text_id)

    def _own_url(self, public: str, name: str, value: str) -> str:
        """Return the webhook's own URL with one more parameter."""
        parts = urlsplit(public)
        query = "&".join(filter(None, (parts.query, urlencode({name: value}))))
        return urlunsplit(parts._replace(path=parts.path or f"/{self.settings.path.lstrip('/')}", query=query))

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._serve(scope, receive, send)
            case "lifespan":
                await self.app(scope, receive, send)
            case _:  # a WebSocket gets 403
                await send({"type": f"{scope['type']}.close"})

    async def _serve(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._requests.add(task)
        try:
            response = await self._answer(scope, receive)
            await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
            await send({"type": "http.response.body", "body": response.body})
        except Disconnected:
            logger.info("sms %s: the provider disconnected before its answer", self.name)
        finally:
            self._requests.discard(task)

    async def _answer(self, scope: HTTPScope, receive: Receive) -> Response:
        if self.status.state in ("draining", "stopped"):
            return UNAVAILABLE
        if scope["method"] in ("GET", "HEAD") and (token := _file_token(scope["query_string"])):
            return await self._file(token)
        if scope["method"] not in self.provider.methods:
            return Response(405, allow=self.provider.methods)
        try:
            async with asyncio.timeout(self._timeout):
                request = await self._read(scope, receive)
                return await self._deliver(request, scope)
        except TimeoutError:
            logger.info("sms %s: not done within %g s; answered 503", self.name, self._timeout)
            return UNAVAILABLE
        except RemoteProtocolError as error:
            status = error.answer if isinstance(error.answer, int) else 400
            told = about_peer("sms", self.name, scope.get("client"), f"rejected, {status}")
            logger.warning("sms %s: %s; answered %s", self.name, error, status, extra=told)
            return Response(status)

    async def _file(self, token: str) -> Response:
        """The answer to a provider that fetches a file of a text."""
        found = None if self._sent_texts is None else await self._sent_texts.file(token)
        if found is None:
            logger.info("sms %s: a file is asked for that is not there, or no longer; answered 404", self.name)
            return Response(404)
        return Response(200, *found)

    async def _read(self, scope: HTTPScope, receive: Receive) -> Request:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        body = await self._body(receive)
        return Request(scope["method"], _url(scope, headers), headers, body, self.provider.max_fields)

    async def _body(self, receive: Receive) -> bytes:
        body = bytearray()
        more = True
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise Disconnected("the provider disconnected before its body was complete")
            body += event.get("body", b"")
            more = event.get("more_body", False)
            if len(body) > self.settings.max_body:
                raise RemoteProtocolError(f"its body has more than {self.settings.max_body} bytes", answer=413)
        return bytes(body)

    async def _deliver(self, request: Request, http: HTTPScope) -> Response:
        if not self.settings.insecure:
            verified = await self._verified(request)
            if verified is None:
                return UNAVAILABLE
            request = verified
        items = self._read_by(self.provider.parse, request)
        if len(items) > MOST_ITEMS:
            raise RemoteProtocolError(f"it has more than {MOST_ITEMS} messages", answer=400)
        runs = await self._handle_all(items, http)
        if None in runs:
            return UNAVAILABLE
        replies = [reply for found in runs if found for reply in found]
        if self.provider.carries_replies:
            self._segments += sum(len(segments(reply.text)) for reply in replies)
            return self.provider.answer(request, replies)
        for reply in replies:
            self.tasks.spawn(self._send_reply(reply), name="a reply")
        return self.provider.answer(request, [])

    async def _verified(self, request: Request) -> Request | None:
        """Return ``request`` with the key that it is signed with, or None if that cannot be fetched now. Raises
        RemoteProtocolError if it is not signed."""
        if (url := self._read_by(self.provider.key_url, request)) is not None:
            key = await self._fetcher().key(url)
            if key is None:
                return None
            request = replace(request, key=key)
        if not self._read_by(self.provider.verify, request):
            raise RemoteProtocolError(self.provider.explain(request), answer=self.provider.refusal)
        return request

    def _read_by(self, method: Callable[[Request], T], request: Request) -> T:
        """Call a method of the provider, which may not have foreseen all that a stranger can write."""
        try:
            return method(request)
        except _UNFORESEEN as error:
            said = (
                f"it is not a request as {self.provider.name} makes them ({type(error).__name__} in {method.__name__})"
            )
            raise RemoteProtocolError(said, answer=400) from error

    async def _handle_all(self, items: Sequence[Item], http: HTTPScope) -> Sequence[Sequence[Reply] | None]:
        """Handle one after the other; parts of long texts at the same time, because each waits for the others."""
        if any(isinstance(item, TextMessage) and item.part is not None for item in items):
            return await asyncio.gather(*(self._handle(item, http) for item in items))
        return [await self._handle(item, http) for item in items]

    def _fetcher(self) -> "Fetcher":
        """Return the fetcher. It is made here, because few providers need its large HTTP client."""
        if not self._fetchers:
            self._fetchers.append(imported("protocols.sms.fetching:Fetcher")(self.name))
        return self._fetchers[0]

    async def _handle(self, item: Item, http: HTTPScope) -> Sequence[Reply] | None:
        """Return the replies to ``item``; None if the provider has to send it again."""
        if isinstance(item, Confirmation):
            return await self._confirm(item)
        if self.provider.numbers_lack_sign:
            item = replace(item, sender=with_sign(item.sender), recipient=with_sign(item.recipient))
        if isinstance(item, TextMessage) and item.part is not None:
            return await self._long_texts.handle(item, item.part, lambda whole: self._once(whole, http))
        return await self._once(await self._matched(item), http)

    async def _once(self, item: TextMessage | DeliveryReceipt, http: HTTPScope) -> Sequence[Reply] | None:
        return await self._repetitions.once(item, lambda: self._run(item, http))

    async def _confirm(self, item: Confirmation) -> Sequence[Reply] | None:
        if not await self._fetcher().confirm(item.url):
            return None
        logger.info("sms %s: confirmed that its messages are wanted", self.name)
        return []

    async def _matched(self, item: TextMessage | DeliveryReceipt) -> TextMessage | DeliveryReceipt:
        """Let a receipt name the text that it is for, if that is known."""
        if isinstance(item, TextMessage):
            return item
        if len(item.reference) > LONGEST_REFERENCE:
            item = replace(item, reference="")
        if self._sent_texts is None:
            return item
        return replace(item, reference=await self._sent_texts.receipt(self.name, item))

    async def _send_reply(self, reply: Reply) -> None:
        """Send a reply by the provider's API, after its text was acknowledged. A text is not delivered again because of
        its reply."""
        text = reply.answers
        to, sender = reply.to or text.sender, reply.sender or text.recipient
        try:
            await self.send({"text": reply.text, "media": reply.media, "to": to, "from": sender})
        except NotSent as error:
            said = "sms %s: the reply to %s (text %s) was not sent: %s"
            logger.error(said, self.name, to, text.message_id, error, extra={"lost": True})

    async def _run(self, item: TextMessage | DeliveryReceipt, http: HTTPScope) -> Sequence[Reply] | None:
        """Return the replies to ``item``; None if the provider has to send it again."""
        scope = self._scope(item, http)
        run, began = self._new_run(item, scope), time.monotonic()
        if self._router is not None and not self._router.routable(scope):
            run.skip()
            # Sending it again would not help, and after a 4xx some providers call a fallback or raise an alarm.
            said = "sms %s: no route for %s; accepted and dropped"
            logger.warning(said, self.name, describe(scope), extra={"lost": True})
            return []
        try:
            crash = await run.run()
        except asyncio.CancelledError:
            if not run.deferred:  # its deferral has been logged
                logger.error("%s: cancelled, it did not finish in time", describe(scope), extra={"scope": scope})
            raise
        if crash is not None:
            return None
        if run.deferred:
            logger.info("%s: deferred", describe(scope))
            return None
        if not run.rejected:  # its rejection has been logged
            facts = (self.name, scope["extensions"]["event"]["id"], describe(scope), _what(item, run.replies))
            traffic.info("%s: %s %s: %s, %.0f ms", *facts, (time.monotonic() - began) * 1000)
        return run.replies

    def _new_run(self, item: TextMessage | DeliveryReceipt, scope: SMSScope) -> SMSRun:
        if isinstance(item, TextMessage):
            return TextRun(self.app, scope, item)
        return ReceiptRun(self.app, scope, item)

    def _scope(self, item: TextMessage | DeliveryReceipt, http: HTTPScope) -> SMSScope:
        return sms_scope(
            item,
            provider=self.provider.name,
            listener=self.name,
            state=self.state | http.get("state", {}),
            client=_endpoint(http.get("client")),
            server=_endpoint(http.get("server")),
        )


def _what(item: TextMessage | DeliveryReceipt, replies: Sequence[Reply]) -> str:
    if isinstance(item, DeliveryReceipt):
        return f"status {item.status} of {item.message_id} accepted"
    return f"accepted, {len(replies)} {'reply' if len(replies) == 1 else 'replies'}"


def _endpoint(address: Any) -> tuple[str, int] | None:
    """Return None for a Unix socket, which ASGI writes as ``(path, None)``."""
    return (address[0], address[1]) if address and address[1] is not None else None


def _file_token(query: bytes) -> str:
    """Return the token of a file in the query of a URL of ours; empty if there is none."""
    if FILE.encode() not in query or len(query) > LONGEST_FILE_QUERY:
        return ""
    return dict(parse_qsl(query.decode("latin-1"))).get(FILE, "")


def _texts(event: Mapping[str, Any], longest: int | None) -> list[OutgoingText]:
    clean = checked(CHECKS, {**event, "type": "sms.send"})
    try:
        sender, to = clean["from"], clean["to"]
    except KeyError as error:
        raise missing(clean, error) from error
    id_ = event.get("id")
    return [OutgoingText(id_ or new_id(), sender, to, part["text"], part["media"]) for part in parts(clean, longest)]


def _url(scope: HTTPScope, headers: Mapping[str, str]) -> str:
    raw = scope.get("raw_path")
    path = raw.decode("latin-1") if raw else quote(scope["path"], errors="replace")
    query = scope["query_string"].decode("utf-8", "replace")
    return f"{scope.get('scheme', 'http')}://{headers.get('host', '')}{path}{'?' if query else ''}{query}"
