"""A session with the database, in which every answer has a time limit."""

import contextlib
import select
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.rows import tuple_row

from gateway.store.postgresql.place import Place
from gateway.store.postgresql.sql.arrays import register
from gateway.store.postgresql.sql.me import GivenUp
from gateway.store.postgresql.sql.schema import ONE_RUNNING, Unsuitable
from gateway.store.values import StoreUnavailable
from gateway.store.writer import Fault

Value = TypeVar("Value")

ANSWER = 10.0
"""Seconds to wait for the answer to one statement or COMMIT."""
LONGEST_STATEMENT = 600.0
"""The same for the statements of handlers."""
OPENING = 60.0
"""The same while the tables are made or changed."""
KEEPALIVES = {"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3"}
"""The server's own: a host that vanishes in a handler's transaction would keep its locks for two hours."""
_ISOLATION = {"default_transaction_isolation": "'read committed'"}
_SETTINGS = {
    **_ISOLATION,
    "statement_timeout": str(int(ANSWER * 1000)),
    "idle_in_transaction_session_timeout": str(int(ANSWER * 1000)),
    "jit": "off",
    "enable_seqscan": "off",
}
"""A plan that reads a whole table is right while the table is small, and would be kept when it has grown."""
POOL_MODE = "set pool_mode to transaction or session"
_READ, _WRITE = 1, 2
_EVENTS = {_READ: select.POLLIN, _WRITE: select.POLLOUT, _READ | _WRITE: select.POLLIN | select.POLLOUT}


def _set(settings: Mapping[str, str], *, local: bool) -> bytes:
    """The statements that make the settings those of the session, or of the transaction. What is acknowledged is on
    disk, whatever the server's default is; a stronger setting stays."""
    sets = [f"SET {'LOCAL' if local else 'SESSION'} {name} = {value};" for name, value in settings.items()]
    durable = (
        f"SELECT set_config('synchronous_commit', 'on', {local}) WHERE current_setting('synchronous_commit') = 'off'"
    )
    return " ".join([*sets, durable]).encode()


class NoAnswer(psycopg.OperationalError):
    """The database does not answer."""


class NoOutcome(psycopg.OperationalError):
    """The session has ended during its commit."""


class Session(psycopg.Connection[Any]):
    """A connection for one thread."""

    settings: Mapping[str, str] = _SETTINGS
    limit = ANSWER
    is_pooled = False
    """Whether a pooler, such as PgBouncer, is between. The next transaction may then be in another session of the
    server, so that settings of a session, prepared statements and LISTEN do not work."""
    are_there_others: Callable[[], bool] = staticmethod(lambda: True)
    """Whether other processes have the store open."""
    owner_now: Callable[[], str] = staticmethod(lambda: "0")
    """The id of the owner that uses it."""

    @property
    def owner(self) -> str:
        return self.owner_now()

    @property
    def is_heard(self) -> bool:
        return self.are_there_others()

    def wait(self, gen: Generator[Any, Any, Value], *_: Any, **__: Any) -> Value:
        """Wait for an answer, in place of psycopg's own method, which may wait for ever. Raises OperationalError after
        ``limit`` seconds, and the session is over then."""
        deadline = time.monotonic() + self.limit
        try:
            wanted, poll = next(gen), select.poll()
            poll.register(self.pgconn.socket, _EVENTS[wanted])
            while True:
                happened = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
                if not happened:
                    self.pgconn.finish()
                    raise NoAnswer(f"the database has not answered for {self.limit:g} s")
                wanted = gen.send(_ready(happened[0][1], wanted))
                poll.modify(self.pgconn.socket, _EVENTS[wanted])
        except StopIteration as end:
            value: Value = end.value
            return value

    def listen(self, channel: str) -> None:
        """Listen for :meth:`heard`. Notifications that come with an answer reach only a handler of psycopg."""
        self._early: list[str] = []
        self.add_notify_handler(lambda notification: self._early.append(notification.payload))
        self.execute(f"LISTEN {channel}")

    def heard(self, seconds: float) -> list[tuple[str, str]]:
        """Wait at most so long for notifications, and return the two words of each. psycopg's own method would wait in
        :meth:`wait`, where each answer has to come within ``limit``."""
        if self._has_input(0.0 if self._early else seconds):
            self.pgconn.consume_input()
        payloads, self._early = self._early, []
        while (notification := self.pgconn.notifies()) is not None:
            payloads.append(notification.extra.decode())
        return [(what, who) for what, _, who in (payload.partition(" ") for payload in payloads)]

    def _has_input(self, seconds: float) -> bool:
        """Wait at most so long for something to read. ``select.select`` takes no file descriptor above 1023, which a
        gateway with many clients has."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    refusal: Callable[[], str] = staticmethod(lambda: "")
    """Why nothing may be written any more; empty while it may."""

    def begin(self, *, writes: bool = True, single: bool = False) -> None:
        """The first statement begins the transaction, unless it needs settings of its own. Raises OperationalError if
        the server has ended the session meanwhile: it is certain then that nothing is done. Raises Unsuitable
        if a later release has changed the tables so that this one may not write."""
        if writes and (said := self.refusal()):
            raise Unsuitable(said)
        while self._has_input(0.0):
            self.pgconn.consume_input()
        if self.autocommit != (single and not self.is_pooled):
            self.autocommit = not self.autocommit
        if self.is_pooled:
            self.execute(_set(self.settings, local=True))

    def execute(self, *args: Any, **kwargs: Any) -> "psycopg.Cursor[Any]":
        try:
            return super().execute(*args, **kwargs)
        except psycopg.OperationalError as error:
            if self.closed and self.autocommit and error.sqlstate is None and not isinstance(error, NoAnswer):
                raise NoOutcome(str(error)) from error  # what the server itself ends with an error is not committed
            raise

    def commit(self) -> None:
        try:
            super().commit()
        except psycopg.OperationalError as error:
            raise (NoOutcome(str(error)) if self.closed else error) from error

    def rollback(self) -> None:
        with contextlib.suppress(psycopg.Error):  # the session is over, and the transaction with it
            super().rollback()

    def sync(self) -> None:
        """Nothing: a commit is on disk when it returns."""


class HandlerSession(Session):
    """A session for transactions of handlers: their own statements may take their time."""

    settings = {**_ISOLATION, **KEEPALIVES}
    limit = LONGEST_STATEMENT

    def commit(self) -> None:
        self.limit = ANSWER
        try:
            super().commit()
        finally:
            self.limit = LONGEST_STATEMENT

    def rollback(self) -> None:
        """Raises psycopg.OperationalError if the session is over."""
        psycopg.Connection.rollback(self)


class Plain:
    """A connection of other code, for the store's statements. The server binds their parameters, and their rows are
    tuples, whatever cursors the connection makes by itself."""

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        register(connection)
        self._connection = connection
        self.info = connection.info
        self.is_heard = getattr(connection, "is_heard", True)

    @property
    def autocommit(self) -> bool:
        return self._connection.autocommit

    def execute(self, query: Any, params: Any = None) -> "psycopg.Cursor[Any]":
        return psycopg.Cursor(self._connection, row_factory=tuple_row).execute(query, params)


def _ready(events: int, wanted: int) -> int:
    ready = (_READ if events & select.POLLIN else 0) | (_WRITE if events & select.POLLOUT else 0)
    return ready or wanted  # an error of the socket: libpq says which


def connect(place: Place, *, autocommit: bool = False, kind: type[Session] = Session) -> Session:
    """A session that may write. Raises psycopg.OperationalError."""
    session = kind.connect(autocommit=True, prepare_threshold=None, **place.parameters)
    try:
        session.is_pooled = _is_pooled(session)
        if session.is_pooled:
            _check_pooler(session)
        else:
            session.prepare_threshold = 1
            session.execute(_set(kind.settings, local=False))
        session.autocommit = autocommit
        session.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        register(session)
    except BaseException:
        session.close()
        raise
    return session


def _is_pooled(session: Session) -> bool:
    """A pooler gives its clients invented process ids."""
    return session.execute("SELECT pg_backend_pid()").fetchone() != (session.info.backend_pid,)


def _check_pooler(session: Session) -> None:
    try:
        with session.transaction():
            session.execute(_set(session.settings, local=True))
    except errors.ProtocolViolation as error:
        said = str(error).strip()
        raise psycopg.OperationalError(f"the pooler before it refuses transactions: {said}; {POOL_MODE}") from error


_CONFLICTS = (errors.SerializationFailure, errors.DeadlockDetected)
_OWN = (psycopg.IntegrityError, psycopg.DataError, errors.ProgramLimitExceeded)
_PASSING = (GivenUp, errors.DiskFull, errors.OutOfMemory, errors.QueryCanceled, errors.LockNotAvailable)


def fault(error: Exception) -> Fault:
    """What an exception of an operation, or of a session, means for the writer."""
    if isinstance(error, _CONFLICTS) or _is_taken(error) or _cannot_notify(error):
        return Fault.CONFLICT
    if isinstance(error, Unsuitable):
        return Fault.PASSING
    if not isinstance(error, psycopg.Error | StoreUnavailable) or isinstance(error, _OWN):
        return Fault.OWN
    if isinstance(error, NoOutcome):
        return Fault.UNKNOWN
    if isinstance(error, _PASSING):
        return Fault.PASSING
    return Fault.LOST if isinstance(error, NoAnswer | StoreUnavailable) else Fault.CUT


def _is_taken(error: Exception) -> bool:
    """Whether another process has begun a message of the same key at the same moment."""
    return isinstance(error, errors.UniqueViolation) and error.diag.constraint_name == ONE_RUNNING


def _cannot_notify(error: Exception) -> bool:
    """Whether the queue of notifications became full since the statement looked: the next attempt sees it. The message
    may be in any language."""
    return isinstance(error, errors.ProgramLimitExceeded) and error.diag.source_file == "async.c"
