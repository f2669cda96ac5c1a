"""The listening sockets that systemd has passed to this process."""

import os

FIRST = 3
"""The descriptor of the first one (sd_listen_fds(3))."""


def passed_sockets() -> list[int]:
    """Return their descriptors, for servers with ``bind: fd:3``. They stay open for as long as this process lives."""
    return list(range(FIRST, FIRST + int(os.environ.get("LISTEN_FDS") or 0)))
