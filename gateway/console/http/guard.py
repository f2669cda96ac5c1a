"""Refuses requests that another site's page may have made a browser send.

A page of another site can send a browser to the console, under a name of its own that means 127.0.0.1 (DNS rebinding),
or let a form or a script send something to it (cross-site request forgery). The first has a Host that is a foreign
name; the second has the Origin of its page, and cannot send JSON without asking first, which is never allowed.
"""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from gateway.console.http.request import Refused, Request

JSON = "application/json"
_PORTS = {"http": 80, "https": 443}
_OWN = ("same-origin", "none")
"""Values of Sec-Fetch-Site: this console's own pages, and the user, who has typed the address."""


class Guard:
    """Checks where requests come from. ``hosts`` are names by which the console may be called, beside its addresses and
    ``localhost``."""

    def __init__(self, hosts: Collection[str]) -> None:
        self._hosts = {host.lower() for host in hosts}

    def check_host(self, request: Request) -> None:
        """Raises Refused if the request is for a name that is not the console's. Every browser sends one."""
        host = request.header(b"host") or ""
        if host and not self._is_ours(_name(host)):
            said = f"this console is not called {host!r}; write console: {{hosts: [...]}} if it is"
            raise Refused(421, said)

    def check_origin(self, request: Request) -> None:
        """Raises Refused if another site's page sends the request."""
        site = request.header(b"sec-fetch-site")
        if site is not None and site not in _OWN and not _is_link(request):
            raise Refused(403, "another site's page may not ask this console")
        origin = request.header(b"origin")
        if origin is not None and not _is_same(origin, request.header(b"host") or ""):
            raise Refused(403, f"a page of {origin!r} may not ask this console")

    def check_type(self, request: Request) -> None:
        """Raises Refused if a form can have sent what the request changes."""
        kind = (request.header(b"content-type") or "").partition(";")[0].strip().lower()
        if kind != JSON and (request.method == "POST" or kind):
            raise Refused(415, f"write Content-Type: {JSON}")

    def _is_ours(self, name: str) -> bool:
        """An address is never a foreign name."""
        if name == "localhost" or name.endswith(".localhost") or name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _is_link(request: Request) -> bool:
    """Whether somebody follows a link to the console, such as one in an alert: a page that reads changes nothing, and
    the other site does not see it."""
    fields = (b"sec-fetch-mode", b"navigate"), (b"sec-fetch-dest", b"document")
    return request.method == "GET" and all(request.header(name) == value.decode() for name, value in fields)


def _name(host: str) -> str:
    """Return the name or address of ``host``, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().rstrip(".")


def _is_same(origin: str, host: str) -> bool:
    """Whether a page of ``origin`` is one of ``host``."""
    try:
        own, asked = urlsplit(origin), urlsplit(f"{origin.partition(':')[0]}://{host}")
        default = _PORTS.get(own.scheme)
        return default is not None and (own.hostname, own.port or default) == (asked.hostname, asked.port or default)
    except ValueError:
        return False
