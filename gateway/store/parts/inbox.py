"""Messages; see :class:`gateway.store.interfaces.InboxStore`."""

from collections.abc import Collection, Sequence

from gateway.store.calls import Begun, DeadLetter, Finish, Put, PutOnce, Request, Retry, Take, route_of
from gateway.store.operations import Database
from gateway.store.parts.session import StoreSession
from gateway.store.values import Claim, Message, Outgoing


class Inbox(StoreSession):
    async def put(self, message: Message) -> None:
        await self.put_all([message])

    async def put_all(self, messages: Sequence[Message], *, begin: int = 0, now: float = 0.0) -> list[Message]:
        call = Put(messages, self._owner, begin, now)
        return await self._run(self.operations.put.put, call, undo=self.operations.messages.give_back)

    async def put_once(
        self, message: Message, *, key: str, now: float, ttl: float, failed_as: str = "", begin: bool = False
    ) -> tuple[Claim, Message | None]:
        request = Request(self._owner, key, message.id, now, ttl, failed_as, received=now + self._set_forward())
        call = PutOnce(message, request, begin)
        return await self._run(self.operations.put.put_once, call, undo=self._give_back)

    async def take(
        self, limit: int, *, now: float, busy: Collection[str] = (), full: Collection[tuple[str, str]] = ()
    ) -> list[Message]:
        sql, routes = self.operations.messages, tuple(route_of(*each) for each in full)
        call = Take(self._owner, limit, now, tuple(busy), routes)
        return await self._run(sql.take, call, undo=sql.give_back, syncs=bool)  # without one, a crash loses nothing

    async def finish(self, id: str, *, outgoing: Sequence[Outgoing] = ()) -> None:
        await self._run(self.operations.messages.finish, Finish([id], self._owner, self.now(), outgoing))

    async def finish_all(self, ids: Sequence[str]) -> None:
        await self._run(self.operations.messages.finish, Finish(ids, self._owner, self.now()))

    async def retry(self, id: str, *, due: float, error: str, counted: bool = True) -> None:
        call = Retry(id, self._owner, due, error, counted, self._set_forward())
        await self._run(self.operations.messages.retry, call)

    async def dead_letter(self, message: Message, *, error: str, claim: Claim | None = None) -> None:
        await self._run(self.operations.messages.dead_letter, DeadLetter(message, self._owner, error, claim))

    async def is_known(self, id: str) -> bool:
        return await self._read(self.operations.messages.is_known, id, syncs=bool)  # what is known is acknowledged

    async def next_due(self) -> float | None:
        return await self._read(self.operations.messages.next_due, None)

    def _give_back(self, db: Database, calls: Sequence[Begun]) -> list[None]:
        """Give back messages that were begun for a caller that has gone. They stay stored, and their claims settled."""
        self.operations.messages.give_back(db, [[begun] for _, begun in calls if begun is not None])
        return [None] * len(calls)
