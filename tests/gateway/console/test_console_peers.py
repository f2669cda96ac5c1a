"""The console and programs of others: nginx in front of it, curl by TLS, by a Unix socket and by IPv6."""

import asyncio
import json
import logging
import os
import re
import shutil
import ssl
import stat
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from servers.certificates import ended, make
from servers.nginx import Nginx
from servers.programs import program
from waiting import until

from protocols.access.users import hash_password
from protocols.net import tls as tls_files
from protocols.net.tls import TLS

USERS = f"users: {{ann: '{hash_password(b'right')}'}}"
PAGE = Path(__file__).parents[3] / "docs/console.md"


def nginx_of_the_page(behind: int) -> str:
    """What the page says of nginx, for this port."""
    [block] = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert "127.0.0.1:9000" in block
    return str(block.replace("127.0.0.1:9000", f"127.0.0.1:{behind}"))


async def curl(*arguments: str) -> tuple[int, str]:
    """The exit code of curl, and what it prints."""
    command = [program("curl"), "--silent", "--show-error", "--max-time", "20", *arguments]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout or done.stderr


def port_of(here: Any) -> int:
    return int(here.console.address.rpartition(":")[2])


async def test_behind_nginx_with_tls(site: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.console.audit")
    pair = make(tmp_path)
    async with site(console=f"{USERS}, trusted_proxies: [127.0.0.1]") as here:
        nginx = await asyncio.to_thread(
            lambda: Nginx(tmp_path / "nginx", 0, location=nginx_of_the_page(port_of(here)), tls=pair)
        )
        try:
            context = ssl.create_default_context(cafile=pair.certificate)
            url = f"https://localhost:{nginx.port}"
            async with httpx.AsyncClient(base_url=url, verify=context, timeout=20) as client:
                answer = await client.post(
                    "/api/login", json={"username": "ann", "password": "right"}, headers={"origin": url}
                )
                assert answer.status_code == 200, answer.text
                assert answer.headers["set-cookie"].startswith(f"__Host-gateway_session_{nginx.port}=")
                assert caplog.records[-1].getMessage() == "login by ann from 127.0.0.1"
                assert (await client.get("/api/status")).status_code == 200
                forged = {"x-forwarded-for": "203.0.113.9"}
                await client.post("/api/outgoing/ring", json={}, headers=forged)
                assert "from 203.0.113.9" not in caplog.text, "nginx adds the address that it sees"
                other = {"origin": f"http://localhost:{nginx.port}0"}
                assert (await client.post("/api/outgoing/ring", json={}, headers=other)).status_code == 403
                async with client.stream("GET", "/api/arrivals?follow=true") as stream:
                    events = stream.aiter_lines()
                    await here.client.get(f"http://{here.server('web')}/seen")
                    async with asyncio.timeout(20):
                        async for line in events:  # it is not kept in a buffer
                            if line.startswith("data:") and "/seen" in line:
                                break
        finally:
            await asyncio.to_thread(nginx.close)


async def test_curl_by_tls_with_the_right_authority_alone(site: Any, tmp_path: Path) -> None:
    pair, other = make(tmp_path), make(tmp_path, "other")
    async with site(console=f"tls: {{certificate: {pair.certificate}, key: {pair.key}}}") as here:
        url = f"https://localhost:{port_of(here)}/api/status"
        code, said = await curl("--cacert", pair.certificate, url)
        assert (code, "servers" in said) == (0, True), said
        assert (await curl("--cacert", other.certificate, url))[0] == 60
        assert (await curl("--cacert", pair.certificate, url.replace("https", "http")))[0] in (1, 52, 56)
        assert (await curl("--cacert", pair.certificate, "--tls-max", "1.1", url))[0] == 35
        assert (await curl("--cacert", pair.certificate, url))[0] == 0


@pytest.mark.parametrize("make_wrong", [ended, partial(make, host="elsewhere.example")])
async def test_curl_refuses_a_certificate_that_has_ended_or_is_of_another_host(
    site: Any, tmp_path: Path, make_wrong: Callable[[Path], TLS]
) -> None:
    """And takes the next one as soon as the files are there: no reload is needed."""
    pair = make_wrong(tmp_path)
    async with site(console=f"tls: {{certificate: {pair.certificate}, key: {pair.key}}}") as here:
        url = f"https://localhost:{port_of(here)}/healthz"

        async def ends_with(code: int) -> bool:
            return (await curl("--cacert", pair.certificate, url))[0] == code

        assert await ends_with(60)
        make(tmp_path)
        await until(lambda: ends_with(0))


async def test_a_certificate_that_cannot_be_used_leaves_the_one_before(
    site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tls_files, "CHECK_INTERVAL", 0.0)
    pair = make(tmp_path)
    good = tmp_path / "good.pem"
    shutil.copy(pair.certificate, good)
    async with site(console=f"tls: {{certificate: {pair.certificate}, key: {pair.key}}}") as here:
        shutil.copy(pair.key, pair.certificate)
        assert (await curl("--cacert", str(good), f"https://localhost:{port_of(here)}/healthz"))[0] == 0
        assert "new connections use the previous certificate" in caplog.text


@pytest.mark.parametrize(("console", "mode"), [("", 0o600), (USERS, 0o777)])
async def test_curl_by_a_unix_socket(site: Any, tmp_path: Path, console: str, mode: int) -> None:
    """Without users only the user of the gateway may connect, whatever its umask lets others."""
    path = tmp_path / "console.sock"
    before = os.umask(0)
    try:
        async with site(bind=f"unix:{path}", console=console):
            facts = path.stat()
            assert (stat.S_IMODE(facts.st_mode), facts.st_uid) == (mode, os.getuid())
            login = ["--user", "ann:right"] if console else []
            code, said = await curl("--unix-socket", str(path), *login, "http://localhost/api/status")
            assert (code, "servers" in json.loads(said)) == (0, True)
            assert (await curl("--unix-socket", str(path), "http://evil.example/api/status"))[1].startswith('{"error"')
    finally:
        os.umask(before)
    assert not path.exists()


async def test_curl_by_ipv6(site: Any) -> None:
    async with site(bind="[::1]:0") as here:
        code, said = await curl("--globoff", f"http://[::1]:{port_of(here)}/api/status")
        assert (code, "servers" in json.loads(said)) == (0, True)
        evil = await curl("--globoff", "--header", "Origin: http://[::2]", f"http://[::1]:{port_of(here)}/api/status")
        assert "may not ask this console" in evil[1]
