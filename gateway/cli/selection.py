"""What an operator works on in a store: chosen by id or by filter, then many at a time, in bounded memory.

All of it may run while the daemon does: a store is safe for several processes.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from gateway.config.diagnostics import count
from gateway.store import Message, Outgoing, OutgoingSummary, Search, Store, Summary

PAGE = 1000
"""Summaries in memory at a time."""
BATCH = 100
"""Things of one change."""
CANDIDATES = 10
"""Ids that are told where a beginning fits more than one."""

Kept = TypeVar("Kept", bound=Summary | OutgoingSummary)
Whole = TypeVar("Whole")
Changed = Callable[[Sequence[str]], Awaitable[int]]
Advance = Callable[[int], object]
"""Is told that so many more are done."""


class Unknown(Exception):
    """One sentence: nothing, or more than one thing, has the id that was given."""


@dataclass(frozen=True)
class Filters:
    """Which ones; what is None lets all pass. Texts are looked for without regard to case."""

    type: str | None = None
    route: str | None = None
    """A part of the route's label."""
    since: float | None = None
    """Unix time before which a message was not received."""
    before: float | None = None
    """Unix time after which a message was not received."""
    recipient: str | None = None
    """A part of one of its recipients: addresses, a number, a topic."""
    error: str | None = None
    """A part of the error."""
    state: str | None = None

    def take(self, kept: Summary | OutgoingSummary) -> bool:
        texts = ((self.route, kept.route), (self.recipient, recipient_of(kept)), (self.error, kept.error))
        return (
            all(part is None or part.casefold() in text.casefold() for part, text in texts)
            and (self.since is None or (kept.received is not None and kept.received >= self.since))
            and (self.before is None or (kept.received is not None and kept.received <= self.before))
            and self.state in (None, kept.state)
        )


def recipient_of(kept: Summary | OutgoingSummary) -> str:
    """To whom it goes; of a message that arrived, to whom it came, as its subject says."""
    return kept.recipient if isinstance(kept, OutgoingSummary) else kept.subject.rpartition(" -> ")[2]


class Listed(Protocol[Kept]):
    """A listing of the store, such as ``store.dead``."""

    async def __call__(
        self,
        *,
        type: str | None,
        limit: int,
        after: str,
    ) -> list[Kept]: ...


async def pages(sources: Sequence[Listed[Kept]], filters: Filters) -> AsyncIterator[list[Kept]]:
    """All that pass, one source after the other, some at a time, none of them empty."""
    for listed in sources:
        after = ""
        while page := await listed(type=filters.type, limit=PAGE, after=after):
            after = page[-1].id
            if taken := [each for each in page if filters.take(each)]:
                yield taken


async def meant(given: str, find: Callable[[str], Awaitable[list[str]]], noun: str) -> str:
    """The id that ``given`` is, or is the beginning of. Raises Unknown."""
    found = (await find(given) or await find(given.lower())) if given else []
    if given in found:
        return given
    if not found:
        raise Unknown(f"there is no {noun} {given!r}")
    if len(found) > 1:
        many = count(len(found), "id") if len(found) <= CANDIDATES else f"more than {CANDIDATES} ids"
        raise Unknown(f"{given!r} is the beginning of {many}: {', '.join(found[:CANDIDATES])}; write more")
    return found[0]


@dataclass(frozen=True)
class Shelf(Generic[Kept, Whole]):
    """Things of one sort, which can be looked at, tried again and dropped."""

    noun: str
    listed: Sequence[Listed[Any]]
    find: Callable[[str], Awaitable[list[str]]]
    whole: Callable[[str], Awaitable[Whole | None]]
    retried: Changed
    dropped: Changed

    async def ids(self, filters: Filters) -> list[str]:
        return [kept.id async for page in pages(self.listed, filters) for kept in page]

    async def named(self, given: Sequence[str]) -> list[str]:
        """The ids that ``given`` are, or are beginnings of. Raises Unknown."""
        return list(dict.fromkeys([await meant(text, self.find, self.noun) for text in given]))

    async def get(self, given: str) -> Whole:
        """With its content. Raises Unknown."""
        name = await meant(given, self.find, self.noun)
        if (whole := await self.whole(name)) is None:  # the daemon, or another operator, was at work in between
            raise Unknown(f"there is no {self.noun} {name!r} any more")
        return whole

    async def retry(self, ids: Sequence[str], advance: Advance) -> int:
        """They are tried again; how many could be."""
        return await _in_batches(self.retried, ids, advance)

    async def drop(self, ids: Sequence[str], advance: Advance) -> int:
        """They are gone for good; how many were still there."""
        return await _in_batches(self.dropped, ids, advance)


DeadLetters = Shelf[Summary | OutgoingSummary, Message | Outgoing]
OutgoingItems = Shelf[OutgoingSummary, Outgoing]


def dead_letters(store: Store) -> DeadLetters:
    """Messages whose last attempt failed, and what handlers sent and what will not leave."""

    async def find(prefix: str) -> list[str]:
        limit = CANDIDATES + 1
        found = [await store.find(prefix, within=each, limit=limit) for each in (Search.DEAD, Search.DEAD_OUTGOING)]
        return sorted(found[0] + found[1])[:limit]

    async def whole(id_: str) -> Message | Outgoing | None:
        return await store.get(id_) or await store.get_outgoing(id_)

    async def retried(ids: Sequence[str]) -> int:
        return await store.requeue(ids) + await store.requeue_outgoing(ids)

    async def dropped(ids: Sequence[str]) -> int:
        return await store.drop(ids) + await store.drop_outgoing(ids, dead=True)

    listed = (store.dead, partial(store.outgoing, dead=True))
    return Shelf("dead letter", listed, find, whole, retried, dropped)


def outgoing_items(store: Store) -> OutgoingItems:
    """What handlers sent and what has not left."""
    find = partial(store.find, within=Search.OUTGOING, limit=CANDIDATES + 1)
    changes = store.requeue_outgoing, store.drop_outgoing
    return Shelf("outgoing item", (store.outgoing,), find, store.get_outgoing, *changes)


async def _in_batches(change: Changed, ids: Sequence[str], advance: Advance) -> int:
    changed = 0
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        changed += await change(batch)
        advance(len(batch))
    return changed
