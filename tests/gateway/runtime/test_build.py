"""What a file asks for is built without an effect on the process, so that two gateways can exist side by side."""

import logging
import sys
import threading
from pathlib import Path

import pytest

from gateway import InMemoryChannelLayer, get_channel_layer
from gateway.config.diagnostics import ConfigErrors
from gateway.config.loader import parse
from gateway.layers import channel_layer
from gateway.runtime.build import Gateway, build
from gateway.threads import thread_pool

HANDLERS = """
from gateway import AsyncEmailConsumer, InMemoryChannelLayer

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


def test_two_gateways_side_by_side_share_nothing_and_change_nothing(tmp_path: Path) -> None:
    root, layer, pool = logging.getLogger(), get_channel_layer(), thread_pool.get()
    before = (root.level, list(root.handlers), threading.active_count(), sorted(tmp_path.rglob("*.db*")))
    one, other = made("one", 1), made("other", 2)
    assert [each.services[thread_pool].size for each in (one, other)] == [1, 2]
    assert one.services[channel_layer] is not other.services[channel_layer]
    assert one.dispatcher
    assert other.dispatcher
    assert one.dispatcher.deliveries is not other.dispatcher.deliveries
    assert (get_channel_layer(), thread_pool.get()) == (layer, pool)
    assert (root.level, list(root.handlers), threading.active_count(), sorted(tmp_path.rglob("*.db*"))) == before


def test_a_layer_is_made_by_a_function_or_is_there() -> None:
    one, other = (made("x", layer="built_handlers.layer").services[channel_layer] for _ in range(2))
    assert isinstance(one, InMemoryChannelLayer)
    assert (one.capacity, one is other) == (7, False)
    shared = [made("x", layer="built_handlers.shared").services[channel_layer] for _ in range(2)]
    assert shared[0] is shared[1]


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("redis", "layer: 'redis' is no layer; write memory, or module.attribute"),
        ("built_handlers.number", "'built_handlers.number' is no channel layer; name a layer, or a function"),
        ("built_handlers.Mail", "'built_handlers.Mail' is no channel layer; name a layer, or a function"),
        ("built_handlers.broken", "'built_handlers.broken' failed at built_handlers.py:15: ConnectionError: no redis"),
    ],
)
def test_a_layer_that_is_none_is_a_mistake_at_its_place(layer: str, said: str) -> None:
    with pytest.raises(ConfigErrors) as errors:
        made("x", layer=layer)
    (found,) = errors.value.diagnostics
    assert (found.line, said in found.message) == (6, True), found.message
