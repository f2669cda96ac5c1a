"""The store in one SQLite file: nothing to install, nothing to run beside the gateway."""

import asyncio
import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from gateway.store import claims, clock, history, key_value, lookup, messages, outgoing
from gateway.store.connection import Connection
from gateway.store.database import dead_owners, open_database, recover
from gateway.store.engine import (
    KEEP,
    KEEP_STORIES,
    Among,
    Claim,
    Counts,
    Message,
    Outgoing,
    OutgoingSummary,
    Step,
    StoreUnavailable,
    Summary,
)
from gateway.store.owner import Owner
from gateway.store.rows import text
from gateway.store.schema import BEHIND, DEAD, RUNNING, WAITING
from gateway.store.writer import Operation, Writer
from protocols import private_files

Call = TypeVar("Call")
Result = TypeVar("Result")
Listed = TypeVar("Listed", Summary, OutgoingSummary, Outgoing)

PURGE = 10_000
"""Rows that are forgotten in one commit: others want theirs in between."""


class SQLiteStore:
    """An engine; see :class:`gateway.store.engine.Store`. Several processes may have ``path`` open."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._open: tuple[Writer, Owner] | None = None
        self._ahead = time.time() - clock.elapsed()

    async def open(self) -> str:
        database, owner, found = await asyncio.to_thread(self._opened)
        self._open = Writer(database, lambda: self._connected(owner)[0]), owner
        return found

    def _connected(self, owner: Owner) -> tuple[Connection, str]:
        """With the clock that the file has, which may be another one than it was."""
        database, found = open_database(self.path, owner)
        self._ahead = clock.ahead(database)
        return database, found

    def _opened(self) -> tuple[Connection, Owner, str]:
        try:
            private_files.make_folder(self.path.parent)
            owner = Owner(self.path)
        except OSError as error:
            raise StoreUnavailable(f"{self.path}: {error.strerror}") from error
        try:
            database, found = self._connected(owner)
            return database, owner, found
        except BaseException:
            owner.release()
            raise

    async def close(self) -> None:
        if self._open is not None:
            (writer, owner), self._open = self._open, None
            await writer.close()
            owner.release()

    def now(self) -> float:
        return clock.elapsed() + self._ahead

    def _set_forward(self) -> int:
        """Seconds by which the machine's clock has been set forward since the store's began; they differ by less than
        one by themselves."""
        return round(time.time() - self.now())

    def _today(self, found: list[Listed]) -> list[Listed]:
        """As the machine's clock says it now."""
        forward = self._set_forward()
        return [replace(each, due=each.due + forward) if forward and each.due else each for each in found]

    async def _run(
        self, operation: Operation[Call, Result], call: Call, *, undo: Operation[Result, None] | None = None
    ) -> Result:
        if self._open is None:
            raise StoreUnavailable(f"{self.path} is not open")
        return await self._open[0].run(operation, call, undo=undo)

    async def _ask(self, operation: Operation[Call, Result], call: Call) -> Result:
        """For what reads only: it waits for nobody who writes, and nobody who writes waits for it."""
        if self._open is None:
            raise StoreUnavailable(f"{self.path} is not open")
        return await self._open[0].run(operation, call, reads=True)

    @property
    def _owner(self) -> str:
        return "" if self._open is None else self._open[1].id

    # Messages.

    async def put(self, message: Message, *, claim: str | None = None) -> None:
        await self._run(messages.put, (message, claim))

    async def put_all(self, messages: Sequence[Message]) -> None:
        await self._run(_put_all, messages)

    async def take(self, limit: int, *, now: float, busy: Collection[str] = ()) -> list[Message]:
        call = messages.Take(self._owner, limit, now, tuple(busy))
        return await self._run(messages.take, call, undo=messages.give_back)

    async def finish(self, id: str, *, outgoing: Sequence[Outgoing] = ()) -> None:  # noqa: A002
        await self._run(messages.finish, (id, outgoing, self.now()))

    async def retry(self, id: str, *, due: float, error: str, counted: bool = True) -> None:  # noqa: A002
        await self._run(messages.retry, (id, due, error, counted, self._set_forward()))

    async def bury(self, message: Message, *, error: str, claim: str | None = None) -> None:
        await self._run(messages.bury, (message, error, claim))

    async def next_due(self) -> float | None:
        return await self._ask(messages.next_due, None)

    # Claims.

    async def claim(
        self,
        key: str,
        *,
        id: str,  # noqa: A002
        now: float,
        ttl: float,
        failed_as: str = "",
    ) -> Claim:
        return await self._run(
            claims.claim,
            claims.Wanted(self._owner, key, id, now, ttl, failed_as, now + self._set_forward()),
            undo=_give_up,
        )

    async def settle(self, key: str, *, result: bytes, outgoing: Sequence[Outgoing] = ()) -> None:
        await self._run(claims.settle, (key, result, outgoing))

    async def release(self, key: str, *, error: str, counted: bool = True) -> None:
        await self._run(claims.release, (key, error, counted))

    # Dead letters.

    async def dead(
        self,
        *,
        type: str | None = None,  # noqa: A002
        route: str | None = None,
        limit: int = 1000,
        after: str = "",
    ) -> list[Summary]:
        return await self._ask(lookup.dead, lookup.Which(type, route, limit, after))

    async def revive(self, ids: Sequence[str]) -> int:
        return await self._run(messages.revive, tuple(ids))

    async def drop(self, ids: Sequence[str]) -> int:
        return await self._run(messages.drop, (tuple(ids), self.now()))

    # What handlers send.

    async def take_outgoing(self, limit: int, *, now: float, busy: Collection[str] = ()) -> list[Outgoing]:
        call = outgoing.Take(self._owner, limit, now, tuple(busy))
        return await self._run(outgoing.take, call, undo=outgoing.give_back)

    async def sent(self, id: str) -> None:  # noqa: A002
        await self._run(outgoing.sent, id)

    async def postpone(
        self,
        id: str,  # noqa: A002
        *,
        due: float,
        error: str,
        left: Outgoing | None = None,
        refused: Outgoing | None = None,
        rests: bool = False,
    ) -> None:
        now, forward = self.now(), self._set_forward()
        failed = outgoing.Failed(id, error, left, refused, due=due, rests=rests, asked=now, forward=forward)
        await self._run(outgoing.postpone, failed)

    async def bury_outgoing(
        self,
        id: str,  # noqa: A002
        *,
        error: str,
        left: Outgoing | None = None,
        refused: Outgoing | None = None,
        answered: bool = False,
    ) -> None:
        await self._run(outgoing.bury, outgoing.Failed(id, error, left, refused, answered=answered))

    async def wake(self) -> None:
        await self._run(outgoing.wake, None)

    async def revive_outgoing(self, ids: Sequence[str]) -> int:
        return await self._run(outgoing.revive, (tuple(ids), self.now()))

    async def drop_outgoing(self, ids: Sequence[str], *, dead: bool = False) -> int:
        return await self._run(outgoing.drop, (tuple(ids), dead))

    # What a server keeps of its own state.

    async def load(self, space: str) -> dict[str, bytes]:
        try:
            return await self._run(key_value.load, key_value.Opening(self.path, self._owner, space))
        except key_value.Taken as error:
            raise StoreUnavailable(str(error)) from error

    async def keep(self, space: str, changes: Mapping[str, bytes | None]) -> None:
        await self._run(key_value.keep, (space, changes))

    # What an operator asks.

    async def waiting(
        self,
        *,
        type: str | None = None,  # noqa: A002
        route: str | None = None,
        limit: int = 1000,
        after: str = "",
    ) -> list[Summary]:
        return self._today(await self._ask(lookup.waiting, lookup.Which(type, route, limit, after)))

    async def outgoing(
        self,
        *,
        type: str | None = None,  # noqa: A002
        message: str | None = None,
        dead: bool | None = None,
        limit: int = 1000,
        after: str = "",
    ) -> list[OutgoingSummary]:
        which = lookup.WhichOutgoing(type, message, limit, after, dead)
        forward = self._set_forward()
        found = self._today(await self._ask(lookup.outgoing, which))
        return [each if each.received is None else replace(each, received=each.received + forward) for each in found]

    async def find(self, prefix: str, *, among: Among = "events", limit: int = 10) -> list[str]:
        return await self._ask(lookup.find, lookup.Beginning(prefix, among, limit))

    async def get(self, id: str) -> Message | None:  # noqa: A002
        return await self._ask(messages.get, id)

    async def summary(self, id: str) -> Summary | None:  # noqa: A002
        found = await self._ask(lookup.summary, id)
        return found and self._today([found])[0]

    async def get_outgoing(self, id: str) -> Outgoing | None:  # noqa: A002
        found = await self._ask(outgoing.get, id)
        return found and replace(self._today([found])[0], since=found.since + self._set_forward())

    async def story(self, id: str) -> list[Step]:  # noqa: A002
        return await self._ask(_story, id)

    async def counts(self) -> Counts:
        return await self._ask(_counts, None)

    async def probe(self) -> None:
        await self._run(_probe, None)

    async def recover(self) -> int:
        return await self._run(_recover, self.path)

    async def purge(self, *, now: float) -> int:
        total = 0
        while count := await self._run(_purge, now):
            total += count
        return total


def _put_all(database: sqlite3.Connection, calls: Sequence[Sequence[Message]]) -> list[None]:
    messages.put(database, [(message, None) for call in calls for message in call])
    return [None] * len(calls)


def _give_up(database: sqlite3.Connection, calls: Sequence[Claim]) -> list[None]:
    """Claimed, and then whoever asked was gone: no attempt was begun."""
    claims.release(database, [(each.key, "not begun", False) for each in calls if each.state == "ours"])
    return [None] * len(calls)


# Operations over more than one table.


def _story(database: sqlite3.Connection, calls: Sequence[str]) -> list[list[Step]]:
    return [history.told(database, text(id_)) for id_ in calls]


def _counts(database: sqlite3.Connection, calls: Sequence[None]) -> list[Counts]:
    by_state, unsent = messages.number(database), outgoing.number(database)
    counts = Counts(
        waiting=by_state.get(WAITING, 0) + by_state.get(BEHIND, 0),
        running=by_state.get(RUNNING, 0),
        dead=by_state.get(DEAD, 0),
        outgoing=unsent.get(WAITING, 0) + unsent.get(RUNNING, 0),
        dead_outgoing=unsent.get(DEAD, 0),
    )
    return [counts] * len(calls)


def _probe(database: sqlite3.Connection, calls: Sequence[None]) -> list[None]:
    version = database.execute("PRAGMA user_version").fetchone()[0]
    database.execute(f"PRAGMA user_version = {version}")  # the page is written and committed, though it is the same
    return [None] * len(calls)


def _recover(database: sqlite3.Connection, calls: Sequence[Path]) -> list[int]:
    return [recover(database, dead_owners(database, path)) for path in calls]


def _purge(database: sqlite3.Connection, calls: Sequence[float]) -> list[int]:
    for now in calls:
        clock.seen(database, now)
    return [
        messages.purge(database, now - KEEP, KEEP_STORIES, PURGE) + claims.purge(database, now, PURGE) for now in calls
    ]
