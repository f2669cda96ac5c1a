"""Runs messages from the store through the application, in parallel across keys."""

import asyncio
import contextlib
import logging
import time
from functools import partial
from typing import Any

from gateway.delivery import bell
from gateway.delivery.attempt import KINDS, Event, Outcome
from gateway.delivery.event import current_event
from gateway.delivery.guard import outgoing_of, report
from gateway.delivery.insist import insist
from gateway.delivery.policy import Policy
from gateway.delivery.ruling import rule
from gateway.delivery.running import Running, current_running
from gateway.store import codec
from gateway.store.engine import Message, Store, StoreUnavailable
from protocols.asgi import Application
from protocols.tasks import Tasks

logger = logging.getLogger(__name__)

PARALLEL = 64
"""Messages that are handled at once; more wait in the store."""
LOOK_AGAIN = 1.0
"""Seconds between two looks at the store: another process may have put something there."""
HOUSEKEEPING = 600.0
"""Seconds between two times of giving back what dead processes had, and forgetting what is long over."""


class Worker:
    """Takes what is due, runs it through ``app`` as it is today, and rules by the policy of the route that takes it."""

    def __init__(self, store: Store, app: Application, state: dict[str, Any]) -> None:
        self._store = store
        self._app = app
        self._state = state
        self._tasks = Tasks("worker")
        self._running: dict[str, Message] = {}
        self._room = bell.stored.listen()
        self._stopping = False
        self._troubled = False

    def active(self) -> dict[str, int]:
        return {"stored messages": len(self._running)} if self._running else {}

    def start(self) -> None:
        self._tasks.spawn(self._take(), name="take")
        self._tasks.spawn(self._keep_house(), name="housekeeping")

    async def stop(self, grace: float) -> None:
        """Take nothing more, let what runs finish; what does not is left to the next start, its attempt counted."""
        self._stopping = True
        deadline = asyncio.get_running_loop().time() + grace
        while self._running and (left := deadline - asyncio.get_running_loop().time()) > 0:
            self._room.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._room.wait()
        bell.stored.forget(self._room)
        await self._tasks.cancel()

    async def _take(self) -> None:
        while not self._stopping:
            self._room.clear()
            taken = await self._due()
            for message in taken:
                self._running[message.id] = message
                self._tasks.spawn(self._handle(message), name=f"{message.type} {message.id}")
            if not taken or len(self._running) >= PARALLEL:
                await self._rest()

    async def _due(self) -> list[Message]:
        busy = {message.key for message in self._running.values()}
        try:
            taken = await self._store.take(PARALLEL - len(self._running), now=time.time(), busy=busy)
        except StoreUnavailable as error:
            if not self._troubled:
                logger.error("no stored message can be taken: %s", error)
            self._troubled = True
            return []
        self._troubled = False
        return taken

    async def _rest(self) -> None:
        """Until there is room, or something may be due."""
        seconds = LOOK_AGAIN
        if len(self._running) < PARALLEL:
            with contextlib.suppress(StoreUnavailable):
                due = await self._store.next_due()
                seconds = LOOK_AGAIN if due is None else min(max(due - time.time(), 0.01), LOOK_AGAIN)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._room.wait()

    async def _handle(self, message: Message) -> None:
        current_event.set(message.id)
        try:
            await self._deliver(message)
        finally:
            del self._running[message.id]
            self._room.set()

    async def _deliver(self, message: Message) -> None:
        try:
            scope, events = codec.decode(message.content)
        except ValueError as error:
            await self._bury(message, f"it cannot be read: {error}")
            return
        delivery = {"id": message.id, "attempt": message.attempts, "first_received": message.received}
        scope = {**scope, "state": self._state.copy(), "extensions": {**scope["extensions"], "delivery": delivery}}
        running = Running(message.attempts)
        current_running.set(running)
        outcome = await KINDS[message.type](self._app, scope, events).outcome()
        await self._settle(message, scope, outcome, running)

    async def _settle(self, message: Message, scope: Any, outcome: Outcome, running: Running) -> None:
        if running.policy is None and (outcome.error is not None or outcome.rejected):
            await self._bury(message, outcome.failure if outcome.error else "no route takes it any more")
            return
        policy = running.policy or Policy()
        ruling = rule(policy, outcome, message.attempts)
        if ruling.state != "done":
            report(scope, outcome, policy, ruling, message.attempts, stored=True)
        match ruling.state:
            case "done":
                await self._finish(message, scope, outcome)
            case "again":
                due = time.time() + ruling.wait
                await insist(
                    partial(self._store.retry, message.id, due=due, error=outcome.failure, counted=not outcome.deferred)
                )
            case _:  # its sender has been told that it was taken: refusing it means keeping it for the operator
                await insist(partial(self._store.bury, message, error=outcome.failure))

    async def _finish(self, message: Message, scope: Any, outcome: Outcome) -> None:
        if outcome.rejected:
            logger.warning("%s: rejected by its handler, after it had been acknowledged", message.subject)
        sent = [*outcome.outgoing, *(_addressed(reply, scope) for reply in outcome.replies)]
        outgoing = outgoing_of(message.id, scope, sent)
        await insist(partial(self._store.finish, message.id, outgoing=outgoing))
        bell.outgoing.ring()

    async def _bury(self, message: Message, error: str) -> None:
        logger.error("%s: now among the dead letters: %s", message.subject, error.rpartition("\n")[2])
        await insist(partial(self._store.bury, message, error=error))

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING)
            try:
                await self._store.recover()
                await self._store.purge(now=time.time())
            except StoreUnavailable as error:
                logger.error("the store cannot be tidied up: %s", error)


def _addressed(reply: Event, scope: Any) -> Event:
    """A reply that leaves on its own must say what the webhook's answer leaves to the provider: from whom to whom."""
    return {**reply, "to": reply.get("to") or scope["sender"], "from": reply.get("from") or scope["recipient"]}
