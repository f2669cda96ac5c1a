"""Decides which clients may connect and what they may do, by the users, certificates and rules of the settings."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, Protocol

from protocols.mqtt.access.acl import Rule, Rules
from protocols.mqtt.access.login_cache import LoginCache
from protocols.mqtt.access.login_failures import LoginFailures, penalty
from protocols.mqtt.access.login_queue import LoginQueue
from protocols.mqtt.access.saved_login import is_saved, save_login
from protocols.mqtt.access.users import PasswordFile, Unverifiable, Users, slowest, verify
from protocols.mqtt.wire import reasons
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


def _forget(username: str, record: str | None) -> None:
    """Save nothing: without persistence, records do not outlive the process."""


class AccessSettings(Protocol):
    """The settings of a server for access control; see :class:`protocols.mqtt.settings.MQTTSettings`."""

    @property
    def users(self) -> Mapping[str, Secret] | None: ...
    @property
    def password_file(self) -> str | None: ...
    @property
    def certificate_user(self) -> bool: ...
    @property
    def anonymous(self) -> bool | None: ...
    @property
    def acl(self) -> Sequence[Rule] | None: ...
    @property
    def persistence(self) -> bool: ...
    @property
    def remember_logins(self) -> str: ...
    @property
    def knows_users(self) -> bool: ...


class Verdict(NamedTuple):
    """The outcome of authentication: CONNACK's reason code, and the authenticated user name."""

    reason_code: int
    username: str | None


class _Checked(NamedTuple):
    right: bool
    began: float
    """When the check began, in the loop's time."""


_WRONG = Verdict(reasons.BAD_CREDENTIALS, None)


class Access:
    """Authenticates clients before the application gets them."""

    def __init__(self, settings: AccessSettings, name: str, save: Save = _forget) -> None:
        """``name`` is the server's; ``save`` keeps records of right logins beyond this process. Raises ValueError with
        one sentence if the password file cannot be used."""
        self.needed = settings.knows_users
        """Whether the settings name users. If they do not, the application alone decides about connections."""
        self._settings = settings
        self._name = name
        self._file = None if settings.password_file is None else PasswordFile(settings.password_file, name)
        self._merged_from: Users | None = None
        self._merged: Users = {}
        """The users of the file, as it was read last, and of the settings."""
        self._slowest = slowest(settings.users or {})
        self._looking: asyncio.Future[Any] | None = None
        self._cache = LoginCache()
        self._failures = LoginFailures()
        self._queue: LoginQueue[_Checked] = LoginQueue(MOST_AT_ONCE, self._failures_of)
        self._long = 0
        self._save = save
        self._saves = settings.persistence and settings.remember_logins == "disk"
        self._saved: dict[str, str] = {}

    def restore(self, saved: Mapping[str, str]) -> None:
        """Take over the records that an earlier process gave to ``save``, by user name."""
        users = self._known()
        self._saved = {name: record for name, record in saved.items() if self._saves and name in users}
        for name in saved.keys() - self._saved.keys():
            self._save(name, None)

    async def authenticate(
        self,
        username: str | None,
        password: bytes | None,
        certificate: dict[str, Any] | None,
        host: str = "",
    ) -> Verdict:
        """Authenticate a client. ``certificate`` is its verified certificate, as ``SSLObject.getpeercert()`` returns
        it; ``host`` is its address. The answer to a wrong login takes equally long for every name, and longer with each
        failure."""
        if self._settings.certificate_user and (name := common_name(certificate)) is not None:
            return Verdict(reasons.SUCCESS, name)
        if username is None:
            return Verdict(reasons.SUCCESS if self._settings.anonymous else reasons.NOT_AUTHORIZED, None)
        if password is None:
            return _WRONG
        if len(password) <= LONG:
            return await self._judge(username, password, address_group(host))
        if self._long >= MOST_LONG:
            return Verdict(reasons.SERVER_BUSY, None)
        self._long += 1
        try:
            return await self._judge(username, password, address_group(host))
        finally:
            self._long -= 1

    async def _judge(self, username: str, password: bytes, address: str) -> Verdict:
        users = await self._users()
        hashed = users.get(username)
        digest = self._cache.digest(username, "" if hashed is None else hashed.reveal(), password)
        if self._cache.is_right(username, digest):
            return Verdict(reasons.SUCCESS, username)
        loop = asyncio.get_running_loop()
        if self._cache.is_wrong(digest, loop.time()):
            return await self._refused(username, address, loop.time())
        try:
            check = partial(self._check, users, username, password, digest)
            checked = await self._queue.run(digest, address, username, check)
        except (Unverifiable, MemoryError) as error:
            logger.error("%s: a password cannot be checked: %s", self._name, str(error) or "no memory")
            return Verdict(reasons.SERVER_UNAVAILABLE, None)
        if (await self._users()).get(username) != hashed:  # the file has changed while this waited for its turn
            return await self._judge(username, password, address)
        if checked.right:
            return Verdict(reasons.SUCCESS, username)
        return await self._refused(username, address, checked.began)

    async def _refused(self, username: str, address: str, began: float) -> Verdict:
        """Wait and answer that the login is wrong. The answer comes twice the time of the slowest hash after the check
        began, so the time does not tell which hash was checked."""
        loop = asyncio.get_running_loop()
        keys = _failure_key("name", username), _failure_key("address", address)
        wait = penalty(max(self._failures.of(key, loop.time()) for key in keys))
        for key in keys:
            self._failures.add(key, loop.time())
        await asyncio.sleep(began + max(SOONEST, 2 * self._slowest_check()) + wait - loop.time())
        return _WRONG

    def _slowest_check(self) -> float:
        return self._slowest if self._file is None else max(self._slowest, self._file.slowest)

    def _failures_of(self, address: str) -> float:
        return self._failures.of(_failure_key("address", address), asyncio.get_running_loop().time())

    def rules_for(self, client_id: str, username: str | None) -> Rules | None:
        """The rules for this client; None if there is no acl, so that every client may do everything."""
        return None if self._settings.acl is None else Rules(self._settings.acl, client_id, username)

    async def _check(self, users: Users, username: str, password: bytes, digest: bytes) -> _Checked:
        loop = asyncio.get_running_loop()
        began = loop.time()
        right, record = await loop.run_in_executor(_THREADS, self._verify, users, username, password)
        if right:
            self._cache.add_right(username, digest)
        else:
            self._cache.add_wrong(digest, loop.time())
        if record is not None:
            self._saved[username] = record
            self._save(username, record)
        return _Checked(right, began)

    def _verify(self, users: Users, username: str, password: bytes) -> tuple[bool, str | None]:
        """Check the password, on a thread. Return whether it is right, and a record to save if there is none yet."""
        hashed, saved = users.get(username), self._saved.get(username)
        if hashed is not None and saved is not None and is_saved(saved, hashed, password):
            return True, None
        if not verify(users, username, password) or hashed is None:
            return False, None
        return True, save_login(hashed, password) if self._saves else None

    async def _users(self) -> Users:
        """The current users. The file is checked when a client connects, on a thread, once for all that wait for it."""
        if self._file is not None and (self._looking is not None or self._file.overdue):
            if self._looking is None:
                self._looking = asyncio.get_running_loop().run_in_executor(_THREADS, self._file.users)
                self._looking.add_done_callback(self._looked)
            await asyncio.shield(self._looking)
        return self._known()

    def _looked(self, _: object) -> None:
        self._looking = None

    def _known(self) -> Users:
        users = self._settings.users or {}
        if self._file is None:
            return users
        if self._merged_from is not self._file.last:
            self._merged_from = self._file.last
            self._merged = {**self._merged_from, **users}
        return self._merged


def _failure_key(kind: str, value: str) -> int:
    """A key of fixed size: the client chooses ``value``, which may be long."""
    return hash((kind, value))


def common_name(certificate: dict[str, Any] | None) -> str | None:
    """The subject's only common name; None if it has none, several, or one that is not printable."""
    subject = (certificate or {}).get("subject", ())
    names = [value for part in subject for kind, value in part if kind == "commonName"]
    return names[0] if len(names) == 1 and names[0] and names[0].isprintable() else None
