"""A message of a scope type that is not installed here is kept for the operator, and taken for none that is."""

from typing import Any

from test_worker import done, working
from waiting import until

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
