"""A cache of verified passwords as keyed digests, so that the same login is not computed twice.

A digest covers the user's name, the current hash of the user's password in the settings or the password file, and the
password that the client sent. The key is random and exists only in this process. So an entry is void as soon as the
hash changes, and a copy of it reveals nothing about the password. The password itself is not kept.
"""

import hmac
import secrets
from collections import OrderedDict
from hashlib import blake2b

WRONG_FOR = 60.0
"""Seconds for which a wrong password is remembered: a device with an old one tries it again every few seconds."""
_MOST_WRONG = 10_000


class LoginCache:
    """Remembers a right login of each user until the hash changes, and wrong logins for a minute."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._right: dict[str, bytes] = {}
        self._wrong: OrderedDict[bytes, float] = OrderedDict()
        """Wrong logins and when to forget them, the soonest first."""

    def digest(self, name: str, hashed: str, password: bytes) -> bytes:
        """The digest that identifies a login. ``hashed`` is empty for an unknown name."""
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
