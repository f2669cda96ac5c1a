"""A server on a thread of its own, for tests that block on sockets."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Self

import uvloop

from protocols.mqtt import MQTTServer, MQTTSettings

LIMIT = 20.0

LOOPS: list[Callable[..., Any]] = [asyncio.run, uvloop.run]


class Threaded:
    """``run`` is one of :data:`LOOPS`."""

    def __init__(self, app: Any, run: Callable[..., Any] = asyncio.run, **settings: Any) -> None:
        self.port = 0
        self._app = app
        self._settings = MQTTSettings(bind="127.0.0.1:0", **settings)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: run(self._serve()))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(LIMIT)
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(LIMIT)
        assert not self._thread.is_alive()

    async def _serve(self) -> None:
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        async with MQTTServer(self._app, self._settings, state={}) as server:
            self.port = int(server.address.rpartition(":")[2])
            self._ready.set()
            await self._done.wait()
