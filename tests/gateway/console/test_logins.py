"""Who may use a console that has users: in a browser, in a script, for metrics; and who may not."""

import asyncio
import base64
import json
import logging
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from servers.certificates import make
from servers.nginx import Nginx
from waiting import until

from gateway.console.http import app, visitors
from gateway.console.sessions import EACH, MOST, Lifetime, Sessions
from gateway.workers.logins import KnownLogins
from protocols.access import logins
from protocols.access.users import hash_password
from protocols.secret import Secret

HASH = hash_password(b"right")
USERS = f"users: {{ann: '{HASH}'}}"
PATHS = [
    ("GET", "/api/status"),
    ("GET", "/api/arrivals?follow=true"),
    ("POST", "/api/dead/drop"),
    ("GET", "/api/openapi.json"),
    ("GET", "/api/nothing"),
    ("GET", "/metrics"),
]


async def log_in(here: Any, given: str = "right", **headers: str) -> httpx.Response:
    answer: httpx.Response = await here.post("/api/login", {"username": "ann", "password": given}, **headers)
    return answer


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_nothing_without_a_login(site: Any, method: str, path: str) -> None:
    async with site(console=USERS) as here:
        answer = await here.client.request(method, path, json={} if method == "POST" else None)
        assert answer.status_code == 401
        assert "www-authenticate" in answer.headers
        for cookie in (
            f"{here.cookie}=",
            f"{here.cookie}=x",
            here.cookie,
            f'{here.cookie}="',
            "gateway_session=x",
            ";;=;",
        ):
            assert (await here.client.request(method, path, headers={"cookie": cookie})).status_code == 401


async def test_health_is_told_and_no_more(site: Any) -> None:
    async with site(console=USERS) as here:
        assert (await here.get("/healthz")).json() == {"alive": True}
        assert (await here.get("/readyz")).json() == {"ready": True}
        assert (await here.get("/api/session")).json() == {"login": True, "user": None}
        await log_in(here)
        assert "servers" in (await here.get("/readyz")).json()
        assert (await here.get("/api/session")).json() == {"login": True, "user": "ann"}


async def test_a_browser_logs_in_and_out(site: Any) -> None:
    async with site(console=USERS) as here:
        answer = await log_in(here)
        assert answer.json() == {"user": "ann"}
        _, *flags = answer.headers["set-cookie"].split("; ")
        assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"} == set(flags)
        assert (await here.get("/api/status")).status_code == 200
        cookie = {"cookie": f"{here.cookie}={here.client.cookies[here.cookie]}"}
        async with here.client.stream("GET", "/api/arrivals?follow=true") as stream:
            assert stream.status_code == 200
            assert (await here.post("/api/logout")).status_code == 200
        assert (await here.get("/api/status")).status_code == 401
        assert (await here.get("/api/status", **cookie)).status_code == 401, (
            "the session has ended, whoever has its token"
        )


async def test_a_stream_ends_with_its_session(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.console.http.stream.HEARTBEAT", 0.01)
    async with site(console=USERS) as here:
        await log_in(here)
        async with here.client.stream("GET", "/api/arrivals?follow=true") as stream:
            async with here.new_client(cookies=dict(here.client.cookies)) as other:
                await other.post("/api/logout", json={})
            async with asyncio.timeout(20):
                async for _ in stream.aiter_bytes():
                    pass


async def test_a_slow_change_ends_with_its_session(
    site: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.console.audit")
    monkeypatch.setattr("gateway.console.http.app.HEARTBEAT", 0.01)
    async with site(console=USERS) as here:
        await log_in(here)
        host, _, port = here.server("web").rpartition(":")
        peers = [await asyncio.open_connection(host, int(port)) for _ in range(20)]
        await until(lambda: len(list(here.running.gateway.servers.named("web").clients())) == 20)
        changing = asyncio.create_task(here.post("/api/clients/disconnect", {"server": "web", "rate": 1}))
        await until(lambda: len(list(here.running.gateway.servers.named("web").clients())) < 20)
        async with here.new_client(cookies=dict(here.client.cookies)) as other:
            await other.post("/api/logout", json={})
        answer = await changing
        assert (answer.status_code, "the login has ended" in answer.json()["error"]) == (401, True)
        left = len(list(here.running.gateway.servers.named("web").clients()))
        assert left > 0
        assert f"clients.disconnect by ann from 127.0.0.1: {20 - left}, " in caplog.text
        for _, writer in peers:
            writer.close()


async def test_wrong_logins_are_refused_slowly_and_logged(site: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.console.audit")
    async with site(console=USERS) as here:
        for username, password in [("ann", "wrong"), ("bob\n", "right"), ("", ""), ("ann", "x" * 5000)]:
            given = {"username": username, "password": password}
            answer = await here.post("/api/login", given)
            assert (answer.status_code, answer.json()) == (401, {"error": "the user or the password is wrong"})
            assert "set-cookie" not in answer.headers
        assert (await here.post("/api/login", {"username": "ann"})).status_code == 400
        assert (await here.post("/api/login", {"username": "ann", "password": 5})).status_code == 400
        for given in ({"username": "\ud800", "password": "x"}, {"username": "ann", "password": "\ud800"}):
            body = json.dumps(given).encode()
            answer = await here.client.post("/api/login", content=body, headers={"content-type": "application/json"})
            assert answer.status_code == 400, "half a surrogate pair is no text"
    said = [record.getMessage() for record in caplog.records]
    assert said[:2] == ["wrong login of 'ann' from 127.0.0.1", r"wrong login of 'bob\n' from 127.0.0.1"]
    assert "x" * 10 not in caplog.text
    assert "right" not in caplog.text


async def test_logins_are_counted_in_the_metrics(site: Any) -> None:
    async with site(console=USERS) as here:
        await log_in(here, "wrong")
        await log_in(here)
        async with here.new_client(auth=("ann", "right")) as script:
            told = (await script.get("/metrics")).text
        for outcome, number in {"right": 2, "wrong": 1, "busy": 0, "unavailable": 0}.items():
            assert f'gateway_logins_total{{outcome="{outcome}",server="console"}} {number}.0' in told
        assert 'gateway_connections_accepted_total{server="console"} 2.0' in told


async def test_each_wrong_login_makes_the_next_one_slower(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(logins, "SOONEST", 0.0)
    monkeypatch.setattr(logins, "penalty", lambda failures: waits.append(failures) or 0.0)
    async with site(console=USERS) as here:
        for number in range(5):
            await log_in(here, f"wrong {number}")
    assert [round(each) for each in waits] == [0, 1, 2, 3, 4]


async def test_a_script_sends_its_password_each_time(site: Any) -> None:
    async with site(console=USERS) as here:
        async with here.new_client(auth=("ann", "right")) as script:
            assert (await script.get("/api/status")).status_code == 200
            assert (await script.post("/api/outgoing/ring", json={})).status_code == 200
            assert not script.cookies
        async with here.new_client(auth=("ann", "wrong")) as script:
            assert (await script.get("/api/status")).status_code == 401
        for value in ("Basic", "Basic !", "Basic YW5u", "Basic /w=="):
            assert (await here.get("/api/status", authorization=value)).status_code == 400


async def test_a_browser_is_not_made_to_open_a_window_of_its_own(site: Any) -> None:
    async with site(console=USERS) as here:
        answer = await here.get("/api/status", **{"sec-fetch-site": "same-origin"})
        assert answer.status_code == 401
        assert "www-authenticate" not in answer.headers


async def test_a_page_of_another_site_cannot_log_anybody_in(site: Any) -> None:
    async with site(console=USERS) as here:
        assert (await log_in(here, origin="https://evil.example")).status_code == 403
        given = "username=ann&password=right"
        kind = {"content-type": "application/x-www-form-urlencoded"}
        assert (await here.client.post("/api/login", content=given, headers=kind)).status_code == 415
        assert (await here.client.get(f"/api/login?{given}")).status_code == 405


async def test_metrics_have_a_token_of_their_own(site: Any) -> None:
    async with site(console=f"{USERS}, metrics_token: abc123") as here:
        assert (await here.get("/metrics", authorization="Bearer abc123")).status_code == 200
        assert (await here.get("/metrics", authorization="Bearer abc12")).status_code == 401
        odd = await here.client.get("/metrics", headers={b"authorization": b"Bearer \xff"})
        assert odd.status_code == 401
        assert (await here.get("/api/status", authorization="Bearer abc123")).status_code == 401
        async with here.new_client(auth=("ann", "right")) as script:
            assert (await script.get("/metrics")).status_code == 200


async def test_a_user_who_is_gone_is_out(site: Any, tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text(f"ann:{HASH}\n")
    async with site(console=f"password_file: {file}") as here:
        await log_in(here)
        assert (await here.get("/api/status")).status_code == 200
        file.write_text(f"bob:{HASH}\n")

        async def is_out() -> bool:
            await log_in(here, "right")  # looks at the file
            return bool((await here.get("/api/status")).status_code == 401)

        await until(is_out)


@pytest.mark.parametrize(
    ("proxies", "told", "address", "secure"),
    [
        ("", {"x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "https"}, "127.0.0.1", False),
        (
            "trusted_proxies: [127.0.0.1]",
            {"x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "https"},
            "192.0.2.7",
            True,
        ),
        ("trusted_proxies: [127.0.0.1]", {"x-forwarded-for": "6.6.6.6, 192.0.2.7"}, "192.0.2.7", False),
        ("trusted_proxies: [127.0.0.1, 10.0.0.0/8]", {"x-forwarded-for": "192.0.2.7, 10.1.1.1"}, "192.0.2.7", False),
        ("trusted_proxies: [127.0.0.1]", {"x-forwarded-for": "192.0.2.7, nonsense"}, "127.0.0.1", False),
        (
            "trusted_proxies: [127.0.0.1]",
            [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.7")],
            "192.0.2.7",
            False,
        ),
        ("trusted_proxies: [127.0.0.1]", {}, "127.0.0.1", False),
    ],
)
async def test_behind_a_proxy(
    site: Any, proxies: str, told: Any, address: str, secure: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.console.audit")
    async with site(console=f"{USERS}, {proxies}" if proxies else USERS) as here:
        body = {"username": "ann", "password": "right"}
        answer = await here.client.post("/api/login", json=body, headers=told)
        assert ("Secure" in answer.headers["set-cookie"].split("; ")) == secure
    assert caplog.records[-1].getMessage() == f"login by ann from {address}"


@pytest.mark.parametrize("secure", [False, True])
async def test_behind_nginx_a_login_has_the_address_of_the_client(
    site: Any, secure: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.console.audit")
    async with site(console=f"{USERS}, trusted_proxies: [127.0.0.1]") as here:
        behind = int(here.console.address.rpartition(":")[2])
        nginx = Nginx(tmp_path / "nginx", behind, make(tmp_path) if secure else None)
        transport = httpx.AsyncHTTPTransport(local_address="127.0.0.2", verify=False)
        lies = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "7.7.7.7"), ("X-Forwarded-Proto", "https")]
        try:
            async with httpx.AsyncClient(transport=transport, timeout=20) as client:
                url = f"{'https' if secure else 'http'}://127.0.0.1:{nginx.port}/api/login"
                answer = await client.post(url, json={"username": "ann", "password": "right"}, headers=lies)
        finally:
            nginx.close()
    assert answer.status_code == 200, answer.text
    assert ("Secure" in answer.headers["set-cookie"].split("; ")) == secure
    assert caplog.records[-1].getMessage() == "login by ann from 127.0.0.2"


LIFETIME = Lifetime(whole=10, idle=4)
SECRET = Secret(HASH)


@pytest.mark.parametrize(("used", "ends"), [((), 4.0), ((3.0,), 7.0), ((3.0, 6.9, 9.9), 10.0)])
def test_a_session_ends_when_it_is_old_or_was_not_used(used: tuple[float, ...], ends: float) -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    token = sessions.open("ann", SECRET)
    for now[0] in used:
        assert sessions.of(token, LIFETIME) is not None
    found = sessions.of(token, Lifetime(whole=100, idle=100))
    assert found is not None
    now[0] = ends
    assert not sessions.use(found, LIFETIME)
    assert sessions.of(token, Lifetime(whole=100, idle=100)) is None, "it has ended for good"


def test_a_session_that_was_closed_does_not_come_back_by_what_another_worker_tells_late() -> None:
    """That worker used it before it heard of its end."""
    now, told = [0.0], list[Any]()
    here, there = Sessions(lambda: now[0]), Sessions(lambda: now[0])
    here.tell = there.learn
    token = here.open("ann", SECRET)
    there.tell = told.append
    now[0] = LIFETIME.idle / 2
    assert there.of(token, LIFETIME) is not None
    here.close(token)
    [late] = told
    parent = KnownLogins()
    parent.note({**late, "closed": True})
    for each in (here.learn, there.learn, parent.note):
        each(late)
    assert here.of(token, LIFETIME) is there.of(token, LIFETIME) is None
    assert parent.all() == []


def test_sessions_of_one_user_are_bounded() -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    tokens = [sessions.open("ann", SECRET) for _ in range(EACH)]
    bob = sessions.open("bob", SECRET)
    now[0] = 1.0
    for token in tokens[1:]:
        sessions.of(token, LIFETIME)
    sessions.open("ann", SECRET)
    assert [token for token in [*tokens, bob] if sessions.of(token, LIFETIME) is None] == tokens[:1]


def test_sessions_are_bounded_and_their_tokens_are_not_kept() -> None:
    sessions = Sessions()
    first = sessions.open("ann", SECRET)
    for number in range(MOST):
        sessions.open(f"user {number}", SECRET)
    assert sessions.of(first, LIFETIME) is None
    assert len(sessions._sessions) == MOST
    assert first.encode() not in sessions._sessions


@pytest.mark.parametrize("becomes", ["ann:{other}\n", "bob:{same}\n", ""])
async def test_a_changed_password_ends_every_session_of_its_user(
    site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, becomes: str
) -> None:
    """Also without any login that would look at the file: by the cookie, in a stream, and in a stream by Basic."""
    monkeypatch.setattr("gateway.console.http.stream.HEARTBEAT", 0.05)
    file = tmp_path / "users"
    file.write_text(f"ann:{HASH}\neve:{HASH}\n")
    async with site(console=f"password_file: {file}") as here, here.new_client(auth=("ann", "right")) as script:
        await log_in(here)
        assert (await here.get("/api/status")).status_code == 200
        async with (
            here.client.stream("GET", "/api/arrivals?follow=true") as by_cookie,
            script.stream("GET", "/api/arrivals?follow=true") as by_password,
        ):
            file.write_text(becomes.format(other=hash_password(b"other"), same=HASH) + f"eve:{HASH}\n")

            async def is_out() -> bool:
                return bool((await here.get("/api/status")).status_code == 401)

            await until(is_out)
            await here.post("/api/outgoing/ring")  # nothing that changes anything
            async with asyncio.timeout(20):
                for stream in (by_cookie, by_password):
                    async for _ in stream.aiter_bytes():
                        pass
        file.write_text(f"ann:{HASH}\n")

        async def is_back() -> bool:
            return bool((await log_in(here)).status_code == 200)

        await until(is_back)
        assert (await here.get("/api/status")).status_code == 200


async def test_a_login_replaces_the_session_before_and_takes_no_token_from_outside(site: Any) -> None:
    async with site(console=USERS) as here:
        chosen = {"cookie": f"{here.cookie}=chosen-by-somebody-else"}
        answer = await log_in(here, **chosen)
        first = answer.cookies[here.cookie]
        assert first != "chosen-by-somebody-else"
        here.client.cookies.clear()
        assert (await here.get("/api/status", **chosen)).status_code == 401
        second = (await log_in(here, cookie=f"{here.cookie}={first}")).cookies[here.cookie]
        here.client.cookies.clear()
        statuses = [
            (await here.get("/api/status", cookie=f"{here.cookie}={each}")).status_code for each in (first, second)
        ]
        assert statuses == [401, 200]


async def test_only_so_many_logins_wait(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.runtime.health.LOGINS", 8)
    monkeypatch.setattr(logins, "SOONEST", 3600.0)  # wrong ones wait
    async with site(console=f"{USERS}, trusted_proxies: [127.0.0.1]") as here:
        await log_in(here)

        async def wrong(number: int) -> httpx.Response:
            return await log_in(here, f"wrong {number}", **{"x-forwarded-for": f"192.0.2.{number % 8}"})

        waiting = [asyncio.create_task(wrong(number)) for number in range(40)]
        done, pending = set[Any](), set(waiting)
        while len(pending) > 8:
            more, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            done |= more
        assert {(each.result().status_code, each.result().headers["retry-after"]) for each in done} == {(503, "5")}
        assert (await here.get("/healthz")).status_code == 200
        assert (await log_in(here)).status_code == 200, "a right password that is remembered needs no place"
        for each in pending:
            each.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


def test_names_and_passwords_are_bounded() -> None:
    assert visitors.LONGEST_PASSWORD <= logins.LONG


async def test_streams_of_one_address_leave_connections_for_its_health_checks(site: Any) -> None:
    basic = base64.b64encode(b"ann:right")
    request = b"GET /api/arrivals?follow=true HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic %b\r\n\r\n" % basic
    async with site(console=USERS) as here, AsyncExitStack() as opened:
        host, _, port = here.console.address.rpartition(":")
        for _ in range(app.STREAMS):
            reader, writer = await asyncio.open_connection(host, int(port))
            opened.callback(writer.close)
            writer.write(request)
            assert (await reader.readline()).split()[1] == b"200"
        assert (await here.get("/healthz")).status_code == 200
        async with here.new_client(auth=("ann", "right")) as script:
            answer = await script.get("/api/arrivals?follow=true")
            assert (answer.status_code, answer.json()) == (503, {"error": "32 event streams are open already"})
