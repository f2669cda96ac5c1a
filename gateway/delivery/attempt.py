"""One run of an application over one whole message. Its answers are collected, not sent."""

import threading
import traceback
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from gateway.counts import UNREAD, counted
from gateway.delivery.cut_off import Explained
from gateway.delivery.time_limit import NoThread
from gateway.event_sender import current_keeper
from protocols.app_run import AppRun
from protocols.asgi import Application
from protocols.events import Event

LONGEST_FAILURE = 8000
"""Characters of a traceback that are kept, from its end."""


class Note(NamedTuple):
    """A note for :meth:`gateway.store.interfaces.NoteStore.note`."""

    key: str
    value: bytes
    ttl: float


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt."""

    verdict: Event | None
    """The last accept, reject or defer; None if it said nothing, which accepts."""
    replies: list[Event]
    """What may ride in the answer to the sender (``sms.send``), where one still waits for it."""
    outgoing: list[Event]
    """What leaves on its own (``email.send``, ``mqtt.send``)."""
    error: BaseException | None
    """What it failed with."""
    notes: Sequence[Note] = ()
    """Notes that the store keeps, whatever becomes of the message."""
    after: Sequence[Callable[[], Awaitable[None]]] = ()
    """Awaited when the store has all that came of it."""

    @property
    def rejected(self) -> bool:
        return self.verdict is not None and self.verdict["type"].endswith(".reject")

    @property
    def failure(self) -> str:
        """The text that the store keeps: the end of the traceback, or ``deferred`` if the handler did not crash."""
        if self.error is None:
            return "deferred"
        if isinstance(self.error, Explained):  # there is no code to look at
            return str(self.error)
        return "".join(traceback.format_exception(self.error))[-LONGEST_FAILURE:].rstrip()

    @property
    def deferred(self) -> bool:
        return self.verdict is not None and self.verdict["type"].endswith(".defer")

    @property
    def counted(self) -> bool:
        """Whether it is one of the attempts that a policy allows: not where the handler deferred, or found no free
        thread."""
        return not self.deferred and not isinstance(self.error, NoThread)


class Attempt(AppRun):
    """A subclass has the table of what may be sent, and the checks that make it valid, as its server has them; and a
    method for each event: most are :meth:`decide`, :meth:`reply` or :meth:`leave`."""

    is_whole: ClassVar[bool] = True
    """Whether the scope is one message, so that its disconnect follows at once. False if a scope is a connection."""

    def __init__(self, app: Application, scope: Any, events: Iterable[Any]) -> None:
        super().__init__(app, scope)
        self.verdict: Event | None = None
        self.replies: list[Event] = []
        self.outgoing: list[Event] = []
        self._over = False
        self._lock = threading.Lock()
        for event in events:
            self.feed(event)
        if self.is_whole:
            last: Any = {"type": f"{scope['type']}.disconnect"}
            self.feed(last)

    @property
    def is_over(self) -> bool:
        return self._over

    async def outcome(self) -> Outcome:
        """Run the application. Only cancelling comes out of here; a crash is in the outcome, and not logged. What it
        said before does not count then: that is so on a connection too."""
        token = current_keeper.set(self)
        try:
            with counted(UNREAD):  # it is a part of another run, or of the store's work
                await self.run()
        finally:
            current_keeper.reset(token)
            with self._lock:
                self._over = True
        error = self.failed_with()
        self.forget_error()
        if error is not None:
            return Outcome(None, [], [], error)
        return Outcome(self.verdict, self.replies, self.outgoing, None)

    def failing(self, error: BaseException) -> Outcome:
        """Return the outcome if the attempt has failed with ``error`` beside its run: at the commit, say."""
        return Outcome(None, [], [], error)

    def failed_with(self) -> BaseException | None:
        return self.error

    def _crashed(self, error: BaseException) -> None:
        self.error = error

    # What becomes of the events that the application sends.

    def decide(self, event: Event) -> None:
        """It accepts, rejects or defers."""
        self.verdict = event

    def reply(self, event: Event) -> None:
        """It may ride in the answer to the sender."""
        self.replies.append(event)

    def leave(self, event: Event) -> None:
        """It leaves on its own, by the outbox."""
        self.outgoing.append(event)

    def keep(self, event: Event) -> str | None:
        """Keep what the handler sends without its scope: mail by Django. A thread of its own may outlive it."""
        with self._lock:
            if self._over:
                return None
            self.leave(event)
        scope: Any = self.scope
        event_id: str = scope["extensions"]["delivery"]["id"]
        return event_id
