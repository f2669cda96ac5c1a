"""Every operation over real HTTP: what it answers is what the OpenAPI document says."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from event_data import event_data
from kept_messages import fill
from openapi_spec_validator import validate
from servers.site import ROOT

from gateway.console.openapi import openapi
from gateway.console.table import operations
from gateway.control.asking import ASKED_BY

DOCUMENT: Any = json.loads(json.dumps(openapi()))
EXAMPLES: dict[str, dict[str, Any]] = {
    "clients.disconnect": {"ids": ["nobody"], "rate": 5},
    "clients.list": {"server": "web", "by": "dropped"},
    "clients.show": {"ids": ["nobody"]},
    "openapi": {},
    "reload": {"check": True, "status": 503},
    "reload_code": {"within": 1, "status": 503},
    "retained.delete": {"status": 400},
    "retained.list": {"filter": "sensors/#"},
    "retained.show": {"topics": ["sensors/7"]},
    "ring": {},
    "routes": {},
    "certificates": {},
    "configuration": {},
    "servers": {},
    "sessions.delete": {"client_ids": ["nobody"], "dry_run": True},
    "sessions.list": {"connected": "true"},
    "sessions.show": {"client_ids": ["nobody"]},
    "status": {},
    "tail": {"last": 5},
    "arrival": {"number": 1, "status": 404},
    "waiting": {"count": True},
    "show": {"id": "old1"},
    "dead": {"count": True, "text": "help@", "limit": 1},
    "dead_show": {"id": "old1"},
    "dead_file": {"id": "old1"},
    "dead_export": {"text": "help@"},
    "dead_retry": {"ids": ["old1"]},
    "dead_drop": {"error": "order", "dry_run": True},
    "outgoing": {},
    "outgoing_show": {"id": "sent1"},
    "outgoing_file": {"id": "sent1"},
    "outgoing_export": {},
    "outgoing_retry": {"everything": True},
    "outgoing_drop": {"ids": ["nothing"], "status": 404},
    "log": {},
    "log_level": {"logger": "gateway.scopes.emial", "level": "debug", "status": 400},
}
"""The parameters of a request for each operation, and the status that it has if that is not 200."""


def test_a_public_validator_takes_the_document() -> None:
    validate(DOCUMENT)
    assert json.loads((ROOT / "config" / "openapi.json").read_text()) == DOCUMENT


def test_no_parameter_has_a_name_that_every_request_has() -> None:
    for each in operations().values():
        assert not {"do", ASKED_BY} & each.parameters.keys()


def test_there_is_an_example_for_each() -> None:
    assert EXAMPLES.keys() == {name for name, each in operations().items() if each.path}


def check(answer: Any, schema: Any) -> None:
    """``answer`` has the form that ``schema`` describes."""
    jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(answer)


@pytest.mark.parametrize("name", EXAMPLES)
async def test_it_answers_as_described(name: str, site: Any, tmp_path: Path) -> None:
    one, example = operations()[name], dict(EXAMPLES[name])
    status = example.pop("status", 200)
    path = one.path.format(**example)
    rest = {key: value for key, value in example.items() if key not in one.in_path}
    async with site() as here:
        await fill(here.store)
        if one.method == "GET":
            answer = await here.client.get(path, params=rest)
        else:
            answer = await here.client.request(one.method, path, json=rest)
    assert answer.status_code == status, answer.text
    found = DOCUMENT["paths"][one.path][one.method.lower()]["responses"]["200" if status == 200 else "default"]
    ((kind, described),) = found["content"].items()
    assert answer.headers["content-type"] == kind
    for each in event_data(answer.text) if one.streams else [answer.json()]:
        check(each, described["schema"])
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nothing", 404),
        ("GET", "/api/status/", 404),
        ("GET", "/api//status", 404),
        ("GET", "/api/arrivals/%2e%2e", 400),
        ("POST", "/api/status", 405),
        ("GET", "/api/reload", 405),
        ("OPTIONS", "/api/status", 405),
        ("GET", "/api/arrivals?last=-1", 400),
        ("GET", "/api/arrivals?last=1&lasting=2", 400),
        ("GET", "/api/arrivals?" + "&".join(f"a{n}=1" for n in range(100)), 400),
        ("GET", "/api/arrivals?text=%ff", 400),
        ("HEAD", "/api/status", 200),
        ("GET", "/api/status?", 200),
    ],
)
async def test_what_is_asked_for_wrongly(site: Any, method: str, path: str, status: int) -> None:
    async with site() as here:
        answer = await here.client.request(method, path)
        assert answer.status_code == status, answer.text
        if status != 200:
            check(answer.json(), DOCUMENT["components"]["schemas"]["Error"])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'{"a": 1}', 400),
        (b"[" * 60_000, 400),
        (b" " * 70_000, 413),
        (b"\xff\xfe", 400),
        (b'{"do": NaN}', 400),
    ],
)
async def test_a_body_is_an_object_and_bounded(site: Any, body: bytes, status: int) -> None:
    async with site() as here:
        kind = {"content-type": "application/json"}
        answer = await here.client.post("/api/outgoing/ring", content=body, headers=kind)
        assert answer.status_code == (status if body else 200), answer.text
