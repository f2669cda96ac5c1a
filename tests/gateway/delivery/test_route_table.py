"""A message is routed once: what was found at arrival is kept with it."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from own_services import installed
from test_worker import QUICK, done, has_dead, message, publish
from waiting import until

from gateway import (
    AsyncEmailConsumer,
    AsyncMqttConsumer,
    EmailToRouter,
    ProtocolTypeRouter,
    SMSFromRouter,
    TopicRouter,
    default,
    regex,
    topic,
)
from gateway.delivery.guard import Guard
from gateway.delivery.service import Deliveries, deliveries
from gateway.delivery.worker import Worker
from gateway.routing.router import Router
from gateway.routing.table import route_table
from gateway.store.sqlite import SQLiteStore

HANDLED: list[tuple[str, str]] = []


class First(AsyncMqttConsumer):
    async def connect(self, message: Any) -> None:
        HANDLED.append(("First", "connect"))
        await self.accept()

    async def receive(self, topic: str, payload: bytes) -> None:
        HANDLED.append(("First", topic))

    async def disconnect(self, message: Any) -> None:
        HANDLED.append(("First", "disconnect"))


class Second(AsyncMqttConsumer):
    async def receive(self, topic: str, payload: bytes) -> None:
        HANDLED.append(("Second", topic))


@pytest.fixture(autouse=True)
def _nothing_handled() -> Iterator[None]:
    HANDLED.clear()
    yield
    HANDLED.clear()


def tree(**routes: Any) -> ProtocolTypeRouter:
    return ProtocolTypeRouter({"mqtt": TopicRouter([topic(t, app, policy=QUICK) for t, app in routes.items()])})


@contextlib.asynccontextmanager
async def serving(store: SQLiteStore, app: Any) -> AsyncIterator[None]:
    """As a gateway serves ``app``, with its table of routes."""
    with installed({deliveries: (here := Deliveries(store, routes=route_table(app)))}):
        worker = Worker(here, app, {})
        worker.start()
        yield
        await until(lambda: done(store))
        await worker.stop(5)


@contextlib.contextmanager
def receiving(store: SQLiteStore, app: Any) -> Iterator[None]:
    with installed({deliveries: Deliveries(store, routes=route_table(app))}):
        yield


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    for kind in (Router, TopicRouter, ProtocolTypeRouter):

        def find(self: Any, scope: Any, kind: Any = kind, find: Any = kind.find) -> Any:
            found.append(kind.__name__)
            return find(self, scope)

        monkeypatch.setattr(kind, "find", find)
    return found


async def test_it_is_not_routed_again_also_by_the_next_process(store: SQLiteStore, lookups: list[str]) -> None:
    with receiving(store, before := tree(a=First, b=Second)):
        await publish(before, message("a", b"1", 1), message("b", b"2", 2))
    assert lookups
    lookups.clear()
    HANDLED.clear()
    async with serving(store, tree(a=First, b=Second)):
        await until(lambda: done(store))
    assert lookups == []
    assert sorted(HANDLED) == [("First", "a"), ("Second", "b")], "a connection was made up for a stored message"


@pytest.mark.parametrize(
    "after",
    [
        lambda: tree(a=Second, b=First),
        lambda: ProtocolTypeRouter(
            {"mqtt": TopicRouter([topic("+", Second, policy=QUICK), topic("a", First, policy=QUICK)])}
        ),
    ],
)
async def test_where_the_routes_have_changed_it_is_routed_anew(store: SQLiteStore, after: Any) -> None:
    with receiving(store, before := tree(a=First)):
        await publish(before, message("a", b"1", 1))
    HANDLED.clear()
    async with serving(store, after()):
        await until(lambda: done(store))
    assert HANDLED == [("Second", "a")]


async def test_where_its_route_is_gone_it_is_a_dead_letter_until_one_takes_it(store: SQLiteStore) -> None:
    with receiving(store, before := tree(a=First)):
        await publish(before, message("a", b"1", 1))
    HANDLED.clear()
    async with serving(store, tree(b=First)):
        await until(lambda: has_dead(store))
    [dead] = await store.dead()
    assert "no route for the topic 'a'" in dead.error
    await store.requeue([dead.id])
    async with serving(store, tree(b=First, a=Second)):
        await until(lambda: done(store))
    assert HANDLED == [("Second", "a")]


async def test_an_application_that_is_none_of_ours_sees_a_connection(store: SQLiteStore) -> None:
    seen: list[Any] = []

    async def foreign(scope: Any, receive: Any, send: Any) -> None:
        while (event := await receive())["type"] != "mqtt.disconnect":
            seen.append((event["type"], "delivery" in scope["extensions"], scope["extensions"].get("delivery", {})))
            if event["type"] == "mqtt.connect":
                await send({"type": "mqtt.accept"})
            else:
                await send({"type": "mqtt.ack", "id": event["id"]})
        seen.append((event["type"], "delivery" in scope["extensions"], {}))

    with receiving(store, app := tree(a=foreign)):
        await publish(app, message("a", b"1", 1))
    seen.clear()
    async with serving(store, app):
        await until(lambda: done(store))
    assert [kind for kind, *_ in seen] == ["mqtt.connect", "mqtt.receive", "mqtt.disconnect"]
    assert seen[0][2].keys() == {"id", "attempt", "first_received"}, "the mark of the tree is the store's own"


def guards(app: Any) -> dict[tuple[str, str], Any]:
    return dict(route_table(app).routes)


class Mail(AsyncEmailConsumer):
    async def receive(self, message: Any) -> None:
        """Nothing."""


def test_the_table_has_each_route_with_a_policy_once() -> None:
    async def text(scope: Any, receive: Any, send: Any) -> None: ...

    app = ProtocolTypeRouter(
        {
            "mqtt": TopicRouter([topic("a", First, policy=QUICK), topic("b", First)]),
            "email": EmailToRouter([regex("x$", Mail, policy=QUICK), default(Mail, policy=QUICK)]),
            "sms": Guard(SMSFromRouter([default(text, policy=QUICK)]), QUICK, "sms -> texts"),
        }
    )
    assert [kind for kind, _ in guards(app)] == ["mqtt", "email", "email", "sms"]
    assert guards(ProtocolTypeRouter({"email": EmailToRouter([default(Mail, policy=QUICK)] * 2)})) == {}
    assert guards(text) == {}
    assert route_table(text).signature == ""


def test_trees_that_route_differently_have_different_signatures(tmp_path: Path) -> None:
    trees = [
        tree(a=First),
        tree(a=First, b=First),
        tree(b=First, a=First),
        tree(a=Second),
        ProtocolTypeRouter({"email": EmailToRouter([regex("x", Mail, policy=QUICK)])}),
        ProtocolTypeRouter({"email": EmailToRouter([default(Mail, policy=QUICK)])}),
    ]
    assert len({route_table(each).signature for each in trees}) == len(trees)
    assert route_table(tree(a=First)).signature == route_table(tree(a=First)).signature
