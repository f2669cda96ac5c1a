"""Tells systemd how the daemon is (sd_notify, Type=notify)."""

import contextlib
import os
import socket


def notify(state: str) -> None:
    """Send ``READY=1`` or ``STOPPING=1`` to whoever started us; nothing where nobody asked."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        channel.sendall(state.encode())
