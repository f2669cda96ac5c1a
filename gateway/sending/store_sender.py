"""Sends from a process without a gateway: puts everything into the gateway's store, from which the gateway sends it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import Any, TypeVar

from gateway.config.loader import ParsedConfig
from gateway.control.client import ring
from gateway.control.place import places
from gateway.delivery.outgoing import outgoing_of
from gateway.delivery.outgoing_servers import OutgoingServers
from gateway.delivery.reach import Make, put_within
from gateway.delivery.within import send_within
from gateway.layers import ChannelLayer
from gateway.runtime.channel_layer import make_layer
from gateway.runtime.prepare_imports import add_to_path
from gateway.sending.layer_thread import LayerThread, layer_threads
from gateway.store import Engine, Store
from protocols.event_id import new_id
from protocols.events import Event

T = TypeVar("T")


class StoreSender:
    """A :class:`gateway.event_sender.Sender` and a :class:`gateway.delivery.reach.StoreReach`. It opens the store for
    each call: a process that forks cannot share it."""

    def __init__(self, parsed: ParsedConfig, servers: OutgoingServers, engine: Engine | None) -> None:
        """``engine``: None if the gateway has no store."""
        self._parsed = parsed
        self._servers = servers
        self._engine = engine
        self._daemons = places(parsed.document.folder, parsed.document.name, parsed.settings.store)

    def send(self, event: Event, *, via: str = "", wait: bool = True) -> str:
        if self._engine is not None and (transaction := self._engine.open_transaction()) is not None:
            return send_within(transaction, self._servers.addressed(event, via), self.tell)
        return self.wait_for(self.asend(event, via=via))

    async def asend(self, event: Event, *, via: str = "") -> str:
        addressed = self._servers.addressed(event, via)
        async with self._opened() as store:
            await store.put_outgoing(outgoing_of(event_id := new_id(), {}, [addressed], store.now()))
        await asyncio.to_thread(ring, self._daemons)
        return event_id

    def put_within(self, make: Make) -> bool:
        found = None if self._engine is None else self._engine.open_transaction()
        return put_within(make, found, self.tell)

    async def put_all(self, make: Make) -> None:
        async with self._opened() as store:
            await store.put_all(make(store.now()))
        await asyncio.to_thread(ring, self._daemons)

    async def ask(self, question: Callable[[Store], Awaitable[T]]) -> T:
        async with self._opened() as store:
            return await question(store)

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Store]:
        store = (await asyncio.to_thread(self._existing)).store()
        await store.open()
        try:
            yield store
        finally:
            await store.close()

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        thread = await asyncio.to_thread(self._layer_thread)
        await asyncio.wrap_future(thread.start(thread.layer.group_send(group, message)))

    def layer(self) -> ChannelLayer:
        """Return the gateway's layer as this process has it. Raises RuntimeError, ConfigErrors."""
        return self._layer_thread().layer

    @property
    def is_in_project(self) -> bool:
        return self._engine is not None and self._parsed.settings.store == "django"

    def tell(self) -> None:
        ring(self._daemons)

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """An event loop may run here, to which Django's ``send_mail`` is a blocking call as any other."""
        if asyncio._get_running_loop() is None:
            return asyncio.run(coroutine)
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(copy_context().run, asyncio.run, coroutine).result()

    def _existing(self) -> Engine:
        """Return the store's place. Raises RuntimeError if there is no store: made here, it would belong to this
        process's user, and not to the gateway's."""
        file = self._parsed.document.name
        if self._engine is None:
            raise RuntimeError(
                f"the gateway of {file} has no store by which another process could reach it; "
                "write store: sqlite:var/gateway.db into the file"
            )
        if not self._engine.exists():
            raise RuntimeError(f"there is no store yet at {self._engine}; start the gateway once to create it")
        return self._engine

    def _layer_thread(self) -> LayerThread:
        settings, document = self._parsed.settings, self._parsed.document
        place = (settings.layer, settings.store, document.folder, document.name)
        return layer_threads.get(place, self._made_layer)

    def _made_layer(self) -> ChannelLayer:
        if self._parsed.settings.layer == "memory":
            raise RuntimeError(
                "layer: memory reaches only the gateway's own process, and this is another one; write layer: ipc into "
                f"{self._parsed.document.name}, or layer: redis://HOST if this is another host"
            )
        add_to_path(self._parsed.folder)
        layer, wrong = make_layer(self._parsed, relays=False)
        self._parsed.finish(wrong)
        return layer
