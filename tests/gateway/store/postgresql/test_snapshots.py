"""A snapshot that is held for long is told of, with what ends it."""

import logging
from typing import Any

import psycopg
import pytest
from servers.postgresql import Database

from gateway.store.postgresql.snapshots import HELD, LOOK, Snapshots


class Minutes:
    """A clock that goes when it is told to."""

    def __init__(self, session: "psycopg.Connection[Any]") -> None:
        self._session = session
        self._now = 0.0
        self._snapshots = Snapshots(lambda: self._now)

    def pass_by(self, seconds: float) -> None:
        for _ in range(int(seconds / LOOK) + 1):
            self._now += LOOK
            self._snapshots.look(self._session)


def test_a_session_is_named_once_by_what_an_ordinary_user_may_see(
    place: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with place.connect() as session, place.server.admin() as report:
        minutes = Minutes(session)
        report.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        report.execute("SELECT 1 FROM pg_class")
        pid = report.info.backend_pid
        minutes.pass_by(HELD - LOOK)
        assert not caplog.records
        minutes.pass_by(HELD)
        [told] = [record.getMessage() for record in caplog.records]
        assert f"session {pid} of postgres has held a snapshot for 5 minutes" in told
        assert f"end it: SELECT pg_terminate_backend({pid})" in told
        report.execute("ROLLBACK")
        minutes.pass_by(HELD)
        report.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        session.execute("SELECT pg_current_xact_id()")
        report.execute("SELECT 1 FROM pg_class")
        minutes.pass_by(2 * HELD)
        assert len(caplog.records) == 2


def test_work_that_goes_on_is_no_snapshot_that_is_held(place: Database, caplog: pytest.LogCaptureFixture) -> None:
    with place.connect() as session, place.connect() as busy:
        minutes = Minutes(session)
        for _ in range(20):
            with busy.transaction():
                busy.execute("SELECT pg_current_xact_id()")
                minutes.pass_by(0)
    assert not caplog.records


def test_a_prepared_transaction_is_named_with_what_ends_it(place: Database, caplog: pytest.LogCaptureFixture) -> None:
    with place.connect() as session:
        minutes = Minutes(session)
        session.execute("BEGIN")
        session.execute("SELECT pg_current_xact_id()")
        session.execute("PREPARE TRANSACTION 'left'")
        try:
            minutes.pass_by(2 * HELD)
        finally:
            session.execute("ROLLBACK PREPARED 'left'")
    [told] = [record.getMessage() for record in caplog.records]
    assert "prepared transaction left of gateway has held" in told
    assert "end it: ROLLBACK PREPARED 'left'" in told
