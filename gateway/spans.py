"""The place where tracing is told what the gateway does.

While tracing is not configured, nobody is told, and a look at :attr:`Spans.by` is all that it costs. Nothing here
imports OpenTelemetry.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Final, NamedTuple, Protocol

from protocols.events import Event

Carrier = Mapping[str, str]
"""The trace that something belongs to, as W3C Trace Context writes it: ``{"traceparent": "00-…"}``."""
TRACE: Final = "trace"
"""The key of an event, and of a scope's ``extensions``, under which its :data:`Carrier` is, if it is traced."""


class Ids(NamedTuple):
    """The span that is the current one, in hexadecimal digits, as backends show it."""

    trace: str
    span: str


class Told(Protocol):
    """Is told how an attempt at a stored message has ended."""

    def __call__(self, verdict: str, error: BaseException | None) -> None: ...


class Tracer(Protocol):
    """Its methods never raise, nor do its context managers, which pass errors on."""

    def handler(self, consumer: Any, handler: Any, event: Any) -> AbstractContextManager[None] | None:
        """A method of ``consumer`` is about to be called for ``event``, or for a batch of messages. None: that is not
        traced."""

    def takes(self, event: Event) -> None:
        """The application takes ``event`` in this context."""

    def sends(self, event: Event, *, stored: bool = True) -> Event:
        """Code in this context sends ``event``. Return what leaves in its place, with the trace in it; also under
        :data:`TRACE`, where the outbox finds it, if it is ``stored``."""

    def stored(
        self, message: Any, scope: dict[str, Any], events: Sequence[dict[str, Any]]
    ) -> AbstractContextManager[Told]:
        """An attempt at ``message`` of the store is about to begin, whose scope and events get the trace of that."""

    def leaves(self, item: Any, event: Event) -> AbstractAsyncContextManager[None]:
        """An attempt to send an item of the outbox is about to begin."""

    def ids(self) -> Ids | None:
        """Return the ids of the current span, for the log. None: nothing is traced here."""


class Spans:
    """The tracer of this process, if it has one."""

    __slots__ = ("by",)

    def __init__(self) -> None:
        self.by: Tracer | None = None


spans = Spans()


def ids() -> Ids | None:
    """Return the ids of the current span; None if there is none, or if tracing is not configured."""
    return None if spans.by is None else spans.by.ids()
