"""How code that has no scope sends an event: a Django view, a signal handler, a task, a command."""

import os
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any, Protocol, TypeVar

from gateway.services import Service, Services, entered
from protocols.events import Event

T = TypeVar("T")


class Keeper(Protocol):
    """Keeps what is sent while a handler runs, and lets it leave if the handler succeeds."""

    def keep(self, event: Event) -> str | None:
        """Keep ``event``, which has been checked. Return the event id of the message that is handled; None if the
        handler has ended. Called from any thread."""


current_keeper: ContextVar[Keeper | None] = ContextVar("current_keeper", default=None)
"""Set while a handler runs on a route with a policy."""

os.register_at_fork(after_in_child=lambda: current_keeper.set(None))  # its "done" is said by the process before


class Sender(Protocol):
    """Sends for code anywhere: in a running gateway, or in another process with the same store."""

    def send(self, event: Event, *, via: str = "", wait: bool = True) -> str:
        """Send ``event``, an ``email.send`` say, by the server ``via``, or by the only one that can. Return its event
        id.

        On a route with a policy it is committed with the handler's "done". Elsewhere this returns when the event is in
        the store or, without a store, when it is sent. On the gateway's event loop that is not possible: there this
        raises RuntimeError or, without ``wait``, returns at once, and a failure is logged.

        Raises LocalProtocolError if the event is not valid, ValueError if ``via`` names no server, RuntimeError if this
        gateway cannot send it, NotSent if the other side did not take it, StoreUnavailable if the store did not.
        """

    async def asend(self, event: Event, *, via: str = "") -> str:
        """Do the same as :meth:`send`, on any event loop."""

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Send ``message`` to everyone in a group of the channel layer. Raises RuntimeError if the layer does not reach
        from here."""

    @property
    def is_in_project(self) -> bool:
        """Whether the gateway's store is the database of the Django project: ``store: django``."""

    def tell(self) -> None:
        """Tell the gateway that there is something new in its store: it looks at once. Called from any thread."""

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run ``coroutine`` where it can run, and wait for its result. Called from a thread without an event loop."""


sender: Service[Sender] = Service("outbox")


def runs_here() -> bool:
    """Whether a gateway runs in this process."""
    try:
        sender.get()
    except LookupError:
        return False
    return True


def outside_services() -> Services:
    """Return the services for a process without a gateway: those of the gateway's file, which is read for the first
    call. Raises RuntimeError if there is no such file, or this process cannot send with it."""
    services: Services = import_module("gateway.sending.outside").services()  # by its name: it is a layer above us
    return services


@contextmanager
def sending() -> Iterator[Sender]:
    """Yield the sender of the gateway that runs here. In a process without one, enter the services for that, and yield
    their sender, which puts everything into the gateway's store."""
    if runs_here():
        yield sender.get()
        return
    with entered(services := outside_services()):
        yield services[sender]
