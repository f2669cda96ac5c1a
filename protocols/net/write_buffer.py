"""How much of what was written to a transport its peer has not taken."""

import asyncio
import fcntl
import sys
import termios
from typing import Any


def untaken(transport: asyncio.WriteTransport) -> int:
    """Bytes in the transport's buffer and the kernel's: the kernel takes megabytes before the transport's shrinks."""
    return transport.get_write_buffer_size() + _in_kernel(transport.get_extra_info("socket"))


def _in_kernel(sock: Any) -> int:
    """0 where there is no socket, or the kernel does not tell."""
    if sock is None:
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except (OSError, ValueError):
        return 0
