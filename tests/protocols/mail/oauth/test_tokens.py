"""Tokens of Google and Microsoft, from an authorization server that verifies every proof."""

import asyncio
import contextlib
import json
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from servers.token_endpoint import USER, TokenEndpoint, token_endpoint

from protocols.mail.oauth.login import _stored, store_login
from protocols.mail.oauth.microsoft_auth import MicrosoftAuth
from protocols.mail.oauth.settings import Auth
from protocols.mail.oauth.source import NoTokenYet, TokenRefused, TokenSource
from protocols.secret import Secret

TENANT = "example.com"


@pytest.fixture
async def endpoint() -> AsyncIterator[TokenEndpoint]:
    async with token_endpoint() as served:
        yield served


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def microsoft(endpoint: TokenEndpoint, **given: Any) -> TokenSource:
    auth = MicrosoftAuth(authority=endpoint.url, **{"tenant": TENANT, "client_id": "app"} | given)
    return Auth(microsoft=auth).source(USER)


def with_secret(endpoint: TokenEndpoint, *, right: bool = True) -> TokenSource:
    endpoint.client_secrets["app"] = "s3cret"
    secret = "s3cret" if right else "another"
    return microsoft(endpoint, client_secret=Secret(secret))


async def test_a_service_account_of_google_acts_for_the_mailbox(endpoint: TokenEndpoint, folder: Path) -> None:
    source = Auth(google=str(endpoint.service_account(folder))).source(USER)
    assert endpoint.valid[await source.token()] == USER


async def test_a_service_account_signs_with_the_key_that_google_knows(endpoint: TokenEndpoint, folder: Path) -> None:
    path = endpoint.service_account(folder)
    issuer = json.loads(path.read_text())["client_email"]
    endpoint.service_account(folder)  # another key in the same place
    written = json.loads(path.read_text())
    path.write_text(json.dumps(written | {"client_email": issuer}))
    with pytest.raises(TokenRefused, match=r"^127\.0\.0\.1 refused: invalid_grant: It is so\.$"):
        await Auth(google=str(path)).source(USER).token()


async def test_an_application_of_microsoft_has_a_secret(endpoint: TokenEndpoint) -> None:
    assert await with_secret(endpoint).token() in endpoint.valid
    with pytest.raises(TokenRefused, match="invalid_client"):
        await with_secret(endpoint, right=False).token()


async def test_an_application_of_microsoft_has_a_certificate(endpoint: TokenEndpoint, folder: Path) -> None:
    path = endpoint.certificate(folder, "app")
    assert await microsoft(endpoint, certificate=str(path)).token() in endpoint.valid
    endpoint.certificate(folder, "another")
    with pytest.raises(TokenRefused, match="invalid_grant"):
        await microsoft(endpoint, certificate=str(path)).token()


async def test_a_token_is_asked_for_once_and_renewed_before_its_end(endpoint: TokenEndpoint) -> None:
    source = with_secret(endpoint)
    first = await source.token()
    assert {await each for each in asyncio.as_completed([source.token() for _ in range(20)])} == {first}
    assert len(endpoint.forms) == 1
    source._clock = lambda: asyncio.get_running_loop().time() + 3600 - 299  # type: ignore[attr-defined]
    assert await source.token() != first


async def test_a_refused_token_is_not_given_again(endpoint: TokenEndpoint) -> None:
    """Two connections of an account are refused together: one new token serves both."""
    source = with_secret(endpoint)
    first = await source.token()
    now = asyncio.get_running_loop().time()
    source._clock = lambda: now + 60  # type: ignore[attr-defined]
    second = await source.token(fresh=True)
    assert second != first
    assert await source.token(fresh=True) == second


async def test_a_changed_file_counts_at_once(endpoint: TokenEndpoint, folder: Path) -> None:
    path = endpoint.service_account(folder)
    source = Auth(google=str(path)).source(USER)
    first, stamp = await source.token(), source.stamp()
    endpoint.service_account(folder)
    assert source.stamp() != stamp
    assert await source.token() != first


async def test_a_person_has_to_log_in_first_and_then_stays_logged_in(endpoint: TokenEndpoint, folder: Path) -> None:
    source = Auth(google=str(endpoint.desktop_client(folder))).source(USER)
    stamp = source.stamp()
    with pytest.raises(TokenRefused, match=r"^nobody has logged in yet: run `gateway login` with this server's name$"):
        await source.token()
    path = folder / "var/logins" / USER
    store_login(path, endpoint.new_login())
    assert source.stamp() != stamp
    assert await source.token() in endpoint.valid
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_refresh_token_that_changes_is_kept(endpoint: TokenEndpoint, folder: Path) -> None:
    endpoint.rotates = True
    path = folder / "var/logins" / USER
    store_login(path, first := endpoint.new_login())
    await microsoft(endpoint).token()
    kept = json.loads(path.read_text())["refresh_token"]
    assert kept != first
    assert kept in endpoint.refresh_tokens
    assert [each.name for each in path.parent.iterdir()] == [USER]


async def test_servers_with_one_login_do_not_wake_each_other(endpoint: TokenEndpoint, folder: Path) -> None:
    """Each took the other's new refresh token for a new login: refused by both their servers, they tried for ever."""
    endpoint.rotates = True
    path = folder / "var/logins" / USER
    store_login(path, endpoint.new_login())
    mailbox, submission = microsoft(endpoint), microsoft(endpoint)
    stamp = mailbox.stamp()
    tokens = {await source.token() for _ in range(3) for source in (mailbox, submission)}
    assert len(tokens) == len(endpoint.forms) == 2
    assert mailbox.stamp() == submission.stamp() == stamp
    store_login(path, endpoint.new_login())
    assert mailbox.stamp() != stamp
    assert await mailbox.token() not in tokens


async def test_a_login_that_has_expired_is_a_persons_task(endpoint: TokenEndpoint, folder: Path) -> None:
    store_login(folder / "var/logins" / USER, "withdrawn")
    with pytest.raises(TokenRefused, match=r"invalid_grant: It is so\.; run `gateway login` again$"):
        await microsoft(endpoint).token()


@pytest.mark.parametrize(
    "answer", [(500, "oops"), (503, "{}"), (429, ""), (200, "[1"), (200, '{"access_token": "a\\nb"}')]
)
async def test_a_server_in_trouble_is_asked_again(endpoint: TokenEndpoint, answer: tuple[int, str]) -> None:
    source = with_secret(endpoint)
    endpoint.answers = [answer]
    with pytest.raises(NoTokenYet, match=r"^127\.0\.0\.1 answered"):
        await source.token()
    assert await source.token() in endpoint.valid


@pytest.mark.parametrize("answer", [(302, ""), (404, "<html>" * 100_000), (400, '{"error": 7}')])
async def test_an_answer_that_makes_no_sense_is_a_refusal(endpoint: TokenEndpoint, answer: tuple[int, str]) -> None:
    endpoint.answers = [answer]
    with pytest.raises(TokenRefused, match=rf"^127\.0\.0\.1 answered {answer[0]}$"):
        await with_secret(endpoint).token()


@pytest.mark.parametrize("life", [None, "3599", "soon", -5, "nan", 1e300])
async def test_any_life_of_a_token_is_taken(endpoint: TokenEndpoint, life: object) -> None:
    endpoint.life = life
    assert await with_secret(endpoint).token() in endpoint.valid


async def test_an_endpoint_that_is_away_is_asked_again() -> None:
    auth = MicrosoftAuth(authority="http://127.0.0.1:1", tenant=TENANT, client_id="app", client_secret=Secret("s"))
    with pytest.raises(NoTokenYet, match=r"^127\.0\.0\.1: "):
        await Auth(microsoft=auth).source(USER).token()


async def test_what_a_server_says_is_one_short_line(endpoint: TokenEndpoint) -> None:
    endpoint.answers = [(400, json.dumps({"error": "bad", "error_description": "\x1b[31m" + "a" * 5000 + "\nb"}))]
    with pytest.raises(TokenRefused) as caught:
        await with_secret(endpoint).token()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 300


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory"),
        ("{", "it is not JSON"),
        ("[]", "it is neither a service account's key nor the client of a desktop app"),
        ('{"type": "service_account", "client_email": "a@b"}', "it has no private_key"),
        ('{"type": "service_account", "client_email": "a@b", "private_key": "x"}', "it holds no private key"),
        ('{"type": "service_account", "token_uri": "http://example.org"}', "is not an https URL"),
    ],
)
async def test_a_wrong_file_of_google_is_told_in_a_sentence(folder: Path, content: str | None, said: str) -> None:
    path = folder / "google.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(TokenRefused, match=f"^{path}: .*{said}"):
        await Auth(google=str(path)).source(USER).token()


async def test_a_certificate_without_its_key_is_told_in_a_sentence(endpoint: TokenEndpoint, folder: Path) -> None:
    path = endpoint.certificate(folder, "app")
    path.write_text(path.read_text().partition("-----BEGIN PRIVATE")[0])
    with pytest.raises(TokenRefused, match=f"^{path}: it holds no private key without a password in PEM form$"):
        await microsoft(endpoint, certificate=str(path)).token()


def test_settings_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="write google or microsoft, one of them"):
        Auth()
    with pytest.raises(ValueError, match="write client_secret or certificate, one of them"):
        MicrosoftAuth(client_id="a", tenant=TENANT, client_secret=Secret("s"), certificate="c")
    with pytest.raises(ValueError, match="tenant is missing"):
        MicrosoftAuth(client_id="a", client_secret=Secret("s"))
    with pytest.raises(ValueError, match=r"'http://example\.org' is not an https URL"):
        MicrosoftAuth(client_id="a", authority="http://example.org")


def test_a_name_of_a_mailbox_makes_no_path() -> None:
    assert Auth(google="x").login_file("../../etc/passwd") == Path("var/logins/_._.._etc_passwd")
    assert Auth(google="x").login_file("..") == Path("var/logins/_.")


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (200, '{"access_token": "a", "expires_in": 1%s}' % ("0" * 400)),
        (200, '{"access_token": "a", "expires_in": {}}'),
        (400, '{"error": ["a"]}'),
        (400, '{"error": {}, "error_description": 7}'),
        (200, "[" * 100_000),
    ],
)
async def test_any_answer_is_a_token_or_one_of_the_two_errors(
    endpoint: TokenEndpoint, status: int, answer: str
) -> None:
    endpoint.answers = [(status, answer)]
    with contextlib.suppress(NoTokenYet, TokenRefused):
        assert await with_secret(endpoint).token() == "a"


@pytest.mark.parametrize(
    "authority", ["https://a..b", f"https://{'a' * 300}.example", "https://a:99999", "https://[::1"]
)
def test_an_address_that_is_none_is_told_at_once(authority: str) -> None:
    with pytest.raises(ValueError, match="is not an https URL"):
        MicrosoftAuth(client_id="app", authority=authority)


async def test_a_login_that_several_write_is_never_half_written(folder: Path) -> None:
    """A mailbox and the submission server may have one login, and both keep the new refresh token."""
    path = folder / "login"
    store_login(path, "a" * 5000)

    def write(token: str) -> None:
        for _ in range(100):
            store_login(path, token * 5000)
            assert len(_stored(path)) == 5000

    await asyncio.gather(*(asyncio.to_thread(write, token) for token in "abcd"))
    assert os.listdir(folder) == ["login"]
