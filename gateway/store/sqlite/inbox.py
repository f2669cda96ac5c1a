"""Messages; see :class:`gateway.store.interfaces.InboxStore`."""

import sqlite3
from collections.abc import Collection, Sequence

from gateway.store.sqlite.session import StoreSession
from gateway.store.sqlite.sql import messages as sql
from gateway.store.sqlite.sql import put as puts
from gateway.store.sqlite.sql.claims import Request
from gateway.store.sqlite.sql.take import Take
from gateway.store.values import Claim, Message, Outgoing


class SQLiteInbox(StoreSession):
    async def put(self, message: Message) -> None:
        await self.put_all([message])

    async def put_all(self, messages: Sequence[Message], *, begin: int = 0, now: float = 0.0) -> list[Message]:
        call = puts.Put(messages, self._owner, begin, now)
        return await self._run(puts.put, call, undo=sql.give_back)

    async def put_once(
        self, message: Message, *, key: str, now: float, ttl: float, failed_as: str = "", begin: bool = False
    ) -> tuple[Claim, Message | None]:
        request = Request(self._owner, key, message.id, now, ttl, failed_as, received=now + self._set_forward())
        return await self._run(puts.put_once, puts.PutOnce(message, request, begin), undo=_give_back)

    async def take(self, limit: int, *, now: float, busy: Collection[str] = ()) -> list[Message]:
        call = Take(self._owner, limit, now, tuple(busy))
        return await self._run(sql.take, call, undo=sql.give_back)

    async def finish(self, id: str, *, outgoing: Sequence[Outgoing] = ()) -> None:
        await self._run(sql.finish, (id, outgoing, self.now()))

    async def finish_all(self, ids: Sequence[str]) -> None:
        await self._run(sql.finish_all, (ids, self.now()))

    async def retry(self, id: str, *, due: float, error: str, counted: bool = True) -> None:
        await self._run(sql.retry, (id, due, error, counted, self._set_forward()))

    async def dead_letter(self, message: Message, *, error: str, claim: Claim | None = None) -> None:
        await self._run(sql.dead_letter, (message, error, claim))

    async def is_known(self, id: str) -> bool:
        return await self._read(sql.is_known, id, syncs=bool)  # a message that is known is acknowledged

    async def next_due(self) -> float | None:
        return await self._read(sql.next_due, None)


def _give_back(db: sqlite3.Connection, calls: Sequence[puts.Begun]) -> list[None]:
    """The message stays, and its claim is settled: only what was begun for a caller that has gone is given back."""
    sql.give_back(db, [[begun] for _, begun in calls if begun is not None])
    return [None] * len(calls)
