"""Reads the addresses that an application gives for a mail, and writes them into its header fields."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from protocols.mail.addresses import check_address
from protocols.mail.charsets import one_line
from protocols.mail.encoded_words import encoded, folded
from protocols.mail.message import Address

MAX_NAME = 200
"""Characters of a display name that are written."""
MAX_LOCAL_PART = 255
"""Octets of a local part, so that an address fits on a line of a header (RFC 5322, 2.1.1). RFC 5321 says 64, but reply
addresses of other systems are longer."""

_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
"""RFC 5322, 3.2.3: words that need no quotes in a display name."""
_SPECIAL = re.compile(r'(["\\])')

Addresses: TypeAlias = str | Iterable[str]
"""One address, or several. Each is ``ann@example.org`` or ``Ann Smith <ann@example.org>``, or an
:class:`~protocols.mail.message.Address` of a received mail."""


class Mailbox(NamedTuple):
    """An address as it is in the envelope, and the display name that stands beside it in a header field."""

    address: str
    name: str = ""

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2] if "@" in self.address else ""


def mailboxes(given: Addresses) -> list[Mailbox]:
    """Return what ``given`` names, each address once. A str is one address, commas are not read.

    Raises ValueError if one is no valid address, and TypeError if one is not a str.
    """
    each = [given] if isinstance(given, str) else list(given)
    found: dict[str, Mailbox] = {}
    for one in map(mailbox, each):
        found.setdefault(same_address(one.address), one)
    return list(found.values())


def mailbox(given: str) -> Mailbox:
    """Return one address with its display name. Raises ValueError and TypeError as :func:`mailboxes` does."""
    if not isinstance(given, str):
        raise TypeError(f"an address is a {type(given).__name__}; write text such as ann@example.org")
    address, name = given.strip(), given.name if isinstance(given, Address) else ""
    if address.endswith(">") and "<" in address:
        name, _, address = address[:-1].rpartition("<")
        name = _unquoted(name.strip())
    try:
        return Mailbox(_checked(address), one_line(name)[:MAX_NAME])
    except ValueError as error:
        raise ValueError(f"{one_line(given)[:MAX_NAME]!r} is not a mail address: {error}") from error


def is_address(given: str) -> bool:
    """Whether ``given`` is a bare address that a mail can be sent to."""
    try:
        _checked(given)
    except ValueError:
        return False
    return True


def _checked(address: str) -> str:
    if len(address.rpartition("@")[0].encode("utf-8", "replace")) > MAX_LOCAL_PART:
        raise ValueError("the local part is too long")
    return check_address(address)


def same_address(address: str) -> str:
    """Return ``address`` as it is compared with others: no server that people use tells capitals from small letters."""
    return address.casefold()


def address_field(name: str, given: Sequence[Mailbox], *, utf8: bool) -> bytes:
    """Return the header field ``name``, folded between addresses and between words of display names."""
    words = [list(_words(each, utf8=utf8)) for each in given]
    for before in words[:-1]:
        before[-1] += ","
    return folded(name, [word for each in words for word in each])


def _words(given: Mailbox, *, utf8: bool) -> Iterator[str]:
    address = written(given.address)
    if not given.name:
        yield address
        return
    if "=?" in given.name or not (utf8 or given.name.isascii()):
        yield from encoded(given.name)
    elif _ATOMS.fullmatch(given.name):
        yield from given.name.split()
    else:
        quoted = _SPECIAL.sub(r"\\\1", given.name)
        yield f'"{quoted}"'
    yield f"<{address}>"


def written(address: str) -> str:
    """Return ``address`` for a header field. ``a..b@x.org``, which some people have, is valid only in quotes (RFC 5322,
    3.2.3)."""
    local, at, domain = address.rpartition("@")
    return f'"{local}"{at}{domain}' if at and "" in local.split(".") and not local.startswith('"') else address


def _unquoted(name: str) -> str:
    if len(name) > 1 and name[0] == name[-1] == '"':
        return re.sub(r"\\(.)", r"\1", name[1:-1])
    return name
