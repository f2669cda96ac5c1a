"""Messages; see :class:`gateway.store.interfaces.InboxStore`."""

from collections.abc import Collection, Sequence

from gateway.store.sqlite.session import Session
from gateway.store.sqlite.sql import messages as sql
from gateway.store.sqlite.sql.take import Take
from gateway.store.values import Message, Outgoing


class Inbox(Session):
    async def put(self, message: Message, *, claim: str | None = None) -> None:
        await self._run(sql.put, (message, claim))

    async def put_all(self, messages: Sequence[Message]) -> None:
        await self._run(sql.put_all, messages)

    async def take(self, limit: int, *, now: float, busy: Collection[str] = ()) -> list[Message]:
        call = Take(self._owner, limit, now, tuple(busy))
        return await self._run(sql.take, call, undo=sql.give_back)

    async def finish(self, id: str, *, outgoing: Sequence[Outgoing] = ()) -> None:
        await self._run(sql.finish, (id, outgoing, self.now()))

    async def finish_all(self, ids: Sequence[str]) -> None:
        await self._run(sql.finish_all, (ids, self.now()))

    async def retry(self, id: str, *, due: float, error: str, counted: bool = True) -> None:
        await self._run(sql.retry, (id, due, error, counted, self._set_forward()))

    async def dead_letter(self, message: Message, *, error: str, claim: str | None = None) -> None:
        await self._run(sql.dead_letter, (message, error, claim))

    async def is_known(self, id: str) -> bool:
        return await self._read(sql.is_known, id)

    async def next_due(self) -> float | None:
        return await self._read(sql.next_due, None)
