"""What a scope type must be to the rest of the gateway, whichever it is."""

import ast
from pathlib import Path
from typing import Any

import pytest

from gateway import Policy, ProtocolTypeRouter, URLRouter, default
from gateway.scopes.installed import KINDS, SERVERS

ROOT = Path(__file__).parents[3]
NO_SCOPE = {"config/carriers.py", "config/checks.py", "config/loader.py", "runtime/health.py"}
"""A setting or a protocol that has the name of a scope type; the console's own ASGI application."""


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


def test_nothing_else_knows_a_scope_type_by_its_name() -> None:
    found = set()
    for file in (ROOT / "gateway").rglob("*.py"):
        path = file.relative_to(ROOT / "gateway")
        if path.parts[0] not in ("scopes", "consumers"):
            constants = (node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant))
            found |= {str(path) for value in constants if value in set(KINDS)}
    assert found <= NO_SCOPE
