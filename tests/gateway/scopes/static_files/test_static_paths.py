"""Whatever path is asked for, nothing but the open files below the folder is sent."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from conversation import scope
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from static_site import OPEN, made

from gateway import StaticFiles, URLRouter, url

PARTS = st.sampled_from(
    [
        "..",
        "%2e%2e",
        "%2E.",
        ".",
        "/",
        "%2f",
        "//",
        "\\",
        "%5c",
        "%00",
        "css",
        "a.css",
        "b.css",
        "out.pem",
        "key.pem",
        "above",
        "sideways",
        "x.txt",
        "latest.css",
        ".well-known",
        "security.txt",
        ".env",
        ".git",
        "config",
        "pipe",
        "round",
        "static",
        "static-other",
        "index.html",
        "%ff",
        "%c0%af",
        "\udcff",
        "é",
        " ",
        "~",
        ";",
        "?",
        "#",
        "%",
    ]
)
PATHS = st.lists(PARTS | st.just("/"), max_size=8).map("".join) | st.binary(max_size=30).map(
    lambda raw: raw.decode("utf-8", "surrogateescape")
)
METHODS = st.sampled_from(["GET", "GET", "GET", "HEAD", "POST"])
FIELDS = st.lists(
    st.tuples(
        st.sampled_from([b"range", b"accept-encoding", b"if-none-match", b"if-range", b"if-modified-since"]),
        st.binary(max_size=20) | st.sampled_from([b"bytes=0-3", b"bytes=1-2,5-", b"gzip, br", b"*", b"bytes=-1"]),
    ),
    max_size=3,
)


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("any"))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PATHS, METHODS, FIELDS)
def test_any_path_and_any_fields(static: Path, path: str, method: str, fields: list[tuple[bytes, bytes]]) -> None:
    sent: list[dict[str, Any]] = []

    async def send(event: Any) -> None:
        sent.append(event)

    raw, _, query = f"/static/{path}".encode("utf-8", "surrogateescape").partition(b"?")
    decoded = unquote_to_bytes(raw).decode("utf-8", "replace")  # as the server does
    asked = scope("http", path=decoded, query_string=query, method=method, headers=fields)
    app = URLRouter([url("^static/", StaticFiles(static))])
    asyncio.run(app(asked, None, send))
    start, *bodies = sent
    body = b"".join(event.get("body", b"") for event in bodies)
    assert start["status"] in (200, 206, 301, 304, 404, 405, 412, 416)
    assert b"secret" not in body
    assert not bodies[-1].get("more_body")
    if start["status"] == 200 and method == "GET":
        assert body == OPEN
    if start["status"] == 301:
        assert dict(start["headers"])[b"location"].startswith(b"./")
