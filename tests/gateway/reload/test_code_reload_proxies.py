"""`gateway reload --code` behind nginx and HAProxy: no 502 or 503, and the gateway is never down for them."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from servers.haproxy import configured
from servers.nginx import Nginx
from servers.ports import free_port
from servers.replaced import Replaced
from servers.replaced_load import Load
from servers.replaced_streams import WebSockets

RELOADS = int(os.environ.get("GATEWAY_RELOADS", "2"))
"""`make faults` does more."""
_UPSTREAM = "upstream gateway {{ server 127.0.0.1:{port}; keepalive 8; }}\nmap $http_upgrade $up {{ default upgrade; }}"
_LOCATION = """
location / {
    proxy_pass http://gateway;
    proxy_http_version 1.1;
    proxy_set_header Host $host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $up;
}
"""
_HAPROXY = """
global
  log stdout format raw local0
defaults
  log global
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout check 10s
  default-server check inter 100ms fall 1
listen web
  mode http
  option httplog
  option httpchk GET /
  bind 127.0.0.1:{front_web}
  server gateway 127.0.0.1:{web}
"""
_STREAM = """
listen {name}
  mode tcp
  option tcplog
  bind 127.0.0.1:{front}
  server gateway 127.0.0.1:{behind}
"""
Front = Callable[[Load, Replaced, Path], AbstractContextManager[None]]


@contextmanager
def nginx(load: Load, running: Replaced, folder: Path) -> Iterator[None]:
    """HTTP and WebSocket through nginx, which keeps connections to the gateway open."""
    server = Nginx(folder / "nginx", running.port, None, _LOCATION, _UPSTREAM.format(port=running.port))
    load.web = f"http://127.0.0.1:{server.port}/"
    try:
        yield
        statuses = {line.split('"')[2].split()[0] for line in server.access_log.read_text().splitlines()}
        assert statuses <= {"101", "200", "204"}, (folder / "nginx" / "error.log").read_text()
    finally:
        server.close()


@contextmanager
def haproxy(load: Load, running: Replaced, folder: Path) -> Iterator[None]:
    """HTTP and WebSocket through HAProxy, and the streams of MQTT, SMTP and LMTP."""
    web = free_port()
    config = _HAPROXY.format(front_web=web, web=running.port)
    for name, behind in load.ports.items():
        load.ports[name] = free_port()
        config += _STREAM.format(name=name, front=load.ports[name], behind=behind)
    load.web = f"http://127.0.0.1:{web}/"
    with configured(config, web) as log:
        yield
        said = log.read_text().splitlines()
    assert any(re.search(r" web/gateway .* ---- ", line) for line in said)
    assert not [line for line in said if "DOWN" in line or re.search(r" SC(--)? ", line)]  # SC: it was refused


@pytest.mark.timeout(120 + 15 * RELOADS)
@pytest.mark.parametrize("front", [nginx, haproxy])
def test_a_proxy_does_not_notice(tmp_path: Path, front: Front) -> None:
    with Load(persistence=False, more=[WebSockets()]) as load:
        running = Replaced(tmp_path, load.files)
        try:
            with front(load, running, tmp_path):
                load.begin(running)
                for _ in range(RELOADS):
                    load.grows()
                    done = running.reload()
                    assert done.returncode == 0, done.stderr
                    load.grows()
                load.end()
            assert load.failures == []
            assert load.doubled() == set()
        finally:
            running.close()
