"""What an operator looks up and changes; see :class:`gateway.store.interfaces.OperatorStore`."""

from collections.abc import Sequence
from dataclasses import replace

from gateway.store.calls import Page
from gateway.store.parts.session import StoreSession
from gateway.store.rows import text
from gateway.store.values import Counts, HistoryEntry, Message, Outgoing, OutgoingSummary, Search, Summary


class Operator(StoreSession):
    async def waiting(
        self, *, type: str | None = None, route: str | None = None, limit: int = 1000, after: str = ""
    ) -> list[Summary]:
        page = Page(limit, after, type=_filter(type), route=_filter(route))
        return self._by_machine_clock(await self._read(self.operations.lookup.waiting, page))

    async def dead(
        self, *, type: str | None = None, route: str | None = None, limit: int = 1000, after: str = ""
    ) -> list[Summary]:
        page = Page(limit, after, type=_filter(type), route=_filter(route))
        return await self._read(self.operations.lookup.dead, page)

    async def outgoing(
        self,
        *,
        type: str | None = None,
        message: str | None = None,
        dead: bool | None = None,
        limit: int = 1000,
        after: str = "",
    ) -> list[OutgoingSummary]:
        page = Page(limit, after, type=_filter(type), message=_filter(message), dead=dead)
        forward = self._set_forward()
        found = self._by_machine_clock(await self._read(self.operations.lookup.outgoing, page))
        return [each if each.received is None else replace(each, received=each.received + forward) for each in found]

    async def find(self, prefix: str, *, within: Search = Search.EVENTS, limit: int = 10) -> list[str]:
        return await self._read(self.operations.lookup.find, (prefix, within, limit))

    async def get(self, id: str) -> Message | None:
        return await self._read(self.operations.messages.get, id)

    async def summary(self, id: str) -> Summary | None:
        found = await self._read(self.operations.lookup.summary, id)
        return found and self._by_machine_clock([found])[0]

    async def get_outgoing(self, id: str) -> Outgoing | None:
        found = await self._read(self.operations.outgoing.get, id)
        return found and replace(self._by_machine_clock([found])[0], since=found.since + self._set_forward())

    async def history(self, id: str) -> list[HistoryEntry]:
        return await self._read(self.operations.history.read, id)

    async def counts(self) -> Counts:
        return await self._read(self.operations.lookup.counts, None)

    async def requeue(self, ids: Sequence[str]) -> int:
        return await self._run(self.operations.messages.requeue, tuple(ids))

    async def drop(self, ids: Sequence[str]) -> int:
        return await self._run(self.operations.messages.drop, (tuple(ids), self.now()))

    async def requeue_outgoing(self, ids: Sequence[str]) -> int:
        return await self._run(self.operations.outgoing.requeue, (tuple(ids), self.now()))

    async def drop_outgoing(self, ids: Sequence[str], *, dead: bool = False) -> int:
        return await self._run(self.operations.outgoing.drop, (tuple(ids), dead))


def _filter(value: str | None) -> str | None:
    """The filter, as a database can compare it."""
    return None if value is None else text(value)
