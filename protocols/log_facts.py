"""The fields of a log record about a peer that no application has seen."""

from typing import Any

from protocols.units import TCP, UNIX_PEERS


def about_peer(scope: str, server: str, client: Any, verdict: str = "", peer: str = "") -> dict[str, Any]:
    """Return the ``extra`` of a record. ``scope``: a scope type. ``client``: the peer's address as a socket has it; not
    a tuple for a Unix socket. ``peer``: who it says it is, if that is not its address."""
    if isinstance(client, tuple | list) and client[1] is not None:
        address, sender = str(client[0]), str(TCP(client[0], client[1]))
    else:
        address = sender = UNIX_PEERS
    facts = {"scope": scope, "server": server, "peer": peer or sender, "address": address, "verdict": verdict}
    return {"facts": facts}
