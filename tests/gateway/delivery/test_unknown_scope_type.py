"""A message of a scope type that is not installed here, or that fails, is kept for the operator."""

from typing import Any

import pytest
from conversation import scope
from test_worker import done, working
from waiting import until

from gateway.scopes.sms.delivery import SMSDelivery
from gateway.store import Message, codec
from gateway.store.sqlite import SQLiteStore


async def test_a_message_of_an_unknown_scope_type_is_a_dead_letter(store: SQLiteStore) -> None:
    async def never(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("nobody here knows what this is")

    content = codec.encode({"type": "gone", "extensions": {}}, [{"type": "gone.receive"}])
    await store.put(Message(id="m", type="gone", route="r", key="k", received=1.0, content=content, subject="gone"))
    async with working(store, never):
        await until(lambda: done(store))
    [dead] = await store.dead()
    assert dead.error == "no scope type 'gone' is installed here; install it, and retry this"


async def test_a_message_that_its_scope_type_cannot_deliver_is_a_dead_letter(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: SMSDelivery, *given: Any) -> None:
        raise RuntimeError("no attempt")

    async def never(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("there is no attempt")

    monkeypatch.setattr(SMSDelivery, "attempt", broken)
    for name, content in (("raises", scope("sms")), ("has no extensions", {"type": "sms"})):
        stored = codec.encode(content, [{"type": "sms.receive"}])
        await store.put(Message(id=name, type="sms", route="r", key=name, received=1.0, content=stored, subject="sms"))
    async with working(store, never) as worker:
        await until(lambda: done(store))
        # Its place is free again a turn after the store says that it is done.
        await until(lambda: not worker.running)
    assert {dead.id: dead.error.rpartition("\n")[2] for dead in await store.dead()} == {
        "raises": "RuntimeError: no attempt",
        "has no extensions": "KeyError: 'extensions'",
    }
