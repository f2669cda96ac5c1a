"""Decodes and encodes the text of header fields, with encoded words (RFC 2047). Pure; never raises."""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from itertools import takewhile

from protocols.mail.charsets import decode_text, one_line

LONGEST = 4000
"""Bytes of a value that are read."""
_WIDTH = 76
"""Columns of a line, unless a single word is longer: the limit for lines with an encoded word (RFC 2047, 2)."""
_PIECE = 39
"""Bytes of text in an encoded word, so that it fits on one line with ``Subject: ``."""
_START = rb"=\?([^?=\s]{0,60})\?([bBqQ])\?"
_WORD = re.compile(_START + rb"((?:[^?=]++|=(?!\?[^?=\s]{0,60}\?[bBqQ]\?)|\?(?!=))*+)\?=")
"""An encoded word. Another one does not begin inside it: then its end was cut off."""
_CUT_WORD = re.compile(_START + rb"([^?]*)\??")
"""What is left of an encoded word whose end was cut off."""
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=]")


def text_of(value: bytes, charset: str = "") -> str:
    """Return a field's value as a person reads it, on one line. ``charset`` is likely for bytes without a label."""
    value = value[:LONGEST]
    if b"=?" not in value:
        return one_line(decode_text(value, "", charset))
    pieces: list[tuple[str | None, bytes]] = []
    for label, raw in _pieces(value):
        if pieces and pieces[-1][0] == label:  # a character may be cut in two by the word's end
            raw = pieces.pop()[1] + raw
        pieces.append((label, raw))
    return one_line("".join(decode_text(raw, label or "", charset) for label, raw in pieces))


def _pieces(value: bytes) -> Iterator[tuple[str | None, bytes]]:
    """Yield (charset, bytes) for each encoded word, and (None, bytes) for other text. White space between two encoded
    words is left out."""
    end, after_word = 0, False
    for word in _WORD.finditer(value):
        between = value[end : word.start()]
        if between and not (after_word and between.isspace()):
            yield from _cut_words(between)
        yield _decoded(word)
        end, after_word = word.end(), True
    if end < len(value):
        yield from _cut_words(value[end:])


def _cut_words(value: bytes) -> Iterator[tuple[str | None, bytes]]:
    """Yield the same for text that holds no whole encoded word, but maybe the beginning of one."""
    end = 0
    for word in _CUT_WORD.finditer(value) if b"=?" in value else ():
        yield None, value[end : word.start()]
        yield _decoded(word)
        end = word.end()
    yield None, value[end:]


def _decoded(word: re.Match[bytes]) -> tuple[str, bytes]:
    return word[1].decode("latin-1").lower(), (_base64 if word[2] in b"bB" else _quoted)(word[3])


def _base64(raw: bytes) -> bytes:
    """Decode base64. Some senders put several pieces, each with its own padding, into one word."""
    groups = _NOT_BASE64.sub(b"", raw).split(b"=")
    cut = (group[:-1] if len(group) % 4 == 1 else group for group in groups)
    return b"".join(base64.b64decode(group + b"=" * (-len(group) % 4)) for group in cut)


def _quoted(raw: bytes) -> bytes:
    return binascii.a2b_qp(raw, header=True)


def unstructured(name: str, text: str, *, utf8: bool = False) -> bytes:
    """Return the field ``name`` with ``text``, folded.

    From the first word that is not ASCII (unless ``utf8``, RFC 6532, allows it) or that looks like an encoded word, the
    text is in encoded words.
    """
    words = one_line(text).split(" ")
    most = _WIDTH - len(name)
    plain = list(takewhile(lambda word: (utf8 or word.isascii()) and "=?" not in word and len(word) < most, words))
    return folded(name, [*plain, *encoded(" ".join(words[len(plain) :]))])


def encoded(text: str) -> list[str]:
    """Return ``text`` as encoded words, each short enough for one line. Readers join them without white space."""
    return [f"=?utf-8?b?{base64.b64encode(piece).decode()}?=" for piece in _cut(text)]


def folded(name: str, words: Iterable[str]) -> bytes:
    """Return the field ``name`` with ``words``, folded between words only."""
    lines = [f"{name}:"]
    for word in words:
        if len(lines[-1]) + 1 + len(word) > _WIDTH and len(lines[-1]) > len(name) + 1:
            lines.append("")
        lines[-1] += f" {word}"
    return "\r\n".join([*lines, ""]).encode()


def _cut(text: str) -> Iterator[bytes]:
    piece = b""
    for character in text:
        encoded = character.encode()
        if len(piece) + len(encoded) > _PIECE:
            yield piece
            piece = b""
        piece += encoded
    if piece:
        yield piece
