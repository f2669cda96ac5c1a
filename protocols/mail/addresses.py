"""Parses the addresses of an envelope: RFC 5321's Mailbox and Path, strictly.

The standard library's parser (``email._header_value_parser``) is not used: it accepts ``<u@x.org`` without its end,
unclosed quotes, NUL, comments and source routes, and is slow on hostile input.
"""

import re

import idna

from protocols.errors import RemoteProtocolError

MAX_LOCAL_PART = 64
MAX_DOMAIN = 255

# Dots are not checked: real operators hand out addresses such as a..b@ and a.@. Non-ASCII is allowed by SMTPUTF8.
_ATOMS = re.compile(r"[^\x00-\x20\x7f-\x9f\s\"(),:;<>@\[\\\]\ud800-\udfff]+")
_QUOTED = re.compile(r'"(?:[^"\\\x00-\x1f\x7f-\x9f\ud800-\udfff]|\\[\x20-\x7e])*"')
_DOMAIN = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*")
_LITERAL = re.compile(r"\[[0-9A-Za-z.:-]{2,64}\]")
# Some devices leave the brackets out. A quoted local part may itself contain brackets.
_PATH = re.compile(r'\s*(?:<(?P<path>(?:"(?:[^"\\]|\\.)*"|[^<>"])*)>|(?P<bare>[^\s<>"]+))(?:\s+(?P<rest>.*))?')


def check_address(text: str, *, max_local_part: int = MAX_LOCAL_PART) -> str:
    """Return the address with its domain in lower case, as A-labels, and its local part as given. Raises ValueError.

    ``postmaster`` alone is an address (RFC 5321 4.5.1).
    """
    if text.lower() == "postmaster":
        return "postmaster"
    local, _, domain = text.rpartition("@")
    if not 1 <= len(local.encode("utf-8", "replace")) <= max_local_part:
        raise ValueError("the local part is missing or too long")
    if not (_ATOMS.fullmatch(local) or _QUOTED.fullmatch(local)):
        raise ValueError("the local part is malformed")
    return f"{local}@{_domain(domain)}"


def _domain(text: str) -> str:
    if _LITERAL.fullmatch(text):
        return text
    if len(text) > MAX_DOMAIN:  # before idna, whose time grows with the length
        raise ValueError("the domain is too long")
    try:
        domain = text.lower() if text.isascii() else idna.encode(text, uts46=True).decode("ascii")
    except UnicodeError as error:
        raise ValueError("the domain is malformed") from error
    domain = domain.removesuffix(".")
    if len(domain) > MAX_DOMAIN or not _DOMAIN.fullmatch(domain):
        raise ValueError("the domain is malformed")
    return domain


def parse_path(argument: str, keyword: str) -> tuple[str, dict[str, str]]:
    """Return the unchecked path and the ESMTP parameters of, for instance, ``FROM:<a@b> SIZE=1``, where ``keyword`` is
    ``FROM``. Names of parameters are in upper case. Raises RemoteProtocolError.
    """
    head, colon, tail = argument.partition(":")
    match = _PATH.fullmatch(tail) if colon and head.strip().upper() == keyword else None
    if match is None:
        raise RemoteProtocolError(f"5.5.4 Syntax: {keyword}:<address>", answer=501)
    path = match["path"] if match["path"] is not None else match["bare"]
    parameters = (word.partition("=") for word in (match["rest"] or "").split())
    return path, {name.upper(): value for name, _, value in parameters}


def parse_sender(argument: str) -> tuple[str, dict[str, str]]:
    """Return the address (empty for the null reverse-path) and parameters of MAIL. Raises RemoteProtocolError.

    Local parts over 64 octets are accepted here: the bounce addresses of bulk mailers (VERP, SRS) often have them.
    """
    path, parameters = parse_path(argument, "FROM")
    return path and _checked(path, MAX_DOMAIN), parameters


def parse_recipient(argument: str) -> tuple[str, dict[str, str]]:
    """Return the address and parameters of RCPT. Raises RemoteProtocolError."""
    path, parameters = parse_path(argument, "TO")
    return _checked(path, MAX_LOCAL_PART), parameters


def _checked(path: str, max_local_part: int) -> str:
    try:
        return check_address(path, max_local_part=max_local_part)
    except ValueError as error:
        raise RemoteProtocolError("5.1.3 Malformed address", answer=553) from error
