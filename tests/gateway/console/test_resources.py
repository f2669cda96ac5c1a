"""Lists of what servers have: filters, pages, and the turns of others; and what is removed."""

import logging
import re
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from turns import LONGEST, counted

from gateway.console.here import Here
from gateway.console.resources import Search, details, page, remove, servers_of
from gateway.control.recent import Recent
from gateway.control.server import BadRequest
from gateway.succession import Succession, succession
from protocols.resources import Resource, client_facts, connection_id, moment, shown
from protocols.server import Server, ServerStatus


class Plain(Resource):
    """A connection that has these facts."""

    def __init__(self, owner: "Some", since: float, facts: dict[str, Any]) -> None:
        self._owner = owner
        self._since = since
        self._facts = facts

    @property
    def key(self) -> float:
        return self._since

    def facts(self) -> dict[str, Any]:
        own = {"address": ("192.0.2.1", 1), "user": None, "client_id": None} | self._facts
        numbers = {name: own.pop(name) for name in ("dropped", "queued") if name in own}
        return client_facts(since=self._since, protocol="mqtt", doing="connected", **own) | numbers

    def receives(self, topic_filter: str) -> bool:
        return topic_filter == self._facts.get("client_id")

    def remove(self, *, with_will: bool = True) -> None:
        self._owner.removed.append((self._since, with_will))


class Some(Server):
    """A server that has connections with these facts, and is asked whether their ends are durable."""

    protocol = "some"
    scope_types: ClassVar = ()

    def __init__(self, name: str, *facts: dict[str, Any]) -> None:
        super().__init__(_never, name=name, state={})
        self.all = [Plain(self, float(number), each) for number, each in enumerate(facts, start=1)]
        self.removed: list[tuple[float, bool]] = []
        self.kept_after: list[int] = []

    @property
    def address(self) -> str:
        return "nowhere"

    def active(self) -> dict[str, int]:
        return {}

    async def start(self) -> None:
        """It is never started."""

    async def stop(self, grace: float) -> None:
        """It is never started."""

    def clients(self) -> Iterable[Resource | None]:
        return iter([None, *self.all, None])

    async def kept(self) -> None:
        self.kept_after.append(len(self.removed))


async def _never(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError


def clients(server: Server, wanted: Any) -> Iterator[Resource | None]:
    yield from server.clients()


def search(*servers: Server, **filters: Any) -> Search:
    return Search(servers, clients, **filters)


def ids(found: Any) -> list[int]:
    return [round(each["since"]) for each in found["entries"]]


async def every_page(by: str | None, *servers: Server) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    after = None
    while True:
        here = await page(search(*servers), limit=3, after=after, by=by)
        assert here["total"] == sum(len(each.all) for each in servers if isinstance(each, Some))
        found += [(each["server"], round(each["since"])) for each in here["entries"]]
        if (after := here["next"]) is None:
            return found


@pytest.mark.parametrize("count", [0, 1, 3, 6, 7])
async def test_the_pages_have_each_entry_once_and_in_order(count: int) -> None:
    one, other = Some("one", *[{}] * count), Some("other", *[{}] * 2)
    expected = sorted((round(each.key), server.name) for server in (one, other) for each in server.all)
    assert await every_page(None, one, other) == [(name, since) for since, name in expected]


async def test_those_with_the_most_come_first() -> None:
    dropped = (0, 5, 5, 9, 0, 7, 0)
    server = Some("one", *({"dropped": number} for number in dropped))
    assert [since for _, since in await every_page("dropped", server)] == [4, 6, 2, 3, 1, 5, 7]


DEVICES = (
    {"client_id": "dev-1", "user": "ann", "dropped": 2},
    {"client_id": "dev-22", "address": ("10.1.2.3", 5), "queued": 1},
    {"client_id": "d[e]v", "address": None},
    {"client_id": "wall\n-1", "address": ("2001:db8::7", 5)},
    {"user": "bob"},
)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"server": "one"}, [1, 2, 3, 4, 5]),
        ({"server": "two"}, []),
        ({"protocol": "http"}, []),
        ({"client_id": "dev-1"}, [1]),
        ({"client_id": "dev-*"}, [1, 2]),
        ({"client_id": "*1"}, [1, 4]),
        ({"client_id": "*v-*2*"}, [2]),
        ({"client_id": "dev-1*1"}, []),
        ({"client_id": "d[e]v"}, [3]),
        ({"client_id": "*"}, [1, 2, 3, 4]),
        ({"user": "*"}, [1, 5]),
        ({"address": "10.0.0.0/8"}, [2]),
        ({"address": "192.0.2.1"}, [1, 5]),
        ({"address": "2001:db8::/32"}, [4]),
        ({"address": "unix"}, [3]),
        ({"topic": "dev-1"}, [1]),
        ({"dropped": True}, [1]),
        ({"queued": True, "client_id": "dev*"}, [2]),
        ({"ids": [connection_id(5.0), "dev-22"]}, [2, 5]),
        ({"dropped": False, "user": None, "ids": []}, [1, 2, 3, 4, 5]),
    ],
)
async def test_filters(filters: dict[str, Any], found: list[int]) -> None:
    assert ids(await page(search(Some("one", *DEVICES), **filters), limit=10, after=None)) == found


async def test_a_pattern_takes_no_more_than_its_time() -> None:
    server = Some("one", {"client_id": "a" * 65535})
    async with counted() as turns:
        assert ids(await page(search(server, client_id="a*" * 1000 + "b"), limit=10, after=None)) == []
    assert turns.longest < LONGEST


@pytest.mark.parametrize("after", ["x", "e30=", "WzFd", "WzAsICJhIiwgIngiXQ==", "WyJhIiwgMSwgMV0=", "é"])
async def test_a_wrong_place_to_go_on(after: str) -> None:
    with pytest.raises(BadRequest, match="after: write what"):
        await page(search(Some("one", {})), limit=10, after=after)


def test_a_wrong_network() -> None:
    with pytest.raises(BadRequest, match=re.escape("address: write an address, a network such as 10.0.0.0/8, or unix")):
        search(Some("one"), address="10.0.0.1/8")


async def test_others_have_their_turn() -> None:
    server = Some("one", *[{}] * 50_000)
    async with counted() as turns:
        await page(search(server, client_id="*"), limit=1000, after=None, by="dropped")
        await remove(search(server, server="one"), "clients.disconnect")
    assert turns.longest < LONGEST
    assert len(server.removed) == 50_000


async def test_what_is_removed_is_durable_and_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    one, other = Some("one", *[{"user": "ann"}] * 1500, {}), Some("other")
    assert await remove(search(one, other, user="ann"), "clients.disconnect", with_will=False) == {
        "found": 1500,
        "removed": 1500,
    }
    assert {with_will for _, with_will in one.removed} == {False}
    assert (one.kept_after, other.kept_after) == ([1000, 1500], [])
    assert caplog.messages == ['clients.disconnect by the gateway: 1500, {"user": "ann"}']


async def test_a_count_removes_nothing() -> None:
    server = Some("one", {}, {})
    assert await remove(search(server, server="one"), "clients.disconnect", dry_run=True) == {"found": 2, "removed": 0}
    assert not server.removed


async def test_nothing_is_removed_without_a_filter() -> None:
    server = Some("one", {})
    with pytest.raises(BadRequest, match="write at least one filter"):
        await remove(search(server, ids=[], dropped=False), "clients.disconnect")
    assert not server.removed


async def test_a_server_need_not_show_anything() -> None:
    class Bare(Some):
        clients = Server.clients

    server = Bare("bare", {})
    assert (server.sessions(), server.retained("#")) == ((), ())
    assert await details(search(server), content=0) == {"entries": []}
    await Server.kept(server)


def test_a_gateway_that_was_replaced_counts_until_its_servers_have_stopped() -> None:
    line = Succession()
    old, gone, new = Some("web", {}), Some("mail", {}), Some("web")
    gone.status = ServerStatus("stopped")
    made = [SimpleNamespace(servers=each, services={succession: line}) for each in ([old, gone], [new])]
    for each in made:
        line.begin(each)
    current: Any = made[1]
    assert servers_of(Here(lambda: current, Recent())) == [new, old]


def test_moments_differ() -> None:
    found = [moment() for _ in range(1000)]
    assert sorted(set(found)) == found
    assert len({connection_id(each) for each in found}) == 1000


@pytest.mark.parametrize(
    ("content", "most", "expected"),
    [
        (b"", 10, {"text": "", "whole": True}),
        (b"abc", 2, {"text": "ab", "whole": False}),
        ("a€".encode(), 3, {"text": "a", "whole": False}),
        ("a€".encode()[:3], 3, {"hex": "61e282", "whole": True}),
        (b"\xff\xfe", 1, {"hex": "ff", "whole": False}),
    ],
)
def test_content_is_shown_up_to_a_bound(content: bytes, most: int, expected: dict[str, Any]) -> None:
    assert shown(content, most) == expected
