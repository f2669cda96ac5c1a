"""The addresses as which a user who has logged in may send."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from protocols.errors import RemoteProtocolError
from protocols.mail.addresses import check_address, check_domain
from protocols.mail.headers import MAX_HEADER_BLOCK, lf_ended, message_block
from protocols.mail.message.address import addresses

ANY = "*"
_IN_BRACKETS = re.compile(r"<([^<>]*)>")
# What may be an address; the bounds keep the search linear if a quotation or comment never ends.
_NO_ADDRESS = re.compile(r'"(?:[^"\\]|\\.){0,256}"|\([^()]{0,256}\)')
_WORD = re.compile(r"[^\s<>,;:()\"]+")
_LIKE_AT = str.maketrans("\N{FULLWIDTH COMMERCIAL AT}\N{SMALL COMMERCIAL AT}", "@@")
_LIKE_FROM = re.compile(rb"^(?![ \t])[^!-~\n]*from[^!-~\n]*:", re.IGNORECASE | re.MULTILINE)
"""A field that some reader may take for From, whatever control characters are in its name."""


class Senders:
    """What ``senders`` of the settings says; a user whom it does not name has the user name, if that is an address."""

    def __init__(self, senders: Mapping[str, Sequence[str]]) -> None:
        self._of = {user: frozenset(map(_comparable, each)) for user, each in senders.items()}

    def may(self, user: str, address: str) -> bool:
        """Whether ``user`` may send as ``address``."""
        own, address = self._of.get(user, {_comparable(user)}), _comparable(address)
        return ANY in own or address in own or "@" + address.rpartition("@")[2] in own

    def check_envelope(self, user: str, sender: str) -> None:
        """Raises RemoteProtocolError. The null reverse-path is everybody's: receipts and automatic answers have it."""
        if sender and not self.may(user, sender):
            raise RemoteProtocolError(f"5.7.1 You may not send as {sender}", answer=553)

    def check_header(self, user: str, message: bytes) -> None:
        """Check From. Raises RemoteProtocolError if it names somebody else, and if it is missing, there twice, or not
        readable: another reader may find another address in it."""
        if ANY in self._of.get(user, ()):
            return
        beginning = message[: MAX_HEADER_BLOCK + 1]  # so a header that is too long is seen to be
        block = message_block(lf_ended(beginning))
        values = [value for name, value in block.fields if name == b"from"]
        like_from = _LIKE_FROM.findall(beginning.partition(b"\r\n\r\n")[0])
        named = list(_named(values[0])) if len(values) == len(like_from) == 1 and not block.defects else []
        if not named or not all(self.may(user, address) for address in named):
            raise RemoteProtocolError("5.7.1 A mail of yours needs one From, with an address of yours", answer=550)


def _named(value: bytes) -> Iterator[str]:
    """Yield everything in a field that some reader may take for an address."""
    yield from addresses(value)
    text = value.decode("utf-8", "replace").translate(_LIKE_AT)
    yield from _IN_BRACKETS.findall(text)
    words = (word.strip("'") for word in _WORD.findall(_NO_ADDRESS.sub(" ", text)))
    yield from (word for word in words if "@" in word)


def _comparable(address: str) -> str:
    """Return the form of an address, or of ``@domain``, in which two are compared."""
    local, at, domain = address.rpartition("@")
    try:
        return f"{local}{at}{check_domain(domain)}".lower() if at else address.lower()
    except ValueError:
        return address.lower()


def check_senders(senders: Iterable[str]) -> None:
    """Raises ValueError for what is no address, no ``@domain`` and no ``*``."""
    for each in senders:
        if each == ANY:
            continue
        try:
            check_address(f"x{each}" if each.startswith("@") else each)
        except ValueError as error:
            raise ValueError(f"{each!r}: {error}; write an address, @domain or *") from error
