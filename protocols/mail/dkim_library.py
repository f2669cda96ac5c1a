"""dkimpy, made safe for mails of strangers: in time and memory linear in their size. Import ``dkim`` from here.

Its own ``relaxed`` takes time quadratic in a run of spaces, and holds the interpreter meanwhile: twenty minutes for one
line of 1 MiB. Its parser makes a list of the lines of the whole mail, which is many times its size if they are short.
"""

import re
from collections.abc import Iterator

import dkim
from dkim import canonicalization

from protocols.mail.headers import MAX_HEADER_BLOCK

__all__ = ["body_is_longer", "dkim", "split"]

_PIECE = 256 * 1024
"""Bytes of a body between which other threads may run."""
_SPACES = re.compile(rb"[\t ]+")
_END = re.compile(rb"\n\r?\n")


class _Relaxed(canonicalization.Relaxed):  # type: ignore[misc]  # the library has no types
    @staticmethod
    def canonicalize_body(body: bytes) -> bytes:
        """Return the body as RFC 6376 (3.4.4) says."""
        pieces = [_SPACES.sub(b" ", piece).replace(b" \r\n", b"\r\n") for piece in _pieces(body)]
        stripped: bytes = canonicalization.strip_trailing_lines(b"".join(pieces))
        return b"" if stripped == b"\r\n" else stripped


canonicalization.ALGORITHMS[b"relaxed"] = _Relaxed


def _pieces(body: bytes) -> Iterator[bytes]:
    """Yield the body in pieces of whole lines."""
    start = 0
    while start < len(body):
        end = body.find(b"\n", start + _PIECE) + 1 or len(body)
        yield body[start:end]
        start = end


def split(message: bytes) -> tuple[bytes, bytes]:
    """Return the header block, with its end, and the body with CRLF, as the library's parser gives it.

    Raises dkim.MessageFormatError if the block is longer than what is read of it elsewhere.
    """
    end = _END.search(message, 0, MAX_HEADER_BLOCK)
    if end is None and len(message) > MAX_HEADER_BLOCK:
        raise dkim.MessageFormatError("the header block is too long")
    stop = len(message) if end is None else end.end()
    body = message[stop:]
    if body.count(b"\n") != body.count(b"\r\n"):
        body = re.sub(rb"\r?\n", b"\r\n", body)
    return message[:stop], body


def body_is_longer(verifier: "dkim.DKIM", length: int) -> bool:
    """Whether the body, as the signature that was verified last has it, has more than ``length`` bytes."""
    policy = canonicalization.CanonicalizationPolicy.from_c_value(verifier.signature_fields.get(b"c"))
    return len(policy.canonicalize_body(verifier.body)) > length
