"""What a scope type must be to the rest of the gateway, whichever it is."""

from typing import Any

import pytest

from gateway import Policy, ProtocolTypeRouter, URLRouter, default
from gateway.scopes.installed import KINDS, SERVERS


async def app(scope: Any, receive: Any, send: Any) -> None: ...


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.delivery is None], ids=lambda kind: kind.name)
def test_a_policy_on_what_is_not_kept_is_an_error(kind: Any) -> None:
    with pytest.raises(ValueError, match="cannot have a policy"):
        URLRouter([default(app, Policy(inbox=True))])
    with pytest.raises(ValueError, match=f"a route for {kind.name} cannot have a policy"):
        ProtocolTypeRouter({kind.name: default(app, Policy(inbox=True)).app})


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_a_scope_type_is_whole(kind: Any) -> None:
    assert kind.refusal
    assert kind.keys
    name, _, rest = kind.example.partition(":")
    assert name == kind.name
    assert kind.subject(rest)
    assert all(SERVERS[protocol].server_class().protocol for protocol in kind.protocols)
