"""What a scope type must be to the rest of the gateway, whichever it is."""

from typing import Any

import pytest

from gateway import Policy, ProtocolTypeRouter, URLRouter, default
from gateway.scopes.installed import KINDS, PROTOCOLS, SERVERS, named


async def app(scope: Any, receive: Any, send: Any) -> None: ...


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.delivery is None], ids=lambda kind: kind.name)
def test_a_policy_on_what_is_not_kept_is_an_error(kind: Any) -> None:
    with pytest.raises(ValueError, match=f"a route for {kind.name} cannot have a policy"):
        ProtocolTypeRouter({kind.name: URLRouter([default(app, Policy(inbox=True))])})
    with pytest.raises(ValueError, match=f"a route for {kind.name} cannot have a policy"):
        ProtocolTypeRouter({kind.name: default(app, Policy(inbox=True)).app})


def test_what_is_known_of_scope_types_before_they_are_imported_is_what_they_say() -> None:
    assert [(kind.name, kind) for kind in KINDS.values()] == [*KINDS.items()]
    assert [*PROTOCOLS.items()] == [(each, kind.name) for kind in KINDS.values() for each in kind.protocols]
    assert [*SERVERS] == [*PROTOCOLS]


WEB = {"web": {"protocol": "http"}}


@pytest.mark.parametrize(
    ("data", "kinds"),
    [
        ({"servers": WEB, "routes": {"http": "a.b"}}, {"http", "websocket"}),
        ({"servers": WEB, "application": "a.b"}, {"http", "websocket"}),
        ({"servers": WEB, "routes": None}, {"http", "websocket"}),
        ({"servers": {"devices": {"protocol": "mqtt-client"}}}, {"mqtt"}),
        ({"servers": WEB, "routes": {"sms": "a.b"}}, {"http", "websocket", "sms"}),
        ({"servers": WEB, "submission": "file:var"}, {"http", "websocket", "email"}),
        ({"servers": WEB, "reply_tokens": {}}, {"http", "websocket", "email"}),
        ({"servers": WEB, "postmaster": "a@b.example"}, {"http", "websocket", "email"}),
        ({"servers": {**WEB, "other": {"protocol": "htpt"}}}, {*KINDS}),
        ({"servers": {**WEB, "other": {"protocol": ["http"]}}}, {*KINDS}),
        ({"servers": {**WEB, "other": {}}}, {*KINDS}),
        ({"servers": {**WEB, "other": "http"}}, {*KINDS}),
        ({"servers": WEB, "routes": {"htpt": "a.b"}}, {*KINDS}),
        ({"servers": WEB, "routes": "a.b"}, {*KINDS}),
        ({"servers": WEB, "outgoing": {"keep": {"sms": "1d"}}}, {*KINDS}),
        ({"servers": {}}, {*KINDS}),
        ({}, {*KINDS}),
    ],
)
def test_a_file_names_scope_types(data: Any, kinds: set[str]) -> None:
    assert named(data) == kinds


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_a_scope_type_is_whole(kind: Any) -> None:
    assert kind.refusal
    assert kind.keys
    name, _, rest = kind.example.partition(":")
    assert name == kind.name
    assert kind.subject(rest)
    assert all(SERVERS[protocol].server_class().protocol for protocol in kind.protocols)
