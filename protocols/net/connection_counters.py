"""What a listener counts. Plain integers: a scrape reads them, and a flood of connections costs nothing more."""

import errno
import ssl

REFUSALS = ("limit", "address_limit", "address_rate", "proxy_header")
"""Why a connection is refused: the server's limit is reached, the address has as many connections as it may have, it
opens too many a minute, or the proxy sent no PROXY header."""
HANDSHAKES = ("completed", "failed", "not_tls", "timeout", "left")
"""How a TLS handshake ends. ``left``: the client closed the connection without a word, as health checks do."""
_NOT_TLS = frozenset({"HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "WRONG_VERSION_NUMBER"})
"""OpenSSL's names for a peer that speaks something else."""


class ConnectionCounters:
    """Counters of one listener since it was made."""

    __slots__ = ("accepted", "handshakes", "pauses", "refused")

    def __init__(self) -> None:
        self.accepted = 0
        """Connections that reached the server, after their TLS handshake."""
        self.refused = dict.fromkeys(REFUSALS, 0)
        self.handshakes = dict.fromkeys(HANDSHAKES, 0)
        self.pauses = 0
        """How often the listener stopped accepting because the process ran short of descriptors."""


def handshake_end(error: OSError) -> str:
    """Return which of :data:`HANDSHAKES` the ``error`` of a handshake means."""
    if is_not_tls(error):
        return "not_tls"
    if isinstance(error, ConnectionAbortedError):  # both loops raise it when ssl_handshake_timeout is over
        return "timeout"
    return "left" if isinstance(error, ConnectionResetError) or error.errno == errno.EPIPE else "failed"


def is_not_tls(error: OSError) -> bool:
    """Return whether the peer speaks something else than TLS."""
    return isinstance(error, ssl.SSLError) and error.reason in _NOT_TLS
