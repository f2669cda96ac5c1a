"""Settings are checked with any version of pydantic that the project allows."""

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.config import validation
from gateway.config.validation import ValidationError, validated

SERVERS = {"web": {"protocol": "http", "bind": "127.0.0.1:8000"}}


@pytest.fixture
def _schemas_of_another_version(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(validation, "core_schema", lambda type_: {"type": "in words that it does not know"})
    validation._validator.cache_clear()
    yield
    validation._validator.cache_clear()


@pytest.mark.usefixtures("_schemas_of_another_version")
def test_pydantic_composes_what_this_version_of_its_core_cannot_read() -> None:
    assert validated({"servers": SERVERS, "threads": 3}).threads == 3
    with pytest.raises(ValidationError):
        validated({"servers": SERVERS, "threads": "many"})


ALONE = [
    {"protocol": "http"},
    {"protocol": "mqtt"},
    {"protocol": "mqtt-client", "url": "mqtt://broker.example"},
    {"protocol": "smtp"},
    {"protocol": "lmtp"},
    {"protocol": "imap", "host": "mail.example", "username": "ann", "password": "secret"},
    {"protocol": "sms", "provider": "generic", "on": "web", "path": "/sms", "secret": "s" * 32},
    {
        "protocol": "sms",
        "provider": "twilio",
        "on": "web",
        "path": "/sms",
        "auth_token": "t" * 32,
        "account_sid": "AC1",
    },
    {"protocol": "sms", "provider": "no such"},
    {"protocol": "mqtt", "prot": "1883"},
]


@pytest.mark.parametrize("server", ALONE, ids=lambda server: "-".join([*server.values()][:2]))
def test_a_server_alone_is_what_it_is_among_all(server: dict[str, str]) -> None:
    """Settings are composed of those scope types that the file names: of all, if it has the key `outgoing`."""
    alone, among_all = [_read({"servers": {"it": server}} | more) for more in ({}, {"outgoing": {}})]
    assert alone == among_all


def _read(data: dict[str, Any]) -> Any:
    try:
        return validated(data).servers
    except ValidationError as error:
        return str(error)
