"""Whether a peer has hung up, which a loop does not notice while it does not read from the socket."""

import asyncio
import select

_HUNG_UP = getattr(select, "POLLRDHUP", 0)
"""Asks for a FIN. The kernel reports a reset whatever it is asked for, and only that if it has no POLLRDHUP."""


def has_hung_up(transport: asyncio.BaseTransport) -> bool:
    """Whether the peer has closed or reset the connection."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(sock.fileno(), _HUNG_UP)
    return bool(poll.poll(0))
