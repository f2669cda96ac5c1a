"""A real PostgreSQL server on a free port and a Unix socket of its own.

``database()`` gives a test an empty database on the one server that its process has. That server is quick, and loses
what it has if the machine stops. A test that stops, crashes or fills a server starts one for itself: ``postgresql()``.
"""

import contextlib
import ctypes
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from servers.keeper import closed_if_it_fails
from servers.ports import free_port
from servers.programs import program
from servers.site import until

USER, PASSWORD = "gateway", "s3cret/päss"
"""An ordinary user, who may create databases. The password needs to be written with escapes in a URL."""
ESCAPED = "s3cret%2Fp%C3%A4ss"
_ACCOUNTS = ("postgres", "nobody")
"""Whom a server runs as, where the tests run as root: it refuses that."""
_ACCESS = """
local all postgres trust
local replication postgres trust
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
"""
QUICK = {"fsync": "off", "full_page_writes": "off"}
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "80",
    "shared_buffers": "32MB",
    "max_wal_senders": "4",
    "max_prepared_transactions": "2",
    "logging_collector": "off",
    "log_line_prefix": "'%m [%p] '",
}
_LIMIT = 30.0


class PostgreSQL:
    """One server. ``settings`` are those of ``postgresql.conf``."""

    def __init__(
        self, folder: Path, settings: Mapping[str, str], data: Path | None = None, *, log_at: Path | None = None
    ) -> None:
        """``folder`` has a short name: Unix sockets' paths are bounded. ``data``: where the data lie, if not there;
        ``log_at``: where the write-ahead log lies, if not with them."""
        self.folder = folder
        self.data = data or folder / "data"
        self.port = free_port()
        self.log = folder / "log"
        self._log_at = log_at
        self._settings = {**_SETTINGS, **settings}
        self._process: subprocess.Popen[bytes] | None = None
        self._as = account()

    def make(self) -> None:
        """Make the data, with the user in it."""
        for each in (self.folder, self.data):
            each.mkdir(mode=0o755, exist_ok=True)
            self._give(each)
        self.data.chmod(0o700)
        elsewhere = [f"--waldir={self._log_at}"] if self._log_at else []
        self._run(
            "initdb", *elsewhere, "-D", str(self.data), "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"
        )
        (self.data / "pg_hba.conf").write_text(_ACCESS)
        self.start()
        with self.admin() as admin:
            admin.execute(f"CREATE ROLE {USER} LOGIN CREATEDB PASSWORD '{PASSWORD}'")

    def copy_of(self, primary: "PostgreSQL") -> None:
        """Make the data by pg_basebackup: a standby of ``primary``, which follows it once it is started."""
        self.folder.mkdir(mode=0o755, exist_ok=True)
        self._give(self.folder)
        source = make_conninfo(host=str(primary.folder), port=primary.port, user="postgres")
        self._run("pg_basebackup", "-D", str(self.data), "-d", source, "-R", "-X", "stream", "-c", "fast", "--no-sync")

    def start(self) -> None:
        """Start, and wait until it lets users in. It ends with the thread that calls this."""
        options = [f"--{name}={value}" for name, value in self._settings.items()]
        command = [program("postgres"), "-D", str(self.data), "-p", str(self.port), "-k", str(self.folder), *options]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, preexec_fn=end_with_us, **self._as
            )
        process = self._process
        with closed_if_it_fails(self.crash):
            until(lambda: process.poll() is not None or self.is_up(), "PostgreSQL lets users in", _LIMIT)
        assert self.is_up(), self.log.read_text()

    def is_up(self) -> bool:
        """Whether it lets users in."""
        try:
            self.admin().close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Stop, as an administrator restarts it: sessions are ended, everything is written."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """End without a word to anybody, as ``pg_ctl stop -m immediate`` does it."""
        self._end(signal.SIGQUIT)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(_LIMIT)

    def pause(self) -> None:
        """Stop all of its processes, so that it neither answers nor closes anything."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        for pid in (self._process.pid, *_children(self._process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def knows(self, name: str) -> bool:
        """Whether there is a database ``name``: a standby learns of it when it comes to that."""
        try:
            self.admin(name).close()
        except psycopg.OperationalError:
            return False
        return True

    def processes(self) -> list[int]:
        """The ids of its processes, the parent's first."""
        assert self._process is not None
        return [self._process.pid, *_children(self._process.pid)]

    def promote(self) -> None:
        """Let a standby be the primary."""
        with self.admin() as admin:
            admin.execute("SELECT pg_promote()")

    def admin(self, database: str = "postgres") -> "psycopg.Connection[Any]":
        """The administrator's session. Each statement is a transaction."""
        return psycopg.connect(
            host=str(self.folder), port=self.port, user="postgres", dbname=database, autocommit=True, connect_timeout=5
        )

    def url(self, name: str) -> str:
        """The URL of the database ``name``, for the ordinary user."""
        return f"postgresql://{USER}:{ESCAPED}@127.0.0.1:{self.port}/{name}"

    def sessions(self, name: str) -> list[int]:
        """The process ids of the sessions of the database ``name``."""
        with self.admin() as admin:
            found = admin.execute("SELECT pid FROM pg_stat_activity WHERE datname = %s", [name]).fetchall()
        return [pid for (pid,) in found]

    def terminate(self, name: str) -> int:
        """End the sessions of the database ``name``; how many."""
        with self.admin() as admin:
            sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
            return len(admin.execute(sql, [name]).fetchall())

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [program(name), *arguments], capture_output=True, text=True, cwd="/", timeout=_LIMIT, **self._as
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _give(self, path: Path) -> None:
        if self._as:
            shutil.chown(path, self._as["user"], self._as["group"])


@dataclass(frozen=True)
class Database:
    """An empty database of ``server``, which belongs to ``USER``."""

    server: PostgreSQL
    name: str

    @property
    def url(self) -> str:
        return self.server.url(self.name)

    def connect(self, **options: Any) -> "psycopg.Connection[Any]":
        """A session of its user. Each statement is a transaction."""
        return psycopg.connect(self.url, autocommit=True, **options)


@contextlib.contextmanager
def postgresql(**settings: str) -> Iterator[PostgreSQL]:
    """A server of the caller's own, with all of PostgreSQL's promises; ``settings`` as ``QUICK`` takes some away."""
    program("initdb")
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    server = PostgreSQL(folder, settings)
    try:
        server.make()
        yield server
    finally:
        server.crash()
        shutil.rmtree(folder, ignore_errors=True)


@cache
def shared() -> PostgreSQL:
    """The server of this test process. It ends with it."""
    import atexit

    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(postgresql(**QUICK))


_numbers = itertools.count(1)


@contextlib.contextmanager
def database(server: PostgreSQL | None = None) -> Iterator[Database]:
    """An empty database, on the server of this process if ``server`` is None. It is dropped in the end."""
    server = server or shared()
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with server.admin() as admin:
        admin.execute(f"CREATE DATABASE {name} OWNER {USER} STRATEGY file_copy")
    try:
        yield Database(server, name)
    finally:
        with contextlib.suppress(psycopg.OperationalError), server.admin() as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@cache
def _kept() -> Database:
    import atexit

    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(database())


def emptied() -> Database:
    """One database for all tests of this process that need a store without messages: a new one takes a while, and its
    tables take as long again. They have no rows now, but for their version."""
    place = _kept()
    with place.connect() as session:
        found = session.execute(
            "SELECT tablename FROM pg_tables WHERE tablename ^@ 'gateway_' AND tablename <> 'gateway_version'"
        )
        if tables := [table for (table,) in found]:
            session.execute(f"TRUNCATE {', '.join(tables)}")
    return place


def account() -> dict[str, Any]:
    """The account that a server runs under; empty if it is our own."""
    if os.geteuid() != 0:
        return {}
    known = {each.pw_name: each for each in pwd.getpwall()}
    found = next(known[name] for name in _ACCOUNTS if name in known)
    return {"user": found.pw_name, "group": found.pw_gid, "extra_groups": []}


def end_with_us() -> None:
    """Let the kernel end the server (SIGQUIT) when this process dies, however it dies."""
    ctypes.CDLL(None).prctl(1, signal.SIGQUIT)  # PR_SET_PDEATHSIG


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return list(map(int, found))
