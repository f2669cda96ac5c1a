"""Who is who: hashes of passwords, and the file that holds them."""

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Mapping

from protocols.secret import Secret

logger = logging.getLogger(__name__)

MAX_BCRYPT = 72
"""Bytes of a password; bcrypt sees no more."""

_HASH = re.compile(
    r"\$argon2id\$v=19\$m=\d{1,9},t=\d{1,6},p=\d{1,5}\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{16,172}"
    r"|\$2[aby]\$(?:0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}",
    re.ASCII,
)
_STRANGER = Secret("$argon2id$v=19$m=19456,t=2,p=1$JUmzhYuv7Z5g1WT7Bykw0w$bXyAbR5uBuDZqVVs2ZY6LPvKUqbe1xY2mJ3oDPbG6Cg")
"""What the password of an unknown user is held against where there are no users at all."""
_PARAMETERS = re.compile(r"m=(\d+),t=(\d+)", re.ASCII)
_PAUSE = 1.0
"""Seconds between two looks at a file."""

Users = Mapping[str, Secret]


class Unverifiable(Exception):
    """A password cannot be held against a hash: no memory for it, or the hash makes no sense."""


def check_users(users: Users) -> None:
    """Raises ValueError where a name is empty or a value is no hash; the message shows no value."""
    for name, value in users.items():
        if not name.isprintable() or not name:
            raise ValueError(f"{name!r} is no user name")
        if not _HASH.fullmatch(value.reveal()):
            raise ValueError(f"the hash of user {name!r} is neither argon2id nor bcrypt; `gateway password` makes one")


def parse_users(text: str) -> dict[str, Secret]:
    """The users of a password file's text. Raises ValueError with the line's number and without its content."""
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
    """A file of users, looked at again when it has changed. Safe to use from several threads.

    A file that cannot be read or understood changes nothing: the last good one counts, and one line says so.
    """

    def __init__(self, path: str, owner: str, clock: Callable[[], float] = time.monotonic) -> None:
        """``owner`` is named in log lines. Raises ValueError with one sentence where there is no good file."""
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
        """The users of now. Reads the disk, at most once a second."""
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
        """The users when the file was looked at last."""
        return self._users

    def _look(self) -> None:
        # Before the reading: what is written in between is seen the next time.
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
    """What changes when a file does; empty where there is none."""
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
    """Whether ``name`` is a user and ``password`` the user's. Tens of milliseconds of a CPU: not for the event loop.

    An unknown name takes as long as a wrong password: it is held against some user's hash, for each name the same one,
    so that neither the time nor its change from one attempt to the next tells which names there are. That is any
    user's: a slow hash that no unknown name was held against would tell its user's. Raises Unverifiable.
    """
    some = list(users.values()) or [_STRANGER]
    hashed = users.get(name, some[hash(name) % len(some)])
    return _is_password(hashed.reveal(), password) and name in users


def slowest(users: Users) -> float:
    """About how many seconds of a CPU the most expensive check of a password takes among ``users``."""
    return max(map(_cost, {value.reveal()[:32] for value in users.values()}), default=_cost(_STRANGER.reveal()))


def _cost(hashed: str) -> float:
    if hashed.startswith("$2"):
        return 60e-6 * 2.0 ** int(hashed[4:6])
    found = _PARAMETERS.search(hashed)
    return 0.65e-6 * int(found[1]) * int(found[2]) if found else 0.0


def _is_password(hashed: str, password: bytes) -> bool:
    return _is_bcrypt(hashed, password) if hashed.startswith("$2") else _is_argon2(hashed, password)


# Both are imported where a password is checked: they take as long to import as the whole server.


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
    """bcrypt repeats a key to 72 bytes, with a NUL after each turn: "a" and "a NUL a" are the same to it."""
    return len(password) <= MAX_BCRYPT and b"\0" not in password


def hash_password(password: bytes, *, bcrypt: bool = False) -> str:
    """A new hash of ``password``: argon2id with OWASP's least parameters, for devices come back all at once; or bcrypt.

    Raises ValueError for an empty password, and one that is not for bcrypt or for MQTT.
    """
    if not password:
        raise ValueError("the password is empty")
    if len(password) > 65535:  # 3.1.3.5
        raise ValueError("the password is longer than MQTT's 65,535 bytes")
    if bcrypt:
        if not _fits_bcrypt(password):
            raise ValueError(f"bcrypt takes {MAX_BCRYPT} bytes without NUL; argon2id takes any password")
        import bcrypt as library

        return library.hashpw(password, library.gensalt()).decode()
    from argon2 import PasswordHasher

    return PasswordHasher(memory_cost=19 * 1024, time_cost=2, parallelism=1).hash(password)
