"""What an operator looks up and changes; see :class:`gateway.store.interfaces.OperatorStore`."""

from collections.abc import Sequence
from dataclasses import replace

from gateway.store.sqlite.session import StoreSession
from gateway.store.sqlite.sql import history, lookup, messages, outgoing
from gateway.store.values import Counts, HistoryEntry, Message, Outgoing, OutgoingSummary, Search, Summary


class SQLiteOperator(StoreSession):
    async def waiting(
        self, *, type: str | None = None, route: str | None = None, limit: int = 1000, after: str = ""
    ) -> list[Summary]:
        page = lookup.Page(limit, after, type=type, route=route)
        return self._by_machine_clock(await self._read(lookup.waiting, page))

    async def dead(
        self, *, type: str | None = None, route: str | None = None, limit: int = 1000, after: str = ""
    ) -> list[Summary]:
        return await self._read(lookup.dead, lookup.Page(limit, after, type=type, route=route))

    async def outgoing(
        self,
        *,
        type: str | None = None,
        message: str | None = None,
        dead: bool | None = None,
        limit: int = 1000,
        after: str = "",
    ) -> list[OutgoingSummary]:
        page = lookup.Page(limit, after, type=type, message=message, dead=dead)
        forward = self._set_forward()
        found = self._by_machine_clock(await self._read(lookup.outgoing, page))
        return [each if each.received is None else replace(each, received=each.received + forward) for each in found]

    async def find(self, prefix: str, *, within: Search = Search.EVENTS, limit: int = 10) -> list[str]:
        return await self._read(lookup.find, (prefix, within, limit))

    async def get(self, id: str) -> Message | None:
        return await self._read(messages.get, id)

    async def summary(self, id: str) -> Summary | None:
        found = await self._read(lookup.summary, id)
        return found and self._by_machine_clock([found])[0]

    async def get_outgoing(self, id: str) -> Outgoing | None:
        found = await self._read(outgoing.get, id)
        return found and replace(self._by_machine_clock([found])[0], since=found.since + self._set_forward())

    async def history(self, id: str) -> list[HistoryEntry]:
        return await self._read(history.read, id)

    async def counts(self) -> Counts:
        return await self._read(lookup.counts, None)

    async def requeue(self, ids: Sequence[str]) -> int:
        return await self._run(messages.requeue, tuple(ids))

    async def drop(self, ids: Sequence[str]) -> int:
        return await self._run(messages.drop, (tuple(ids), self.now()))

    async def requeue_outgoing(self, ids: Sequence[str]) -> int:
        return await self._run(outgoing.requeue, (tuple(ids), self.now()))

    async def drop_outgoing(self, ids: Sequence[str], *, dead: bool = False) -> int:
        return await self._run(outgoing.drop, (tuple(ids), dead))
