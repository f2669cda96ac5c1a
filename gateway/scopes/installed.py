"""The scope types: one object each, and the only list of them.

Distributions of others add theirs by the entry point group ``asgi_gateway.scopes``; docs/extending.md shows how.
"""

from collections.abc import Mapping

from gateway.scopes.email.kind import EmailKind
from gateway.scopes.http.kind import HTTPKind
from gateway.scopes.kind import ScopeKind
from gateway.scopes.mqtt.kind import MQTTKind
from gateway.scopes.plugins import Failure, load_plugins
from gateway.scopes.server_kind import ServerKind
from gateway.scopes.sms.kind import SMSKind
from gateway.scopes.websocket.kind import WebSocketKind

_OURS = (HTTPKind(), WebSocketKind(), MQTTKind(), EmailKind(), SMSKind())
_plugins = load_plugins(_OURS)

KINDS: Mapping[str, ScopeKind] = {kind.name: kind for kind in (*_OURS, *_plugins.kinds)}
"""The scope types, by the ``type`` of a scope."""
FAILURES: tuple[Failure, ...] = tuple(_plugins.failures)
"""The scope types that are installed and cannot be used."""
SERVERS: Mapping[str, ServerKind] = {
    protocol: server for kind in KINDS.values() for server in kind.servers for protocol in server.protocols
}
"""By the name that a server has under ``protocol``."""
