"""Free ports for servers that cannot be given port 0."""

import itertools
import os
import random
import socket

FIRST, LAST = 20_000, 32_000
"""Below the range from which the kernel takes the ports of outgoing connections (ip_local_port_range): a port of that
range may be taken between the moment it is found free and the moment a server binds it."""

_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
# Each of several test processes has ports of its own: a server may take a second to bind the port that is found.
_own = range(FIRST + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]), LAST, _WORKERS)
_next = itertools.cycle(_own)
for _ in range(random.randrange(len(_own))):  # and so have two runs
    next(_next)


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens. Not given again before all others."""
    for port in itertools.islice(_next, len(_own)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no port between {FIRST} and {LAST} is free")
