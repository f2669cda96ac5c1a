"""A gateway that runs what was recorded: it does not listen, its store is a new one, and nothing leaves it."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.arrivals import Arrival, arrivals
from gateway.config.loader import ParsedConfig
from gateway.delivery.outbox import Outlet
from gateway.recording.compare import STORED, Became
from gateway.recording.entry import Entry
from gateway.runtime.build import build
from gateway.runtime.isolated import isolated
from gateway.runtime.running import RunningGateway
from gateway.scopes.installed import KINDS
from gateway.services import entered, install
from gateway.store import OperatorStore
from protocols.errors import describe_error
from protocols.wakeup import Wakeup

PATIENCE = 30.0
"""Seconds for a handler to end."""


class Sandbox:
    """The gateway of ``parsed``, whose store is in ``folder``. Use it as an async context manager.

    Its application's lifespan runs. Raises what :func:`build` and the start of an application raise.
    """

    def __init__(self, parsed: ParsedConfig, folder: Path) -> None:
        store = f"sqlite:{folder / 'sandbox.db'}"
        settings = replace(parsed.settings, store=store, layer="memory", shutdown_timeout=0.0)
        made = build(replace(parsed, settings=settings))
        self.unsent = Counter[str]()
        """What did not leave, by scope type."""
        self._gateway = isolated(made, {name: self._outlet(name) for name in made.outlets})
        self._arrived: list[Arrival] = []
        self._wakeup = Wakeup()
        self._open = AsyncExitStack()

    async def __aenter__(self) -> "Sandbox":
        try:
            await self._start()
        except BaseException:
            await self._open.aclose()
            raise
        return self

    async def _start(self) -> None:
        running, services = RunningGateway(self._gateway), self._gateway.services
        install(services)  # for good: a thread that outlives its handler must not find the real store
        self._open.enter_context(entered(services))
        services[arrivals].listen(self._take)
        self._open.push_async_callback(self._stop, running)
        await running.start()

    async def __aexit__(self, *error: object) -> None:
        await self._open.aclose()

    async def _stop(self, running: RunningGateway) -> None:
        await running.drain()
        await running.shut_down()
        if running.gateway.dispatcher is not None:
            self.unsent.update(await _waiting(running.gateway.dispatcher.deliveries.store))
        await running.close()

    def _outlet(self, name: str) -> Outlet:
        async def keep(server: str, event: Mapping[str, Any]) -> None:
            self.unsent[name] += 1

        return keep

    def _take(self, arrival: Arrival) -> None:
        self._arrived.append(arrival)
        self._wakeup.wake()

    async def replay(self, entry: Entry, then: Became) -> Became:
        """Run the application over a recorded arrival, whose scope type is installed. ``then``: what became of it when
        it arrived."""
        self._arrived.clear()
        scope = {**entry.scope, "state": self._gateway.lifespan.state.copy()}
        run = KINDS[entry.scope["type"]].replayed(self._gateway.app, scope, entry.events)
        try:
            async with asyncio.timeout(PATIENCE):
                await run.run()
        except TimeoutError:
            return Became(f"no answer within {PATIENCE:g} s")
        except Exception as error:  # the scope was changed by hand
            return Became("cannot be run", error=describe_error(error))
        finally:
            self.unsent.update(kind for kind in map(_sent_kind, run.sent) if kind in self._gateway.outlets)
        return await self._became(entry.facts["event"], then)

    async def _became(self, event: str, then: Became) -> Became:
        arrived = [each for each in self._arrived if not each.attempt]
        answers = [each for each in arrived if each.event == event] or arrived
        if not answers:
            return Became("no verdict")
        verdict, last = ", ".join(sorted({each.verdict for each in answers})), answers[-1]
        is_repetition = then.answer == STORED and not then.outcome  # of a message that was handled before
        if verdict != STORED or is_repetition:
            return Became(verdict, "", last.target, last.error)
        try:
            async with asyncio.timeout(PATIENCE):
                attempt = await self._first_attempt(last.id)
        except TimeoutError:
            return Became(verdict, f"not handled within {PATIENCE:g} s", last.target)
        return Became(verdict, attempt.verdict, attempt.target, attempt.error)

    async def _first_attempt(self, id_: str) -> Arrival:
        while True:
            for each in self._arrived:
                if (each.id, each.attempt) == (id_, 1):
                    return each
            await self._wakeup.wait()


async def _waiting(store: OperatorStore) -> Counter[str]:
    """Count the items that have not come to an outlet, by scope type."""
    waiting, after = Counter[str](), ""
    while page := await store.outgoing(after=after):
        waiting.update(item.type for item in page)
        after = page[-1].id
    return waiting


def _sent_kind(event: Mapping[str, Any]) -> str:
    """Return the scope type of what leaves: ``email`` of ``email.send``; empty for an answer."""
    kind, _, verb = event["type"].partition(".")
    return kind if verb == "send" else ""
