"""Which WebSockets and long polls are ours to answer. Any page may open a WebSocket to any address, so one that shows
what is in our tables has to look where it comes from; Django's own check of hosts is for its views."""

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from protocols.asgi import HTTPScope, WebSocketScope


def welcome(scope: HTTPScope | WebSocketScope) -> bool:
    """Whether ALLOWED_HOSTS has the host that was asked for, and that of the page where a browser tells one."""
    headers = dict(scope["headers"])
    named = [headers.get(b"host", b"")]
    if b"origin" in headers:
        named.append(headers[b"origin"].partition(b"://")[2])
    hosts = (split_domain_port(each.decode("latin-1"))[0] for each in named)
    return all(validate_host(host, settings.ALLOWED_HOSTS) for host in hosts)
