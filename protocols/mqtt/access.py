"""Who may connect, and what each may do then: users, certificates and rules as the settings have them."""

import asyncio
import logging
from collections import ChainMap
from typing import Any, NamedTuple

from protocols.mqtt import reasons
from protocols.mqtt.acl import Rules
from protocols.mqtt.settings import MQTTSettings
from protocols.mqtt.users import PasswordFile, Unverifiable, Users, verify

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 2
"""Passwords that are checked at a time: each takes a core and some 20 MiB for tens of milliseconds."""
MOST_WAITING = 100
"""Clients that wait for that; one more is told that the server is busy."""


class Verdict(NamedTuple):
    """The answer to who somebody is: CONNACK's reason code, and the user name that was proved."""

    reason_code: int
    username: str | None


class Access:
    """Judges clients before the application hears of them."""

    def __init__(self, settings: MQTTSettings, name: str) -> None:
        """``name`` is the server's. Raises ValueError with one sentence where the password file is not good."""
        self.needed = settings.knows_users
        """Whether there is anything to judge by; where not, the application alone decides who connects."""
        self._settings = settings
        self._name = name
        self._file = None if settings.password_file is None else PasswordFile(settings.password_file, name)
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)
        self._pending = 0

    async def authenticate(
        self, username: str | None, password: bytes | None, certificate: dict[str, Any] | None
    ) -> Verdict:
        """Who this is; ``certificate`` is the verified one of the client, as ``SSLObject.getpeercert()`` has it."""
        if self._settings.certificate_user and (name := common_name(certificate)) is not None:
            return Verdict(reasons.SUCCESS, name)
        if username is None:
            return Verdict(reasons.SUCCESS if self._settings.anonymous else reasons.NOT_AUTHORIZED, None)
        if password is None:
            return Verdict(reasons.BAD_CREDENTIALS, None)
        if self._pending >= MOST_AT_ONCE + MOST_WAITING:
            return Verdict(reasons.SERVER_BUSY, None)
        try:
            known = await self._verified(username, password)
        except (Unverifiable, MemoryError) as error:
            logger.error("%s: a password cannot be checked: %s", self._name, str(error) or "no memory")
            return Verdict(reasons.SERVER_UNAVAILABLE, None)
        return Verdict(reasons.SUCCESS, username) if known else Verdict(reasons.BAD_CREDENTIALS, None)

    def rules_for(self, client_id: str, username: str | None) -> Rules | None:
        """What this client may do; None where there is no acl, and everybody may do everything."""
        return None if self._settings.acl is None else Rules(self._settings.acl, client_id, username)

    async def _verified(self, username: str, password: bytes) -> bool:
        self._pending += 1
        try:
            await self._slots.acquire()
        except asyncio.CancelledError:
            self._pending -= 1
            raise
        # A thread cannot be interrupted. Whoever connects and leaves again still takes a slot until it is done.
        check = asyncio.get_running_loop().run_in_executor(None, self._verify, username, password)
        check.add_done_callback(self._checked)
        return await asyncio.shield(check)

    def _checked(self, check: asyncio.Future[bool]) -> None:
        self._slots.release()
        self._pending -= 1

    def _verify(self, username: str, password: bytes) -> bool:
        return verify(self._users(), username, password)

    def _users(self) -> Users:
        users = self._settings.users or {}
        return users if self._file is None else ChainMap(users, self._file.users())


def common_name(certificate: dict[str, Any] | None) -> str | None:
    """The subject's one common name; None where there is none, several, or one that no log line could show."""
    subject = (certificate or {}).get("subject", ())
    names = [value for part in subject for kind, value in part if kind == "commonName"]
    return names[0] if len(names) == 1 and names[0] and names[0].isprintable() else None
