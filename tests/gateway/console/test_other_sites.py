"""Pages of other sites: under a foreign name (DNS rebinding), or by a form or a script (forgery)."""

import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9000", 200),
        ("[::1]:9000", 200),
        ("[::1]", 200),
        ("localhost", 200),
        ("LocalHost:9000", 200),
        ("gateway.localhost", 200),
        ("console.example.org", 200),
        ("Console.Example.org.:443", 200),
        ("evil.example.org", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("console.example.org.evil.example", 421),
        ("2130706433", 421),
        ("", 200),  # no browser
    ],
)
async def test_only_its_own_names(site: Any, host: str, status: int) -> None:
    async with site(console="hosts: [console.example.org]") as here:
        assert (await here.get("/api/status", host=host)).status_code == status
        assert (await here.get("/healthz", host=host)).status_code == 200
        assert (await here.get("/readyz", host=host)).status_code == status
        assert (await here.get("/metrics", host=host)).status_code == status


OWN = "http://127.0.0.1:9000"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": OWN}, 200),
        ({"origin": OWN, "sec-fetch-site": "same-origin"}, 200),
        ({"origin": "http://127.0.0.1:9001"}, 403),
        ({"origin": "https://127.0.0.1:9000"}, 200),  # behind a proxy with TLS
        ({"origin": "http://localhost:9000"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"origin": "http://127.0.0.1:99999"}, 403),
        ({"origin": "http://[::1"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "none"}, 200),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "multipart/form-data; boundary=x"}, 415),
        ({"content-type": "application/json; charset=utf-8"}, 200),
        ({"content-type": ""}, 415),
    ],
)
async def test_a_page_of_another_site_changes_nothing(site: Any, headers: dict[str, str], status: int) -> None:
    async with site() as here:
        sent = {**JSON, "host": "127.0.0.1:9000", **headers}
        answer = await here.client.post("/api/outgoing/ring", content=b"{}", headers=sent)
        assert answer.status_code == status, answer.text
        if status == 403:
            assert (await here.client.get("/api/status", headers=sent)).status_code == 403


async def test_a_field_that_is_there_twice_is_refused(site: Any) -> None:
    async with site() as here:
        headers = [("origin", f"http://{here.console.address}"), ("origin", "https://evil.example")]
        answer = await here.client.get("/api/status", headers=headers)
        assert answer.status_code == 400


async def test_nothing_allows_another_origin(site: Any) -> None:
    async with site() as here:
        for method in ("OPTIONS", "GET", "POST"):
            answer = await here.client.request(
                method,
                "/api/status",
                headers={"origin": "https://evil.example", "access-control-request-method": "POST"},
            )
            assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_a_unix_socket_serves_the_same(site: Any, tmp_path: Path) -> None:
    path = tmp_path / "console.sock"
    async with (
        site(bind=f"unix:{path}"),
        httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path))) as client,
    ):
        assert (await client.get("http://localhost/api/status")).status_code == 200


async def test_each_change_is_a_line_in_the_log(site: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.console.audit")
    async with site() as here:
        await here.get("/api/status")
        assert not caplog.records
        await here.post("/api/outgoing/ring")
        await here.post("/api/dead/drop", {"text": "x\nERROR forged"})
        await here.post("/api/retained/delete", {"filter": "a/#"})
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        r'dead_drop by somebody from 127.0.0.1: 0, {"text": "x\nERROR forged"}',
        'retained.delete by somebody from 127.0.0.1: 0, {"filter": "a/#"}',
    ]
