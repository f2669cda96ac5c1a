"""Users with the hashes of their passwords, and the file that holds them."""

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Mapping

from protocols.secret import Secret

logger = logging.getLogger(__name__)

MAX_BCRYPT = 72
"""Bytes of a password that bcrypt uses; it ignores the rest."""

_HASH = re.compile(
    r"\$argon2id\$v=19\$m=\d{1,9},t=\d{1,6},p=\d{1,5}\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{16,172}"
    r"|\$2[aby]\$(?:0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}",
    re.ASCII,
)
_STRANGER = Secret("$argon2id$v=19$m=19456,t=2,p=1$JUmzhYuv7Z5g1WT7Bykw0w$bXyAbR5uBuDZqVVs2ZY6LPvKUqbe1xY2mJ3oDPbG6Cg")
"""The hash against which the password of an unknown user is checked if there are no users at all."""
_PARAMETERS = re.compile(r"m=(\d+),t=(\d+)", re.ASCII)
_PAUSE = 1.0
"""Seconds between two checks of the file."""

Users = Mapping[str, Secret]


class Unverifiable(Exception):
    """A password cannot be checked against a hash: there is not enough memory, or the hash is malformed."""


def check_users(users: Users) -> None:
    """Check names and hashes. Raises ValueError if a name is empty or a value is not a hash; the message shows no
    value."""
    for name, value in users.items():
        if not name.isprintable() or not name:
            raise ValueError(f"{name!r} is not a user name")
        if not _HASH.fullmatch(value.reveal()):
            raise ValueError(f"the hash of user {name!r} is neither argon2id nor bcrypt; `gateway password` makes one")


def parse_users(text: str) -> dict[str, Secret]:
    """The users in the text of a password file. Raises ValueError with the line's number, but without its content."""
    users: dict[str, Secret] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not (line := line.strip()) or line.startswith("#"):
            continue
        name, colon, value = line.rpartition(":")
        if not colon:
            raise ValueError(f"line {number} is not name:hash")
        if name in users:
            raise ValueError(f"line {number}: user {name!r} is there already")
        try:
            check_users({name: Secret(value)})
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        users[name] = Secret(value)
    return users


class PasswordFile:
    """A file of users, which is read again when it has changed. Safe to use from several threads.

    If the file cannot be read or parsed, its last good content stays in force, and one log line says so.
    """

    def __init__(self, path: str, owner: str, clock: Callable[[], float] = time.monotonic) -> None:
        """``owner`` is named in log lines. Raises ValueError with one sentence if the file cannot be read or parsed."""
        self._path = path
        self._owner = owner
        self._clock = clock
        self._lock = threading.Lock()
        self._looked = clock()
        self._seen = _signature(path)
        try:
            self._users = _read(path)
        except ValueError as error:
            raise ValueError(f"password_file: {path}: {error}") from error
        self.slowest = slowest(self._users)
        """Seconds, see :func:`slowest`."""

    def users(self) -> dict[str, Secret]:
        """The current users. Reads the disk, at most once a second."""
        with self._lock:
            now = self._clock()
            if now - self._looked >= _PAUSE:
                self._looked = now
                self._look()
            return self._users

    @property
    def overdue(self) -> bool:
        """Whether :meth:`users` would look at the disk."""
        return self._clock() - self._looked >= _PAUSE

    @property
    def last(self) -> dict[str, Secret]:
        """The users when the file was read last."""
        return self._users

    def _look(self) -> None:
        # Taken before the file is read: a change in between is noticed the next time.
        signature = _signature(self._path)
        if signature == self._seen:
            return
        self._seen = signature
        try:
            self._users = _read(self._path)
        except ValueError as error:
            logger.error("%s: password_file: %s: %s; the last good one counts", self._owner, self._path, error)
        else:
            self.slowest = slowest(self._users)
            logger.info("%s: password_file: %s: read again, %d users", self._owner, self._path, len(self._users))


def _signature(path: str) -> tuple[int, ...]:
    """Values that change when the file changes; empty if there is no file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(path: str) -> dict[str, Secret]:
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8 text") from error
    return parse_users(text)


def verify(users: Users, name: str, password: bytes) -> bool:
    """Whether ``name`` is a user and ``password`` is that user's. Raises Unverifiable. Not for the event loop: it takes
    tens of milliseconds of CPU.

    An unknown name takes as long as a wrong password: it is checked against some user's hash, always the same one for
    each name, so neither the time nor its change from one attempt to the next tells which names exist. Any user's hash
    can be the one: a slow hash that was never used for unknown names would give its user away.
    """
    some = list(users.values()) or [_STRANGER]
    hashed = users.get(name, some[hash(name) % len(some)])
    return _is_password(hashed.reveal(), password) and name in users


def slowest(users: Users) -> float:
    """About how many seconds of CPU the most expensive password check among ``users`` takes."""
    return max(map(_cost, {value.reveal()[:32] for value in users.values()}), default=_cost(_STRANGER.reveal()))


def _cost(hashed: str) -> float:
    if hashed.startswith("$2"):
        return 60e-6 * 2.0 ** int(hashed[4:6])
    found = _PARAMETERS.search(hashed)
    return 0.65e-6 * int(found[1]) * int(found[2]) if found else 0.0


def _is_password(hashed: str, password: bytes) -> bool:
    return _is_bcrypt(hashed, password) if hashed.startswith("$2") else _is_argon2(hashed, password)


# argon2 and bcrypt are imported only when a password is checked: importing them takes as long as the whole server.


def _is_argon2(hashed: str, password: bytes) -> bool:
    from argon2.exceptions import VerificationError, VerifyMismatchError
    from argon2.low_level import Type, verify_secret

    try:
        return verify_secret(hashed.encode(), password, Type.ID)
    except VerifyMismatchError:
        return False
    except VerificationError as error:
        raise Unverifiable(str(error)) from error


def _is_bcrypt(hashed: str, password: bytes) -> bool:
    import bcrypt

    try:
        same = bcrypt.checkpw(password[:MAX_BCRYPT], hashed.encode())
    except ValueError as error:
        raise Unverifiable(str(error)) from error
    return same and _fits_bcrypt(password)


def _fits_bcrypt(password: bytes) -> bool:
    """Whether bcrypt can tell ``password`` from others. It repeats a key to 72 bytes with a NUL after each repetition,
    so it cannot tell "a" from "a NUL a"."""
    return len(password) <= MAX_BCRYPT and b"\0" not in password


def hash_password(password: bytes, *, bcrypt: bool = False) -> str:
    """A new hash of ``password``, with bcrypt or with argon2id. The latter has OWASP's minimum parameters, because
    devices often reconnect all at once.

    Raises ValueError for an empty password, and for one that is too long for bcrypt or for MQTT.
    """
    if not password:
        raise ValueError("the password is empty")
    if len(password) > 65535:  # a field of CONNECT is no longer (3.1.3.5)
        raise ValueError("the password is longer than MQTT's 65,535 bytes")
    if bcrypt:
        if not _fits_bcrypt(password):
            raise ValueError(f"bcrypt takes {MAX_BCRYPT} bytes without NUL; argon2id takes any password")
        import bcrypt as library

        return library.hashpw(password, library.gensalt()).decode()
    from argon2 import PasswordHasher

    return PasswordHasher(memory_cost=19 * 1024, time_cost=2, parallelism=1).hash(password)
