"""Reads what a mail server of ours has found: its Authentication-Results (RFC 8601)."""

import re
from collections.abc import Iterator

from protocols.mail.headers import Headers

LONGEST = 16 * 1024
"""Bytes of the field that are read."""
_METHODS = ("spf", "dkim", "dmarc", "arc")
_COMMENT = re.compile(r"\([^()]{0,1000}\)")
_RESULT = re.compile(r"\s*(?P<method>[a-z0-9-]{1,32})\s*(?:/\s*\d{1,3}\s*)?=\s*(?P<result>[a-z]{1,32})", re.IGNORECASE)
_PROPERTY = re.compile(r"([a-z]{1,32}\.[a-z0-9_-]{1,32})\s*=\s*\"?([^\s\";]{1,400})", re.IGNORECASE)
_DOMAINS = {
    "spf": ("smtp.mailfrom", "smtp.helo"),
    "dkim": ("header.d", "header.i"),
    "dmarc": ("header.from",),
    "arc": (),
}


def trusted_results(headers: Headers, name: str) -> dict[str, str] | None:
    """Return what the topmost field of the server ``name`` says; None if there is none.

    The keys are those of the scope's ``authentication``.
    """
    for field, value in headers:
        if field == b"authentication-results":
            text = _COMMENT.sub(" ", _COMMENT.sub(" ", value[:LONGEST].decode("utf-8", "replace")))
            server, _, rest = text.partition(";")
            if (server.split() or [""])[0].strip('"').lower() == name.lower():
                return {"source": name, **_read(rest)}
    return None


def _read(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for method, result, domain in _results(text):
        key = f"{method}_domain"
        if found.get(method) == "pass" and result != "pass":  # one of several signatures
            continue
        if found.get(method) == result == "pass" and domain:
            found[key] = " ".join(dict.fromkeys([*found.get(key, "").split(), domain]))
            continue
        found[method] = result
        if domain:
            found[key] = domain
    return found


def _results(text: str) -> Iterator[tuple[str, str, str]]:
    for part in text.split(";"):
        if (match := _RESULT.match(part)) and (method := match["method"].lower()) in _METHODS:
            given = {name.lower(): value for name, value in _PROPERTY.findall(part, match.end())}
            named = next((given[each] for each in _DOMAINS[method] if each in given), "")
            yield method, match["result"].lower(), named.rpartition("@")[2].lower()
