"""Checks user names and passwords, however many clients log in at once."""

import asyncio
import enum
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

from protocols.access.login_cache import LoginCache
from protocols.access.login_failures import LoginFailures, penalty
from protocols.access.login_places import LoginPlaces
from protocols.access.login_queue import LoginQueue
from protocols.access.saved_login import is_saved, save_login
from protocols.access.users import PasswordFile, Unverifiable, Users, slowest, verify
from protocols.net.addresses import address_group
from protocols.secret import Secret

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 2
"""Passwords that are checked at a time: each check takes a core and about 20 MiB for tens of milliseconds."""
_THREADS = ThreadPoolExecutor(MOST_AT_ONCE + 1, thread_name_prefix="login")
"""The threads that check passwords and read the password file. The event loop's own few threads may all be waiting for
a name server."""
LONG = 1024
"""A password of more bytes is a long one."""
MOST_LONG = 64
"""Long passwords that may wait to be checked; the next client with one is told that the server is busy. Shorter ones
are bounded by ``max_connections`` alone."""
SOONEST = 0.1
"""The answer to a wrong login takes at least this many seconds."""

Save = Callable[[str, str | None], None]
"""``save(user name, record)`` stores a record of a right login; None removes it."""


class Outcome(enum.Enum):
    """What came of a login."""

    RIGHT = "right"
    WRONG = "wrong"
    BUSY = "busy"
    """Too many logins, or too many long passwords, wait to be checked."""
    UNAVAILABLE = "unavailable"
    """The password cannot be checked, which is the server's fault."""


class _Checked(NamedTuple):
    right: bool
    began: float
    """When the check began, in the loop's time."""


class Logins:
    """Checks user names and passwords of one server."""

    def __init__(
        self,
        users: Users | None,
        password_file: str | None,
        *,
        owner: str,
        save: Save | None = None,
        most: int | None = None,
    ) -> None:
        """``owner`` is the server's name, for log lines; ``save`` keeps records of right logins beyond this process;
        ``most`` logins wait at a time, a quarter of them from one address, and more are told that the server is busy.
        Raises ValueError with one sentence if the password file cannot be used."""
        self._users_of_settings = users or {}
        self._owner = owner
        self._file = None if password_file is None else PasswordFile(password_file, owner)
        self._merged_from: Users | None = None
        self._merged: Users = {}
        """The users of the file, as it was read last, and of the settings."""
        self._slowest = slowest(self._users_of_settings)
        self._looking: asyncio.Future[Any] | None = None
        self.cache = LoginCache()
        self.failures = LoginFailures()
        self._queue: LoginQueue[_Checked] = LoginQueue(MOST_AT_ONCE, self._failures_of)
        self._long = 0
        self._places = LoginPlaces(most)
        self._save = save
        self.saved: dict[str, str] = {}
        self.outcomes = {outcome.value: 0 for outcome in Outcome}
        """How many logins had which outcome."""

    def follow(self, before: "Logins", save: Save | None) -> Callable[[str], bool]:
        """Go on in the place of ``before``, with what that has learned about logins; see ``__init__`` for ``save``.
        Return a function that says whether a user of ``before`` is one here, with the same password."""
        old, new = before.known(), self.known()
        self.cache, self.failures, self.outcomes = before.cache, before.failures, before.outcomes
        self.saved = {name: record for name, record in before.saved.items() if name in new}
        self._save = save
        return lambda name: name in new and new[name] == old.get(name)

    def restore(self, saved: Mapping[str, str]) -> list[str]:
        """Take over the records that an earlier process gave to ``save``, by user name. Return the names whose records
        are void."""
        users = self.known()
        self.saved = {name: record for name, record in saved.items() if self._save is not None and name in users}
        return [name for name in saved if name not in self.saved]

    async def check(self, username: str, password: bytes, host: str = "") -> Outcome:
        """Check a login; ``host`` is the client's address. The answer to a wrong login takes equally long for every
        name, and longer with each failure."""
        outcome = await self._outcome(username, password, host)
        self.outcomes[outcome.value] += 1
        return outcome

    async def _outcome(self, username: str, password: bytes, host: str) -> Outcome:
        if len(password) <= LONG:
            return await self._judge(username, password, address_group(host))
        if self._long >= MOST_LONG:
            return Outcome.BUSY
        self._long += 1
        try:
            return await self._judge(username, password, address_group(host))
        finally:
            self._long -= 1

    def knows(self, username: str) -> bool:
        """Whether there is such a user."""
        return username in self.known()

    async def hash_of(self, username: str) -> Secret | None:
        """Return the hash of the user's password as it is now, also if the file has changed; None if there is no such
        user."""
        return (await self._users()).get(username)

    async def _judge(self, username: str, password: bytes, address: str) -> Outcome:
        users = await self._users()
        hashed = users.get(username)
        digest = self.cache.digest(username, "" if hashed is None else hashed.reveal(), password)
        if self.cache.is_right(username, digest):
            return Outcome.RIGHT
        with self._places.place(address) as is_free:
            return await self._judge_new(users, username, password, address, digest) if is_free else Outcome.BUSY

    async def _judge_new(self, users: Users, username: str, password: bytes, address: str, digest: bytes) -> Outcome:
        """Judge a login that is not known to be right."""
        hashed = users.get(username)
        loop = asyncio.get_running_loop()
        if self.cache.is_wrong(digest, loop.time()):
            return await self._refused(username, address, loop.time())
        try:
            check = partial(self._check, users, username, password, digest)
            checked = await self._queue.run(digest, address, username, check)
        except (Unverifiable, MemoryError) as error:
            logger.error("%s: a password cannot be checked: %s", self._owner, str(error) or "no memory")
            return Outcome.UNAVAILABLE
        if (await self._users()).get(username) != hashed:  # the file has changed while this waited for its turn
            return await self._judge(username, password, address)
        if checked.right:
            return Outcome.RIGHT
        return await self._refused(username, address, checked.began)

    async def _refused(self, username: str, address: str, began: float) -> Outcome:
        """Wait and answer that the login is wrong. The answer comes twice the time of the slowest hash after the check
        began, so the time does not tell which hash was checked."""
        loop = asyncio.get_running_loop()
        keys = _failure_key("name", username), _failure_key("address", address)
        wait = penalty(max(self.failures.of(key, loop.time()) for key in keys))
        for key in keys:
            self.failures.add(key, loop.time())
        await asyncio.sleep(began + max(SOONEST, 2 * self._slowest_check()) + wait - loop.time())
        return Outcome.WRONG

    def _slowest_check(self) -> float:
        return self._slowest if self._file is None else max(self._slowest, self._file.slowest)

    def _failures_of(self, address: str) -> float:
        return self.failures.of(_failure_key("address", address), asyncio.get_running_loop().time())

    async def _check(self, users: Users, username: str, password: bytes, digest: bytes) -> _Checked:
        loop = asyncio.get_running_loop()
        began = loop.time()
        right, record = await loop.run_in_executor(_THREADS, self._verify, users, username, password)
        if right:
            self.cache.add_right(username, digest)
        else:
            self.cache.add_wrong(digest, loop.time())
        if record is not None and self._save is not None:
            self.saved[username] = record
            self._save(username, record)
        return _Checked(right, began)

    def _verify(self, users: Users, username: str, password: bytes) -> tuple[bool, str | None]:
        """Check the password, on a thread. Return whether it is right, and a record to save if there is none yet."""
        hashed, saved = users.get(username), self.saved.get(username)
        if hashed is not None and saved is not None and is_saved(saved, hashed, password):
            return True, None
        if not verify(users, username, password) or hashed is None:
            return False, None
        return True, save_login(hashed, password) if self._save is not None else None

    async def _users(self) -> Users:
        """The current users. The file is checked when a client logs in, on a thread, once for all that wait for it."""
        if self._file is not None and (self._looking is not None or self._file.overdue):
            if self._looking is None:
                self._looking = asyncio.get_running_loop().run_in_executor(_THREADS, self._file.users)
                self._looking.add_done_callback(self._looked)
            await asyncio.shield(self._looking)
        return self.known()

    def _looked(self, _: object) -> None:
        self._looking = None

    def known(self) -> Users:
        if self._file is None:
            return self._users_of_settings
        if self._merged_from is not self._file.last:
            self._merged_from = self._file.last
            self._merged = {**self._merged_from, **self._users_of_settings}
        return self._merged


def _failure_key(kind: str, value: str) -> int:
    """A key of fixed size: the client chooses ``value``, which may be long."""
    return hash((kind, value))
