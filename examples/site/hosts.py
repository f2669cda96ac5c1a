"""Checks which site a WebSocket or a long poll comes from. Any page may open a WebSocket to any address, and Django
checks the host for its own views only, so every other way to our tables has to check it itself."""

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from protocols.asgi import HTTPScope, WebSocketScope


def welcome(scope: HTTPScope | WebSocketScope) -> bool:
    """Return whether ALLOWED_HOSTS has the requested host and, if a browser names a page, the host of that page."""
    headers = dict(scope["headers"])
    named = [headers.get(b"host", b"")]
    if b"origin" in headers:
        named.append(headers[b"origin"].partition(b"://")[2])
    hosts = (split_domain_port(each.decode("latin-1"))[0] for each in named)
    return all(validate_host(host, settings.ALLOWED_HOSTS) for host in hosts)
