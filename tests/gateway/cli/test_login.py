"""``gateway login``, in its own process, against an authorization server that verifies every proof."""

import asyncio
import json
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from servers.token_endpoint import USER, TokenEndpoint, token_endpoint

LIMIT = 20.0
MICROSOFT = "{{microsoft: {{client_id: app, authority: {url}}}}}"
GOOGLE = "{{google: client.json, login: kept/mine}}"


@pytest.fixture
async def endpoint() -> AsyncIterator[TokenEndpoint]:
    async with token_endpoint() as served:
        yield served


class Command:
    """``gateway login`` over a file with one mailbox in ``folder``."""

    def __init__(self, folder: Path, auth: str) -> None:
        self._folder = folder
        account = f"username: {USER}, auth: {auth}" if auth else f"username: {USER}, password: x"
        (folder / "gateway.yaml").write_text(
            f"servers:\n  support: {{protocol: imap, host: imap.example.org, {account}}}\nroutes: {{email: no.such}}\n"
        )

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "login", *(arguments or ("support",))),
            cwd=self._folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def fails(self, *arguments: str) -> tuple[int | None, str]:
        process = await self.start(*arguments)
        _, said = await asyncio.wait_for(process.communicate(), LIMIT)
        return process.returncode, said.decode().strip()


def stored(path: Path) -> str:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return str(json.loads(path.read_text())["refresh_token"])


async def test_a_person_logs_in_at_microsoft_by_a_code(endpoint: TokenEndpoint, tmp_path: Path) -> None:
    process = await Command(tmp_path, MICROSOFT.format(url=endpoint.url)).start()
    assert process.stdout is not None
    assert b"type the code ABCD-1234" in await asyncio.wait_for(process.stdout.readline(), LIMIT)
    endpoint.approved.set()
    said, _ = await asyncio.wait_for(process.communicate(), LIMIT)
    assert said.decode() == f"{USER} is logged in. The login is in var/logins/{USER}, for this user only.\n"
    assert stored(tmp_path / "var/logins" / USER) in endpoint.refresh_tokens


@pytest.mark.parametrize("pasted", [False, True])
async def test_a_person_logs_in_at_google_in_a_browser(endpoint: TokenEndpoint, tmp_path: Path, pasted: bool) -> None:
    endpoint.desktop_client(tmp_path)
    process = await Command(tmp_path, GOOGLE.format()).start()
    assert process.stdout is not None
    lines = [(await asyncio.wait_for(process.stdout.readline(), LIMIT)).decode().strip() for _ in range(5)]
    address = next(line for line in lines if line.startswith(endpoint.url))
    async with aiohttp.ClientSession() as session, session.get(address, allow_redirects=not pasted) as response:
        back = response.headers.get("location", "")
    said, _ = await asyncio.wait_for(process.communicate(f"{back}\n".encode() if pasted else None), LIMIT)
    assert said.decode().endswith(f"{USER} is logged in. The login is in kept/mine, for this user only.\n")
    assert stored(tmp_path / "kept/mine") in endpoint.refresh_tokens


async def test_what_cannot_log_in_is_told_in_a_sentence(endpoint: TokenEndpoint, tmp_path: Path) -> None:
    endpoint.service_account(tmp_path)
    assert await Command(tmp_path, "{google: service-account.json}").fails() == (
        1,
        "service-account.json is the key of a service account, which logs in by itself",
    )
    by_itself = "{microsoft: {tenant: example.com, client_id: a, client_secret: s}}"
    assert await Command(tmp_path, by_itself).fails() == (
        1,
        "an application with a secret or a certificate logs in by itself",
    )
    command = Command(tmp_path, "")
    assert await command.fails() == (2, "support logs in without a person: it has no auth: with google or microsoft")
    assert await command.fails("other") == (2, "there is no server 'other'; the file has support, submission")
    away = "{microsoft: {client_id: a, authority: 'http://127.0.0.1:1'}}"
    assert (await Command(tmp_path, away).fails())[1].startswith("127.0.0.1: ")


async def test_one_of_several_accounts_is_named(tmp_path: Path) -> None:
    command = Command(tmp_path, "{google: client.json}")
    (tmp_path / "gateway.yaml").write_text(
        "servers:\n  support:\n    protocol: imap\n    host: imap.example.org\n    accounts:\n"
        "      - {username: a@example.org, auth: {google: client.json}}\n"
        "      - {username: b@example.org, auth: {google: client.json}}\n"
        "      - {username: c@example.org, password: x}\nroutes: {email: no.such}\n"
    )
    names = "a@example.org, b@example.org"
    assert await command.fails() == (2, f"support has several accounts; add --username with one of {names}")
    assert await command.fails("support", "--username", "c@example.org") == (
        2,
        f"support has no account 'c@example.org' with auth:; it has {names}",
    )
    assert await command.fails("support", "--username", "b@example.org") == (
        1,
        "client.json: No such file or directory",
    )
