"""Hears that another process has put something into the store: in a thread and a session of its own.

This is only quicker than to look for it, which the worker and the outbox do anyhow. So whatever goes wrong here costs a
second at most.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable

import psycopg

from gateway.store.postgresql.connection import Session, connect
from gateway.store.postgresql.pauses import Pauses
from gateway.store.postgresql.place import Place
from gateway.store.postgresql.sql.wake import CHANNEL

logger = logging.getLogger(__name__)

TEST = 30.0
"""Seconds between two tests whether notifications arrive."""
ARRIVES = 5.0
"""Seconds after which the test's own notification has to be there."""
LONGEST_PAUSE = 2.0
"""Seconds between two attempts to listen, at most."""
POLL = 0.2
"""Seconds between two looks where notifications cannot arrive."""
_POOLED = (
    "%s: a pooler is between, through which no notifications come: what other processes put into the store is looked "
    "for every %g s"
)
_LOOK = 0.5
"""Seconds after which the thread looks whether it is to end."""


class Listener:
    """Calls ``heard`` in its thread: with what was put, and by which owner."""

    def __init__(self, place: Place, heard: Callable[[str, str], None]) -> None:
        self._place = place
        self._heard = heard
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-listener", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        trouble, pauses = "", Pauses(LONGEST_PAUSE)
        while not self._end.is_set():
            try:
                with connect(self._place, autocommit=True) as session:
                    if session.is_pooled:
                        break
                    session.listen(CHANNEL)
                    self._heard("", "")  # something may have been put while nobody listened
                    trouble = _told("", trouble)
                    pauses.end()
                    self._listen(session)
            except psycopg.Error as error:
                trouble = _told(str(error).strip(), trouble)
            self._end.wait(pauses.next())
        self._poll()

    def _poll(self) -> None:
        """Let everybody look, again and again: through a pooler no notification arrives."""
        if not self._end.is_set():
            logger.info(_POOLED, self._place, POLL)
        while not self._end.wait(POLL):
            self._heard("", "")

    def _listen(self, session: Session) -> None:
        """Hear until the end, or until the test fails. Raises psycopg.Error."""
        nonce, tested = "", time.monotonic()
        while not self._end.is_set():
            since = time.monotonic() - tested
            if nonce and since > ARRIVES:
                raise psycopg.OperationalError("notifications do not arrive")
            if not nonce and since > TEST:
                nonce, tested = secrets.token_hex(8), time.monotonic()
                session.execute("SELECT pg_notify(%s, %s)", (CHANNEL, f"test {nonce}"))
            for what, who in session.heard(_LOOK):
                if what == "test":
                    nonce = "" if who == nonce else nonce
                else:
                    self._heard(what, who)


def _told(trouble: str, before: str) -> str:
    """Tell the operator of a trouble when it begins, and when it is over."""
    if trouble and not before:
        logger.warning("what other processes put into the store is looked for once a second: %s", trouble)
    elif before and not trouble:
        logger.info("other processes are heard again when they put something into the store")
    return trouble
