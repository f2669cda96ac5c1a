"""Consumers of the sms scope: one instance for each text or delivery receipt."""

import logging
from abc import abstractmethod
from collections.abc import Collection, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from gateway.consumers import arguments, message_arguments
from gateway.consumers.answering import answering
from gateway.consumers.base import Asked, Consumer
from gateway.consumers.conversation import DAY, Change, State, Steps, load, update
from gateway.consumers.forms import AsyncForm, Awaited, SyncForm
from gateway.consumers.hooks import Call, writes
from gateway.consumers.text_guard import RATE, SAME, WHY
from protocols.asgi import Media, SMSReceiveEvent, SMSScope, SMSStatusEvent, describe
from protocols.event_id import new_id
from protocols.sms.keywords import START, STOP, is_only_keyword

if TYPE_CHECKING:
    from protocols.sms.media import FetchedMedia

logger = logging.getLogger(__name__)

R = TypeVar("R")
M = TypeVar("M")
"""The result of the helper that fetches media: it, or an awaitable of it in async consumers."""
S = TypeVar("S")
"""The result of the helpers that return a conversation: a dict, or an awaitable of one in async consumers."""


class SMSMethods(Consumer[R], Generic[R, S, M]):
    """The methods of both forms. Write ``receive``, and ``status`` if you want receipts. Returning accepts."""

    scope: SMSScope
    _received: SMSReceiveEvent | None = None
    _number = 0
    """How many answers the handler has written."""

    states = {
        "accepted": "the text is accepted already; only self.reply() may follow",
        "rejected": "the text is rejected already",
        "deferred": "the text is deferred already",
        "receipt": "a delivery receipt cannot be answered; to write to its number, call send_text() of gateway",
    }
    instead = {"sms.receive": Asked("receive", "self.reply(text)")}
    _hooks = {
        "receive": Call(("text", "media")),
        "status": Call(),
        "opt_out": Call(("text",)),
        "opt_in": Call(("text",)),
    }
    _required = ("receive", "status", "opt_out", "opt_in", "sms_receive", "sms_status")

    same_answers_per_hour: ClassVar[int] = 3
    """How many times :meth:`reply` sends the same text to one sender within an hour. It ends a loop of two programs."""
    answers_per_hour: ClassVar[int] = 20
    """How many texts :meth:`reply` sends to one sender within an hour."""

    conversation_ttl: ClassVar[float] = DAY
    """Seconds for which a conversation is kept after its last change, at most 30 days."""

    media_size: ClassVar[int] = 5 * 1024 * 1024
    """The most bytes of media that :meth:`fetch_media` fetches."""
    media_timeout: ClassVar[float] = 10.0
    """Seconds that it may take."""
    media_types: ClassVar[Collection[str]] = ("image/", "audio/", "video/", "text/vcard", "application/pdf")
    """Content types that are fetched: whole, or their beginnings."""
    media_private: ClassVar[bool] = False
    """Whether media is fetched from addresses that are not public: for a phone on your own network."""

    async def dispatch(self, event: Any) -> None:
        if event["type"] == "sms.receive":
            self._received = event
        await super().dispatch(event)

    def sms_receive(self, event: SMSReceiveEvent) -> Any:
        text, kind = event["text"], type(self)
        if writes(kind, "opt_out") and self._asks("out", text, STOP):
            return self.opt_out(text)
        if writes(kind, "opt_in") and self._asks("in", text, START):
            return self.opt_in(text)
        return self.receive(text, event["media"])

    def _asks(self, what: str, text: str, words: Collection[str]) -> bool:
        """Whether the sender asks for ``what``, as the provider says, or by a text that is one of ``words`` alone."""
        opt = self._opt
        return is_only_keyword(text, words) if opt is None else opt == what

    def sms_status(self, event: SMSStatusEvent) -> Any:
        return self.status(event)

    def receive(self, text: str, media: list[Media]) -> Any:
        """Handle one text. ``media`` has dicts of ``url`` and ``content_type``; the addresses are in ``self.scope``."""

    def opt_out(self, text: str) -> Any:
        """Handle a text that asks for no more texts: STOP, or another word of that family, and nothing else, or what
        the provider says is one. Without this method of yours, ``receive`` gets it."""

    def opt_in(self, text: str) -> Any:
        """Handle a text that asks for texts again: START. Without this method of yours, ``receive`` gets it."""

    def status(self, message: SMSStatusEvent) -> Any:
        """Handle a delivery receipt, which has ``message_id``, ``status`` and ``error``."""

    def reply(self, text: str, media: Sequence[str] = ()) -> R:
        """Answer the sender. ``media`` are URLs, of pictures say.

        If the text is not :attr:`answerable`, or its sender has had ``same_answers_per_hour`` or ``answers_per_hour``
        answers, nothing is sent, which is logged.
        """
        urls = message_arguments.text_message("reply", text, media)
        return self.perform(self._reply(text, urls))

    async def _reply(self, text: str, urls: list[str]) -> None:
        self._number += 1
        if self._received is None or not self._is_guarded(text):
            await self._emit({"type": "sms.send", "text": text, "media": urls}, "reply")

    @property
    def answerable(self) -> bool:
        """Whether the text may be answered: not one from a number of ours or from a name, and not a STOP, START or HELP
        that the provider has answered."""
        return not answering.get().texts.unanswerable(self.scope, self._opt)

    def _is_guarded(self, text: str) -> bool:
        guard, first = answering.get().texts, False
        limits = {SAME: self.same_answers_per_hour, RATE: self.answers_per_hour}
        if not (reason := guard.unanswerable(self.scope, self._opt)):
            reason, first = guard.over(self.scope, text, self._answer_id, *limits.values())
        if reason:
            guard.prevented[reason] += 1
            level, why = logging.WARNING if first else logging.INFO, WHY[reason].format(limits.get(reason, ""))
            logger.log(level, "%s: not answered: %s", describe(self.scope), why, extra={"scope": self.scope})
        return bool(reason)

    @property
    def _answer_id(self) -> str:
        """The same in every attempt at this text, and for no other answer."""
        extensions = self.scope["extensions"]
        event = extensions.get("delivery", extensions.get("event", {})).get("id") or new_id()
        return f"{event} {self._number}"

    @property
    def _opt(self) -> str | None:
        """What the provider says that the sender asked for, and has answered."""
        return None if self._received is None else self._received.get("opt")

    def load_conversation(self) -> S:
        """Return what :meth:`update_conversation` has kept of the conversation between this sender and this number of
        ours; an empty dict if there is none, or it has expired. Raises LookupError if the gateway has no store."""
        return self._conversation(load(self.scope, "load_conversation"))

    def update_conversation(self, change: Change) -> S:
        """Keep what ``change`` returns of the state that it gets, both dicts of JSON, for ``conversation_ttl`` seconds,
        and return it; ``{}`` ends the conversation.

        ``change`` is called again if another text of this sender has changed the state meanwhile, so it should do
        nothing else. Raises LookupError if the gateway has no store, or the route has ``atomic: true``; TypeError and
        ValueError for a state that is no JSON or has more than 16 KiB.
        """
        return self._conversation(update(self.scope, "update_conversation", change, self.conversation_ttl))

    def fetch_media(self, media: Media) -> M:
        """Return the ``content`` of one of the media of ``receive``, and its ``content_type``.

        The provider gets the login of its server in the file, and no other host does. Raises
        :class:`protocols.sms.MediaNotFetched`, a sentence, if it is not within the limits of the class, or not there.
        """
        return self._media(media["url"])

    @abstractmethod
    def _media(self, url: str) -> M:
        """Fetch what is at ``url``."""

    def _fetched(self, url: str) -> "Coroutine[Any, Any, FetchedMedia]":
        from protocols.sms import media  # imports an HTTP client

        limits = media.MediaLimits(self.media_size, self.media_timeout, self.media_types, self.media_private)
        return media.fetch(url, partial(answering.get().media_login, self.scope["listener"]), limits)

    @abstractmethod
    def _conversation(self, steps: Steps) -> S:
        """Take all ``steps``, and return the state."""

    def accept(self) -> R:
        return self.perform(self._emit({"type": "sms.accept"}, "accept"))

    def reject(self, reason: str = "") -> R:
        """Reject the text for good: the provider does not deliver it again."""
        arguments.text("reject", "reason", reason)
        return self.perform(self._emit({"type": "sms.reject", "reason": reason}, "reject"))

    def defer(self) -> R:
        """Ask for the text again later: the provider is told to try again."""
        return self.perform(self._emit({"type": "sms.defer"}, "defer"))


class SMSConsumer(SMSMethods[None, State, "FetchedMedia"], SyncForm):
    """Plain methods, called on a thread."""

    def _media(self, url: str) -> "FetchedMedia":
        return self._wait_for(self._fetched(url))

    def _conversation(self, steps: Steps) -> State:
        found = None
        while True:
            try:
                step = steps.send(found)
            except StopIteration as end:
                return cast("State", end.value)
            found = self._wait_for(step)


class AsyncSMSConsumer(SMSMethods[Awaited, Coroutine[Any, Any, State], Coroutine[Any, Any, "FetchedMedia"]], AsyncForm):
    """``async def`` methods; the helpers are awaited."""

    async def _media(self, url: str) -> "FetchedMedia":
        return await self._fetched(url)

    async def _conversation(self, steps: Steps) -> State:
        found = None
        while True:
            try:
                step = steps.send(found)
            except StopIteration as end:
                return cast("State", end.value)
            found = await step
