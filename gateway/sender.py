"""How code that has no scope sends an event: a Django view, a signal handler, a library that sends mail."""

from contextvars import ContextVar
from typing import Protocol

from gateway.services import Service
from protocols.events import Event


class Keeper(Protocol):
    """Keeps what is sent while a handler runs, and lets it leave if the handler succeeds."""

    def keep(self, event: Event) -> bool:
        """Keep ``event``, which has been checked. Return False if the handler has ended. Called from any thread."""


current_keeper: ContextVar[Keeper | None] = ContextVar("current_keeper", default=None)
"""Set while a handler runs on a route with a policy."""


class Sender(Protocol):
    """Sends for code anywhere in a running gateway."""

    def send(self, event: Event, *, wait: bool = True) -> None:
        """Send ``event``, an ``email.send`` say.

        On a route with a policy it is committed with the handler's "done". Elsewhere this returns when the event is in
        the store or, without a store, when it is sent. On the gateway's event loop that is not possible: there this
        raises RuntimeError or, without ``wait``, returns at once, and a failure is logged.

        Raises LocalProtocolError if the event is not valid, RuntimeError if this gateway cannot send it, NotSent if the
        other side did not take it, StoreUnavailable if the store did not.
        """


sender: Service[Sender] = Service("outbox")
