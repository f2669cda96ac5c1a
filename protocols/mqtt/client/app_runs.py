"""The runs of the application that share one connection to a broker."""

import asyncio
import contextlib
from collections.abc import Callable
from contextvars import Context
from zlib import crc32

from protocols.asgi import Application, MQTTReceiveEvent, MQTTScope
from protocols.errors import Disconnected
from protocols.mqtt.client.broker_connection import BrokerConnection
from protocols.mqtt.client.core import Ended
from protocols.mqtt.client.refused import Refused
from protocols.mqtt.client.run import MQTTClientRun
from protocols.mqtt.client.settings import MQTTClientSettings

NO_ROOM = "the broker sent more than max_unacked at once; what has no room comes on the next connection"


RECONNECT = "connecting again after a reload"


class AppRuns:
    """``settings.parallel`` runs over one connection. The first that ends, however it ends, ends all of them."""

    def __init__(
        self,
        app: Application,
        scope: Callable[[], MQTTScope],
        broker: BrokerConnection,
        settings: MQTTClientSettings,
        opened: Callable[[], None],
        context: Context | None = None,
        generation: int = 0,
    ) -> None:
        """``scope`` makes one for each run, which begins with ``context``; ``opened`` is called when all have accepted
        and the broker has subscribed us."""
        self.broker = broker
        self._settings = settings
        self._opened = opened
        self._context = context
        self.generation = generation
        """How many applications its server had before the one of these runs."""
        self.over = asyncio.get_running_loop().create_future()
        """Done when all runs have ended."""
        self._waiting = settings.parallel
        """Runs that have not accepted yet."""
        self._full: set[MQTTClientRun] = set()
        self._ending = ""
        self.runs = [MQTTClientRun(app, scope(), broker, self, settings) for _ in range(settings.parallel)]
        broker.watch(self._lost)

    async def serve(self) -> str:
        """Serve until a run or the connection ends; return why."""
        try:
            async with asyncio.TaskGroup() as group:
                for run in self.runs:
                    context = None if self._context is None else self._context.copy()
                    group.create_task(self._run(run), context=context)
        finally:
            self.over.set_result(None)
            for run in self.runs:
                run.settled.set()  # what is left the broker keeps
            await self.broker.close()
        return self._ending

    async def drain(self, seconds: float) -> None:
        """Take nothing more, wait for what has arrived to be acknowledged, and say goodbye."""
        for run in self.runs:
            run.draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._settle()
        self._say_goodbye("the gateway stops")

    async def _settle(self) -> None:
        for run in self.runs:
            await run.settled.wait()

    def _say_goodbye(self, reason: str) -> None:
        self.ends_because(reason)
        for run in self.runs:
            run.end(reason, 0, clean=True)

    @property
    def unacknowledged(self) -> int:
        return sum(len(run.unacknowledged) for run in self.runs)

    async def _run(self, run: MQTTClientRun) -> None:
        error = await run.run()
        self.ends_because(self._why(error))
        await self.broker.close()

    def _why(self, error: BaseException | None) -> str:
        if self.broker.lost and not self.broker.closed_by_us:
            return self.broker.lost.reason
        return f"the application failed ({type(error).__name__})" if error else "the application has ended"

    # What the connection tells.

    def _lost(self, lost: Ended) -> None:
        for run in self.runs:
            run.end(lost.reason, lost.code)

    def _arrived(self, event: MQTTReceiveEvent) -> None:
        # A sum that is the same in every process, so that a topic has its instance after a restart too.
        self.runs[crc32(event["topic"].encode()) % len(self.runs)].arrived(event)

    # What a run tells.

    async def accepted(self) -> None:
        self._waiting -= 1
        if self._waiting:
            return
        self.broker.deliver(self.runs[0].arrived if len(self.runs) == 1 else self._arrived)
        if self._settings.subscribe:
            await self._subscribe()
        self._opened()

    def ends_because(self, reason: str) -> None:
        """Note why the runs end. Only the first reason counts, because the others follow from it."""
        self._ending = self._ending or reason

    async def _subscribe(self) -> None:
        filters = [(text, int(self._settings.qos)) for text in self._settings.subscribe]
        try:
            await self.broker.subscribe(filters)
        except Refused as error:
            # Not the application's mistake, and half a subscription would look like a quiet broker.
            self.broker.drop(str(error))
            raise Disconnected(str(error)) from error

    def start_over(self) -> None:
        """Leave to the next connection what has no room: the broker sends more than we have asked for, and we read on
        for an answer that a handler waits for."""
        self._leave(NO_ROOM, None)

    def reconnect(self, grace: float) -> None:
        """Leave to the next connection what arrives from now on. What has arrived is handled and acknowledged, for
        ``grace`` seconds at most."""
        self._leave(RECONNECT, grace)

    def _leave(self, reason: str, grace: float | None) -> None:
        if not any(run.leaves for run in self.runs):
            for run in self.runs:
                run.leaves = True
            self.broker.tasks.spawn(self._start_over(reason, grace), name="start over")

    async def _start_over(self, reason: str, grace: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._settle()
        self._say_goodbye(reason)

    def stop_reading(self, run: MQTTClientRun) -> None:
        self._full.add(run)
        self.broker.pause()

    def read_on(self, run: MQTTClientRun) -> None:
        self._full.discard(run)
        if not self._full:
            self.broker.resume()
