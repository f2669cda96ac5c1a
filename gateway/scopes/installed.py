"""The scope types: one object each, imported when it is first asked for, and the only list of them.

Distributions of others add theirs by the entry point group ``asgi_gateway.scopes``; docs/extending.md shows how.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from gateway.scopes.kind import ScopeKind
from gateway.scopes.plugins import Failure, load_plugins
from gateway.scopes.server_kind import ServerKind
from protocols.lazy_names import LazyMapping, imported


class _Ours(NamedTuple):
    """What a file can say of one of our scope types, known before it is imported."""

    home: str
    """``module:class``."""
    protocols: tuple[str, ...] = ()
    """The names of its servers under ``protocol``."""
    keys: tuple[str, ...] = ()
    """The keys of the file, beside servers and routes, that are about it."""
    also: tuple[str, ...] = ()
    """Protocols of other scope types whose servers make its scopes, too."""


_OURS = {
    "http": _Ours("gateway.scopes.http.kind:HTTPKind", ("http",)),
    "websocket": _Ours("gateway.scopes.websocket.kind:WebSocketKind", also=("http",)),
    "mqtt": _Ours("gateway.scopes.mqtt.kind:MQTTKind", ("mqtt", "mqtt-client")),
    "email": _Ours(
        "gateway.scopes.email.kind:EmailKind",
        ("smtp", "lmtp", "imap"),
        keys=("submission", "reply_tokens", "postmaster"),
    ),
    "sms": _Ours("gateway.scopes.sms.kind:SMSKind", ("sms",)),
    "task": _Ours("gateway.scopes.task.kind:TaskKind"),
}
_OUR_PROTOCOLS = {protocol: name for name, ours in _OURS.items() for protocol in ours.protocols}
_plugins = load_plugins(_OURS, _OUR_PROTOCOLS)
_OTHERS = {kind.name: kind for kind in _plugins.kinds}


def _kind(name: str) -> ScopeKind:
    kind: ScopeKind = imported(_OURS[name].home)()
    return kind


KINDS = LazyMapping(_OURS, _kind, _OTHERS)
"""The scope types, by the ``type`` of a scope."""
FAILURES: tuple[Failure, ...] = tuple(_plugins.failures)
"""The scope types that are installed and cannot be used."""
PROTOCOLS: Mapping[str, str] = _OUR_PROTOCOLS | {
    protocol: name for name, kind in _OTHERS.items() for protocol in kind.protocols
}
"""The scope type of the servers that have a name under ``protocol``, by that name."""
KEYS: Mapping[str, str] = {key: name for name, ours in _OURS.items() for key in ours.keys}
"""The scope type that a key of the file is about, beside servers and routes, by that key."""


def _server(protocol: str) -> ServerKind:
    return next(server for server in KINDS[PROTOCOLS[protocol]].servers if protocol in server.protocols)


SERVERS = LazyMapping(PROTOCOLS, _server)
"""By the name that a server has under ``protocol``."""


def named(data: Mapping[str, Any]) -> frozenset[str]:
    """Return the scope types that a file needs, from its plain data; all of them if it says something that may be a
    mistake, because what is right is then found among all."""
    servers, routes = data.get("servers"), data.get("routes") or {}
    if not isinstance(servers, dict) or not isinstance(routes, dict) or not servers or "outgoing" in data:
        return frozenset(KINDS)
    protocols = {str(each.get("protocol")) if isinstance(each, dict) else "" for each in servers.values()}
    if not protocols <= PROTOCOLS.keys() or not routes.keys() <= {*KINDS}:
        return frozenset(KINDS)
    also = (name for name, ours in _OURS.items() if protocols & {*ours.also})
    keyed = (KEYS[key] for key in data.keys() & KEYS.keys())
    return frozenset({*map(PROTOCOLS.__getitem__, protocols), *also, *routes, *keyed, *_OTHERS})
