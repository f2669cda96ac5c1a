"""What a file asks for is built without an effect on the process, so that two gateways can exist side by side."""

import asyncio
import gc
import locale
import logging
import os
import random
import resource
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import django.conf
import pytest

from gateway import InMemoryChannelLayer, get_channel_layer, services
from gateway.config.diagnostics import ConfigErrors
from gateway.config.loader import parse
from gateway.layers import channel_layer
from gateway.runtime.build import Gateway, build
from gateway.threads import thread_pool

HANDLERS = """
from gateway import AsyncEmailConsumer, AsyncMqttConsumer, InMemoryChannelLayer

class Devices(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        pass

async def web(scope, receive, send):
    pass

class Mail(AsyncEmailConsumer):
    async def receive(self, message):
        pass

def layer():
    return InMemoryChannelLayer(capacity=7)

shared = layer()
number = 7

def broken():
    raise ConnectionError("no redis")
"""
FILE = """
servers: {mail: {protocol: smtp, bind: "127.0.0.1:0"}}
routes: {email: {app: built_handlers.Mail, default: true, inbox: true}}
store: sqlite:%s.db
threads: %d
layer: %s
log: {level: debug}
"""


@pytest.fixture(autouse=True)
def _handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "built_handlers.py").write_text(HANDLERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "built_handlers", raising=False)


def made(name: str, threads: int = 1, layer: str = "memory") -> Gateway:
    return build(parse(FILE % (name, threads, layer), name="gateway.yaml", folder=Path()))


def test_two_gateways_side_by_side_share_nothing(tmp_path: Path) -> None:
    layer, pool = get_channel_layer(), thread_pool.get()
    one, other = made("one", 1), made("other", 2)
    assert [each.services[thread_pool].size for each in (one, other)] == [1, 2]
    assert one.services[channel_layer] is not other.services[channel_layer]
    assert one.dispatcher
    assert other.dispatcher
    assert one.dispatcher.deliveries is not other.dispatcher.deliveries
    assert (get_channel_layer(), thread_pool.get()) == (layer, pool)
    assert not list(tmp_path.rglob("*.db*"))


EVERYTHING = """
servers:
  web: {protocol: http, bind: "127.0.0.1:%(port)d", ping_timeout: %(port)ds}
  devices: {protocol: mqtt, bind: "127.0.0.1:0", websocket: {on: web, path: /mqtt}, persistence: true, anonymous: true}
  broker: {protocol: mqtt-client, url: "mqtt://127.0.0.1:%(port)d", subscribe: ["#"]}
  mail: {protocol: smtp, bind: "127.0.0.1:0"}
  local: {protocol: lmtp, bind: "unix:%(level)s.sock"}
  mailbox: {protocol: imap, host: 127.0.0.1, username: ann, password: "%(port)d"}
  texts: {protocol: sms, provider: generic, on: web, path: /sms, secret: "%(port)d"}
routes:
  http: {app: built_handlers.web, path: "(a+)b"}
  mqtt: {app: built_handlers.Devices, topic: "#", attempts: %(attempts)d, timeout: 3s}
  email: {app: built_handlers.Mail, default: true, inbox: true}
  sms: {app: built_handlers.web, default: true, attempts: %(attempts)d}
store: sqlite:%(level)s.db
threads: %(attempts)d
submission: {url: "smtp://127.0.0.1:%(port)d"}
outgoing: {keep: {email: %(attempts)dd}}
console: {bind: "127.0.0.1:%(console)d"}
log: {level: %(level)s, format: %(format)s}
"""


def test_to_build_changes_nothing_of_the_process(tmp_path: Path) -> None:
    """Not even what can be seen of it only from outside."""
    one = {"port": 1301, "console": 1302, "level": "debug", "attempts": 2, "format": "json"}
    other = {"port": 1303, "console": 1304, "level": "error", "attempts": 3, "format": "text"}
    build_from(EVERYTHING % one)  # which imports what they need
    before, files = state_of_the_process(), sorted(tmp_path.rglob("*"))
    threads = set(threading.enumerate())
    for facts in (one, other, one):
        build_from(EVERYTHING % facts)
        assert state_of_the_process() == before
        assert set(threading.enumerate()) <= threads, "those of tests before this one may have ended"
    assert sorted(tmp_path.rglob("*")) == files


def build_from(text: str) -> Gateway:
    return build(parse(text, name="gateway.yaml", folder=Path()))


def state_of_the_process() -> dict[str, Any]:
    manager = logging.root.manager
    loggers = [logging.root, *(each for each in manager.loggerDict.values() if isinstance(each, logging.Logger))]
    return {
        "loggers": {each.name: (each.level, each.propagate, each.disabled, *each.handlers) for each in loggers},
        "logging": (manager.disable, logging.getLoggerClass(), logging.getLogRecordFactory()),
        "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning),
        "warnings": list(warnings.filters),
        "signals": {each: signal.getsignal(each) for each in signal.Signals},
        "timers": (signal.getitimer(signal.ITIMER_REAL)[0], signal.getitimer(signal.ITIMER_VIRTUAL)[0]),
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "limits": resource.getrlimit(resource.RLIMIT_NOFILE),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "loop": type(asyncio.get_event_loop_policy()),
        "environment": dict(os.environ),
        "path": list(sys.path),
        "folder": Path.cwd(),
        "garbage": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()),
        "locale": locale.setlocale(locale.LC_ALL),
        "random": random.getstate(),
        "django": (os.environ.get("DJANGO_SETTINGS_MODULE"), django.conf.settings.configured),
        "services": (services._Process.services, services._current.get()),
        "channel layer": get_channel_layer(),
        "pool": thread_pool.get(),
    }


def test_a_layer_is_made_by_a_function_or_is_there() -> None:
    one, other = (made("x", layer="built_handlers.layer").services[channel_layer] for _ in range(2))
    assert isinstance(one, InMemoryChannelLayer)
    assert (one.capacity, one is other) == (7, False)
    shared = [made("x", layer="built_handlers.shared").services[channel_layer] for _ in range(2)]
    assert shared[0] is shared[1]


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (
            "redis",
            "layer: 'redis' is not a layer: Redis needs a host, such as redis://127.0.0.1:6379; write memory, ipc",
        ),
        ("built_handlers.number", "'built_handlers.number' is not a channel layer; name a layer, or a function"),
        ("built_handlers.Mail", "'built_handlers.Mail' is not a channel layer; name a layer, or a function"),
        ("built_handlers.broken", "'built_handlers.broken' failed at built_handlers.py:22: ConnectionError: no redis"),
    ],
)
def test_a_layer_that_is_none_is_a_mistake_at_its_place(layer: str, said: str) -> None:
    with pytest.raises(ConfigErrors) as errors:
        made("x", layer=layer)
    (found,) = errors.value.diagnostics
    assert (found.line, said in found.message) == (6, True), found.message
