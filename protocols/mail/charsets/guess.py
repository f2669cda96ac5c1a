"""Guesses the charset of bytes that nothing declares."""

import re

SAMPLE = 4096
"""Bytes, of lines that are not ASCII, by which the charset is guessed."""
_FEWEST = 24
"""Bytes that a guess needs."""
_GUESSED = [
    "cp1252", "cp1251", "koi8_r", "cp1250", "iso8859_2", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874",
    "cp866", "iso8859_5", "cp932", "euc_jp", "gb18030", "big5", "cp949",
]  # fmt: skip
"""The charsets in which undeclared mail is written."""
_LATIN = ("cp1252", "cp1250", "cp1254", "cp1257", "iso8859_2")
"""Charsets that differ in a few letters. Most undeclared mail is in the first one."""
_CLOSE = 0.05
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_SYMBOL_IN_WORD = re.compile(r"[a-zà-ž](?:(?<!n)[ºª]|[¹³¿¡¶£¥¢±¼½¾¬][a-zà-ž])")


def guessed(raw: bytes) -> str | None:
    """Return Python's name of the charset that undeclared ``raw`` seems to be in; None if it is too short to tell."""
    sample = _sample(raw)
    if len(sample) < _FEWEST:
        return None
    from charset_normalizer import from_bytes  # 20 ms and 3 MB that most mails do not need

    found = list(from_bytes(sample, threshold=0.3, cp_isolation=_GUESSED))
    matches = {match.encoding: match for match in found if not _is_odd(sample, match.encoding)}
    best, western = next(iter(matches), None), matches.get("cp1252")
    if best is None or western is None or best not in _LATIN:
        return best or next((match.encoding for match in found), None)
    worse = western.chaos - matches[best].chaos, matches[best].coherence - western.coherence
    return "cp1252" if max(worse) < _CLOSE else best


def _is_odd(sample: bytes, codec: str) -> bool:
    """Whether ``sample`` has symbols inside its words, if it is taken for a charset of Latin letters."""
    return codec in _LATIN and bool(_SYMBOL_IN_WORD.search(sample.decode(codec, "replace")))


def _sample(raw: bytes) -> bytes:
    """Return some lines of ``raw`` that are not ASCII, at most 4 KiB of them."""
    found = _NOT_ASCII.search(raw)
    start = max(0, found.start() - 200) if found else 0
    lines = (line for line in raw[start : start + 16 * SAMPLE].split(b"\n") if not line.isascii())
    return b"\n".join(lines)[:SAMPLE]
