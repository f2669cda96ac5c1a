"""Signs outgoing mail with DKIM (RFC 6376)."""

import asyncio
from collections.abc import Sequence
from email.utils import getaddresses
from pathlib import Path

from protocols import private_files
from protocols.asgi import DSNRequest
from protocols.errors import PermanentFailure, describe_error
from protocols.mail.addresses import check_domain
from protocols.mail.headers import parse_headers
from protocols.mail.submission.interface import Submission
from protocols.mail.submission.settings import DKIMSettings
from protocols.mail.submission.seven_bit import seven_bit

_SIGNED = (
    b"from sender reply-to to cc subject date message-id in-reply-to references mime-version content-type "
    b"content-transfer-encoding content-id auto-submitted list-id list-unsubscribe list-unsubscribe-post"
).split()
"""RFC 6376 5.4.1."""
_ONCE = frozenset(b"from reply-to to cc subject date message-id".split())
"""If they are there they are signed once more than they occur: nobody can add another one (RFC 6376, 8.15)."""


class Key:
    """The key of one domain. Raises ValueError, with one sentence, if it cannot sign."""

    def __init__(self, settings: DKIMSettings) -> None:
        path = Path(settings.key)
        try:
            self.pem = path.read_bytes()
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror or error}") from error
        if private_files.is_open_to_all(path):
            raise ValueError(f"{path}: every user of this machine can read the key; chmod o= {path}")
        self.domain = check_domain(settings.domain).encode()
        self.selector = settings.selector.encode("ascii")
        self.sign(b"From: check\r\n\r\n")

    def sign(self, message: bytes) -> bytes:
        """Return ``message`` with its signature before it."""
        try:
            from protocols.mail.dkim_library import dkim
        except ImportError as error:
            raise ValueError("DKIM needs dkimpy, which is not installed; pip install 'asgi-gateway[mail]'") from error
        there = [name for name, _ in parse_headers(message) if name in _SIGNED]
        names = [*there, *dict.fromkeys(name for name in there if name in _ONCE)]
        relaxed = (b"relaxed", b"relaxed")
        try:
            line: bytes = dkim.sign(
                message, self.selector, self.domain, self.pem, canonicalize=relaxed, include_headers=names
            )
        except Exception as error:  # of its own ASN.1, or for fields that are none
            raise ValueError(f"DKIM, {self.domain.decode()}: {describe_error(error)}") from error
        return line + message


class SignedSubmission:
    """Signs by the domain of From, and sends by ``submission``. Mail of other domains is not signed.

    A message is made 7-bit before it is signed: a server on the way that does so would break the signature (RFC 6376,
    5.3).
    """

    def __init__(self, submission: Submission, keys: Sequence[DKIMSettings]) -> None:
        """Raises ValueError, with one sentence, if a key cannot sign."""
        self._submission = submission
        self._keys = [Key(each) for each in keys]

    async def submit(
        self, mail_from: str, rcpt_to: Sequence[str], message: bytes, *, dsn: DSNRequest | None = None
    ) -> None:
        if (key := self._key(message)) is not None:
            try:
                message = await asyncio.to_thread(_signed, key, message)
            except ValueError as error:
                raise PermanentFailure(str(error)) from error
        await self._submission.submit(mail_from, rcpt_to, message, dsn=dsn)

    def _key(self, message: bytes) -> Key | None:
        """Return the key of the domain of From, or of the longest domain above it (RFC 7489, 3.1.1)."""
        fields = dict(reversed(parse_headers(message)))
        sender = next(iter(getaddresses([fields.get(b"from", b"").decode("utf-8", "replace")])), ("", ""))[1]
        labels = b"." + _ascii(sender.rpartition("@")[2])
        fitting = [key for key in self._keys if labels.endswith(b"." + key.domain)]
        return max(fitting, key=lambda key: len(key.domain), default=None)

    async def close(self) -> None:
        await self._submission.close()


def _signed(key: Key, message: bytes) -> bytes:
    return key.sign(seven_bit(message))


def _ascii(domain: str) -> bytes:
    try:
        return check_domain(domain).encode()
    except ValueError:
        return b""
