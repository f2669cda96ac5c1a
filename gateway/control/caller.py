"""The user for whom a request is being answered."""

import socket
import struct
from contextvars import ContextVar
from typing import Any

caller: ContextVar[str] = ContextVar("caller", default="the gateway")
"""For the line that the log has of each change: ``uid 1000``, or the name of a user."""
_CREDENTIALS = struct.Struct("3i")
"""What Linux answers to SO_PEERCRED: process, user, group (unix(7))."""


def peer_of(connection: Any) -> str:
    """Return the user who is at the other end of a Unix socket."""
    user = user_of(connection)
    return "a local user" if user is None else f"uid {user}"


def user_of(connection: Any) -> int | None:
    """Return the number of the user who is at the other end of a Unix socket; None if the system does not tell it."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None or connection is None:
        return None
    _, user, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))
    return int(user)
