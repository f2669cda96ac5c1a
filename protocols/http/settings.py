"""The settings of the HTTP and WebSocket server."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from protocols.http.compression.settings import Compress
from protocols.http.forwarded import USUAL, TrustedHeader, header_mistake
from protocols.net.listener import TLS
from protocols.server import SETTINGS_CONFIG
from protocols.units import (
    Address,
    Between,
    Bound,
    Bytes,
    Count,
    FieldValue,
    Length,
    Network,
    RootPath,
    Seconds,
    Timeout,
)


@dataclass(frozen=True)
class HTTPSettings:
    """An HTTP/1.1 and WebSocket server."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    protocol: Literal["http"] = "http"
    """HTTP/1.1, HTTP/1.0 and WebSocket."""
    bind: Address = "127.0.0.1:8000"
    """Where it listens: host:port, unix:/path or fd:3."""
    tls: TLS | None = None
    """Certificate and key; if set, the server speaks HTTPS and WSS only."""
    proxy_protocol: tuple[Network, ...] = ()
    """Proxies, as addresses or networks (``unix``: all peers on a Unix socket). Their connections begin with a PROXY
    header (version 1 or 2), whose addresses count. On other connections the server does not look for one."""
    trusted_proxies: tuple[Network, ...] = ()
    """Proxies in front of it, as addresses or networks (``unix``: all peers on a Unix socket). What they say of a
    request in ``trusted_headers`` is in its scope; what anybody else says there is not looked at. Let nothing else
    reach this server from these addresses."""
    trusted_headers: tuple[TrustedHeader, ...] = USUAL
    """The fields that each of these proxies writes itself, so that no client can: some of `x-forwarded-for`,
    `x-forwarded-proto`, `x-forwarded-host`, `x-forwarded-port` and `x-forwarded-prefix`, or `forwarded` alone
    (RFC 7239)."""
    http2: bool = False
    """Speak HTTP/2 as well, with clients that choose it by ALPN, or begin with it. A request costs several times what
    it costs in HTTP/1.1: if there is a proxy in front, let that speak it. Needs `pip install 'asgi-gateway[http2]'`."""
    root_path: RootPath = ""
    """The path under which a proxy publishes this server and which it strips, such as /app: ASGI's root_path. An
    `X-Forwarded-Prefix` of a trusted proxy takes its place."""
    max_connections: Count = 10_000
    """Connections at a time, including those in their TLS handshake. One more gets 503; under TLS it is closed."""
    max_per_address: Bound = 0
    """Connections at a time from one client address (IPv6: /64). 0 means no limit: a proxy has one address."""
    max_concurrent_requests: Bound = 0
    """Requests that applications handle at a time. One more gets 503 with `Retry-After`, and so does the handshake of a
    WebSocket; open WebSockets do not count. 0 means no limit; the same for the next four."""
    max_request_rate: Bound = 0
    """Requests a minute, all at once or spread over it, from one client address (IPv6: /64). One more gets 429 with
    `Retry-After`. This machine is exempt. A route may have a limit of its own."""
    max_requests_per_connection: Bound = 0
    """Requests of one connection. The answer to the last one says `Connection: close`."""
    max_connection_age: Seconds = 0.0
    """The age at which the next answer of a connection says `Connection: close`. An open WebSocket has no age."""
    handler_timeout: Seconds = 0.0
    """How long an application may take to begin its answer, once it has the request with its body. Then the peer gets
    503, and the application is cancelled. A WebSocket has to be accepted within this time."""
    keepalive_timeout: Timeout = 75.0
    """How long a connection may be idle, before its first request and between two."""
    head_timeout: Timeout = 30.0
    """How long a peer may take for the head of a request, from its first byte to its last (408)."""
    stall_timeout: Timeout = 30.0
    """How long a peer may pause inside a message: send no more of a body (408), or read no more of an answer."""
    body_timeout: Seconds = 600.0
    """How long a body may take that the application waits for, however steadily it arrives (408). 0 means no limit."""
    disconnect_grace: Seconds = 10.0
    """How long an application may go on without asking for another event after its peer has left. Then it is
    cancelled; 0 means never."""
    max_header: Length = 8192
    """The longest request line (414) and the longest header field (431)."""
    max_header_fields: Count = 128
    """Header fields of a request (431)."""
    max_head: Length = 64 * 1024
    """The longest head of a request: its line and all fields together (431). If it is less than `max_header`, it counts
    for each of them, too."""
    max_body: Bytes = 64 * 1024 * 1024
    """The longest request body (413). Bodies are streamed, so this limits time and disk, not memory. 0 refuses
    every request with a body. The limit cannot be switched off."""
    max_message: Length = 1024 * 1024
    """The longest WebSocket message (close code 1009), which is held in memory."""
    ping_interval: Seconds = 20.0
    """How often a WebSocket peer is pinged; 0 means never."""
    ping_timeout: Timeout = 20.0
    """How long a WebSocket peer may be silent after a ping before it counts as gone (1006)."""
    compression: bool = False
    """Accept permessage-deflate (RFC 7692) from WebSocket peers that offer it."""
    compression_window_bits: Annotated[int, Between(9, 15)] = 12
    """The largest window of compression: 2 to the power of this many bytes. A connection that compresses takes some
    50 KiB of memory with 12, and 190 with 15; 30 more if its client does not let the server choose."""
    compression_context_takeover: bool = True
    """Keep the window from one message to the next, so that small messages compress well. Without it a connection
    takes no memory for compression between two messages."""
    pathsend: bool = False
    """Offer `http.response.pathsend`, by which an application answers with the path of a file. Middleware that
    compresses or changes bodies never sees such a file, and some middleware fails."""
    compress: Compress = False
    """Compress responses for clients that accept it: `true`, or settings. A route's `compress` counts in place of it.
    [Which responses](http.md#compression)."""
    server_header: FieldValue = ""
    """The Server field of every response; empty means none."""
    access_log: Literal[False, True, "combined"] = False
    """Write one log line for each request: peer, method, path, status, body size, time; or a line in the `combined`
    format of Apache and nginx. Never the query."""

    def __post_init__(self) -> None:
        """Check the settings. Raises ValueError if they do not go together."""
        if mistake := header_mistake(self.trusted_proxies, self.trusted_headers):
            raise ValueError(mistake)
