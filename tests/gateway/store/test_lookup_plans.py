"""Lists go along an index, page by page: what is behind a page is not read, let alone sorted, for it."""

import contextlib
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from gateway.store import Outgoing
from gateway.store.calls import Page
from gateway.store.sqlite.sql import lookup, outgoing
from gateway.store.sqlite.sql.schema import migrate

LISTS: list[tuple[Callable[..., Any], Any]] = [
    (lookup.waiting, Page(1000, "m7", type="mqtt")),
    (lookup.dead, Page(1000, "m7")),
    (lookup.outgoing, Page(1000, "m7")),
]


@pytest.mark.parametrize(("operation", "call"), LISTS, ids=["waiting", "dead", "outgoing"])
def test_a_page_is_not_sorted(operation: Callable[..., Any], call: Any) -> None:
    asked: list[str] = []
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        migrate(database)
        database.set_trace_callback(asked.append)
        assert operation(database, [call]) == [[]]
        database.set_trace_callback(None)
        plan = [row[3] for sql in asked for row in database.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert plan
    assert not [step for step in plan if "TEMP B-TREE" in step or step.startswith("SCAN")]


def test_what_is_tried_again_is_found_by_its_id() -> None:
    """And not among all that waits, which may be much."""
    asked: list[str] = []
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        migrate(database)
        outgoing.put(database, [Outgoing("e-0", "e", "sms", b"")])
        database.set_trace_callback(asked.append)
        assert outgoing.requeue(database, [(["e-0"], 1.0)]) == [1]
        assert outgoing.drop(database, [(["e-0"], True), (["e-0"], False)]) == [0, 1]
        database.set_trace_callback(None)
        own = [sql for sql in asked if "outgoing" in sql]
        plan = [row[3] for sql in own for row in database.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert plan
    assert not [step for step in plan if "outgoing_due" in step or step.startswith("SCAN outgoing")]
