"""What somebody may send to the console, byte by byte: it answers others meanwhile, and every answer is safe."""

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx
import pytest
from servers.certificates import make
from waiting import until

from gateway.console.http import request
from gateway.console.http.answer import SAFE
from gateway.console.http.app import STREAMS
from gateway.runtime.health import CONNECTIONS, LOGINS
from protocols.access import login_cache, login_failures, logins, users
from protocols.access.users import hash_password

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

FAST = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$Zm9vYmFyYmF6cXV4Zm9vYg"
"""A hash that takes no time, of a password that does not exist."""
USERS = f"users: {{ann: '{hash_password(b'right')}'}}"
FIELDS = {name.decode(): value.decode() for name, value in SAFE}


async def dial(here: Any, address: str = "127.0.0.1") -> Connection:
    """A connection from ``address``."""
    host, _, port = here.console.address.rpartition(":")
    return await asyncio.open_connection(host, int(port), local_addr=(address, 0))


@asynccontextmanager
async def dialled(
    here: Any, number: int, sent: bytes, addresses: Sequence[str] = ("127.0.0.1",)
) -> AsyncIterator[list[Connection]]:
    """So many connections, from these addresses in turn, each of which has sent the same."""
    async with AsyncExitStack() as opened:
        made = []
        for each in islice(cycle(addresses), number):
            made.append(await dial(here, each))
            opened.callback(made[-1][1].close)
            made[-1][1].write(sent)
        yield made


async def ask(here: Any, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """The status, the fields and the body of the answer to these bytes."""
    reader, writer = await dial(here)
    try:
        writer.write(sent)
        async with asyncio.timeout(20):
            head = await reader.readuntil(b"\r\n\r\n")
            line, *lines = head.decode("latin-1").strip().split("\r\n")
            fields = dict(each.lower().split(": ", 1) for each in lines)
            return int(line.split()[1]), fields, await reader.readexactly(int(fields.get("content-length", "0")))
    finally:
        writer.close()


def is_safe(fields: Any) -> bool:
    return all(fields.get(name, "").lower() == value.lower() for name, value in FIELDS.items())


HOST = b"Host: localhost\r\n"
JSON = b"Content-Type: application/json\r\n"
BAD = {
    "no request": (b"nonsense\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "a long line": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "a long field": (b"GET /api/status HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 9000 + b"\r\n\r\n", 431),
    "many fields": (b"GET /api/status HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 200 + b"\r\n", 431),
    "a field with a line end": (b"GET /api/status HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n\r\n", 400),
    "two lengths": (b"POST /api/login HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "another transfer coding": (b"POST /api/login HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: evil\r\n\r\n", 400),
    "two hosts": (b"GET /api/status HTTP/1.1\r\n" + HOST + b"Host: evil.example\r\n\r\n", 400),
    "a foreign host": (b"GET /api/status HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
    "a foreign URL": (b"GET http://evil.example/api/status HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
    "a WebSocket": (
        b"GET /api/arrivals HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        403,
    ),
    "two slashes": (b"GET //api/status HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "dots": (b"GET /metrics/../api/status HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "escaped dots": (b"GET /api/%2e%2e/api/status HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "escaped slashes": (b"GET /api/dead/..%2f..%2fetc%2fpasswd HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "NUL": (b"GET /api/status%00 HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "line ends in the path": (b"GET /api/%0d%0aset-cookie:%20a=b HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "no UTF-8": (b"GET /api/%ff%fe HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "another method": (b"DELETE /api/status HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "TRACE": (b"TRACE /api/status HTTP/1.1\r\n" + HOST + b"Cookie: a=b\r\n\r\n", 405),
    "CONNECT": (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n", 501),
    "a method of its own": (b"EVIL /healthz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a query that is no text": (b"GET /api/dead?text=%ff HTTP/1.1\r\n" + HOST + b"\r\n", 400),
}
"""What is sent, and the status of the answer."""


@pytest.mark.parametrize("what", BAD)
async def test_what_is_wrong_gets_one_safe_answer(site: Any, what: str) -> None:
    sent, expected = BAD[what]
    async with site() as here:
        status, fields, body = await ask(here, sent)
        assert status == expected, body
        assert is_safe(fields)
        assert "set-cookie" not in fields
        assert (await here.get("/api/status")).status_code == 200


async def test_http_1_0_without_a_host_is_answered(site: Any) -> None:
    async with site() as here:
        status, fields, body = await ask(here, b"GET /api/status HTTP/1.0\r\n\r\n")
        assert (status, is_safe(fields), "servers" in json.loads(body)) == (200, True, True)


async def test_every_answer_has_the_fields_that_keep_a_browser_from_misusing_it(site: Any) -> None:
    """Of every path that is described, of those that are not operations, and of a stream."""
    async with site() as here:
        paths = (await here.get("/api/openapi.json")).json()["paths"]
        for path, methods in paths.items():
            for method in ("get", "post", "head"):
                if "get" in methods and "text/event-stream" in str(methods["get"]["responses"]):
                    continue
                answer = await here.client.request(method, path.replace("{", "").replace("}", ""), json={})
                assert is_safe(answer.headers), (method, path, answer.status_code)
        for path in ("/healthz", "/readyz", "/metrics", "/api/session", "/api/nothing", "/", "/favicon.ico"):
            for method in ("GET", "POST", "OPTIONS"):
                answer = await here.client.request(method, path)
                own = {**FIELDS, "content-security-policy": answer.headers["content-security-policy"]}  # a page's own
                assert own.items() <= dict(answer.headers).items(), (method, path, answer.status_code)
        async with here.client.stream("GET", "/api/arrivals?follow=true") as stream:
            assert is_safe(stream.headers)


async def test_a_cookie_of_a_secure_console_is_for_this_host_alone(site: Any, tmp_path: Path) -> None:
    tls = make(tmp_path)
    async with site(console=f"{USERS}, tls: {{certificate: {tls.certificate}, key: {tls.key}}}") as here:
        url = f"https://localhost:{here.console.address.rpartition(':')[2]}"
        async with httpx.AsyncClient(base_url=url, verify=ssl.create_default_context(cafile=tls.certificate)) as client:
            answer = await client.post("/api/login", json={"username": "ann", "password": "right"})
            name, _, rest = answer.headers["set-cookie"].partition("=")
            token, *flags = rest.split("; ")
            assert name == f"__Host-{here.cookie}"
            assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= set(flags)
            assert (await client.get("/api/status")).status_code == 200
            client.cookies.clear()
            plain = {"cookie": f"{here.cookie}={token}"}
            assert (await client.get("/api/status", headers=plain)).status_code == 401, "another host can set that one"


@pytest.mark.parametrize(
    "sent", [b"", b"G", b"GET /api/status HTTP/1.1\r\nX-Slow: ", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"]
)
async def test_connections_that_wait_for_a_request_give_way(site: Any, sent: bytes) -> None:
    """Those that send a head slowly, or nothing, or have had their answer."""
    async with site() as here, dialled(here, CONNECTIONS, sent) as slow:
        await until(lambda: here.console.listener.connections >= CONNECTIONS)
        for _ in range(3):
            async with here.new_client() as client:
                assert (await client.get("/healthz")).status_code == 200
        assert here.console.listener.connections <= CONNECTIONS + 1
        async with asyncio.timeout(20):
            await slow[0][0].read()  # the oldest is closed


SLOW = {
    "a body that is read": b"POST /api/login HTTP/1.1\r\n" + HOST + JSON + b"Content-Length: 1000\r\n\r\n{",
    "a chunked body": b"POST /api/login HTTP/1.1\r\n" + HOST + JSON + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    "a body that is asked for": b"POST /api/login HTTP/1.1\r\n"
    + HOST
    + JSON
    + b"Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n",
    "a body of a change without a login": b"POST /api/dead/drop HTTP/1.1\r\n"
    + HOST
    + JSON
    + b"Content-Length: 1000\r\n\r\n{",
    "a body at a path that does not exist": b"POST /nothing HTTP/1.1\r\n" + HOST + b"Content-Length: 1000\r\n\r\n{",
    "a body of a health check": b"POST /healthz HTTP/1.1\r\n" + HOST + b"Content-Length: 1000\r\n\r\n{",
    "a body of a GET": b"GET /api/session HTTP/1.1\r\n" + HOST + b"Content-Length: 1000\r\n\r\n{",
}


@pytest.mark.parametrize("what", SLOW)
async def test_bodies_that_come_slowly_give_way(site: Any, what: str) -> None:
    """From two addresses, each within its own limit; an operator at a third one logs in and works meanwhile."""
    async with (
        site(console=USERS) as here,
        dialled(here, CONNECTIONS, SLOW[what], ("127.0.0.2", "127.0.0.3")) as slow,
    ):
        await until(lambda: here.console.listener.connections >= CONNECTIONS)
        for _ in range(3):
            async with here.new_client() as operator:
                given = {"username": "ann", "password": "right"}
                assert (await operator.post("/api/login", json=given)).status_code == 200
                assert (await operator.get("/api/status")).status_code == 200
        assert here.console.listener.connections <= CONNECTIONS + 1
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionResetError):
                await slow[0][0].read()  # the oldest is closed


async def test_streams_and_logins_that_wait_leave_connections_for_others(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logins, "SOONEST", 3600.0)  # wrong ones wait
    basic = b"Authorization: Basic %b\r\n" % base64.b64encode(b"ann:right")
    stream = b"GET /api/arrivals?follow=true HTTP/1.1\r\n" + HOST + basic + b"\r\n"
    wrong = b'{"username": "ann", "password": "wrong %d"}'
    async with site(console=USERS) as here, AsyncExitStack() as opened:
        async with here.new_client(auth=("ann", "right")) as operator:  # a login that is remembered needs no place
            assert (await operator.get("/api/status")).status_code == 200
        for reader, _ in await opened.enter_async_context(dialled(here, STREAMS, stream)):
            assert (await reader.readline()).split()[1] == b"200"
        for number in range(LOGINS * 2):
            _, writer = await dial(here, f"127.0.0.{2 + number % 8}")
            opened.callback(writer.close)
            body = wrong % number
            head = b"POST /api/login HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n" % (HOST, JSON, len(body))
            writer.write(head + body)
        await until(lambda: here.console.console.logins._places._taken.total() == LOGINS)
        for _ in range(3):
            async with here.new_client() as client:
                assert (await client.get("/healthz")).status_code == 200


async def test_handshakes_that_do_not_go_on_give_way(site: Any, tmp_path: Path) -> None:
    tls = make(tmp_path)
    files = f"tls: {{certificate: {tls.certificate}, key: {tls.key}, handshake_timeout: 1h}}"
    async with site(console=files) as here, dialled(here, CONNECTIONS, b"\x16\x03\x01"):
        await until(lambda: here.console.listener.connections >= CONNECTIONS)
        url = f"https://localhost:{here.console.address.rpartition(':')[2]}"
        async with httpx.AsyncClient(base_url=url, verify=ssl.create_default_context(cafile=tls.certificate)) as client:
            assert (await client.get("/healthz")).status_code == 200


async def test_a_body_that_comes_byte_by_byte_has_an_end(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "BODY_TIME", 0.2)
    head = b"POST /api/login HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    async with site(console=USERS) as here:
        status, fields, body = await ask(here, head + b"{")
        assert (status, is_safe(fields), json.loads(body)) == (
            *(408, True),
            {"error": "the body did not come within 0.2 s"},
        )


@pytest.mark.parametrize("size", [request.LONGEST_BODY + 1, 10**7, 10**12])
async def test_a_long_body_is_refused(site: Any, size: int) -> None:
    head = b"POST /api/login HTTP/1.1\r\n%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (HOST, size)
    async with site(console=USERS) as here:
        status, fields, _ = await ask(here, head + b" " * (request.LONGEST_BODY + 1))
        assert (status, is_safe(fields)) == (413, True)


async def test_thousands_of_logins_from_many_addresses(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hashes at a time; what is remembered of them is bounded; others are answered, and the right user gets in."""
    monkeypatch.setattr(logins, "SOONEST", 0.0)
    monkeypatch.setattr(login_failures, "_MOST", 300)
    monkeypatch.setattr(login_cache, "_MOST_WRONG", 200)
    at_once, most, verify = 0, 0, users.verify

    def counted(*arguments: Any) -> bool:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            return verify(*arguments)
        finally:
            at_once -= 1

    monkeypatch.setattr(logins, "verify", counted)
    async with site(console=f"users: {{eve: '{FAST}'}}, trusted_proxies: [127.0.0.1]") as here:
        statuses: set[int] = set()
        numbers = iter(range(2000))

        async def attack() -> None:
            async with here.new_client() as client:
                for number in numbers:
                    given = {"username": f"user {number}", "password": f"guess {number}"}
                    told = {"x-forwarded-for": f"10.{number % 200}.{number // 200}.7"}
                    statuses.add((await client.post("/api/login", json=given, headers=told)).status_code)

        attacking = asyncio.gather(*(attack() for _ in range(LOGINS)))
        answered = 0
        while not attacking.done():
            answered += (await here.get("/healthz")).status_code == 200
            await asyncio.sleep(0.01)
        await attacking
        assert statuses == {401}
        assert answered > 10
        assert most <= logins.MOST_AT_ONCE
        checks = here.console.console.logins
        assert len(checks.failures._counts) <= 300
        assert len(checks.cache._wrong) <= 200
        assert not checks._places._taken
        assert len(checks._queue) == 0
