"""What handlers send; see :class:`gateway.store.interfaces.OutboxStore`."""

from collections.abc import Collection, Sequence

from gateway.store.sqlite.session import StoreSession
from gateway.store.sqlite.sql import outgoing as sql
from gateway.store.sqlite.sql.take import Take
from gateway.store.values import Outgoing


class SQLiteOutbox(StoreSession):
    async def put_outgoing(self, items: Sequence[Outgoing]) -> None:
        await self._run(sql.put_all, items)

    async def take_outgoing(self, limit: int, *, now: float, busy: Collection[str] = ()) -> list[Outgoing]:
        call = Take(self._owner, limit, now, tuple(busy))
        return await self._run(sql.take, call, undo=sql.give_back)

    async def finish_outgoing(self, id: str) -> None:
        await self._run(sql.finish, id)

    async def retry_outgoing(
        self,
        id: str,
        *,
        due: float,
        error: str,
        left: Outgoing | None = None,
        refused: Outgoing | None = None,
        rests: bool = False,
    ) -> None:
        now, forward = self.now(), self._set_forward()
        failed = sql.Failed(id, error, left, refused, due=due, rests=rests, asked=now, forward=forward)
        await self._run(sql.retry, failed)

    async def dead_letter_outgoing(
        self,
        id: str,
        *,
        error: str,
        left: Outgoing | None = None,
        refused: Outgoing | None = None,
        answered: bool = False,
    ) -> None:
        await self._run(sql.dead_letter, sql.Failed(id, error, left, refused, answered=answered))

    async def wake_lanes(self) -> None:
        await self._run(sql.wake_lanes, None)
