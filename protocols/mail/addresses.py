"""Parses the addresses of an envelope: RFC 5321's Mailbox and Path, strictly.

The standard library's parser (``email._header_value_parser``) is not used: it accepts ``<u@x.org`` without its end,
unclosed quotes, NUL, comments and source routes, and is slow on hostile input.
"""

import re
from typing import Annotated

import idna

from protocols.errors import RemoteProtocolError
from protocols.units import TextUnit

MAX_LOCAL_PART = 2000
"""Octets. RFC 5321 (4.5.3.1.1) says 64, but the tokens of lists and of reply addresses are longer: a line of a command
(2,048 octets here) is the limit that peers keep to."""
MAX_DOMAIN = 255
DELIMITER = "+"
"""What begins a tag in a local part, unless a server's settings say something else (RFC 5233: the separator)."""

# Dots are not checked: real operators hand out addresses such as a..b@ and a.@. Non-ASCII is allowed by SMTPUTF8.
_ATOMS = re.compile(r"[^\x00-\x20\x7f-\x9f\s\"(),:;<>@\[\\\]\ud800-\udfff]+")
_QUOTED = re.compile(r'"(?:[^"\\\x00-\x1f\x7f-\x9f\ud800-\udfff]|\\[\x20-\x7e])*"')
_DOMAIN = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*")
_USUAL = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,{MAX_DOMAIN}}}@(?:{_DOMAIN.pattern})")
"""An address that is in its checked form already, if it is not too long."""
_LITERAL = re.compile(r"\[[0-9A-Za-z.:-]{2,64}\]")
# Some devices leave the brackets out. A quoted local part may itself contain brackets.
_PATH = re.compile(r'\s*(?:<(?P<path>(?:"(?:[^"\\]|\\.)*"|[^<>"])*)>|(?P<bare>[^\s<>"]+))(?:\s+(?P<rest>.*))?')


def check_address(text: str) -> str:
    """Return the address with its domain in lower case, as A-labels, and its local part as given. Raises ValueError.

    ``postmaster`` alone is an address (RFC 5321 4.5.1).
    """
    if len(text) <= MAX_DOMAIN and _USUAL.fullmatch(text):
        return text
    if text.lower() == "postmaster":
        return "postmaster"
    local, at, domain = text.rpartition("@")
    if not at:
        raise ValueError("there is no @ in it")
    if not 1 <= len(local.encode("utf-8", "replace")) <= MAX_LOCAL_PART:
        raise ValueError("the local part is missing or too long")
    if not (_ATOMS.fullmatch(local) or _QUOTED.fullmatch(local)):
        raise ValueError("the local part is malformed")
    return f"{local}@{check_domain(domain)}"


def check_domain(text: str) -> str:
    """Return the domain in lower case, as A-labels: the form in which DNS has it. Raises ValueError."""
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


def check_delimiters(text: str) -> str:
    """Return ``text`` if each of its characters may begin a tag. Raises ValueError."""
    if not re.fullmatch(r"[!#$%&'*+./=?^_`{|}~-]{0,8}", text):
        raise ValueError(f"{text!r} cannot begin a tag; write one or more of + - _ = . and so on")
    return text


Delimiters = Annotated[str, TextUnit(check_delimiters, {"type": "string", "examples": ["+", "+-"]})]


def unicode_form(address: str) -> str:
    """Return a checked address with its domain as people write it: ``ann@bücher.example`` for ``ann@xn--bcher-kva…``.

    A domain that is no internationalized one stays as it is.
    """
    local, at, domain = address.rpartition("@")
    if "xn--" not in domain:
        return address
    try:
        return f"{local}{at}{idna.decode(domain)}"
    except UnicodeError:
        return address


def tag_of(address: str, delimiters: str = DELIMITER) -> str | None:
    """Return the tag of a checked address: ``bill7`` for ``help+bill7@example.org``; None if it has none.

    It begins after the first of the characters ``delimiters`` that is not at the beginning.
    """
    for each in delimiters:
        if each in address:  # few addresses have one
            break
    else:
        return None
    local = address.rpartition("@")[0]
    if local.startswith('"'):
        return None
    places = [place for each in delimiters if (place := local.find(each, 1)) > 0]
    return local[min(places) + 1 :] if places else None


def without_tag(address: str, tag: str) -> str:
    """Return ``help@example.org`` for ``help+bill7@example.org`` and its tag."""
    local, at, domain = address.rpartition("@")
    return f"{local[: -len(tag) - 1]}{at}{domain}"


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
    """Return the address (empty for the null reverse-path) and parameters of MAIL. Raises RemoteProtocolError."""
    path, parameters = parse_path(argument, "FROM")
    return path and _checked(path), parameters


def parse_recipient(argument: str) -> tuple[str, dict[str, str]]:
    """Return the address and parameters of RCPT. Raises RemoteProtocolError."""
    path, parameters = parse_path(argument, "TO")
    return _checked(path), parameters


def _checked(path: str) -> str:
    try:
        return check_address(path)
    except ValueError as error:
        raise RemoteProtocolError("5.1.3 Malformed address", answer=553) from error
