"""Sends what code without a scope sends, by the same outbox as handlers do."""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from gateway.delivery.kind import kind_of_event
from gateway.delivery.outbox import Outlet
from gateway.delivery.outgoing import THROUGH, outgoing_of
from gateway.delivery.outgoing_servers import OutgoingServers
from gateway.delivery.service import Deliveries
from gateway.delivery.within import send_within
from gateway.event_sender import current_keeper
from gateway.layers import deferred, get_channel_layer
from gateway.spans import TRACE, spans
from gateway.store import StoreUnavailable
from gateway.threads import call_from_thread
from protocols.checkpoint import checkpoint
from protocols.errors import NotSent
from protocols.event_id import new_id
from protocols.events import Event
from protocols.tasks import Tasks
from protocols.unsent import about_unsent

logger = logging.getLogger(__name__)
T = TypeVar("T")


class DirectSender:
    """A :class:`gateway.event_sender.Sender`. ``here``: None if the gateway has no store."""

    def __init__(
        self,
        outlets: Mapping[str, Outlet],
        servers: OutgoingServers,
        here: Deliveries | None,
        *,
        is_in_project: bool = False,
    ) -> None:
        self.is_in_project = is_in_project
        self._outlets = outlets
        self._servers = servers
        self._here = here
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks = Tasks("outgoing")

    def start(self) -> None:
        """The gateway runs on this loop, and its store is open."""
        self._loop = asyncio.get_running_loop()

    async def stop(self, grace: float) -> None:
        """Let what nobody waits for leave, within ``grace`` seconds."""
        await self._tasks.drain(grace)
        await self._tasks.cancel()

    def send(self, event: Event, *, via: str = "", wait: bool = True) -> str:
        addressed = self._addressed(event, via)
        if (kept := _kept(addressed)) is not None:
            return kept
        if self._here is not None and (transaction := self._here.open_transaction()) is not None:
            return send_within(transaction, addressed, self.tell)
        if asyncio._get_running_loop() is not (loop := self._running_loop()):
            return call_from_thread(loop, self._send(new_id(), addressed))
        if wait:
            raise RuntimeError("this would stop the gateway's event loop; call it on a thread: sync_to_async(...)")
        self._tasks.spawn(self._send_or_log(event_id := new_id(), addressed), name=addressed["type"])
        return event_id

    async def asend(self, event: Event, *, via: str = "") -> str:
        await checkpoint()
        addressed = self._addressed(event, via)
        if (kept := _kept(addressed)) is not None:
            return kept
        loop, sent = self._running_loop(), self._send(event_id := new_id(), addressed)
        if asyncio.get_running_loop() is loop:
            await sent
        else:  # a thread of the application's has a loop of its own
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(sent, loop))
        return event_id

    def _addressed(self, event: Event, via: str) -> Event:
        addressed = self._servers.addressed(event, via)
        return addressed if spans.by is None else spans.by.sends(addressed)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await deferred.group_send(get_channel_layer(), group, message)

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return call_from_thread(self._running_loop(), coroutine)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise RuntimeError("the gateway has not started yet")
        return self._loop

    def tell(self) -> None:
        if self._here is not None:
            with suppress(RuntimeError):  # the loop is closed: the next start looks
                self._running_loop().call_soon_threadsafe(self._here.notify)

    async def _send(self, event_id: str, event: Event) -> str:
        if self._here is not None:
            store = self._here.store
            await store.put_outgoing(outgoing_of(event_id, {}, [event], store.now()))
            self._here.outgoing.notify()
            return event_id
        kind, id_ = kind_of_event(event), f"{event_id}-0"
        alone = {key: value for key, value in event.items() if key not in (THROUGH, TRACE)}
        await self._outlets[kind.name](event[THROUGH]["listener"], {**kind.kept(alone, id_), "id": id_})
        return event_id

    async def _send_or_log(self, event_id: str, event: Event) -> None:
        try:
            await self._send(event_id, event)
        except (NotSent, StoreUnavailable) as error:
            kind = kind_of_event(event)
            with about_unsent(to := kind.recipient(event)):
                logger.error("%s to %s not sent: %s", kind.name, to, error, extra={"lost": True})


def _kept(event: Event) -> str | None:
    """Return the event id of the handler's message if ``event`` leaves with that handler's "done"."""
    keeper = current_keeper.get()
    return None if keeper is None else keeper.keep(event)
