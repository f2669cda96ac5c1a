"""The gateways of one daemon, one after the other: each is built from the file as it was then, and takes over from the
one before."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

from gateway.config.changes import Change, changes
from gateway.config.diagnostics import CannotStart, ConfigErrors, Diagnostic, count
from gateway.runtime.build import Gateway
from gateway.runtime.changed_code import changed_modules
from gateway.runtime.install import install
from gateway.runtime.reconnecting import Told, reconnect
from gateway.runtime.running import RunningGateway
from gateway.runtime.systemd import reloading
from gateway.store import StoreUnavailable
from protocols.lifespan import StartupFailed
from protocols.tasks import Tasks

logger = logging.getLogger(__name__)

LOGGED = 20
"""Changes that the log lists."""

Again = Callable[[Gateway], Gateway]
"""Reads the file again and builds it, with what can be shared of the gateway that runs. Raises ConfigErrors. It is
called on a thread: the event loop goes on meanwhile."""
Result = Literal["reloaded", "valid", "unchanged", "mistakes", "failed"]


@dataclass(frozen=True)
class Reload:
    """What came of a reload."""

    result: Result
    generation: int
    """The number of the generation that serves now."""
    began: float
    """Unix time."""
    seconds: float
    changes: Sequence[Change] = ()
    notes: Sequence[str] = ()
    """Sentences for the operator: what this reload does not change."""
    mistakes: Sequence[Diagnostic] = ()
    """What is wrong with the file; with ``failed``, what this machine lacks."""
    error: str = ""
    """Why the new generation did not start, in one sentence."""

    @property
    def still(self) -> str:
        return f"Still running generation {self.generation}."

    def facts(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        told = f"{self.error}. {self.still}" if self.error else ""
        if self.mistakes:
            told = ConfigErrors(self.mistakes).with_end(self.still)
        listed = [{**asdict(change), "text": str(change)} for change in self.changes]
        return {**asdict(self), "changes": listed, "told": told}


_CODE = "gateway reload --code"


@dataclass(frozen=True)
class Older:
    """A generation that was replaced, and has not ended."""

    number: int
    replaced: float
    """The Unix time of that."""
    running: RunningGateway

    def connections(self) -> Mapping[str, int]:
        """Count its open connections by the name of the server."""
        return self.running.connections()


class Generations:
    """``current`` serves; ``number`` counts from 1. ``last``: the last reload, None before the first."""

    def __init__(
        self,
        first: RunningGateway,
        again: Again | None,
        succeeded: Callable[[], Awaitable[None]],
        why_not_now: Callable[[], str],
    ) -> None:
        """``succeeded`` is called when another generation serves. Without ``again`` there is no file to read.
        ``why_not_now``: why none may take over now, such as that another process does; empty if it may."""
        self.current = first
        self.number = 1
        self.last: Reload | None = None
        self._replaced: WeakKeyDictionary[RunningGateway, tuple[int, float]] = WeakKeyDictionary()
        """The number of each generation that was replaced, and the time of that: one that has ended is freed."""
        self._again = again
        self._succeeded = succeeded
        self._why_not_now = why_not_now
        self._in_turn = asyncio.Lock()
        self._reconnects_in_turn = asyncio.Lock()
        self._tasks = Tasks("reload")
        self.roll: Callable[[], Awaitable[str]] | None = None
        """Lets other processes take over with what the file says, in place of another gateway in this one. Returns why
        they do not; empty if they do."""

    @property
    def is_busy(self) -> bool:
        return self._in_turn.locked()

    @property
    def older(self) -> Sequence[Older]:
        """The generations that were replaced and have not ended, the newest first."""
        remain = self.current.succession.running
        found = [Older(*facts, running) for running, facts in self._replaced.items() if running.gateway in remain]
        return sorted(found, key=lambda each: -each.number)

    @property
    def can_reload(self) -> bool:
        return self._again is not None

    async def idle(self) -> None:
        """Wait until no reload is under way."""
        async with self._in_turn:
            pass

    async def reload(self, *, check: bool = False, force: bool = False, why: str = "") -> Reload:
        """Read the file again, and let what it says take over; with ``check`` do all but that. A file that says the
        same changes nothing, unless it is to be used by ``force``.

        A caller that goes away does not cancel it. ``why`` begins the log line: who asked.
        """
        return await asyncio.shield(self._tasks.spawn(self._reload(check, force, why), name="the file"))

    async def reconnect(self, rate: int, told: Told) -> None:
        """End the connections that began with earlier generations, ``rate`` a second at most: see
        :func:`gateway.runtime.reconnecting.reconnect`.

        A caller that goes away does not cancel it. Reconnects wait for each other, but no reload waits for them.
        """
        await asyncio.shield(self._tasks.spawn(self._reconnect(rate, told), name="reconnect"))

    async def _reconnect(self, rate: int, told: Told) -> None:
        async with self._reconnects_in_turn:
            gateway = self.current.gateway
            await reconnect(gateway.servers, rate=rate, grace=gateway.settings.shutdown_timeout, told=told)

    async def stop(self) -> None:
        """The process ends. Cancel a reload that is under way: the generation that serves goes on."""
        await self._tasks.cancel()
        for each in (self.current, *self._replaced):
            each.hasten()

    async def _reload(self, check: bool, force: bool, why: str) -> Reload:
        async with self._in_turn:
            with reloading():
                try:
                    done = await self._try(check, force)
                except asyncio.CancelledError:
                    logger.warning("the reload was cancelled, because the gateway stops: nothing changed")
                    raise
        if not check:
            self.last = done
            successful = done.result in ("reloaded", "unchanged")
            self.current.succession.reloads.note(successful=successful, generation=self.number)
            _log(done, f"{why}: {self.current.file}" if why else self.current.file)
        return done

    async def _try(self, check: bool, force: bool) -> Reload:
        began, clock = time.time(), time.monotonic()

        def done(result: Result, **more: Any) -> Reload:
            return Reload(result, self.number, began, time.monotonic() - clock, **more)

        assert self._again is not None
        if error := self._why_not_now():
            return done("failed", error=error)
        before = self.current.gateway
        try:
            gateway = await asyncio.to_thread(self._again, before)
        except ConfigErrors as errors:
            result: Result = "failed" if isinstance(errors, CannotStart) else "mistakes"
            return done(result, mistakes=errors.diagnostics)
        changed = changes(before.settings, gateway.settings)
        changed_code = await asyncio.to_thread(changed_modules) if self.roll is None else ()  # others import it anew
        notes = [f"the code of {each} has changed, and is not imported again: {_CODE}" for each in changed_code]
        if check or not (changed or force):
            return done("valid" if check else "unchanged", changes=changed, notes=notes)
        if error := await self._take_over(RunningGateway(gateway)):
            return done("failed", error=error)
        return done("reloaded", changes=changed, notes=notes)

    async def _take_over(self, new: RunningGateway) -> str:
        """Return why it has failed, if it has."""
        if self.roll is not None:
            await new.abort()
            why = await self.roll()
            self.number += not why
            return why
        try:
            await install(new, self.current)
        except (StartupFailed, StoreUnavailable, OSError) as error:
            await new.abort()
            return str(error)
        except BaseException:  # also where it is cancelled
            await new.abort()
            raise
        self._replaced[self.current] = self.number, time.time()
        self.current = new
        self.number += 1
        await self._succeeded()
        return ""


def _log(done: Reload, file: str) -> None:
    match done.result:
        case "mistakes" | "failed":
            for mistake in done.mistakes:
                logger.error("%s:%d:%d: %s", mistake.file, mistake.line, mistake.column, mistake.message)
            why = done.error or count(len(done.mistakes), "error")
            logger.error("%s was not reloaded: %s. %s", file, why, done.still)
        case "unchanged":
            logger.info("%s has not changed: generation %d runs on", file, done.generation)
        case "reloaded":
            what = count(len(done.changes), "change")
            logger.info("%s was reloaded in %.2f s: generation %d, %s", file, done.seconds, done.generation, what)
            for change in done.changes[:LOGGED]:
                logger.info("%s", change)
    for note in done.notes:
        logger.warning("%s", note)
