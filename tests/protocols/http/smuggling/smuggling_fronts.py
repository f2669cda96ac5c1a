"""nginx and HAProxy in front of a server, strict and lenient. Each request that one sends has an ``X-Front`` of its
own, which its log has as well: a request without one was smuggled. A line of the log is: id, status, server, target."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from servers.haproxy import configured
from servers.nginx import Nginx
from servers.ports import free_port

_NGINX = """
    log_format front '$request_id $upstream_status gateway $request_uri';
    access_log {log} front;
    {http}
    upstream gateway {{ server 127.0.0.1:{behind}; keepalive 16; }}
"""
_LOCATION = """
location / {{
    proxy_pass http://gateway;
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Connection $connection_upgrade;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header X-Front $request_id;
    proxy_next_upstream off;
    {location}
}}
"""
_MAP = "map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}"
_LENIENT = "ignore_invalid_headers off; underscores_in_headers on; merge_slashes off;"
_HAPROXY = """
global
  log stdout format raw local0
  maxconn 200
defaults
  mode http
  log global
  log-format "%ID %ST %s %HU"
  timeout connect 2s
  timeout client 5s
  timeout server 5s
  timeout http-request 5s
  retries 0
  {options}
frontend front
  bind 127.0.0.1:{port} {protocol}
  bind 127.0.0.1:{plain}
  unique-id-format %[uuid()]
  unique-id-header X-Front
  http-request del-header X-Front
  default_backend gateway
backend gateway
  http-reuse always
  server gateway 127.0.0.1:{behind} pool-max-conn 16
"""

Front = Callable[[Path, int], contextlib.AbstractContextManager["Running"]]
"""(folder, port of our server) -> the front."""


class Running(NamedTuple):
    port: int
    plain: int
    """A port for HTTP/1."""
    log: Path


def _nginx(http: str, location: str) -> Front:
    @contextlib.contextmanager
    def running(folder: Path, behind: int) -> Iterator[Running]:
        log = folder / "front.log"
        more = (_NGINX + _MAP).format(log=log, http=http, behind=behind)
        front = Nginx(folder / "nginx", behind, location=_LOCATION.format(location=location), more=more)
        try:
            yield Running(front.port, front.port, log)
        finally:
            front.close()

    return running


def _haproxy(options: str, protocol: str = "") -> Front:
    @contextlib.contextmanager
    def running(folder: Path, behind: int) -> Iterator[Running]:
        port, plain = free_port(), free_port()
        config = _HAPROXY.format(options=options, port=port, plain=plain, protocol=protocol, behind=behind)
        with configured(config, port) as log:
            yield Running(port, plain, log)

    return running


FRONTS: dict[str, Front] = {
    "nginx": _nginx("", ""),
    "nginx-lenient": _nginx(_LENIENT, "proxy_request_buffering off; proxy_buffering off;"),
    "haproxy": _haproxy(""),
    "haproxy-lenient": _haproxy("option accept-invalid-http-request"),
    "haproxy-h2": _haproxy("", "proto h2"),
    "haproxy-h2-lenient": _haproxy("option accept-invalid-http-request", "proto h2"),
}
