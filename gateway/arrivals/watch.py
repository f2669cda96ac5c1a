"""Makes the arrivals of one run of an application, of what it receives and sends."""

import time
import traceback
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, cast

from gateway.arrivals.arrival import Arrival
from gateway.delivery.current_event import current_event
from gateway.delivery.current_route import current_route
from protocols.app_run import AppRun
from protocols.asgi import Carrier, describe
from protocols.event_id import new_id
from protocols.units import UNIX_PEERS

MOST_CONTENT = 1024 * 1024
"""Bytes of content that are kept of one run for those who ask for it; a run that brings more has none."""

MOST_FRAMES = 50
MOST_TRACEBACK = 16 * 1024
"""Characters of a traceback that are kept."""
MOST_PART = 4096
"""Characters of one frame or message in it: a long message must not take the place of the frames."""


class Here(Protocol):
    """The gateway that a run belongs to."""

    @property
    def keeps_content(self) -> bool:
        """Whether somebody listens who wants the content."""

    @property
    def application(self) -> str:
        """The application of a file without routes, which takes everything."""

    def tell(self, arrival: Arrival) -> None: ...

    def route_of(self, scope: Any) -> str: ...

    def stores(self, scope_type: str, label: str) -> bool: ...


class Began(NamedTuple):
    """When something began, by the calendar and by the monotonic clock."""

    time: float
    clock: float


def began() -> Began:
    return Began(time.time(), time.monotonic())


class Watch:
    """One run over one message, whose verdict is an event such as ``sms.accept``; without one, it is accepted.

    A scope type whose runs are something else has a subclass.
    """

    words: ClassVar[Mapping[str, str]] = {"accept": "accepted", "reject": "rejected", "defer": "deferred"}
    """What follows the dot in the type of an event that is a verdict -> what that is called."""

    def __init__(self, here: Here, run: AppRun) -> None:
        self.here = here
        self.run = run
        scope = cast("dict[str, Any]", run.scope)
        self.scope = scope.copy() if here.keeps_content else scope  # applications put into it what did not arrive
        self.began = began()
        self.id: str = self.scope["extensions"].get("event", {}).get("id", "")
        app: object = run.app
        self.carried = app.carried(run.scope) if isinstance(app, Carrier) else ""
        """The label of the server that the run is for, if another one carries it."""
        self.error: BaseException | None = None
        """The error of a handler that has failed although its run has not, because its policy has answered."""
        self.answered: int | None = None
        """Bytes of the answer, where that is what counts."""
        self.events: list[Any] = []
        self._size = 0
        self._first: Any = None
        self._verdict = ""

    # What the run does.

    def started(self) -> None:
        """The run begins, in this context. One without an event id gets one, which its log records have too."""
        if not self.id:
            current_event.set(new_id())
            self.id = current_event.get()

    def received(self, event: Any) -> None:
        self._first = self._first or event
        if self.here.keeps_content and self._size <= MOST_CONTENT:
            self._size += size_of(event)
            self.events.append(event)
            if self._size > MOST_CONTENT:
                self.events.clear()

    def sent(self, event: Any) -> None:
        self._verdict = self.words.get(event["type"].rpartition(".")[2], self._verdict)

    def ended(self) -> None:
        error = self.run.error or self.error
        unsaid = self.words["accept" if error is None else "defer"]
        first = self._first or {"type": f"{self.scope['type']}.receive"}
        self.tell(first, self._verdict or unsaid, error=error)

    # What it becomes.

    @classmethod
    def size(cls, scope: Any, event: Any) -> int | None:
        """Return the bytes of the message that ``event`` brought; None if that is not known without counting."""
        return None

    @classmethod
    def user_agent(cls, scope: Any) -> str:
        """Return what the client's program calls itself."""
        return ""

    @classmethod
    def address(cls, scope: Any) -> str:
        """Return the address of the peer: ``unix`` for a Unix socket, an empty string without a connection."""
        host, port = scope.get("client") or ("", None)
        return str(host) if port is not None else UNIX_PEERS

    @classmethod
    def who(cls, scope: Any) -> str:
        """Return who sent what brought ``scope``."""
        return described(scope)[0]

    @classmethod
    def what(cls, scope: Any, event: Any) -> str:
        """Return to whom, or for what, ``scope`` or its ``event`` is."""
        return described(scope)[1]

    @property
    def label(self) -> str:
        """The label of the route whose application runs in this context."""
        return self.carried or current_route.get()

    def tell(
        self,
        event: Any,
        verdict: str,
        *,
        since: Began | None = None,
        label: str | None = None,
        error: BaseException | None = None,
        scope: Any = None,
        is_last: bool = True,
    ) -> None:
        """Tell of ``event``, which began ``since``. ``scope``: a part of the run's, if it is about that.
        ``is_last``: it has the content of the run, and no later one has."""
        label = self.label if label is None else label
        if verdict == self.words["accept"] and self.here.stores(self.scope["type"], label):
            verdict = "stored"
        route, _, target = label.rpartition(" -> ")
        began, scope = since or self.began, scope or self.scope
        self.here.tell(
            Arrival(
                time=began.time,
                type=scope["type"],
                event=event["type"],
                server=self.run.server_name,
                id=event.get("event", self.id),
                who=self.who(scope),
                what=self.what(scope, event),
                route=route,
                target=target or self.here.application,
                verdict=verdict,
                seconds=time.monotonic() - began.clock,
                error=in_words(error),
                size=self.answered if self.answered is not None else self.size(scope, event),
                user_agent=self.user_agent(scope),
                address=self.address(scope),
                traceback=where(error) if self.here.keeps_content else "",
                scope=scope,
                events=(None if self._size > MOST_CONTENT else tuple(self.events)) if is_last else (),
            )
        )


def described(scope: Any) -> tuple[str, str]:
    """Return who and what of a scope that is one message, as :func:`protocols.asgi.describe` has them."""
    who, _, what = describe(scope).removeprefix(scope["type"]).strip().partition(" -> ")
    return who, what


def in_words(error: BaseException | None) -> str:
    """Return the class and the message of ``error`` on one line: ``KeyError 'order'``."""
    return "" if error is None else f"{type(error).__name__} {' '.join(str(error).split())}"[:500].rstrip()


def where(error: BaseException | None) -> str:
    """Return the traceback of ``error`` without the values of variables; of a long one the end."""
    if error is None:
        return ""
    parts = traceback.format_exception(error, limit=-MOST_FRAMES)  # a part is a frame, or the message
    return "".join(f"{part[:MOST_PART]}…\n" if len(part) > MOST_PART else part for part in parts)[-MOST_TRACEBACK:]


def size_of(event: Mapping[str, Any]) -> int:
    """Return the bytes and characters in ``event``, but for those deep within it."""
    return sum(len(value) for value in event.values() if isinstance(value, bytes | str))
