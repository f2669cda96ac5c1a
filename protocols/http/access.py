"""What ``access_log`` says of a request, and the line in the combined format of Apache and nginx."""

import base64
import binascii
import logging
import re
import time
from typing import NamedTuple

from protocols.asgi import HostPort

logger = logging.getLogger(__name__)

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
"""Parsers want these, whatever the locale."""
_ESCAPES = {code: f"\\x{code:02X}" for code in range(256) if not 0x20 <= code <= 0x7E or chr(code) in '"\\'}
"""nginx' escapes: a parser that looks for the next quote finds the right one (Apache writes \\" in place of it)."""
LONGEST_TARGET = 4096
"""Bytes of a request's target in a line, before they are escaped. The line does not have the rest."""
LONGEST_VALUE = 1024
"""The same of a referer, a user agent and a user's name."""
_LOGIN = re.compile(r"^([a-z][a-z0-9+.-]*://)?[^/]*@", re.IGNORECASE)
_SPACE = {0x20: "\\x20"}
_CLIENT_LEFT = 499
"""nginx' status of a request that was not answered, because its client had left."""


class Access(NamedTuple):
    """A request and what became of it."""

    server: str
    scope: str
    client: tuple[str, int] | None
    """None for a peer on a Unix socket."""
    method: str
    target: str
    """As it was sent, but :func:`without_secrets`."""
    version: str
    headers: tuple[tuple[bytes, bytes], ...]
    status: int
    size: int
    """Bytes of the response's body."""
    seconds: float

    def header(self, name: bytes) -> bytes:
        return next((value for key, value in self.headers if key.lower() == name), b"")

    def combined(self) -> str:
        """Return ``192.0.2.7 - ann [10/Oct/2026:13:55:36 +0200] "GET / HTTP/1.1" 200 2326 "-" "curl/8.5.0"``."""
        host = self.client[0] if self.client is not None else "-"
        user = _user(self.header(b"authorization")).translate(_SPACE)
        target = _shortened(self.target.encode(errors="surrogateescape"), LONGEST_TARGET).decode("latin-1")
        version = "2.0" if self.version == "2" else self.version  # as nginx and Apache write it
        request = f"{self.method} {target} HTTP/{version}".translate(_ESCAPES)
        referer = _escaped(_shortened(without_secrets(self.header(b"referer").decode("latin-1")).encode("latin-1")))
        agent = _escaped(_shortened(self.header(b"user-agent")))
        when, status = _time(time.time() - self.seconds), self.status or _CLIENT_LEFT
        return f'{host} - {user} [{when}] "{request}" {status} {self.size} "{referer}" "{agent}"'

    def log(self, label: str | None, path: str) -> None:
        """Log it in a few words. ``label``: that of the connection; None: that is of a proxy, and not of the client."""
        label = label if label is not None else label_of(self.server, self.client)
        words = (label, self.method, path, self.status, self.size, self.seconds * 1000)
        logger.info("%s %s %r %d %d %.0f ms", *words, extra={"access": self})

    def log_combined(self) -> None:
        """Log it in the combined format."""
        logger.info("%s", self.combined(), extra={"access": self, "is_whole": True})


def label_of(server: str, client: HostPort | None) -> str:
    """Return the name of a server and the address of its peer, for log lines."""
    return f"{server} {client[0]}:{client[1]}" if client else server


def without_secrets(url: str) -> str:
    """Return ``url`` without its query, its fragment, and a user's name and password."""
    place = url.partition("?")[0].partition("#")[0]
    return _LOGIN.sub(r"\1", place) if "@" in place else place


def _shortened(value: bytes, most: int = LONGEST_VALUE) -> bytes:
    return value if len(value) <= most else value[: most - 3] + b"..."


def _escaped(value: bytes) -> str:
    return value.decode("latin-1").translate(_ESCAPES) or "-"


def _user(authorization: bytes) -> str:
    """Return the name that the client gives by HTTP's basic authentication. As in nginx, nobody has checked it."""
    scheme, _, credentials = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return "-"
    try:
        name, colon, _ = base64.b64decode(credentials.strip(), validate=True).partition(b":")
    except binascii.Error:
        return "-"
    return _escaped(_shortened(name)) if colon else "-"


def _time(seconds: float) -> str:
    at = time.localtime(seconds)
    return time.strftime(f"%d/{_MONTHS[at.tm_mon - 1]}/%Y:%H:%M:%S %z", at)
