"""What handlers send; see :class:`gateway.store.interfaces.OutboxStore`."""

from collections.abc import Collection, Sequence

from gateway.store.calls import Failed, Take, Told
from gateway.store.parts.session import StoreSession
from gateway.store.values import Outgoing


class Outbox(StoreSession):
    async def put_outgoing(self, items: Sequence[Outgoing]) -> None:
        await self._run(self.operations.outgoing.put_all, items)

    async def take_outgoing(
        self, limit: int, *, now: float, busy: Collection[str] = (), late: Collection[str] = ()
    ) -> list[Outgoing]:
        call = Take(self._owner, limit, now, tuple(busy), late=tuple(late))
        sql = self.operations.outgoing
        return await self._run(sql.take, call, undo=sql.give_back, syncs=bool)

    async def finish_outgoing(self, id: str) -> None:
        await self._run(self.operations.outgoing.finish, id)

    async def retry_outgoing(
        self,
        id: str,
        *,
        due: float,
        error: str,
        left: Outgoing | None = None,
        refused: Outgoing | None = None,
        rests: bool = False,
        counted: bool = True,
    ) -> None:
        now, forward = self.now(), self._set_forward()
        failed = Failed(
            id,
            error,
            left,
            refused,
            due=due,
            rests=rests,
            uncounted=rests or not counted,
            asked=now,
            forward=forward,
            owner=self._owner,
        )
        await self._run(self.operations.outgoing.retry, failed)

    async def dead_letter_outgoing(
        self,
        id: str,
        *,
        error: str,
        left: Outgoing | None = None,
        refused: Outgoing | None = None,
        answered: bool = False,
    ) -> None:
        failed = Failed(id, error, left, refused, answered=answered, owner=self._owner)
        await self._run(self.operations.outgoing.dead_letter, failed)

    async def tell_history(self, event: str, what: str, *, ttl: float) -> None:
        await self._run(self.operations.history.add, Told(event, what, self.now() + ttl))

    async def wake_lanes(self) -> None:
        await self._run(self.operations.outgoing.wake_lanes, None)
