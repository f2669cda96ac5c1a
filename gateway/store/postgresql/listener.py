"""Listens for what other processes put into the store, in a thread and a session of its own.

The worker and the outbox also poll, so a failure here delays a message by a second at most.
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
"""Seconds within which the test's own notification has to arrive."""
LONGEST_PAUSE = 2.0
"""Seconds between two attempts to listen, at most."""
POLL = 0.2
"""Seconds between two looks where notifications cannot arrive."""
_POOLED = (
    "%s: no notifications come through the pooler: the store is polled every %g s for what other processes put there"
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
                    self._heard("", "")  # something may have been put before LISTEN
                    trouble = _told("", trouble)
                    pauses.end()
                    self._listen(session)
            except psycopg.Error as error:
                trouble = _told(str(error).strip(), trouble)
            self._end.wait(pauses.next())
        self._poll()

    def _poll(self) -> None:
        """Let the worker and the outbox poll more often: no notification arrives through a pooler."""
        if not self._end.is_set():
            logger.info(_POOLED, self._place, POLL)
        while not self._end.wait(POLL):
            self._heard("", "")

    def _listen(self, session: Session) -> None:
        """Listen until the end, or until the test fails. Raises psycopg.Error."""
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
    """Log when a trouble begins, and when it is over."""
    if trouble and not before:
        logger.warning("the store is polled once a second for what other processes put there: %s", trouble)
    elif before and not trouble:
        logger.info("notifications of other processes arrive again")
    return trouble
