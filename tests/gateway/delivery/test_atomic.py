"""Routes with ``atomic: true``: the handler's rows, what it sends, and the message's "done" in one transaction.

Handlers have no unique index that would hide a row that is written twice.
"""

import asyncio
import contextlib
import inspect
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from layer_contract import socket_folder
from own_services import delivering, installed
from psycopg.rows import dict_row
from psycopg.sql import SQL
from servers.postgresql import emptied
from test_guard import MAIL, TEXT, deliver, email, sms
from test_webhook_inbox import routed, serving
from test_worker import message, mqtt_app, publish, working
from waiting import until

from gateway import (
    AsyncEmailConsumer,
    AsyncHttpConsumer,
    AsyncMqttBatchConsumer,
    AsyncMqttConsumer,
    AsyncSMSConsumer,
    EmailConsumer,
    InMemoryChannelLayer,
    MqttBatchConsumer,
    MqttConsumer,
    MqttMessage,
    Policy,
    ProtocolTypeRouter,
    SMSConsumer,
)
from gateway.atomic import TransactionRefused, check_statement
from gateway.consumers.forms import AsyncForm
from gateway.delivery.guard import Guard
from gateway.layers import channel_layer
from gateway.layers.ipc import ipc_layer
from gateway.scopes.http.webhooks.policy import WebhookPolicy
from gateway.scopes.http.webhooks.unsigned import Unsigned
from gateway.store import OutcomeUnknown, Store, engine_of
from gateway.store.parts.transactions import StoreTransaction

ATOMIC = Policy(atomic=True, attempts=3, backoff=0.01)


class Rows:
    """The table of the handlers, in the database that a test has."""

    insert = ""

    def __init__(self, connect: Callable[[], Any], insert: str, give_away: str, set_free: str) -> None:
        self._connect = connect
        Rows.insert = insert
        self.give_away = give_away
        """Gives everything that runs to another process."""
        self.set_free = set_free
        """Frees every claim that has no result yet."""

    def execute(self, sql: str) -> list[Any]:
        with contextlib.closing(self._connect()) as connection:
            cursor = connection.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []


@pytest.fixture(params=["sqlite", "postgresql"])
def place(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Store, Rows]:
    if request.param == "sqlite":
        path = tmp_path / "gateway.db"
        table = Rows(
            lambda: sqlite3.connect(path, isolation_level=None),
            "INSERT INTO rows VALUES (?)",
            "UPDATE messages SET owner = 7 WHERE state = 1",
            "UPDATE claims SET owner = '', state = 1 WHERE state = 0",
        )
        return engine_of(f"sqlite:{path}").store(), table
    database = emptied()
    return engine_of(database.url).store(), Rows(
        database.connect,
        "INSERT INTO rows VALUES (%s)",
        "UPDATE gateway_messages SET owner = 7777 WHERE state = 1",
        "UPDATE gateway_claims SET owner = 0, state = 1 WHERE state = 0",
    )


@pytest.fixture
async def store(place: tuple[Store, Rows], anyio_backend: object) -> AsyncIterator[Store]:
    store, table = place
    await store.open()
    table.execute("DROP TABLE IF EXISTS rows")
    table.execute("CREATE TABLE rows (what TEXT)")
    with delivering(store) as here:
        yield store
        here.use.transactions.close()
    await store.close()


Written = Callable[[], list[str]]
"""Returns what handlers have written."""


@pytest.fixture
def rows(place: tuple[Store, Rows]) -> Written:
    return lambda: [what for (what,) in place[1].execute("SELECT what FROM rows ORDER BY what")]


async def handled(store: Store) -> bool:
    counts = await store.counts()
    return counts.waiting == counts.running == 0


def said(payload: str, id: int = 1, name: str = "t") -> dict[str, Any]:
    return {**message(name, payload.encode(), id), "retain": False, "dup": False}


async def run(store: Store, app: Any, *payloads: str) -> None:
    """Let ``app`` handle a message for each of ``payloads``."""
    await publish(app, *(said(payload, id) for id, payload in enumerate(payloads, 1)))
    async with working(store, app):
        await until(lambda: handled(store))


class Row(MqttConsumer):
    def receive(self, topic: str, payload: bytes) -> None:
        self.connection.execute(Rows.insert, [payload.decode()])
        self.publish("seen", payload)


class AsyncRow(AsyncMqttConsumer):
    async def receive(self, topic: str, payload: bytes) -> None:
        await self.connection.execute(Rows.insert, [payload.decode()])
        await self.publish("seen", payload)


class BatchRow(MqttBatchConsumer):
    def receive_batch(self, messages: Sequence[MqttMessage]) -> None:
        self.connection.executemany(Rows.insert, [[each.payload.decode()] for each in messages])
        for each in messages:
            self.publish("seen", each.payload)


class AsyncBatchRow(AsyncMqttBatchConsumer):
    async def receive_batch(self, messages: Sequence[MqttMessage]) -> None:
        await self.connection.executemany(Rows.insert, [[each.payload.decode()] for each in messages])
        for each in messages:
            await self.publish("seen", each.payload)


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """An application in plain ASGI."""
    await send({"type": "mqtt.accept"})
    while (event := await receive())["type"] != "mqtt.disconnect":
        if event["type"] == "mqtt.receive":
            await scope["extensions"]["atomic"]["connection"].execute(Rows.insert, [event["payload"].decode()])
            await send({"type": "mqtt.send", "topic": "seen", "payload": event["payload"], "qos": 1})
            await send({"type": "mqtt.ack", "id": event["id"]})


FORMS: list[Any] = [Row, AsyncRow, BatchRow, AsyncBatchRow, plain]


@pytest.mark.parametrize("consumer", FORMS)
async def test_rows_and_what_is_sent_are_there_once_and_the_message_is_done(
    store: Store, rows: Written, consumer: Any
) -> None:
    payloads = [f"{number:02}" for number in range(20)]
    await run(store, mqtt_app(consumer, ATOMIC), *payloads)
    assert rows() == payloads
    assert (await store.counts()).outgoing == 20


class Fault:
    """Ends a commit in the way that a test asks for, once or always."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._commit = StoreTransaction.commit
        self.errors: list[tuple[Exception, bool]] = []
        """The error, and whether the commit succeeds all the same."""
        self.commits = 0
        monkeypatch.setattr(StoreTransaction, "commit", lambda transaction: self._ended(transaction))

    def _ended(self, transaction: StoreTransaction) -> None:
        self.commits += 1
        error, commits = self.errors.pop(0) if self.errors else (None, True)
        if commits:
            self._commit(transaction)
        if error is not None:
            raise error


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Fault:
    return Fault(monkeypatch)


@pytest.mark.parametrize("consumer", FORMS)
async def test_a_commit_that_fails_leaves_nothing_and_the_next_attempt_does_it_all(
    store: Store, rows: Written, fault: Fault, consumer: Any
) -> None:
    fault.errors = [(sqlite3.OperationalError("no"), False)]
    await run(store, mqtt_app(consumer, ATOMIC), "one", "two")
    assert rows() == ["one", "two"]
    assert (await store.counts()).outgoing == 2


@pytest.mark.parametrize("consumer", FORMS)
@pytest.mark.parametrize("committed", [True, False])
async def test_a_commit_whose_outcome_is_unknown_is_looked_up(
    store: Store, rows: Written, fault: Fault, consumer: Any, committed: bool
) -> None:
    fault.errors = [(OutcomeUnknown("the server went away"), committed)]
    await run(store, mqtt_app(consumer, ATOMIC), "one", "two")
    assert rows() == ["one", "two"]
    assert (await store.counts()).outgoing == 2


@pytest.mark.parametrize("consumer", FORMS)
async def test_a_conflict_is_run_again_and_is_no_attempt(
    store: Store, rows: Written, fault: Fault, monkeypatch: pytest.MonkeyPatch, consumer: Any
) -> None:
    monkeypatch.setattr(StoreTransaction, "is_conflict", lambda self, error: "deadlock" in str(error))
    fault.errors = [(sqlite3.OperationalError("deadlock detected"), False)] * 5
    await run(store, mqtt_app(consumer, Policy(atomic=True, attempts=1)), "one")
    assert (rows(), fault.commits) == (["one"], 6)
    counts = await store.counts()
    assert (counts.outgoing, counts.dead) == (1, 0)


def failing_twice(consumer: Any, runs: list[str]) -> Any:
    """``consumer``, with a method that raises after everything is done, the first two times."""
    name = "receive_batch" if hasattr(consumer, "receive_batch") else "receive"
    method = getattr(consumer, name)

    def count() -> None:
        runs.append("run")
        if len(runs) < 3:
            raise KeyError("not yet")

    async def fails_async(self: Any, *args: Any) -> None:
        await method(self, *args)
        count()

    def fails(self: Any, *args: Any) -> None:
        method(self, *args)
        count()

    chosen = fails_async if issubclass(consumer, AsyncForm) else fails
    chosen.__dict__["__signature__"] = inspect.signature(method)
    return type("Fails", (consumer,), {name: chosen})


@pytest.mark.parametrize("consumer", [Row, AsyncRow, BatchRow, AsyncBatchRow])
async def test_a_handler_that_raises_leaves_no_row(store: Store, rows: Written, consumer: Any) -> None:
    runs: list[str] = []
    await run(store, mqtt_app(failing_twice(consumer, runs), ATOMIC), "one")
    assert (len(runs), rows()) == (3, ["one"])
    assert (await store.counts()).outgoing == 1


async def test_a_message_that_fails_for_good_is_a_dead_letter_and_leaves_nothing(store: Store, rows: Written) -> None:
    class Fails(MqttConsumer):
        def receive(self, topic: str, payload: bytes) -> None:
            self.connection.execute(Rows.insert, ["one"])
            self.publish("seen", payload)
            raise KeyError("never")

    await run(store, mqtt_app(Fails, ATOMIC), "one")
    counts = await store.counts()
    assert (counts.dead, counts.outgoing, rows()) == (1, 0, [])


# A batch.


async def test_a_batch_is_one_transaction(store: Store, rows: Written, fault: Fault) -> None:
    await run(store, mqtt_app(BatchRow, ATOMIC), *(f"{number:02}" for number in range(40)))
    assert len(rows()) == 40
    assert fault.commits < 40


async def test_one_bad_message_of_a_batch_undoes_its_own_rows_only(store: Store, rows: Written) -> None:
    class Some(MqttBatchConsumer):
        def receive_batch(self, messages: Sequence[MqttMessage]) -> None:
            for each in messages:
                self.connection.execute(Rows.insert, [each.payload.decode()])
                self.publish("seen", each.payload)
                if each.payload == b"bad":
                    raise ValueError("bad")

    await run(store, mqtt_app(Some, ATOMIC), "1", "bad", "2", "3")
    counts = await store.counts()
    assert (rows(), counts.dead, counts.outgoing) == (["1", "2", "3"], 1, 3)


async def test_a_message_that_a_batch_defers_comes_again_and_the_others_are_done(store: Store, rows: Written) -> None:
    deferred: list[bytes] = []

    class Some(MqttBatchConsumer):
        def receive_batch(self, messages: Sequence[MqttMessage]) -> None:
            for each in messages:
                if each.payload == b"later" and not deferred:
                    deferred.append(each.payload)
                    each.defer(0.01)
                    continue
                self.connection.execute(Rows.insert, [each.payload.decode()])
                self.publish("seen", each.payload)

    await run(store, mqtt_app(Some, ATOMIC), "later", "1", "2")
    assert rows() == ["1", "2", "later"]
    assert (await store.counts()).outgoing == 3


# A sender that waits for the answer.


class Mail(EmailConsumer):
    def receive(self, message: Any) -> None:
        self.connection.execute(Rows.insert, ["mail"])
        self.send("bo@example.com", subject="re", text="thanks", from_="desk@example.org")


class AsyncMail(AsyncEmailConsumer):
    async def receive(self, message: Any) -> None:
        await self.connection.execute(Rows.insert, ["mail"])
        await self.send("bo@example.com", subject="re", text="thanks", from_="desk@example.org")


@pytest.mark.parametrize("consumer", [Mail, AsyncMail])
async def test_a_mail_whose_sender_waits_is_settled_in_the_transaction(
    store: Store, rows: Written, consumer: Any
) -> None:
    app = Guard(consumer.as_asgi(), ATOMIC, "email")
    for _ in range(3):  # it is repeated
        assert [event["type"] for event in await deliver(app, email(), MAIL)] == ["email.accept"]
    assert rows() == ["mail"]
    assert (await store.counts()).outgoing == 1


@pytest.mark.parametrize("committed", [True, False])
async def test_an_unknown_outcome_answers_a_waiting_sender_once_it_is_known(
    store: Store, rows: Written, fault: Fault, committed: bool
) -> None:
    fault.errors = [(OutcomeUnknown("the server went away"), committed)]
    app = Guard(Mail.as_asgi(), ATOMIC, "email")
    assert [event["type"] for event in await deliver(app, email(), MAIL)] == ["email.accept"]
    assert rows() == ["mail"]


@pytest.mark.parametrize("committed", [True, False])
async def test_a_sender_is_told_of_no_success_that_others_could_undo(
    store: Store, rows: Written, place: tuple[Store, Rows], fault: Fault, committed: bool
) -> None:
    """While the outcome of the commit is not known, other processes take this one for dead and free what it was at."""
    fault.errors = [(OutcomeUnknown("the server went away"), committed)]
    probe = store.probe

    async def taken() -> None:
        place[1].execute(place[1].set_free)
        await probe()

    store.probe = taken
    app = Guard(Mail.as_asgi(), ATOMIC, "email")
    answers = [(await deliver(app, email(), MAIL))[0]["type"] for _ in range(2)]
    assert answers == [("email.accept" if committed else "email.defer"), "email.accept"]
    assert rows() == ["mail"]


async def test_a_failed_mail_is_deferred_and_its_repetition_writes_the_row(
    store: Store, rows: Written, fault: Fault
) -> None:
    fault.errors = [(sqlite3.OperationalError("no"), False)]
    app = Guard(Mail.as_asgi(), ATOMIC, "email")
    answers = [(await deliver(app, email(), MAIL))[0]["type"] for _ in range(2)]
    assert answers == ["email.defer", "email.accept"]
    assert rows() == ["mail"]


@pytest.mark.parametrize("base", [SMSConsumer, AsyncSMSConsumer])
async def test_a_reply_is_in_the_answer_and_in_that_of_each_repetition(store: Store, rows: Written, base: Any) -> None:
    class Text(SMSConsumer):
        def receive(self, text: str, media: Any) -> None:
            self.connection.execute(Rows.insert, [text])
            self.reply("thanks")

    class AsyncText(AsyncSMSConsumer):
        async def receive(self, text: str, media: Any) -> None:
            await self.connection.execute(Rows.insert, [text])
            await self.reply("thanks")

    app = Guard((Text if base is SMSConsumer else AsyncText).as_asgi(), ATOMIC, "sms")
    answers = [[event["type"] for event in await deliver(app, sms(), TEXT)] for _ in range(2)]
    assert answers == [["sms.send", "sms.accept"]] * 2
    assert rows() == ["hi"]


async def test_a_stored_mail_is_handled_in_a_transaction(store: Store, rows: Written) -> None:
    policy = Policy(atomic=True, inbox=True)
    app = ProtocolTypeRouter({"email": Guard(Mail.as_asgi(), policy, "email")})
    assert [event["type"] for event in await deliver(app, email(), MAIL)] == ["email.accept"]
    async with working(store, app):
        await until(lambda: handled(store))
    assert rows() == ["mail"]


# What a handler may not do.


@pytest.mark.parametrize(
    "statement",
    ["COMMIT", "rollback", "BEGIN", "-- x\n END", "/* y */ Abort", "START TRANSACTION", ";COMMIT", "ROLLBACK -- TO x"],
)
async def test_a_statement_that_would_end_the_transaction_is_refused(
    store: Store, rows: Written, statement: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Ends(MqttConsumer):
        def receive(self, topic: str, payload: bytes) -> None:
            self.connection.execute(Rows.insert, ["one"])
            self.connection.execute(statement)

    await run(store, mqtt_app(Ends, Policy(atomic=True, on_error="dead-letter")), "one")
    assert ((await store.counts()).dead, rows()) == (1, [])
    assert "is refused, because the route has atomic: true" in caplog.text


@pytest.mark.parametrize(
    "statement",
    [
        b"COMMIT",
        SQL("COMMIT"),
        "\ufeffCOMMIT",
        "INSERT INTO rows VALUES ('x'); END",
        "SELECT E'it\\'s'; prepare transaction 'x'",
    ],
)
def test_a_statement_is_refused_in_whatever_form_a_driver_takes_it(statement: object) -> None:
    with pytest.raises(TransactionRefused):
        check_statement(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 'a; COMMIT', 'it''s; END'",
        "SELECT CASE WHEN what = 'x' THEN 1 END FROM rows",
        "ROLLBACK TO SAVEPOINT mine",
        "rollback work to mine",
        "PREPARE plan AS SELECT 1",
        "CREATE TRIGGER t AFTER INSERT ON rows BEGIN DELETE FROM old; END",
        "DO $x$ BEGIN PERFORM 1; END $x$",
        'INSERT INTO "end" VALUES (1); SELECT 1',
    ],
)
def test_a_statement_that_only_has_such_a_word_may_pass(statement: str) -> None:
    check_statement(statement)


@pytest.mark.parametrize("ends", ["rollback", "commit", "close"])
async def test_a_handler_that_ends_the_driver_s_transaction_has_failed(
    store: Store, rows: Written, ends: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Ends(MqttConsumer):
        def receive(self, topic: str, payload: bytes) -> None:
            self.connection.execute(Rows.insert, ["one"])
            self.connection.call(lambda connection: getattr(connection, ends)())
            self.publish("seen", payload)

    await run(store, mqtt_app(Ends, Policy(atomic=True, on_error="dead-letter")), "one")
    counts = await store.counts()
    assert (counts.dead, counts.outgoing) == (1, 0)
    assert rows() == (["one"] if ends == "commit" else [])
    await run(store, mqtt_app(Row, ATOMIC), "two")  # on a connection that is good
    assert "two" in rows()


async def test_a_savepoint_may_be_rolled_back(store: Store, rows: Written) -> None:
    class Some(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            await self.connection.execute(Rows.insert, ["one"])
            await self.connection.execute("SAVEPOINT mine")
            await self.connection.execute(Rows.insert, ["two"])
            await self.connection.execute("ROLLBACK TO SAVEPOINT mine")
            found = await self.connection.execute("SELECT count(*) FROM rows")
            assert list(found) == [(1,)]

    await run(store, mqtt_app(Some, ATOMIC), "one")
    assert rows() == ["one"]


async def test_the_connection_ends_with_its_handler(store: Store, rows: Written) -> None:
    kept: list[Any] = []

    class Keeps(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            kept.append(self.connection)

    await run(store, mqtt_app(Keeps, ATOMIC), "one")
    with pytest.raises(TransactionRefused, match="the transaction is over"):
        await kept[0].execute(Rows.insert, ["late"])
    assert rows() == []


async def test_another_thread_does_not_get_the_connection(store: Store) -> None:
    errors: list[Exception] = []

    class Threads(MqttConsumer):
        def receive(self, topic: str, payload: bytes) -> None:
            import threading

            def other() -> None:
                try:
                    connection.execute(Rows.insert, ["late"])
                except TransactionRefused as error:
                    errors.append(error)

            connection = self.connection
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()

    await run(store, mqtt_app(Threads, ATOMIC), "one")
    assert "this is another thread" in str(errors[0])


async def test_a_sync_handler_may_use_the_connection_by_a_coroutine(store: Store, rows: Written) -> None:
    """Its thread waits for the coroutine, whose statements run on that thread."""

    class Bridges(MqttConsumer):
        def receive(self, topic: str, payload: bytes) -> None:
            async_to_sync(self.write)(payload)

        async def write(self, payload: bytes) -> None:
            extensions: Any = self.scope["extensions"]
            await extensions["atomic"]["connection"].execute(Rows.insert, [payload.decode()])

    await run(store, mqtt_app(Bridges, ATOMIC), "one", "two")
    assert rows() == ["one", "two"]


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
async def test_the_server_notices_a_host_that_vanishes(store: Store) -> None:
    found: list[Any] = []

    class Shows(MqttConsumer):
        def receive(self, topic: str, payload: bytes) -> None:
            found.extend(self.connection.execute("SHOW tcp_keepalives_idle"))

    await run(store, mqtt_app(Shows, ATOMIC), "one")
    assert found == [("5",)]


async def test_a_connection_that_a_handler_has_made_useless_is_replaced(
    store: Store, rows: Written, place: tuple[Store, Rows]
) -> None:
    statement = "SET search_path TO nowhere" if "gateway_" in place[1].give_away else "PRAGMA query_only = ON"

    class Spoils(MqttConsumer):
        def receive(self, topic: str, payload: bytes) -> None:
            self.connection.execute(statement)

    await run(store, mqtt_app(Spoils, ATOMIC), "one")
    await run(store, mqtt_app(Row, Policy(atomic=True, attempts=1, backoff=3600)), "two")
    assert rows() == ["two"]


async def test_rows_of_one_handler_do_not_have_the_form_that_another_wants(store: Store, rows: Written) -> None:
    found: list[Any] = []

    class Wants(MqttConsumer):
        def receive(self, topic: str, payload: bytes) -> None:
            found.extend(self.connection.execute("SELECT 1"))
            self.connection.call(lambda connection: setattr(connection, "row_factory", no_rows))

    await run(store, mqtt_app(Wants, Policy(atomic=True, on_error="dead-letter")), "one", "two")
    assert found == [(1,), (1,)]
    assert (await store.counts()).dead == 0


def no_rows(cursor: Any, *row: Any) -> Any:
    """A factory of rows, of SQLite or of psycopg, that makes none."""
    return None if row else lambda _: None


@pytest.mark.parametrize("base", [MqttConsumer, AsyncMqttConsumer])
async def test_without_atomic_there_is_no_connection(store: Store, base: Any, caplog: pytest.LogCaptureFixture) -> None:
    consumer = Row if base is MqttConsumer else AsyncRow
    await run(store, mqtt_app(consumer, Policy(inbox=True, on_error="dead-letter")), "one")
    assert "only a handler on a route with atomic: true has one" in caplog.text


async def test_a_message_that_another_process_has_taken_over_is_not_handled(
    store: Store, place: tuple[Store, Rows], caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[bytes] = []

    class Late(MqttConsumer):
        def receive(self, topic: str, payload: bytes) -> None:
            runs.append(payload)

    await publish(app := mqtt_app(Late, ATOMIC), said("one"))
    take = store.take

    async def taken(*args: Any, **keys: Any) -> Any:
        found = await take(*args, **keys)
        place[1].execute(place[1].give_away)
        return found

    store.take = taken
    async with working(store, app):
        await until(lambda: "another process has it" in caplog.text)
    assert runs == []


# What is sent.


@pytest.mark.parametrize("fails", [False, True])
async def test_a_group_is_told_after_the_commit_and_not_at_all_if_there_is_none(
    store: Store, fault: Fault, fails: bool
) -> None:
    layer = InMemoryChannelLayer()
    channel = await layer.new_channel()
    await layer.group_add("live", channel)

    class Tells(MqttConsumer):
        def receive(self, topic: str, payload: bytes) -> None:
            self.connection.execute(Rows.insert, ["one"])
            self.group_send("live", {"type": "row.new", "commits": fault.commits})
            if fails:
                raise KeyError("no")

    with installed({channel_layer: layer}):
        await run(store, mqtt_app(Tells, Policy(atomic=True, on_error="dead-letter")), "one")
        if fails:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await layer.receive(channel)
        else:
            assert (await layer.receive(channel))["commits"] == 0


async def test_a_group_is_told_what_the_message_was_at_the_line_that_sends_it(store: Store) -> None:
    refused: list[str] = []

    class Tells(MqttConsumer):
        def receive(self, topic: str, payload: bytes) -> None:
            message = {"type": "row.new", "n": 1}
            self.group_send("live", message)
            message["n"] = 2
            try:
                self.group_send("live", {"type": "row.new", "rows": [{"at": datetime.now(UTC)}]})
            except TypeError as error:
                refused.append(str(error))

    with socket_folder() as folder:
        layer = ipc_layer(folder / "layer.sock")
        await layer.open()
        channel = await layer.new_channel()
        await layer.group_add("live", channel)
        with installed({channel_layer: layer}):
            await run(store, mqtt_app(Tells, Policy(atomic=True, on_error="dead-letter")), "one")
            assert (await layer.receive(channel))["n"] == 1
        await layer.close()
    (said,) = refused
    assert "the value of 'rows[0].at' is not text" in said
    assert "write value.isoformat()" in said


async def test_order_is_kept_per_key(store: Store, rows: Written) -> None:
    seen: list[tuple[str, str]] = []

    class Ordered(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            await asyncio.sleep(0)
            await self.connection.execute(Rows.insert, [payload.decode()])
            seen.append((topic, payload.decode()))

    app = mqtt_app(Ordered, Policy(atomic=True, order="key"))
    await publish(app, *(said(f"{number:03}", number + 1, f"t/{number % 4}") for number in range(40)))
    async with working(store, app):
        await until(lambda: handled(store))
    for name in {topic for topic, _ in seen}:
        payloads = [payload for topic, payload in seen if topic == name]
        assert payloads == sorted(payloads)
    assert len(rows()) == 40


# What is reached by the driver's own connection.


class Driver:
    """Does what psycopg can, by ``call``."""

    @staticmethod
    def write(connection: Any) -> str:
        with connection.cursor(row_factory=dict_row) as cursor:
            with cursor.copy("COPY rows FROM STDIN") as copy:
                copy.write_row(["copied"])
            with contextlib.suppress(LookupError), connection.transaction():
                cursor.execute("INSERT INTO rows VALUES ('undone')")
                raise LookupError
            cursor.executemany("INSERT INTO rows VALUES (%s)", [["one"], ["two"]])
            return str(cursor.execute("SELECT what FROM rows WHERE what = 'copied'").fetchone()["what"])


class ByDriver(MqttConsumer):
    def receive(self, topic: str, payload: bytes) -> None:
        self.publish("seen", self.connection.call(Driver.write))


class AsyncByDriver(AsyncMqttConsumer):
    async def receive(self, topic: str, payload: bytes) -> None:
        await self.publish("seen", await self.connection.call(Driver.write))


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
@pytest.mark.parametrize("consumer", [ByDriver, AsyncByDriver])
async def test_cursors_copies_savepoints_and_row_factories_are_reached_by_a_call(
    store: Store, rows: Written, consumer: Any
) -> None:
    await run(store, mqtt_app(consumer, ATOMIC), "go")
    assert rows() == ["copied", "one", "two"]
    assert (await store.counts()).outgoing == 1


@pytest.mark.parametrize("base", [MqttConsumer, AsyncMqttConsumer])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("commit", "commit\\(\\) is refused, because the route has atomic: true: the gateway commits"),
        ("rollback", "rollback\\(\\) is refused"),
        ("cursor", "call\\(function\\) calls function\\(connection\\) with the driver's own connection"),
    ],
)
async def test_what_the_connection_has_not_is_refused_in_words(store: Store, base: Any, name: str, words: str) -> None:
    found: list[str] = []

    def look(consumer: Any) -> None:
        with pytest.raises(AttributeError, match=words) as error:
            getattr(consumer.connection, name)
        found.append(str(error.value))

    class Sync(MqttConsumer):
        def receive(self, topic: str, payload: bytes) -> None:
            look(self)

    class Async(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            look(self)

    await run(store, mqtt_app(Sync if base is MqttConsumer else Async, ATOMIC), "go")
    assert len(found) == 1


async def test_a_webhooks_rows_are_there_once_and_those_of_an_attempt_that_answered_500_are_not(
    store: Store, rows: Written
) -> None:
    answers = [500, 404, 204]

    class Hook(AsyncHttpConsumer):
        async def handle(self, body: bytes) -> None:
            await self.connection.execute(Rows.insert, [f"{body.decode()} {answers[0]}"])
            await self.respond(b"", status=answers.pop(0))

    policy = WebhookPolicy(inbox=True, atomic=True, attempts=3, backoff=0.01, verify=Unsigned())
    async with serving(store, routed(Hook, policy)) as client:
        for body, left in (("failing and then refused", 1), ("paid", 0)):
            assert (await client.post("/shop", content=body)).status_code == 202
            await until(lambda left=left: len(answers) == left)
            await until(lambda: handled(store))
    assert rows() == ["paid 204"]
    assert [(each.subject, each.attempts) for each in await store.dead()] == [("http POST /hooks/shop", 2)]
