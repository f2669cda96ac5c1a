"""Logins and TLS with a real Postfix, whose logins a real Dovecot decides."""

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.certificates import make
from servers.dovecot import PASSWORD, USER, dovecot
from servers.postfix import LIMIT, postfix
from servers.programs import program
from servers.submission import sending
from servers.token_endpoint import token_endpoint

from protocols.errors import AccountRefused, NotSent
from protocols.mail.oauth.microsoft_auth import MicrosoftAuth
from protocols.mail.oauth.settings import Auth
from protocols.secret import Secret

MAIL = b"From: desk@example.net\r\nSubject: hi\r\n\r\nhello\r\n"
AUTH = "service auth {\n unix_listener {root}/postfix {\n  mode = 0666\n }\n}"
MAIN = """
default_transport = discard:
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {auth}/postfix
smtpd_sasl_security_options = noanonymous
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_security_level = may
smtpd_tls_auth_only = {tls_only}
smtpd_tls_wrappermode = {wrapped}
"""


class Server:
    def __init__(self, address: str, ca: str) -> None:
        self.port = int(address.rpartition(":")[2])
        self.ca = ca

    async def send(self, scheme: str = "smtp", **settings: Any) -> None:
        """To an address that it relays to for those only who have logged in."""
        url = f"{scheme}://localhost:{self.port}"
        async with asyncio.timeout(LIMIT), sending(url, ca=self.ca, **settings) as submission:
            for _ in range(2):
                await submission.submit("desk@example.net", ["ann@elsewhere.example"], MAIL)


@contextlib.contextmanager
def serve(folder: Path, *, tls_only: bool, wrapped: bool = False, introspection: str = "") -> Iterator[Server]:
    folder.chmod(0o755)
    tls = make(folder)
    with dovecot(more=AUTH, introspection=introspection) as auth:
        auth.root.chmod(0o755)
        main = MAIN.replace("{auth}", str(auth.root)).replace("{certificate}", tls.certificate)
        main = main.replace("{key}", tls.key).replace("{tls_only}", "yes" if tls_only else "no")
        with postfix(main=main.replace("{wrapped}", "yes" if wrapped else "no")) as address:
            yield Server(address, tls.certificate)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("plain"), tls_only=False) as server:
        yield server


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """AUTH under TLS only."""
    with serve(tmp_path_factory.mktemp("strict"), tls_only=True) as server:
        yield server


@pytest.fixture(scope="module")
def wrapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("wrapped"), tls_only=True, wrapped=True) as server:
        yield server


LOGIN: dict[str, Any] = {"username": USER, "password": Secret(PASSWORD)}


async def test_a_password(plain: Server) -> None:
    await plain.send(**LOGIN)
    with pytest.raises(AccountRefused, match="535") as caught:
        await plain.send(username=USER, password=Secret("wrong"))
    assert "wrong" not in str(caught.value)
    with pytest.raises(NotSent, match="Relay access denied"):
        await plain.send()


def test_swaks_logs_in_the_same_way(plain: Server) -> None:
    """The server is as strict as it seems."""
    command = [
        *(program("swaks"), "--server", f"127.0.0.1:{plain.port}", "--to", "ann@elsewhere.example"),
        *("--auth", "PLAIN", "--auth-user", USER, "--auth-password", PASSWORD),
    ]
    assert subprocess.run(command, capture_output=True, timeout=LIMIT).returncode == 0


async def test_a_token_and_a_newer_one_in_the_file(plain: Server, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("expired\n")
    with pytest.raises(AccountRefused, match=r"535 .* \(status 40[01]\)|535") as caught:
        await plain.send(username=USER, token_file=str(token))
    assert "expired" not in str(caught.value)
    token.write_text(f"{PASSWORD}\n")
    await plain.send(username=USER, token_file=str(token))
    token.unlink()
    with pytest.raises(AccountRefused, match="token_file"):
        await plain.send(username=USER, token_file=str(token))


async def test_a_login_by_oauth_whose_token_is_revoked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server no longer takes a token that was good for an hour: the next one is asked for within the login."""
    monkeypatch.setattr("protocols.mail.oauth.cached.JUST_MADE", 0.0)
    async with token_endpoint() as endpoint:
        account = Auth(google=str(endpoint.service_account(tmp_path)))
        with serve(tmp_path, tls_only=False, introspection=f"{endpoint.url}/introspect") as server:
            url = f"smtp://localhost:{server.port}"
            async with asyncio.timeout(LIMIT), sending(url, username=USER, auth=account, keep_open=0) as submission:
                await submission.submit("desk@example.net", ["ann@elsewhere.example"], MAIL)
                endpoint.revoke()
                await submission.submit("desk@example.net", ["ann@elsewhere.example"], MAIL)
                endpoint.answers = [(503, "{}")]
                endpoint.revoke()
                with pytest.raises(NotSent) as caught:
                    await submission.submit("desk@example.net", ["ann@elsewhere.example"], MAIL)
                assert type(caught.value) is NotSent, "the endpoint is away, not the account"
    assert len(endpoint.forms) >= 2


async def test_starttls_is_used_before_a_login_leaves(strict: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AccountRefused, match="AUTH"):  # on this machine there is no STARTTLS
        await strict.send(**LOGIN)
    monkeypatch.setattr("protocols.mail.submission.login._is_loopback", lambda host: False)
    await strict.send(**LOGIN)


async def test_tls_from_the_first_byte(wrapped: Server, tmp_path: Path) -> None:
    await wrapped.send("smtps", **LOGIN)
    other = make(tmp_path)
    wrapped_by_another = Server(f"localhost:{wrapped.port}", other.certificate)
    with pytest.raises(NotSent, match="CERTIFICATE_VERIFY_FAILED") as caught:
        await wrapped_by_another.send("smtps", **LOGIN)
    assert type(caught.value) is NotSent


async def test_a_renewed_authority_is_read_again(wrapped: Server, tmp_path: Path) -> None:
    """Its file has changed since the last connection."""
    ca = tmp_path / "ca.pem"
    shutil.copy(make(tmp_path).certificate, ca)
    url = f"smtps://localhost:{wrapped.port}"
    async with asyncio.timeout(LIMIT), sending(url, ca=str(ca), **LOGIN) as submission:
        with pytest.raises(NotSent, match="CERTIFICATE"):
            await submission.submit("desk@example.net", ["ann@elsewhere.example"], MAIL)
        shutil.copy(wrapped.ca, ca)
        await submission.submit("desk@example.net", ["ann@elsewhere.example"], MAIL)


async def test_a_token_of_the_authorization_server(tmp_path: Path) -> None:
    async with token_endpoint() as endpoint:
        endpoint.client_secrets["app"] = "s3cret"
        known = MicrosoftAuth(
            authority=endpoint.url, tenant="example.com", client_id="app", client_secret=Secret("s3cret")
        )
        login = {"username": USER, "auth": Auth(microsoft=known)}
        with serve(tmp_path, tls_only=False, introspection=f"{endpoint.url}/introspect") as server:
            url = f"smtp://localhost:{server.port}"
            async with asyncio.timeout(LIMIT), sending(url, keep_open=0, **login) as submission:
                await submission.submit("desk@example.net", ["ann@elsewhere.example"], MAIL)
                await submission.submit("desk@example.net", ["ann@elsewhere.example"], MAIL)
                assert len(endpoint.forms) == 1
                endpoint.revoke()
                with pytest.raises(AccountRefused, match="535"):  # a token is not asked for again within ten seconds
                    await submission.submit("desk@example.net", ["ann@elsewhere.example"], MAIL)
