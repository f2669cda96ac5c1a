"""A TCP balancer before the brokers of the gateways: HAProxy, on the clients' host."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from servers.haproxy import configured

from cluster.nodes import MQTT

CONFIG = """
defaults
  mode tcp
  timeout connect 2s
  timeout client 1h
  timeout server 1h
  timeout check 1s
  default-server check inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
listen devices
  bind 0.0.0.0:{port}
  option tcp-check
  tcp-check connect
  tcp-check send-binary 100c00044d5154540402003c0000
  tcp-check expect rbinary ^20020000
"""
"""A host is well if it answers a CONNECT. To accept a connection is not enough: the system does that for a process that
sleeps."""


@contextmanager
def balancer(hosts: Sequence[str]) -> Iterator[None]:
    """It listens on the port of MQTT."""
    servers = "".join(f"  server host{number} {host}:{MQTT}\n" for number, host in enumerate(hosts))
    with configured(CONFIG.format(port=MQTT) + servers, MQTT):
        yield
