"""Signs what an answer's Reply-To carries: ``reply+TOKEN@example.org``. The answer to it then names its thread itself.

A token is the thread's id, a mark of the address that it was made for, and a MAC over both, in base 32 and small
letters: local parts lose their capitals on the way, and have 64 octets at most (RFC 5321, 4.5.3.1.1).
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal
from uuid import UUID

from protocols.mail.addresses import DELIMITER
from protocols.secret import Secret
from protocols.server import SETTINGS_CONFIG

SHORTEST_SECRET = 16
"""Characters of a secret at least."""

_ROOM = 64
"""Octets of a local part (RFC 5321, 4.5.3.1.1). Some servers take more, but the token goes to everybody's."""
_MAC = 10
"""Bytes of the MAC: 80 bits, HMAC-SHA256 cut off (RFC 2104, 5)."""
_MARK = 5
"""Bytes of the recipient's mark. It tells addresses apart, and a wrong guess is no way in: the MAC is."""
_TEXT, _UUID = b"t", b"u"
_TOKEN = re.compile(r"[a-z2-7]{26,63}")


@dataclass(frozen=True)
class ReplyTokenSettings:
    """Signs the ids that answers carry in Reply-To: `self.reply(..., token="ticket-17")`."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    secret: Secret | tuple[Secret, ...]
    """At least 16 characters that nobody else knows. To change it, write a list with the new secret first: the first
    one signs, and answers to mail that was signed with the others are still recognized."""

    delimiter: Literal["+", "-", "=", "_", "."] = "+"
    """What stands between a local part and the token: a `recipient_delimiter` of your mail server, and of the server in
    this file."""

    def tokens(self) -> "ReplyTokens":
        """Raises ValueError if a secret is too short, or there is none."""
        return ReplyTokens([self.secret] if isinstance(self.secret, Secret) else self.secret, self.delimiter)


class ReplyToken:
    """A token of ours that came back. Its signature is valid."""

    def __init__(self, id: str, mark: bytes, key: bytes) -> None:
        self.id = id
        """What you gave it: a thread's or ticket's id."""
        self._mark, self._key = mark, key

    def is_for(self, address: str) -> bool:
        """Whether it was made for ``address``. Somebody else may have it from a forwarded mail."""
        return hmac.compare_digest(_mark(self._key, address), self._mark)

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<ReplyToken {self.id!r}>"


class ReplyTokens:
    """Makes tokens with the first secret, and reads those that were made with any of them."""

    def __init__(self, secrets: Sequence[Secret], delimiter: str = DELIMITER) -> None:
        """Raises ValueError if one of ``secrets`` is too short, or there is none."""
        if not secrets:
            raise ValueError("there is no secret; write one that nobody can guess")
        if any(len(secret.reveal()) < SHORTEST_SECRET for secret in secrets):
            raise ValueError(f"a secret has fewer than {SHORTEST_SECRET} characters; write one that nobody can guess")
        self._keys = [_key(each) for each in secrets]
        self._delimiter = delimiter

    def address(self, own: str, id: str, recipient: str) -> str:
        """Return ``own`` with a token for ``id`` as its tag. ``recipient`` is the address that it is for.

        Raises ValueError if ``id`` is too long beside that local part, or empty. A UUID takes 16 bytes.
        """
        local, _, domain = own.rpartition("@")
        if not local:
            raise ValueError(f"token: {own} has no domain; write from_=")
        token = self._token(id, recipient)
        room = _ROOM - len(local.encode()) - 1
        most = room * 5 // 8 - _MARK - _MAC - 1
        if most < 1 or local.startswith('"'):
            raise ValueError(f"token: there is no room for one behind {local}; write a shorter from_=")
        if not id or len(token) > room:
            raise ValueError(f"token: {id!r} does not fit behind {local}; write an id of 1 to {most} bytes, or a UUID")
        return f"{local}{self._delimiter}{token}@{domain}"

    def _token(self, id: str, recipient: str) -> str:
        key = self._keys[0]
        content = _packed(id) + _mark(key, recipient)
        return base64.b32encode(content + _mac(key, content)).decode().lower().rstrip("=")

    def read(self, address: str) -> ReplyToken | None:
        """Return the token in ``address``; None if there is none of ours."""
        raw = _decoded(self._split(address)[1])
        content, mac = raw[:-_MAC], raw[-_MAC:]
        for key in self._keys if len(content) > _MARK + 1 else ():
            if hmac.compare_digest(mac, _mac(key, content)):
                return ReplyToken(_unpacked(content[:-_MARK]), content[-_MARK:], key)
        return None

    def without(self, address: str) -> str:
        """Return ``address`` without the token of ours in it, if there is one."""
        return address if self.read(address) is None else self._split(address)[0]

    def _split(self, address: str) -> tuple[str, str]:
        """(address without its token, token) of ``address``, by the form alone; the token is empty if there is none.

        Fastmail delivers ``alpha@user.example.org`` to ``user+alpha@example.org``, so other tags may stand in front.
        """
        local, at, domain = address.rpartition("@")
        base, _, tag = local.rpartition(self._delimiter)
        token = tag.lower()
        return (f"{base}{at}{domain}", token) if base and _TOKEN.fullmatch(token) else (address, "")


def _packed(id: str) -> bytes:
    try:
        as_uuid = UUID(id)
    except ValueError:
        return _TEXT + id.encode()
    return _UUID + as_uuid.bytes if str(as_uuid) == id else _TEXT + id.encode()


def _unpacked(content: bytes) -> str:
    return str(UUID(bytes=content[1:])) if content[:1] == _UUID else content[1:].decode()


def _decoded(token: str) -> bytes:
    try:
        return base64.b32decode(token.upper() + "=" * (-len(token) % 8))
    except binascii.Error:
        return b""


def _key(secret: Secret) -> bytes:
    return hashlib.sha256(b"asgi-gateway reply token\0" + secret.reveal().encode()).digest()


def _mark(key: bytes, recipient: str) -> bytes:
    return hmac.digest(key, b"for\0" + recipient.casefold().encode(errors="replace"), hashlib.sha256)[:_MARK]


def _mac(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, b"token\0" + content, hashlib.sha256)[:_MAC]
