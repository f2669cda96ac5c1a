"""The dead letters of a store, as an operator works on them: chosen by id or by filter, then many at a time.

All of it may run while the daemon does: a store is safe for several processes.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.content import file_of
from gateway.findings import count
from gateway.store.engine import Message, Step, Store

PAGE = 50
"""Messages in memory at a time: each may be a mail of many megabytes."""
BATCH = 100
"""Messages of one change."""

Advance = Callable[[int], object]
"""Is told that so many more are done."""


class Unknown(Exception):
    """One sentence: no message, or more than one, has the id that was given."""


@dataclass(frozen=True)
class Filters:
    """Which dead letters; what is None lets all pass."""

    type: str | None = None
    route: str | None = None
    """A part of the route's label, without regard to case."""
    since: float | None = None
    """Unix time before which a message was not received."""

    def take(self, message: Message) -> bool:
        route_fits = self.route is None or self.route.casefold() in message.route.casefold()
        return route_fits and (self.since is None or message.received >= self.since)


EVERYTHING = Filters()


@dataclass(frozen=True)
class Story:
    """What happened to a message, and where it is now."""

    id: str
    message: Message | None
    """None where the store has it no longer, or its sender has it still; then there are steps."""
    dead: bool
    steps: list[Step]


class DeadLetters:
    """Those of ``store``, which is open."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def find(self, filters: Filters = EVERYTHING) -> AsyncIterator[Message]:
        """Oldest first."""
        after = ""
        while page := await self._store.dead(type=filters.type, limit=PAGE, after=after):
            after = page[-1].id
            for message in page:
                if filters.take(message):
                    yield message

    async def summaries(self, filters: Filters) -> list[Message]:
        """All of them, without their contents."""
        return [replace(message, content=b"") async for message in self.find(filters)]

    async def ids(self, filters: Filters) -> list[str]:
        return [message.id async for message in self.find(filters)]

    async def named(self, given: Sequence[str]) -> list[str]:
        """The ids that ``given`` are, or are beginnings of. Raises Unknown."""
        everyone = await self.ids(EVERYTHING)
        return list(dict.fromkeys(_meant(text, everyone) for text in given))

    async def get(self, given: str) -> Message:
        """The dead letter that ``given`` names. Raises Unknown."""
        (whole,) = await self.named([given])
        return _there(await self._store.get(whole), whole)

    async def revive(self, ids: Sequence[str], advance: Advance) -> int:
        """They wait again; how many still were dead letters."""
        return await _in_batches(self._store.revive, ids, advance)

    async def drop(self, ids: Sequence[str], advance: Advance) -> int:
        """They are gone for good; how many still were dead letters."""
        return await _in_batches(self._store.drop, ids, advance)

    async def export(self, folder: Path, ids: Sequence[str], advance: Advance) -> int:
        """Write a file for each into ``folder``; how many still were there. Raises OSError."""
        written = 0
        for whole in ids:
            if (message := await self._store.get(whole)) is not None:
                _write(folder, message)
                written += 1
            advance(1)
        return written

    async def story(self, given: str) -> Story:
        """Of any message by its whole id; of a dead letter also by a beginning. Raises Unknown."""
        steps = await self._store.story(given)
        message = await self._store.get(given)
        if not steps and message is None:
            given = _meant(given, await self.ids(EVERYTHING), "message")
            steps, message = await self._store.story(given), await self._store.get(given)
        return Story(given, message, await self._is_dead(message), steps)

    async def _is_dead(self, message: Message | None) -> bool:
        return message is not None and message.id in await self.ids(Filters(message.type, message.route))


def _meant(text: str, ids: Collection[str], noun: str = "dead letter") -> str:
    if text in ids:
        return text
    fitting = [each for each in ids if text and each.startswith(text.lower())]
    if not fitting:
        raise Unknown(f"there is no {noun} {text!r}")
    if len(fitting) > 1:
        raise Unknown(f"{text!r} is the beginning of {count(len(fitting), 'id')}: {', '.join(fitting[:3])}; write more")
    return fitting[0]


def _there(message: Message | None, whole: str) -> Message:
    """It was a dead letter a moment ago; the daemon, or another operator, may have been at work."""
    if message is None:
        raise Unknown(f"there is no dead letter {whole!r} any more")
    return message


def _write(folder: Path, message: Message) -> None:
    """For its owner's eyes alone."""
    name, content = file_of(message)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.touch(mode=0o600)
    file.write_bytes(content)


async def _in_batches(change: Callable[[Sequence[str]], Awaitable[int]], ids: Sequence[str], advance: Advance) -> int:
    changed = 0
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        changed += await change(batch)
        advance(len(batch))
    return changed
