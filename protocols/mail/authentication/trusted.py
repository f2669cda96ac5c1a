"""Reads what a mail server of ours has found: its Authentication-Results (RFC 8601)."""

import re
from collections.abc import Iterator, Sequence

from protocols.mail.headers import Headers

LONGEST = 16 * 1024
"""Bytes of the field that are read."""
_METHODS = ("spf", "dkim", "dmarc", "arc")
_TOKEN = re.compile(r'"(?P<quoted>(?:[^"\\]|\\.)*+)(?:"|\Z)|(?P<end>;)|(?P<comment>\()|[^"(;]+', re.DOTALL)
_IN_COMMENT = re.compile(r"\\.|[()]", re.DOTALL)
_NOT_IN_WORDS = re.compile(r"[\s;=/\"()]")
_RESULT = re.compile(r"[a-z]{1,32}")
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
            server, *results = parts(value[:LONGEST].decode("utf-8", "replace"))
            if (server.split() or [""])[0].lower() == name.lower():
                return {"source": name, **_read(results)}
    return None


def parts(text: str) -> list[str]:
    """Return what stands between the semicolons, without comments and quotation marks.

    A quoted string becomes one word, whatever is in it: servers quote addresses that a sender may write as results.
    What is not closed hides the rest.
    """
    found, place = [""], 0
    while token := _TOKEN.match(text, place):
        place = token.end()
        match token.lastgroup:
            case "end":
                found.append("")
            case "comment":
                place = _after_comment(text, place)
                found[-1] += " "
            case "quoted":
                found[-1] += _NOT_IN_WORDS.sub("_", token["quoted"])
            case _:
                found[-1] += token[0]
    return found


def _after_comment(text: str, place: int) -> int:
    """Return where the comment ends whose content begins at ``place``. Comments nest (RFC 5322, 3.2.2)."""
    depth = 1
    for token in _IN_COMMENT.finditer(text, place):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if not depth:
            return token.end()
    return len(text)


def _read(results: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for method, result, domain in _results(results):
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


def _results(results: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    for each in results:
        words = (
            " ".join(each.split()).replace(" =", "=").replace("= ", "=").replace(" /", "/").replace("/ ", "/").split()
        )
        pairs = [(name.lower(), value) for name, _, value in (word.partition("=") for word in words)]
        method, result = pairs[0] if pairs else ("", "")
        method = method.partition("/")[0]  # its version follows
        if method in _METHODS and _RESULT.fullmatch(result.lower()):
            given = dict(reversed(pairs[1:]))  # the first of a name counts
            named = next((given[name] for name in _DOMAINS[method] if name in given), "")
            yield method, result.lower(), named.rpartition("@")[2].lower()
