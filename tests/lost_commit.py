"""A connection to PostgreSQL that is cut after a commit, before its answer."""

import pytest

from gateway.store.postgresql.connection import Session


def cut_after_the_next_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = Session.commit

    def commit_and_lose(session: Session) -> None:
        monkeypatch.setattr(Session, "commit", commit)
        commit(session)
        session.pgconn.finish()
        commit(session)

    monkeypatch.setattr(Session, "commit", commit_and_lose)
