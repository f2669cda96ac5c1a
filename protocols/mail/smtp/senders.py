"""The addresses as which a user who has logged in may send."""

import re
from collections.abc import Iterable, Mapping, Sequence

from protocols.errors import RemoteProtocolError
from protocols.mail.addresses import check_address
from protocols.mail.headers import Headers
from protocols.mail.recipients import addresses

ANY = "*"
_IN_BRACKETS = re.compile(rb"<([^<>]*)>")


class Senders:
    """What ``senders`` of the settings says; a user whom it does not name has the user name, if that is an address."""

    def __init__(self, senders: Mapping[str, Sequence[str]]) -> None:
        self._of = {user: frozenset(map(str.lower, each)) for user, each in senders.items()}

    def may(self, user: str, address: str) -> bool:
        """Whether ``user`` may send as ``address``."""
        own, address = self._of.get(user, {user.lower()}), address.lower()
        return ANY in own or address in own or "@" + address.rpartition("@")[2] in own

    def check_envelope(self, user: str, sender: str) -> None:
        """Raises RemoteProtocolError. The null reverse-path is everybody's: receipts and automatic answers have it."""
        if sender and not self.may(user, sender):
            raise RemoteProtocolError(f"5.7.1 You may not send as {sender}", answer=553)

    def check_header(self, user: str, headers: Headers) -> None:
        """Check From. Raises RemoteProtocolError if it names somebody else, and if it is missing, there twice, or not
        readable: another reader may find another address in it."""
        if ANY in self._of.get(user, ()):
            return
        values = [value for name, value in headers if name == b"from"]
        named = addresses(values[0]) if len(values) == 1 else []
        named += [part.decode("utf-8", "replace") for value in values for part in _IN_BRACKETS.findall(value)]
        if not named or not all(self.may(user, address) for address in named):
            raise RemoteProtocolError("5.7.1 A mail of yours needs one From, with an address of yours", answer=550)


def check_senders(senders: Iterable[str]) -> None:
    """Raises ValueError for what is no address, no ``@domain`` and no ``*``."""
    for each in senders:
        if each == ANY:
            continue
        try:
            check_address(f"x{each}" if each.startswith("@") else each)
        except ValueError as error:
            raise ValueError(f"{each!r}: {error}; write an address, @domain or *") from error
