"""What an operator works on in a store: chosen by id or by filter, then changed in batches, in bounded memory.

All of it may run while the daemon does: a store is safe for several processes.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Generic, Protocol, TypeVar

from gateway.config.diagnostics import count
from gateway.store import Message, OperatorStore, Outgoing, OutgoingSummary, Search, Summary
from protocols.units import Between

PAGE = 1000
"""Summaries in memory at a time."""
CANDIDATES = 10
"""Ids that are listed if a beginning fits more than one."""

Entry = TypeVar("Entry", bound=Summary | OutgoingSummary)
"""An entry of a list, without content."""
Item = TypeVar("Item")
"""An entry with its content."""
Change = Callable[[Sequence[str]], Awaitable[int]]
"""Changes those with these ids; how many there were."""


class Unknown(Exception):
    """No entry, or more than one, has the id that was given. The message is for the operator."""


class Gone(Unknown):
    """No entry has the id."""


@dataclass(frozen=True)
class Filters:
    """Which entries to work on; None lets all pass. Upper and lower case are the same."""

    type: Annotated[str | None, "Only this scope type."] = None
    route: Annotated[str | None, "Only if the label of the route contains this text."] = None
    since: Annotated[float | None, "Only what was received at this Unix time or later."] = None
    before: Annotated[float | None, "Only what was received at this Unix time or earlier."] = None
    recipient: Annotated[str | None, "Only if a recipient contains this text: an address, a number, a topic."] = None
    error: Annotated[str | None, "Only if the error contains this text."] = None
    state: Annotated[str | None, "Only in this state, such as `waiting`, `running`, `resting` or `dead`."] = None
    attempts: Annotated[int | None, Between(1), "Only if it was tried so many times or more."] = None
    text: Annotated[str | None, "Only if id, subject, route, recipient or error contains this text."] = None

    @property
    def are_empty(self) -> bool:
        """Whether they let all pass; a text without characters does."""
        return not any(vars(self).values())

    @property
    def narrow(self) -> bool:
        """Whether they leave something out that a listing does not leave out by itself."""
        return not replace(self, type=None).are_empty

    def match(self, entry: Summary | OutgoingSummary) -> bool:
        recipient = recipient_of(entry)
        whole = "\n".join((entry.id, entry.subject, entry.route, recipient, entry.error))
        texts = ((self.route, entry.route), (self.recipient, recipient), (self.error, entry.error), (self.text, whole))
        return (
            all(part is None or part.casefold() in text.casefold() for part, text in texts)
            and (self.since is None or (entry.received is not None and entry.received >= self.since))
            and (self.before is None or (entry.received is not None and entry.received <= self.before))
            and (not self.state or self.state == entry.state)
            and (self.attempts is None or entry.attempts >= self.attempts)
        )


def recipient_of(entry: Summary | OutgoingSummary) -> str:
    """The recipients of an outgoing item; of a message that arrived, those that its subject names."""
    return entry.recipient if isinstance(entry, OutgoingSummary) else entry.subject.rpartition(" -> ")[2]


class Listing(Protocol[Entry]):
    """A list of the store, such as ``store.dead``."""

    async def __call__(
        self,
        *,
        type: str | None,
        limit: int,
        after: str,
    ) -> list[Entry]: ...


async def pages(listings: Sequence[Listing[Entry]], filters: Filters) -> AsyncIterator[list[Entry]]:
    """All entries that match, one listing after the other, in pages that are not empty."""
    for listing in listings:
        after = ""
        while page := await listing(type=filters.type, limit=PAGE, after=after):
            after = page[-1].id
            if matching := [each for each in page if filters.match(each)]:
                yield matching


async def resolve(given: str, find: Callable[[str], Awaitable[list[str]]], noun: str) -> str:
    """The one id that begins with ``given``. Raises Unknown."""
    found = (await find(given) or await find(given.lower())) if given else []
    if given in found:
        return given
    if not found:
        raise Gone(f"there is no {noun} {given!r}")
    if len(found) > 1:
        many = count(len(found), "id") if len(found) <= CANDIDATES else f"more than {CANDIDATES} ids"
        raise Unknown(f"{given!r} is the beginning of {many}: {', '.join(found[:CANDIDATES])}; write more")
    return found[0]


@dataclass(frozen=True)
class Selection(Generic[Entry, Item]):
    """Entries of one kind, which an operator looks at, tries again and drops."""

    noun: str
    listings: Sequence[Listing[Any]]
    find: Callable[[str], Awaitable[list[str]]]
    """The ids that begin so."""
    read: Callable[[str], Awaitable[Item | None]]
    """One with its content; None if it is gone."""
    requeue: Change
    """They are tried again; how many could be."""
    forget: Change
    """They are gone for good; how many were still there."""

    async def ids(self, filters: Filters) -> list[str]:
        return [entry.id async for page in pages(self.listings, filters) for entry in page]

    async def named(self, given: Sequence[str]) -> list[str]:
        """The ids that ``given`` are, or are the beginnings of. Raises Unknown."""
        return list(dict.fromkeys([await resolve(text, self.find, self.noun) for text in given]))

    async def still_there(self, given: Sequence[str]) -> list[str]:
        """The same without those that are gone: somebody else may work on the same list. Raises Unknown if all are."""
        found: list[str] = []
        gone: Gone | None = None
        for text in given:
            try:
                found += await self.named([text])
            except Gone as error:
                gone = error
        if gone is not None and not found:
            raise gone
        return list(dict.fromkeys(found))

    async def get(self, given: str) -> Item:
        """Return it with its content. Raises Unknown."""
        name = await resolve(given, self.find, self.noun)
        if (item := await self.read(name)) is None:  # the daemon, or another operator, was at work in between
            raise Unknown(f"there is no {self.noun} {name!r} any more")
        return item


DeadLetters = Selection[Summary | OutgoingSummary, Message | Outgoing]
OutgoingItems = Selection[OutgoingSummary, Outgoing]


def dead_letters(store: OperatorStore) -> DeadLetters:
    """Messages whose last attempt failed, and items that handlers sent and that will not leave."""

    async def find(prefix: str) -> list[str]:
        limit = CANDIDATES + 1
        found = [await store.find(prefix, within=each, limit=limit) for each in (Search.DEAD, Search.DEAD_OUTGOING)]
        return sorted(found[0] + found[1])[:limit]

    async def read(id_: str) -> Message | Outgoing | None:
        return await store.get(id_) or await store.get_outgoing(id_)

    async def requeue(ids: Sequence[str]) -> int:
        done = await store.requeue(ids)
        return done if done == len(ids) else done + await store.requeue_outgoing(ids)  # each is a commit

    async def forget(ids: Sequence[str]) -> int:
        done = await store.drop(ids)
        return done if done == len(ids) else done + await store.drop_outgoing(ids, dead=True)

    listings = (store.dead, partial(store.outgoing, dead=True))
    return Selection("dead letter", listings, find, read, requeue, forget)


def outgoing_items(store: OperatorStore) -> OutgoingItems:
    """Items that handlers sent and that have not left."""
    find = partial(store.find, within=Search.OUTGOING, limit=CANDIDATES + 1)
    changes = store.requeue_outgoing, store.drop_outgoing
    return Selection("outgoing item", (store.outgoing,), find, store.get_outgoing, *changes)
