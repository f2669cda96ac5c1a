"""What every engine keeps within a transaction that somebody else has begun. An engine's tests inherit it, and give it
the place and a connection::

    class TestSQLiteTransactions(TransactionContract):
        @pytest.fixture
        def engine(self) -> Engine: ...

        @pytest.fixture
        def connection(self, store: Store) -> Iterator[sqlite3.Connection]: ...

The connection is the driver's own, in autocommit; it has a table ``rows`` with a column ``what``.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from store_contract import NOW, a_message, ids

from gateway.store import (
    Claim,
    ClaimState,
    Engine,
    LeaseLost,
    Mark,
    Message,
    Outgoing,
    Store,
    TransactionLost,
    TransactionStore,
)


def an_item(id: str) -> Outgoing:
    return Outgoing(id, "m", "mqtt", b"\x00 on", lane="mqtt home", recipient="lamp", since=NOW)


def is_done(connection: Any, begin: Callable[[], object]) -> bool:
    """Whether ``begin`` says, as it refuses, that what it should begin is done."""
    connection.execute("BEGIN")
    with pytest.raises(LeaseLost) as lost:
        begin()
    connection.execute("ROLLBACK")
    return lost.value.is_done


class TransactionContract:
    @pytest.fixture
    async def store(self, engine: Engine) -> AsyncIterator[Store]:
        store = engine.store()
        await store.open()
        yield store
        await store.close()

    @pytest.fixture
    def joined(self, engine: Engine, connection: Any, store: Store) -> TransactionStore:
        return engine.joined(connection, store.owner)

    async def running(self, store: Store, *messages: Message) -> list[Message]:
        await store.put_all(messages or [a_message()])
        return await store.take(10, now=NOW)

    async def claimed(self, store: Store, key: str = "k") -> Claim:
        return await store.claim(key, id=f"id of {key}", now=store.now(), ttl=60.0)

    def rows(self, connection: Any) -> list[str]:
        return [what for (what,) in connection.execute("SELECT what FROM rows ORDER BY what").fetchall()]

    # Code that only sends.

    async def test_what_is_put_is_there_after_the_commit_and_not_before(
        self, store: Store, connection: Any, joined: TransactionStore
    ) -> None:
        connection.execute("BEGIN")
        connection.execute("INSERT INTO rows VALUES ('one')")
        joined.put_all([a_message("m1"), a_message("m2")])
        joined.put_outgoing([an_item("o1")])
        assert (await store.counts()).waiting == 0
        connection.execute("COMMIT")
        counts = await store.counts()
        assert (counts.waiting, counts.outgoing) == (2, 1)
        assert ids(await store.take(10, now=NOW)) == ["m1", "m2"]
        assert await store.get_outgoing("o1") == an_item("o1")

    async def test_nothing_can_be_put(self, store: Store, connection: Any, joined: TransactionStore) -> None:
        connection.execute("BEGIN")
        joined.put_all([])
        joined.put_outgoing([])
        connection.execute("COMMIT")
        assert (await store.counts()).waiting == 0

    async def test_a_note_is_there_after_the_commit_for_its_time(
        self, store: Store, connection: Any, joined: TransactionStore
    ) -> None:
        connection.execute("BEGIN")
        joined.note("n1", b"one", 60.0)
        joined.note("n2", b"two", -1.0)
        assert await store.noted(["n1"]) is None
        connection.execute("COMMIT")
        assert await store.noted(["n1"]) == b"one"
        assert await store.noted(["n2"]) is None

    async def test_what_is_put_goes_with_a_roll_back(
        self, store: Store, connection: Any, joined: TransactionStore
    ) -> None:
        connection.execute("BEGIN")
        joined.put_all([a_message()])
        joined.put_outgoing([an_item("o1")])
        connection.execute("ROLLBACK")
        counts = await store.counts()
        assert (counts.waiting, counts.outgoing) == (0, 0)

    async def test_an_id_that_is_kept_is_refused(self, store: Store, connection: Any, joined: TransactionStore) -> None:
        await store.put(a_message("m1"))
        connection.execute("BEGIN")
        with pytest.raises(ValueError, match="not stored"):
            joined.put_all([a_message("m1")])
        connection.execute("ROLLBACK")

    async def test_an_item_with_an_id_that_is_kept_is_the_same_item(
        self, store: Store, connection: Any, joined: TransactionStore
    ) -> None:
        await store.put_outgoing([an_item("o1")])
        connection.execute("BEGIN")
        joined.put_outgoing([an_item("o1")])
        connection.execute("COMMIT")
        assert (await store.counts()).outgoing == 1

    async def test_messages_of_one_key_keep_their_order(
        self, store: Store, connection: Any, joined: TransactionStore
    ) -> None:
        connection.execute("BEGIN")
        joined.put_all([a_message(f"m{number}", key="one") for number in range(3)])
        connection.execute("COMMIT")
        for number in range(3):
            assert ids(await store.take(10, now=NOW)) == [f"m{number}"]
            await store.finish(f"m{number}")

    async def test_rows_in_another_form_are_the_handler_s_alone(
        self, store: Store, connection: Any, joined: TransactionStore
    ) -> None:
        messages = await self.running(store, a_message("m1"), a_message("m2"))
        before = connection.row_factory
        connection.execute("BEGIN")
        connection.row_factory = _unusable
        marks = [joined.begin(message) for message in messages]
        joined.put_all([a_message("m3", key="one")])
        for mark in marks:
            joined.finish(mark, [an_item(f"of {mark.id}")])
        connection.row_factory = before
        connection.execute("COMMIT")
        counts = await store.counts()
        assert (counts.running, counts.waiting, counts.outgoing) == (0, 1, 2)

    async def test_the_clock_is_the_store_s(self, store: Store, connection: Any, joined: TransactionStore) -> None:
        connection.execute("BEGIN")
        assert joined.now() == pytest.approx(store.now(), abs=1.0)
        connection.execute("ROLLBACK")

    # A message of the inbox.

    async def test_a_message_is_done_with_its_handler_s_rows_and_items(
        self, store: Store, connection: Any, joined: TransactionStore
    ) -> None:
        [message] = await self.running(store)
        connection.execute("BEGIN")
        mark = joined.begin(message)
        connection.execute("INSERT INTO rows VALUES ('one')")
        joined.finish(mark, [an_item("o1")])
        connection.execute("COMMIT")
        counts = await store.counts()
        assert (counts.running, counts.outgoing) == (0, 1)
        assert self.rows(connection) == ["one"]
        assert await store.is_known(message.id)
        assert "done" in [step.what for step in await store.history(message.id)]

    async def test_a_roll_back_leaves_the_message_running(
        self, store: Store, connection: Any, joined: TransactionStore
    ) -> None:
        [message] = await self.running(store)
        connection.execute("BEGIN")
        joined.finish(joined.begin(message), [an_item("o1")])
        connection.execute("INSERT INTO rows VALUES ('one')")
        connection.execute("ROLLBACK")
        counts = await store.counts()
        assert (counts.running, counts.outgoing) == (1, 0)
        assert self.rows(connection) == []
        await store.retry(message.id, due=NOW, error="no")
        assert ids(await store.take(10, now=NOW)) == [message.id]

    async def test_the_next_of_its_key_follows_the_commit(
        self, store: Store, connection: Any, joined: TransactionStore
    ) -> None:
        [first] = await self.running(store, a_message("m1", key="one"), a_message("m2", key="one"))
        assert await store.take(10, now=NOW) == []  # m2 is behind it
        connection.execute("BEGIN")
        joined.finish(joined.begin(first))
        connection.execute("COMMIT")
        assert ids(await store.take(10, now=NOW)) == ["m2"]

    async def test_several_messages_are_done_in_one_transaction(
        self, store: Store, connection: Any, joined: TransactionStore
    ) -> None:
        running = await self.running(store, *(a_message(f"m{number}") for number in range(5)))
        connection.execute("BEGIN")
        for mark in [joined.begin(message) for message in running]:
            joined.finish(mark, [an_item(f"of {mark.id}")])
        connection.execute("COMMIT")
        counts = await store.counts()
        assert (counts.running, counts.outgoing) == (0, 5)

    async def test_a_message_of_another_process_is_not_begun(
        self, engine: Engine, store: Store, connection: Any, joined: TransactionStore
    ) -> None:
        [message] = await self.running(store)
        other = engine.store()
        await other.open()
        connection.execute("BEGIN")
        with pytest.raises(LeaseLost, match=message.id):
            engine.joined(connection, other.owner).begin(message)
        connection.execute("ROLLBACK")
        await other.close()

    @pytest.mark.parametrize("by", ["finish", "retry", "dead letter", "a later attempt"])
    async def test_a_message_that_is_no_longer_running_is_not_begun(
        self, store: Store, connection: Any, joined: TransactionStore, by: str
    ) -> None:
        [message] = await self.running(store)
        match by:
            case "finish":
                await store.finish(message.id)
            case "dead letter":
                await store.dead_letter(message, error="no")
            case _:
                await store.retry(message.id, due=NOW, error="no")
        if by == "a later attempt":
            await store.take(10, now=NOW)
        assert is_done(connection, partial(joined.begin, message)) is (by == "finish")

    async def test_nothing_is_begun_without_a_transaction(
        self, store: Store, connection: Any, joined: TransactionStore
    ) -> None:
        [message] = await self.running(store)
        with pytest.raises(TransactionLost):
            joined.begin(message)
        with pytest.raises(TransactionLost):
            joined.begin_claim(await self.claimed(store))

    # What a handler can do to the transaction.

    async def begun(self, store: Store, connection: Any, joined: TransactionStore) -> Mark:
        [message] = await self.running(store)
        connection.execute("BEGIN")
        mark = joined.begin(message)
        connection.execute("INSERT INTO rows VALUES ('one')")
        return mark

    async def test_savepoints_of_the_handler_are_its_own(
        self, store: Store, connection: Any, joined: TransactionStore
    ) -> None:
        mark = await self.begun(store, connection, joined)
        connection.execute("SAVEPOINT a")
        connection.execute("INSERT INTO rows VALUES ('two')")
        connection.execute("ROLLBACK TO SAVEPOINT a")
        connection.execute("SAVEPOINT b")
        connection.execute("INSERT INTO rows VALUES ('three')")
        connection.execute("RELEASE SAVEPOINT b")
        connection.execute("SAVEPOINT c")  # and left open
        joined.finish(mark)
        connection.execute("COMMIT")
        assert self.rows(connection) == ["one", "three"]
        assert (await store.counts()).running == 0

    @pytest.mark.parametrize(
        "statements",
        [["ROLLBACK"], ["COMMIT"], ["ROLLBACK", "BEGIN"], ["COMMIT", "BEGIN"], ["ROLLBACK", "BEGIN", "a row"]],
        ids=", ".join,
    )
    async def test_a_message_is_not_done_in_another_transaction(
        self, store: Store, connection: Any, joined: TransactionStore, statements: list[str]
    ) -> None:
        mark = await self.begun(store, connection, joined)
        for statement in statements:
            connection.execute("INSERT INTO rows VALUES ('two')" if statement == "a row" else statement)
        with pytest.raises(TransactionLost):
            joined.finish(mark, [an_item("o1")])
        connection.rollback()
        counts = await store.counts()
        assert (counts.running, counts.outgoing) == (1, 0)

    # A claim.

    async def test_a_claim_is_settled_with_its_handler_s_rows_and_items(
        self, store: Store, connection: Any, joined: TransactionStore
    ) -> None:
        claim = await self.claimed(store)
        connection.execute("BEGIN")
        mark = joined.begin_claim(claim)
        connection.execute("INSERT INTO rows VALUES ('one')")
        joined.settle(mark, result=b"yes", outgoing=[an_item("o1")])
        connection.execute("COMMIT")
        again = await self.claimed(store)
        assert (again.state, again.result) == (ClaimState.DONE, b"yes")
        assert (await store.counts()).outgoing == 1

    async def test_a_roll_back_leaves_the_claim_ours(
        self, store: Store, connection: Any, joined: TransactionStore
    ) -> None:
        claim = await self.claimed(store)
        connection.execute("BEGIN")
        joined.settle(joined.begin_claim(claim), result=b"yes")
        connection.execute("ROLLBACK")
        assert (await self.claimed(store)).state is ClaimState.BUSY
        await store.release("k", error="no")
        assert (await self.claimed(store)).attempts == 2

    @pytest.mark.parametrize("by", ["settle", "release", "a later attempt", "another owner"])
    async def test_a_claim_that_is_no_longer_ours_is_not_begun(
        self, engine: Engine, store: Store, connection: Any, joined: TransactionStore, by: str
    ) -> None:
        claim = await self.claimed(store)
        if by == "settle":
            await store.settle(claim, result=b"yes")
        if by in ("release", "a later attempt"):
            await store.release("k", error="no")
        if by == "a later attempt":
            assert (await self.claimed(store)).state is ClaimState.OURS
        if by == "another owner":
            joined = engine.joined(connection, "another")
        assert is_done(connection, partial(joined.begin_claim, claim)) is (by == "settle")

    async def test_a_claim_is_not_settled_in_another_transaction(
        self, store: Store, connection: Any, joined: TransactionStore
    ) -> None:
        claim = await self.claimed(store)
        connection.execute("BEGIN")
        mark = joined.begin_claim(claim)
        connection.execute("ROLLBACK")
        connection.execute("BEGIN")
        with pytest.raises(TransactionLost):
            joined.settle(mark, result=b"yes")
        connection.rollback()
        assert (await self.claimed(store)).state is ClaimState.BUSY

    async def test_a_claim_of_another_attempt_is_not_begun(
        self, store: Store, connection: Any, joined: TransactionStore
    ) -> None:
        claim = await self.claimed(store)
        connection.execute("BEGIN")
        with pytest.raises(LeaseLost):
            joined.begin_claim(replace(claim, attempts=7))
        connection.execute("ROLLBACK")

    # Operators.

    async def test_what_an_operator_does_is_done_with_the_commit(
        self, store: Store, connection: Any, joined: TransactionStore
    ) -> None:
        messages = await self.running(store, a_message("m1"), a_message("m2"))
        for message in messages:
            await store.dead_letter(message, error="E")
        await store.put_outgoing([an_item("o1"), an_item("o2")])
        connection.execute("BEGIN")
        assert (joined.requeue(["m1", "gone"]), joined.drop(["m2"])) == (1, 1)
        assert (joined.requeue_outgoing(["o1"]), joined.drop_outgoing(["o2"])) == (1, 1)
        assert (await store.counts()).dead == 2
        connection.execute("COMMIT")
        counts = await store.counts()
        assert (counts.waiting, counts.dead, counts.outgoing) == (1, 0, 1)


def _unusable(cursor: Any, *row: Any) -> Any:
    """A factory of rows, of SQLite or of psycopg: of objects without an index."""
    return object() if row else lambda _: object()
