"""The fields of a log record about a peer that no application has seen."""

from typing import Any, NamedTuple

from protocols.units import TCP, UNIX_PEERS


class PeerFacts(NamedTuple):
    """Fields of a record, beside its words. A type of its own: other code may give its records ``facts``, too."""

    scope: str
    """A scope type."""
    server: str
    peer: str
    address: str
    verdict: str


def about_peer(scope: str, server: str, client: Any, verdict: str = "", peer: str = "") -> dict[str, Any]:
    """Return the ``extra`` of a record. ``client``: the peer's address as a socket has it; not a tuple for a Unix
    socket. ``peer``: who it says it is, if that is not its address."""
    if isinstance(client, tuple | list) and client[1] is not None:
        address, sender = str(client[0]), str(TCP(client[0], client[1]))
    else:
        address = sender = UNIX_PEERS
    return {"facts": PeerFacts(scope, server, peer or sender, address, verdict)}
