"""Sends what code without a scope sends, by the same outbox as handlers do."""

import asyncio
import logging
from collections.abc import Mapping

from gateway.delivery.kind import DeliveryKind, kind_of_event
from gateway.delivery.outbox import Outlet
from gateway.delivery.outgoing import outgoing_of
from gateway.delivery.service import Deliveries
from gateway.sender import current_keeper
from gateway.store import StoreUnavailable
from gateway.threads import call_from_thread
from protocols.errors import NotSent
from protocols.event_id import new_id
from protocols.events import Event, checked
from protocols.tasks import Tasks
from protocols.unsent import about_unsent

logger = logging.getLogger(__name__)


class DirectSender:
    """A :class:`gateway.sender.Sender`. ``here``: None if the gateway has no store."""

    def __init__(self, outlets: Mapping[str, Outlet], here: Deliveries | None) -> None:
        self._outlets = outlets
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

    def send(self, event: Event, *, wait: bool = True) -> None:
        kind = kind_of_event(event)
        clean = checked(kind.checks, event)
        if kind.name not in self._outlets:
            raise RuntimeError(f"nothing in this gateway sends {kind.name}")
        keeper = current_keeper.get()
        if keeper is not None and keeper.keep(clean):
            return
        if self._loop is None:
            raise RuntimeError("the gateway has not started yet")
        if asyncio._get_running_loop() is not self._loop:
            call_from_thread(self._loop, self._send(kind, clean))
        elif wait:
            raise RuntimeError("this would stop the gateway's event loop; call it on a thread: sync_to_async(...)")
        else:
            self._tasks.spawn(self._send_or_log(kind, clean), name=clean["type"])

    async def _send(self, kind: DeliveryKind, event: Event) -> None:
        event_id = new_id()
        if self._here is None:
            id_ = f"{event_id}-0"
            await self._outlets[kind.name]("", {**kind.kept(event, id_), "id": id_})
            return
        store = self._here.store
        await store.put_outgoing(outgoing_of(event_id, {"listener": ""}, [event], store.now()))
        self._here.outgoing.notify()

    async def _send_or_log(self, kind: DeliveryKind, event: Event) -> None:
        try:
            await self._send(kind, event)
        except (NotSent, StoreUnavailable) as error:
            with about_unsent(to := kind.recipient(event)):
                logger.error("%s to %s not sent: %s", kind.name, to, error, extra={"lost": True})
