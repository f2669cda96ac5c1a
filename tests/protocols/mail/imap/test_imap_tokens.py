"""Logins by access token, at a Dovecot that asks the authorization server which tokens are valid."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from imap_desk import Desk, mail, reading
from servers.dovecot import USER, Dovecot, dovecot
from servers.token_endpoint import TokenEndpoint, token_endpoint
from waiting import until

from protocols.mail.oauth.settings import Auth

BY_TOKEN: dict[str, Any] = {"password": None, "reconnect": 0.05}
"""``retry_refused`` is five minutes."""


@pytest.fixture
async def endpoint() -> AsyncIterator[TokenEndpoint]:
    async with token_endpoint() as running:
        yield running


@pytest.fixture
async def server(endpoint: TokenEndpoint) -> AsyncIterator[Dovecot]:
    with dovecot(introspection=f"{endpoint.url}/introspect") as running:
        yield running


def new_token(endpoint: TokenEndpoint) -> str:
    endpoint.valid[token := secrets.token_urlsafe(900)] = USER
    return token


async def count(server: Dovecot) -> int:
    """With a password; the authorization server lives in this process's loop."""
    return await asyncio.to_thread(server.count, "Processed")


async def append(server: Dovecot, subject: str) -> None:
    await asyncio.to_thread(server.append, mail(subject))


async def processed(server: Dovecot, number: int) -> None:
    async with asyncio.timeout(20):
        while await count(server) != number:  # noqa: ASYNC110 -- the server's count has no event
            await asyncio.sleep(0.05)


async def test_a_token_that_was_expired_is_tried_again_as_soon_as_its_file_has_changed(
    server: Dovecot, endpoint: TokenEndpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token = tmp_path / "token"
    token.write_text("expired\n")
    await append(server, "one")
    async with reading(Desk(), server, USER, token_file=str(token), **BY_TOKEN) as reader:
        await until(lambda: "login refused" in reader.status.detail)
        assert reader.status.detail.endswith("next try in 300 s")
        token.write_text(f"{new_token(endpoint)}\n")
        await processed(server, 1)
    assert "expired\n" not in caplog.text


async def test_a_token_file_that_comes_later_is_read_when_it_is_there(
    server: Dovecot, endpoint: TokenEndpoint, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    await append(server, "one")
    async with reading(Desk(), server, USER, token_file=str(token), **BY_TOKEN) as reader:
        await until(lambda: "No such file" in reader.status.detail)
        token.write_text(new_token(endpoint))
        await processed(server, 1)


async def test_a_token_that_is_revoked_is_replaced_at_the_next_connection(
    server: Dovecot, endpoint: TokenEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token is good for another hour, and the server does not take it any more."""
    monkeypatch.setattr("protocols.mail.oauth.cached.JUST_MADE", 0.0)
    auth = Auth(google=str(endpoint.service_account(tmp_path)))
    await append(server, "one")
    async with reading(Desk(), server, USER, auth=auth, **BY_TOKEN) as reader:
        await processed(server, 1)
        endpoint.revoke()
        await asyncio.to_thread(server.kick)
        await append(server, "two")
        await processed(server, 2)
        await until(lambda: reader.status.state == "ready")
    assert len(endpoint.forms) == 2, "the first token, and one instead of that"


async def test_folders_of_one_account_share_its_token(server: Dovecot, endpoint: TokenEndpoint, tmp_path: Path) -> None:
    auth = Auth(google=str(endpoint.service_account(tmp_path)))
    await append(server, "one")
    async with reading(Desk(), server, USER, auth=auth, folders=("INBOX", "Drafts"), **BY_TOKEN):
        await processed(server, 1)
    assert len(endpoint.forms) == 1


async def test_an_authorization_server_that_is_away_is_asked_again_soon(
    server: Dovecot, endpoint: TokenEndpoint, tmp_path: Path
) -> None:
    endpoint.answers = [(503, "{}"), (503, "{}")]
    auth = Auth(google=str(endpoint.service_account(tmp_path)))
    await append(server, "one")
    async with reading(Desk(), server, USER, auth=auth, **BY_TOKEN):
        await processed(server, 1)
    assert len(endpoint.forms) == 3
