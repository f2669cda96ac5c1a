"""Passwords that were verified, remembered as keyed digests, so that the same login is not computed twice.

A digest covers the user's name, the hash of the user's password as the settings or the password file have it now, and
the password that the client sent. The key is random and lives in this process only. So an entry is void as soon as the
hash is another one, and a copy of it says nothing about the password. The password itself is not kept.
"""

import hmac
import secrets
from collections import OrderedDict
from hashlib import blake2b

WRONG_FOR = 60.0
"""Seconds for which a wrong password is remembered: a device with an old one tries it again every few seconds."""
_MOST_WRONG = 10_000


class LoginCache:
    """Right logins are remembered until the hash changes; they are at most one a user. Wrong ones for a minute."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._right: dict[str, bytes] = {}
        self._wrong: OrderedDict[bytes, float] = OrderedDict()
        """When they are forgotten, the soonest first."""

    def digest(self, name: str, hashed: str, password: bytes) -> bytes:
        """What a login is remembered by. ``hashed`` is empty for a name that nobody has."""
        made = blake2b(key=self._key, digest_size=32)
        for field in (name.encode(), hashed.encode(), password):
            made.update(len(field).to_bytes(8, "big") + field)
        return made.digest()

    def is_right(self, name: str, digest: bytes) -> bool:
        return hmac.compare_digest(self._right.get(name, b""), digest)

    def is_wrong(self, digest: bytes, now: float) -> bool:
        return self._wrong.get(digest, 0.0) > now

    def add_right(self, name: str, digest: bytes) -> None:
        self._right[name] = digest

    def add_wrong(self, digest: bytes, now: float) -> None:
        self._wrong[digest] = now + WRONG_FOR
        self._wrong.move_to_end(digest)
        if len(self._wrong) > _MOST_WRONG:
            self._wrong.popitem(last=False)
