"""`store: django` and ``atomic: true``: the ORM's rows, what the handler sends, and the message's "done" in one
transaction, whatever the handler does to it. A daemon handles mails, whose subjects say what their handlers do."""

import contextlib
import itertools
import smtplib
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from servers.postgresql import Database, database
from servers.project_store import ProjectSite, postgresql
from servers.site import until

HANDLERS = '''
import asyncio
import contextlib
import time
from pathlib import Path

from asgiref.sync import sync_to_async
from django.core.mail import send_mail
from django.db import IntegrityError, close_old_connections, connection, transaction
from gateway import AsyncEmailConsumer, EmailConsumer
from keeping.models import Order

attempts = {}


def row(what):
    Order.objects.create(what=what)


def nested(name):
    with transaction.atomic():
        row(name)
        with contextlib.suppress(LookupError), transaction.atomic():
            row(name + " inner")
            raise LookupError


def savepoint(name):
    row(name)
    mine = transaction.savepoint()
    row(name + " inner")
    transaction.savepoint_rollback(mine)


def hooks(name):
    row(name)
    transaction.on_commit(lambda: row(name + " hook"))


def bad_hook(name):
    row(name)
    transaction.on_commit(lambda: 1 / 0)


def send_from_hook(name):
    row(name)
    transaction.on_commit(lambda: send_mail(name, "hook", None, ["bo@example.com"]))


def swallowed(name):
    row(name)
    with contextlib.suppress(IntegrityError):
        Order.objects.create(id=Order.objects.last().id, what=name)


def swallowed_raw(name):
    row(name)
    with contextlib.suppress(IntegrityError), connection.cursor() as cursor:
        cursor.execute("INSERT INTO keeping_order (id, what) SELECT id, what FROM keeping_order")


def swallowed_in_block(name):
    row(name)
    with contextlib.suppress(IntegrityError), transaction.atomic():
        Order.objects.create(id=Order.objects.last().id, what=name)


def closed(name):
    row(name)
    connection.close()


def closed_and_written(name):
    row(name)
    connection.close()
    with contextlib.suppress(Exception):
        row(name)


def closed_raw(name):
    row(name)
    connection.connection.close()


def old_connections(name):
    row(name)
    close_old_connections()


def commit(name):
    row(name)
    transaction.commit()


def rollback_statement(name):
    row(name)
    connection.cursor().execute("ROLLBACK")


def commit_statement(name):
    row(name)
    connection.cursor().execute("/* now */ COMMIT")


def raw_rollback(name):
    row(name)
    connection.connection.rollback()


def raw_rollback_and_begin(name):
    row(name)
    connection.connection.rollback()
    connection.connection.execute("BEGIN")
    row(name)


def durable(name):
    row(name)
    with transaction.atomic(durable=True):
        row(name)


def set_rollback(name):
    row(name)
    transaction.set_rollback(True)


def block_left_open(name):
    row(name)
    transaction.atomic().__enter__()


def raises(name):
    row(name)
    raise LookupError(name)


def fails_once(name):
    row(name)
    attempts[name] = attempts.get(name, 0) + 1
    if attempts[name] == 1:
        raise LookupError(name)


def plain(name):
    row(name)


def answer_lost(name):
    """The connection is lost after the commit, before its answer."""
    row(name)
    raw = connection.connection

    def commit():
        del raw.commit
        raw.commit()
        raw.pgconn.finish()
        raw.commit()

    raw.commit = commit


def lock(direction):
    orders = Order.objects.order_by("id" if direction == "up" else "-id")
    for order in orders.filter(what__startswith="plain"):
        Order.objects.select_for_update().get(id=order.id)
        time.sleep(0.5)
    row(f"locked {direction}")


def own_statement(name):
    row(name)


def durability(name):
    """What a commit is worth: EXTRA is for a file without a write-ahead log, whose folder is synced, too."""
    asked = "PRAGMA synchronous" if connection.vendor == "sqlite" else "SHOW tcp_keepalives_idle"
    with connection.cursor() as cursor:
        cursor.execute(asked)
        assert str(cursor.fetchone()[0]) == ("3" if connection.vendor == "sqlite" else "5")
    row(name)


class Desk(EmailConsumer):
    def receive(self, message):
        name = message.subject
        what = name.split()[0]
        self.send("ann@example.com", subject="re", text=name, from_="desk@example.org")
        send_mail("django", name, None, ["cy@example.com"])
        if what == "own_statement":
            rows = self.connection.execute("SELECT count(*) FROM keeping_order")
            assert rows[0][0] >= 0
        globals()[what](name)


class AsyncDesk(AsyncEmailConsumer):
    """The name of a coroutine function below."""

    async def receive(self, message):
        name = message.subject
        await self.send("ann@example.com", subject="re", text=name, from_="desk@example.org")
        await getattr(self, "do_" + name.split()[1])(name)

    async def do_orm(self, name):
        await Order.objects.acreate(what=name)

    async def do_to_thread(self, name):
        await sync_to_async(row)(name)

    async def do_nested(self, name):
        await sync_to_async(nested)(name)

    async def do_connection(self, name):
        count = await self.connection.execute("SELECT count(*) FROM keeping_order")
        assert count[0][0] >= 0
        await sync_to_async(row)(name)

    async def do_raises(self, name):
        await Order.objects.acreate(what=name)
        raise LookupError(name)

    async def do_swallowed(self, name):
        await sync_to_async(swallowed)(name)

    async def do_closed(self, name):
        await sync_to_async(closed)(name)

    async def do_slow(self, name):
        """Other handlers run meanwhile, and this one fails: their rows stay."""
        await Order.objects.acreate(what=name)
        await asyncio.sleep(0.2)
        raise LookupError(name)

    async def do_count(self, name):
        count = await Order.objects.filter(what__startswith="counted").acount()
        await asyncio.sleep(0.05)
        await Order.objects.acreate(what=f"counted {count}")

    async def do_lock(self, name):
        await sync_to_async(lock)(name.split()[2])

    async def do_wait(self, name):
        await Order.objects.acreate(what="waited")
        Path("waiting").touch()
        while not Path("go").exists():
            await asyncio.sleep(0.02)
        await Order.objects.acount()

    async def do_leaves(self, name):
        """Leave a task behind, which writes when the transaction is over."""

        async def late():
            await asyncio.sleep(0.5)
            await Order.objects.acreate(what=name + " late")

        self.late = asyncio.create_task(late())
        await Order.objects.acreate(what=name)
'''
FILE = """
django: {{settings: keeping_settings}}
store: django
submission: {{url: "file:outbox"}}
servers:
  web: {{protocol: http, bind: "127.0.0.1:{web}"}}
  mail: {{protocol: smtp, bind: "127.0.0.1:{mail}"}}
routes:
  http: django
  email:
    - {{address: async@example.org, app: keeping.handlers.AsyncDesk, atomic: true, inbox: true, attempts: 1,
        backoff: 0.1}}
    - {{address: waits@example.org, app: keeping.handlers.Desk, atomic: true, attempts: 2}}
    - {{domain: example.org, app: keeping.handlers.Desk, atomic: true, inbox: true, attempts: 2, backoff: 0.1}}
"""
NUMBERS = itertools.count(1)


class AtomicSite(ProjectSite):
    """``place``: its PostgreSQL database; it is in a file without one."""

    def __init__(self, folder: Path, place: Database | None, **options: object) -> None:
        super().__init__(folder, None if place is None else postgresql(place, **options))
        self.place = place
        (folder / "keeping" / "handlers.py").write_text(HANDLERS)
        (folder / "gateway.yaml").write_text(FILE.format(web=self.web, mail=self.mail))
        self.migrate()

    def handle(self, what: str, to: str = "desk") -> str:
        """Send a mail whose handler does ``what``; return its subject once it is handled, or is a dead letter."""
        subject = f"{what} {next(NUMBERS)}."
        with smtplib.SMTP("127.0.0.1", self.mail, timeout=20) as client:
            client.sendmail("ann@example.net", [f"{to}@example.org"], f"Subject: {subject}\r\n\r\nhello".encode())
        until(lambda: self.query("SELECT count(*) FROM gateway_messages WHERE state < 3") == [(0,)], "handled")
        return subject

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        if self.place is not None:
            with self.place.connect() as session:
                return session.execute(sql.encode()).fetchall()
        with contextlib.closing(sqlite3.connect(self.file)) as database:
            return database.execute(sql).fetchall()

    def orders(self, subject: str) -> list[str]:
        """What its handler has written, without the subject."""
        rows = [what for (what,) in self.query("SELECT what FROM keeping_order ORDER BY id")]
        return [what.removeprefix(subject).strip() for what in rows if what.startswith(subject)]

    def sent(self, subject: str, number: int) -> None:
        """Wait until so many mails of its handler have left, and nothing else is to be sent."""
        until(lambda: self.query("SELECT count(*) FROM gateway_outgoing") == [(0,)], "sent")
        found = [subject.encode() in path.read_bytes() for path in (self.folder / "outbox").glob("new/*")]
        assert sum(found) == number

    def error(self, subject: str) -> str:
        """The error of the dead letter with this subject; empty if it is none."""
        rows = self.query("SELECT content, error FROM gateway_messages WHERE state = 3")
        return next((error for content, error in rows if subject.encode() in content), "")


@contextlib.contextmanager
def running(folder: Path, place: Database | None, **options: object) -> Iterator[AtomicSite]:
    site = AtomicSite(folder, place, **options)
    daemon = site.daemon()
    try:
        yield site
    finally:
        daemon.close()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AtomicSite]:
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(database()) if request.param == "postgresql" else None
        yield stack.enter_context(running(tmp_path_factory.mktemp("atomic"), place))


@pytest.mark.parametrize(
    ("what", "rows"),
    [
        ("plain", [""]),
        ("nested", [""]),
        ("savepoint", [""]),
        ("hooks", ["", "hook"]),
        ("bad_hook", [""]),
        ("swallowed_in_block", [""]),
        ("fails_once", [""]),
        ("own_statement", [""]),
        ("durability", [""]),
    ],
)
def test_what_is_committed_is_there_once_and_what_is_sent_leaves(site: AtomicSite, what: str, rows: list[str]) -> None:
    subject = site.handle(what)
    assert (site.orders(subject), site.error(subject)) == (rows, "")
    site.sent(subject, 2)


@pytest.mark.parametrize(("what", "rows"), [("nested", [""]), ("hooks", ["", "hook"]), ("bad_hook", [""])])
def test_a_sender_that_waits_is_answered_after_the_commit(site: AtomicSite, what: str, rows: list[str]) -> None:
    subject = site.handle(what, "waits")
    assert site.orders(subject) == rows
    site.sent(subject, 2)


def test_a_sender_that_waits_is_told_to_come_again_and_nothing_is_left(site: AtomicSite) -> None:
    with pytest.raises(smtplib.SMTPDataError, match="451"):
        site.handle("swallowed", "waits")
    assert not [what for (what,) in site.query("SELECT what FROM keeping_order") if what.startswith("swallowed ")]


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("swallowed", "the handler has gone on after an error of the database"),
        ("swallowed_raw", ""),
        ("closed", "the handler has closed the database connection of its transaction"),
        ("closed_and_written", "the handler has closed the database connection of its transaction"),
        ("closed_raw", ""),
        ("old_connections", "the handler has closed the database connection of its transaction"),
        ("commit", "TransactionManagementError"),
        ("rollback_statement", "ROLLBACK is refused, because the route has atomic: true"),
        ("commit_statement", "COMMIT is refused, because the route has atomic: true"),
        ("raw_rollback", "the transaction was committed or rolled back before its end"),
        ("raw_rollback_and_begin", "the transaction was committed or rolled back before its end"),
        ("durable", "A durable atomic block cannot be nested"),
        ("set_rollback", "the transaction can only be rolled back"),
        ("block_left_open", "the handler has left an atomic block open"),
        ("raises", "LookupError"),
    ],
)
def test_a_handler_that_spoils_the_transaction_has_failed_and_nothing_is_left(
    site: AtomicSite, what: str, error: str
) -> None:
    site.handle("plain")  # for those that need a row
    subject = site.handle(what)
    if what == "swallowed_raw" and not site.error(subject):
        assert site.orders(subject) == [""]  # SQLite undoes the one statement, and goes on
    else:
        assert site.orders(subject) == []
        assert error in site.error(subject)
        site.sent(subject, 0)
    after = site.handle("plain")
    assert site.orders(after) == [""], "the thread has a good connection again"


def test_a_mail_from_a_hook_leaves_after_the_commit(site: AtomicSite) -> None:
    subject = site.handle("send_from_hook")
    until(lambda: any(b"hook" in path.read_bytes() for path in (site.folder / "outbox").glob("new/*")), "sent")
    assert site.orders(subject) == [""]


@pytest.mark.parametrize("what", ["orm", "to_thread", "nested", "connection", "leaves"])
def test_an_async_handler_s_orm_is_in_the_transaction(site: AtomicSite, what: str) -> None:
    subject = site.handle(f"x {what}", "async")
    assert (site.orders(subject), site.error(subject)) == ([""], "")
    site.sent(subject, 1)


@pytest.mark.parametrize("what", ["raises", "swallowed", "closed"])
def test_an_async_handler_that_fails_leaves_nothing(site: AtomicSite, what: str) -> None:
    site.handle("plain")
    subject = site.handle(f"x {what}", "async")
    assert site.orders(subject) == []
    assert site.error(subject)
    site.sent(subject, 0)


def send_at_once(site: AtomicSite, subjects: Sequence[str]) -> None:
    """Send mails to the async handler."""

    def send(subject: str) -> None:
        with smtplib.SMTP("127.0.0.1", site.mail, timeout=20) as client:
            client.sendmail("ann@example.net", ["async@example.org"], f"Subject: {subject}\r\n\r\nhello".encode())

    with ThreadPoolExecutor(10) as threads:
        list(threads.map(send, subjects))


def test_handlers_that_run_at_once_do_not_share_a_transaction(site: AtomicSite) -> None:
    send_at_once(site, [f"x {'slow' if number % 2 else 'orm'} at once {number}" for number in range(20)])
    until(lambda: site.query("SELECT count(*) FROM gateway_messages WHERE state < 3") == [(0,)], "handled")
    assert len(site.orders("x orm at once")) == 10
    assert site.orders("x slow at once") == []


# What only PostgreSQL can do.


@pytest.fixture
def place() -> Iterator[Database]:
    with database() as place:
        yield place


def test_handlers_that_cannot_be_serialized_run_again(tmp_path: Path, place: Database) -> None:
    with running(tmp_path, place, OPTIONS={"isolation_level": 4}) as site:  # SERIALIZABLE
        send_at_once(site, [f"x count {number}" for number in range(8)])
        until(lambda: site.query("SELECT count(*) FROM gateway_messages WHERE state < 3") == [(0,)], "handled")
        assert site.query("SELECT count(*) FROM gateway_messages WHERE state = 3") == [(0,)]
        assert sorted(site.orders("counted")) == [str(number) for number in range(8)]


def test_a_handler_that_a_deadlock_ends_runs_again(tmp_path: Path, place: Database) -> None:
    with running(tmp_path, place) as site:
        site.handle("plain")
        site.handle("plain")
        send_at_once(site, ["x lock up", "x lock down"])
        until(lambda: site.query("SELECT count(*) FROM gateway_messages WHERE state < 3") == [(0,)], "handled")
        assert site.query("SELECT count(*) FROM gateway_messages WHERE state = 3") == [(0,)]
        assert sorted(site.orders("locked")) == ["down", "up"]


def test_a_connection_that_is_lost_in_the_middle_of_a_handler_is_no_failure_of_it(
    tmp_path: Path, place: Database
) -> None:
    with running(tmp_path, place) as site:
        send_at_once(site, ["x wait"])
        until(lambda: (tmp_path / "waiting").exists(), "the handler is in the middle")
        place.server.terminate(place.name)
        (tmp_path / "go").touch()
        until(lambda: site.orders("waited") == [""], "it has run again", 60.0)
        assert site.query("SELECT count(*) FROM gateway_messages WHERE state = 3") == [(0,)]


def test_a_commit_whose_answer_was_lost_is_looked_up(tmp_path: Path, place: Database) -> None:
    """Its sender, which waits, is not told to come again."""
    with running(tmp_path, place) as site:
        subject = site.handle("answer_lost", "waits")
        assert site.orders(subject) == [""]
        site.sent(subject, 2)
