"""What a page, a take or a purge costs does not depend on how much the store holds: statements go along indexes."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg
import pytest
from servers.postgresql import Database, database

from gateway.store import Message, Search
from gateway.store.calls import Failed, Finish, Page, Put, Take
from gateway.store.postgresql.sql import history, lookup, messages, notes, outgoing, put, upkeep
from gateway.store.postgresql.sql.arrays import register
from gateway.store.postgresql.sql.purge import purge
from gateway.store.postgresql.sql.schema import migrate

FILL = """
INSERT INTO gateway_owners (beat) SELECT 0 FROM generate_series(1, 3);
INSERT INTO gateway_messages (id, type, route, key, subject, received, content, checksum, state, owner, due)
    SELECT 'm' || n, 'mqtt', 'r', 'm' || n, 's', n, 'x', 0, CASE n % 5 WHEN 1 THEN 0 ELSE n % 5 END, 1, n
    FROM generate_series(1, 30000) AS n;
INSERT INTO gateway_claims (key, id, state, attempts, received, expires, result, checksum)
    SELECT 'k' || n, 'm' || n, 2, 1, n, n, '', 0 FROM generate_series(1, 30000) AS n;
INSERT INTO gateway_outgoing (id, message, kind, lane, content, checksum, state, due)
    SELECT 'm' || n || '-0', 'm' || n, 'sms', 'lane' || n % 3, 'x', 0, CASE n % 4 WHEN 2 THEN 0 ELSE n % 4 END, n
    FROM generate_series(1, 30000) AS n;
INSERT INTO gateway_notes (key, value, checksum, expires)
    SELECT 'n' || n, 'x', 0, n FROM generate_series(1, 30000) AS n;
"""


@pytest.fixture(scope="module")
def place() -> Iterator[Database]:
    with database() as found, found.connect() as session:
        migrate(session)
        session.execute(FILL)
        session.execute("VACUUM ANALYZE")
        yield found


class Explaining(psycopg.Connection[Any]):
    """Keeps the plan of each statement beside its result."""

    plans: list[str]

    def execute(self, query: Any, params: Any = None, **options: Any) -> "psycopg.Cursor[Any]":
        statement = query.decode() if isinstance(query, bytes) else query
        explained = super().execute(f"EXPLAIN {statement}", params).fetchall()
        self.plans.append("\n".join(line for (line,) in explained))
        return super().execute(query, params, **options)


CALLS: list[tuple[Callable[..., Any], Any]] = [
    (lookup.waiting, Page(100, "m7", type="mqtt")),
    (lookup.dead, Page(100, "m7")),
    (lookup.outgoing, Page(100, "m7")),
    (lookup.outgoing, Page(100, "m7", dead=True)),
    (lookup.outgoing, Page(100, "", message="m77")),
    *((lookup.find, ("m77", within, 10)) for within in Search),
    (lookup.summary, "m77"),
    (history.read, "m77"),
    (notes.get, (["n7"], 0.0)),
    (messages.take, Take("1", 8, 12.0, ["m5"])),
    (messages.finish, Finish(["m6"], "1", 12.0)),
    (put.put, Put([Message("new", "mqtt", "r", "key", 1.0, b"x")], "1", 1, 12.0)),
    (outgoing.get, "m77-0"),
    (outgoing.take, Take("1", 8, 12.0, ["lane1"])),
    (outgoing.take, Take("1", 8, 12.0, [], late=["lane1"])),
    (outgoing.finish, "m77-0"),
    (outgoing.retry, Failed("m78-0", "E", due=2e9)),
    (outgoing.dead_letter, Failed("m79-0", "E")),
    (outgoing.requeue, (["m79-0"], 1.0)),
    (outgoing.drop, (["m80-0"], False)),
]


def explained(place: Database, work: Callable[[Any], Any], options: str = "") -> Sequence[str]:
    with Explaining.connect(place.url, options=options) as session:
        session.plans = []
        register(session)
        work(session)
        session.rollback()
        return session.plans


@pytest.mark.parametrize(("operation", "call"), CALLS, ids=lambda value: getattr(value, "__name__", None))
def test_rows_are_found_by_an_index(place: Database, operation: Callable[..., Any], call: Any) -> None:
    plans = explained(place, lambda session: operation(session, [call]))
    assert plans
    for plan in plans:
        for table in ("messages", "claims", "outgoing", "notes"):
            assert f"Seq Scan on gateway_{table}" not in plan, plan


@pytest.mark.parametrize(("operation", "call"), CALLS[:5], ids=lambda value: getattr(value, "__name__", None))
def test_a_page_is_not_sorted(place: Database, operation: Callable[..., Any], call: Any) -> None:
    [plan] = explained(place, lambda session: operation(session, [call]))
    limited = plan.partition("Limit")[2].partition("SubPlan")[0]
    assert "Sort" not in limited, plan


@pytest.mark.parametrize("operation", [lookup.counts, upkeep.holdings])
@pytest.mark.parametrize("table", ["gateway_messages", "gateway_outgoing"])
def test_what_is_not_gone_is_counted_along_indexes(place: Database, table: str, operation: Callable[..., Any]) -> None:
    """With a setting of a store's session: a small table is read as a large one."""
    plans = [
        plan
        for plan in explained(place, lambda session: operation(session, [None]), "-c enable_seqscan=off")
        if table in plan
    ]
    assert plans
    for plan in plans:
        assert "Seq Scan" not in plan, plan
        assert f"Index Only Scan using {table}_due" in plan or "Limit" in plan, plan


def test_what_is_forgotten_is_found_by_an_index(place: Database) -> None:
    for plan in explained(place, lambda session: purge(session, 100.0)):
        assert "Seq Scan" not in plan, plan
        assert "Tid Scan" in plan
