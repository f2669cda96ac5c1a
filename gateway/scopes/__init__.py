"""The scope types: one object each, and the only list of them."""

from collections.abc import Mapping

from gateway.scopes.email.delivery import EmailDelivery
from gateway.scopes.kind import ScopeKind
from gateway.scopes.mqtt.delivery import MQTTDelivery
from gateway.scopes.sms.delivery import SMSDelivery

KINDS: Mapping[str, ScopeKind] = {
    kind.name: kind
    for kind in (
        ScopeKind("http"),
        ScopeKind("websocket"),
        ScopeKind("mqtt", MQTTDelivery()),
        ScopeKind("email", EmailDelivery()),
        ScopeKind("sms", SMSDelivery()),
    )
}
"""By the name that a scope has under ``type``."""
