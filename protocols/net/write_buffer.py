"""How much of the data written to a transport its peer has not received yet."""

import asyncio
import fcntl
import sys
import termios
from typing import Any


def unreceived(transport: asyncio.WriteTransport) -> int:
    """Bytes in the transport's buffer and in the kernel's, which holds megabytes before the transport's grows."""
    return transport.get_write_buffer_size() + _in_kernel(transport.get_extra_info("socket"))


def _in_kernel(sock: Any) -> int:
    """Bytes in the kernel's send queue; 0 if there is no socket, or the kernel does not say."""
    if sock is None:
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except (OSError, ValueError):
        return 0
