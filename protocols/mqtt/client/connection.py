"""One connection to a broker, and the runs of the application that share it."""

import asyncio
import contextlib
from collections.abc import Callable
from zlib import crc32

from protocols.asgi import Application, MQTTScope
from protocols.errors import Disconnected
from protocols.mqtt.client.link import Arrived, Link, Lost, Refused
from protocols.mqtt.client.run import Run
from protocols.mqtt.client.settings import MQTTClientSettings


class ClientConnection:
    """``settings.parallel`` runs over one link. The first that ends, however it ends, ends all of them."""

    def __init__(
        self,
        app: Application,
        scope: Callable[[], MQTTScope],
        link: Link,
        settings: MQTTClientSettings,
        opened: Callable[[], None],
    ) -> None:
        """``scope`` makes one for each run; ``opened`` is called when all have accepted and the broker has subscribed
        us."""
        self.link = link
        self._settings = settings
        self._opened = opened
        self._waiting = settings.parallel
        """Runs that have not accepted yet."""
        self._full: set[Run] = set()
        self._ending = ""
        self.runs = [Run(app, scope(), link, self, settings) for _ in range(settings.parallel)]
        link.watch(self._lost)

    async def serve(self) -> str:
        """Until it is over; returns why."""
        try:
            async with asyncio.TaskGroup() as group:
                for run in self.runs:
                    group.create_task(self._run(run))
        finally:
            for run in self.runs:
                run.settled.set()  # what is left the broker keeps
            await self.link.close()
        return self._ending

    async def drain(self, seconds: float) -> None:
        """Take nothing more, wait for what has arrived to be acknowledged, and say goodbye."""
        for run in self.runs:
            run.draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for run in self.runs:
                    await run.settled.wait()
        for run in self.runs:
            run.end("the gateway stops", 0, clean=True)

    @property
    def unacknowledged(self) -> int:
        return sum(len(run.unacknowledged) for run in self.runs)

    async def _run(self, run: Run) -> None:
        error = await run.run()
        self.ends_because(self._why(error))
        await self.link.close()

    def _why(self, error: BaseException | None) -> str:
        if self.link.lost and not self.link.closed_by_us:
            return self.link.lost.reason
        return f"the application failed ({type(error).__name__})" if error else "the application has ended"

    # What the link tells.

    def _lost(self, lost: Lost) -> None:
        for run in self.runs:
            run.end(lost.reason, lost.code)

    def _arrived(self, message: Arrived) -> None:
        # A sum that is the same in every process, so that a topic has its instance after a restart too.
        self.runs[crc32(message.topic.encode()) % len(self.runs)].arrived(message)

    # What a run tells.

    async def accepted(self) -> None:
        self._waiting -= 1
        if self._waiting:
            return
        self.link.deliver(self.runs[0].arrived if len(self.runs) == 1 else self._arrived)
        if self._settings.subscribe:
            await self._subscribe()
        self._opened()

    def ends_because(self, reason: str) -> None:
        """Only the first reason counts: what follows is its consequence."""
        self._ending = self._ending or reason

    async def _subscribe(self) -> None:
        filters = [(text, int(self._settings.qos)) for text in self._settings.subscribe]
        try:
            await self.link.subscribe(filters, self._settings.timeout)
        except Refused as error:
            # Not the application's mistake, and half a subscription would look like a quiet broker.
            self.link.drop(str(error))
            raise Disconnected(str(error)) from error

    def stop_reading(self, run: Run) -> None:
        self._full.add(run)
        self.link.pause()

    def read_on(self, run: Run) -> None:
        self._full.discard(run)
        if not self._full:
            self.link.resume()
