"""Finds what servers have by filters, shows it page by page, and removes it. Others have their turn meanwhile.

A search looks at everything that there is, which may be a million retained messages; so it passes a checkpoint for
each, and keeps no more than one page of what it finds.
"""

import asyncio
import base64
import inspect
import json
from bisect import insort
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from functools import wraps
from typing import Any, get_type_hints

from gateway.console.audit import record_change
from gateway.console.filters import address_test, checked_topic
from gateway.console.here import Here
from gateway.console.joined import cursor
from gateway.console.resource_parameters import MOST, Removed
from gateway.control.server import BadRequest
from protocols.checkpoint import checkpoints
from protocols.resources import Resource
from protocols.server import Server

DURABLE = 1000
"""Entries that are removed before the disk has to have that."""

Facts = Mapping[str, Any]
Test = Callable[[Resource, Facts], bool]
Find = Callable[[Server, Facts], Iterable[Resource | None]]
"""Gets the filters, too."""
_Parameter = inspect.Parameter


def glob(pattern: str, text: str) -> bool:
    """Whether ``text`` is like ``pattern``, in which each asterisk stands for any characters. A regular expression may
    take exponential time for some: client identifiers are what strangers write."""
    first, *others = pattern.split("*")
    if not others:
        return text == first
    *middle, last = others
    at = len(first)
    for each in middle:
        if (found := text.find(each, at)) < 0:
            return False
        at = found + len(each)
    return text.startswith(first) and text.endswith(last) and len(text) - len(last) >= at


def _text(name: str) -> Callable[[str], Test]:
    return lambda wanted: lambda _, facts: facts[name] is not None and glob(wanted, facts[name])


def _address(wanted: str) -> Test:
    fits = address_test(wanted)
    return lambda _, facts: fits(facts["address"])


def _topic(wanted: str) -> Test:
    topic = checked_topic(wanted)
    return lambda resource, _: resource.receives(topic)


def _is(name: str) -> Callable[[Any], Test]:
    return lambda wanted: lambda _, facts: facts[name] == wanted


def _above_zero(name: str) -> Callable[[bool], Test]:
    return lambda _: lambda _, facts: facts.get(name, 0) > 0


_TESTS: Mapping[str, Callable[[Any], Test]] = {
    "server": _is("server"),
    "protocol": _is("protocol"),
    "connected": _is("connected"),
    "ids": lambda wanted: lambda _, facts: facts["id"] in wanted or facts["client_id"] in wanted,
    "client_ids": lambda wanted: lambda _, facts: facts["client_id"] in wanted,
    "client_id": _text("client_id"),
    "user": _text("user"),
    "address": _address,
    "topic": _topic,
    "dropped": _above_zero("dropped"),
    "queued": _above_zero("queued"),
}
"""Filter -> its test of a resource."""


class Search:
    """Everything that ``find`` finds in the ``servers`` and that fits the filters, of which None, False and an empty
    list are no condition. Raises BadRequest for a filter that cannot be read."""

    def __init__(self, servers: Iterable[Server], find: Find, **filters: Any) -> None:
        conditions = {name: value for name, value in filters.items() if value not in (None, [], "")}
        self.filters = {name: value for name, value in conditions.items() if value or name == "connected"}
        self._tests = [_TESTS[name](value) for name, value in self.filters.items() if name in _TESTS]
        self._servers = list(servers)
        self._find = find

    async def __aiter__(self) -> AsyncIterator[tuple[Server, Resource]]:
        for server in self._servers:
            for resource in self._found_in(server):
                checkpoints.left -= 1
                if checkpoints.left < 0:
                    await checkpoints.read_clock()
                if resource is not None and (not self._tests or self._fits(server, resource)):
                    yield server, resource

    def _found_in(self, server: Server) -> Iterator[Resource | None]:
        try:
            yield from self._find(server, self.filters)
        except ValueError as error:
            raise BadRequest(str(error)) from error

    def _fits(self, server: Server, resource: Resource) -> bool:
        facts = entry(server, resource.facts())
        return all(test(resource, facts) for test in self._tests)


def entry(server: Server, facts: Facts) -> dict[str, Any]:
    return {"server": server.name, **facts}


def servers_of(here: Here) -> list[Server]:
    """Return the servers that run: also those of gateways that were replaced and still have connections."""
    return [server for each in here.gateways for server in each.servers if server.status.state != "stopped"]


def searching(filters: type, find: Find) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a function a :class:`Search` as its parameter ``search``, and the filters as parameters of their own: the
    annotated attributes of ``filters``, whose values are the defaults."""
    hints = get_type_hints(filters, include_extras=True)
    own = [
        _Parameter(name, _Parameter.KEYWORD_ONLY, default=getattr(filters, name, _Parameter.empty), annotation=hint)
        for name, hint in hints.items()
    ]

    def of(run: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(run, eval_str=True)
        others = [each for each in signature.parameters.values() if each.name != "search"]

        @wraps(run)
        async def with_filters(here: Here, **given: Any) -> Any:
            wanted = {name: given.pop(name) for name in hints if name in given}
            return await run(here, Search(servers_of(here), find, **wanted), **given)

        with_filters.__signature__ = signature.replace(parameters=[*others, *own])  # type: ignore[attr-defined]  # inspect looks there
        return with_filters

    return of


async def page(search: Search, *, limit: int, after: str | None, by: str | None = None) -> Any:
    """Return the first ``limit`` entries after the one that ``after`` stands for, in the order of their keys, or with
    those first that have the most of ``by``; how many there are in total, and what the next page begins ``after``.
    Raises BadRequest."""
    begin = _read(after) if after else None
    kept: list[tuple[list[Any], Resource, Server]] = []
    total = 0
    async for server, resource in search:
        total += 1
        most = -resource.facts().get(by, 0) if by is not None else 0
        place = [most, resource.key, server.name]
        if _is_behind(begin, place) and (len(kept) <= limit or place < kept[-1][0]):
            insort(kept, (place, resource, server), key=_place)
            del kept[limit + 1 :]
    more, kept = len(kept) > limit, kept[:limit]
    entries = [entry(server, resource.facts()) for _, resource, server in kept]
    return {"entries": entries, "total": total, "next": cursor(kept[-1][0]) if more else None}


async def details(search: Search, *, content: int) -> Any:
    """Return all that is known of the first entries that were found."""
    found: list[dict[str, Any]] = []
    async for server, resource in search:
        if len(found) < MOST:
            found.append(entry(server, resource.details(content)))
    return {"entries": found}


async def remove(search: Search, what: str, *, with_will: bool = True, rate: int = 0, dry_run: bool = False) -> Removed:
    """Remove everything that is found, ``rate`` a second if that is not 0; return how many, once that is durable. The
    log has a line: ``what`` is the name of the operation. Raises BadRequest without a filter."""
    if not search.filters:
        raise BadRequest("write at least one filter; the name of the server is one, too")
    found, touched = 0, dict[Server, None]()
    try:
        async for server, resource in search:
            found += 1
            if not dry_run:
                resource.remove(with_will=with_will)
                touched[server] = None
                await _rest(found, touched, rate)
        await _kept(touched)
    finally:
        if not dry_run:
            record_change(what, found, search.filters)
    return {"found": found, "removed": 0 if dry_run else found}


async def _rest(removed: int, touched: Iterable[Server], rate: int) -> None:
    """Let others have their turn, and the disk."""
    if rate and removed % rate == 0:
        await asyncio.sleep(1.0)
    if removed % DURABLE == 0:
        await _kept(touched)


async def _kept(servers: Iterable[Server]) -> None:
    for server in servers:
        await server.kept()


def _place(one: tuple[list[Any], Resource, Server]) -> list[Any]:
    return one[0]


def _is_behind(begin: list[Any] | None, place: list[Any]) -> bool:
    try:
        return begin is None or place > begin
    except TypeError:  # that is of another list
        raise BadRequest(_AFTER) from None


_AFTER = "after: write what `next` of the page before says"


def _read(after: str) -> list[Any]:
    try:
        place = json.loads(base64.urlsafe_b64decode(after))
    except (ValueError, RecursionError):
        raise BadRequest(_AFTER) from None
    if not isinstance(place, list) or len(place) != 3:
        raise BadRequest(_AFTER)
    return place
