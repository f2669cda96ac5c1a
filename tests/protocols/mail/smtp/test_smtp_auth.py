"""Logging in: who may, over what, and as whom a user may send."""

import asyncio
import base64
import contextlib
import logging
import smtplib
import ssl
import subprocess
from pathlib import Path
from typing import Any

import aiosmtplib
import pytest
from argon2 import PasswordHasher
from contract import LIMIT, crashes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers import certificates
from servers.programs import program
from smtp_peer import ENVELOPE, HELLO, Inbox, Peer, peer_of, serving

from protocols.errors import RemoteProtocolError
from protocols.mail.smtp import auth
from protocols.mail.smtp.senders import Senders
from protocols.mail.smtp.settings import SMTPSettings
from protocols.net.listener import TLS
from protocols.secret import Secret

ANN = Secret(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("ann's"))
USERS = {"ann@example.org": ANN, "printer": ANN}
SENDERS = {"printer": ("@devices.example.org", "Print@example.org")}
RIGHT = base64.b64encode(b"\0ann@example.org\0ann's")
WRONG = base64.b64encode(b"\0ann@example.org\0hunter2")
MAIL = b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<b@x.org>\r\n"
OURS = b"From: Ann <ann@example.org>\r\n\r\nhello\r\n.\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> TLS:
    return certificates.make(tmp_path_factory.mktemp("tls"))


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def test_a_user_logs_in_and_the_application_is_told() -> None:
    app = Inbox()
    async with serving(app, users=USERS) as server, peer_of(server) as peer:
        assert "250-AUTH PLAIN LOGIN\r\n" in await peer.ask(HELLO)
        assert (await peer.ask(b"AUTH PLAIN " + RIGHT + b"\r\n")).startswith("235 2.7.0 ")
        assert (await peer.message(OURS, MAIL)).startswith("250 ")
        assert (await peer.ask(b"AUTH PLAIN " + RIGHT + b"\r\n")).startswith("503 5.5.1 ")
    assert app.scopes[0]["user"] == "ann@example.org"
    assert b" with ESMTPA id " in app.bodies[0]


@pytest.mark.parametrize(
    ("said", "answers"),
    [
        ([b"AUTH PLAIN " + WRONG], ["535 5.7.8"]),
        ([b"AUTH PLAIN", RIGHT], ["334 ", "235 2.7.0"]),
        ([b"auth plain =", b"NOOP"], ["501 5.5.2", "250 2.0.0"]),
        ([b"AUTH PLAIN *", b"NOOP"], ["501 5.7.0", "250 2.0.0"]),
        ([b"AUTH PLAIN", b"*"], ["334 ", "501 5.7.0"]),
        ([b"AUTH PLAIN !!!"], ["501 5.5.2"]),
        ([b"AUTH PLAIN \xff\xfe"], ["501 5.5.2"]),
        ([b"AUTH PLAIN " + base64.b64encode(b"no NULs")], ["501 5.5.2"]),
        ([b"AUTH PLAIN " + base64.b64encode(b"\0\xff\0x")], ["501 5.5.2"]),
        ([b"AUTH PLAIN " + base64.b64encode(b"root\0ann@example.org\0ann's")], ["535 5.7.8"]),
        ([b"AUTH PLAIN " + base64.b64encode(b"ann@example.org\0ann@example.org\0ann's")], ["235 2.7.0"]),
        ([b"AUTH LOGIN", base64.b64encode(b"printer"), base64.b64encode(b"ann's")], ["334 VXNl", "334 UGFz", "235 "]),
        ([b"AUTH LOGIN " + base64.b64encode(b"printer"), base64.b64encode(b"ann's")], ["334 UGFz", "235 "]),
        ([b"AUTH LOGIN", base64.b64encode(b"printer"), base64.b64encode(b"x")], ["334 ", "334 ", "535 5.7.8"]),
        ([b"AUTH CRAM-MD5"], ["504 5.5.4"]),
        ([b"AUTH"], ["504 5.5.4"]),
        ([b"MAIL FROM:<a@x.org>", b"AUTH PLAIN " + RIGHT], ["250 ", "503 5.5.1"]),
    ],
)
async def test_exchanges(said: list[bytes], answers: list[str], caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Inbox(), users=USERS) as server, peer_of(server) as peer:
        await peer.ask(HELLO)
        for line, answer in zip(said, answers, strict=True):
            assert (await peer.ask(line + b"\r\n")).startswith(answer)
    assert crashes(caplog) == []


async def test_before_ehlo_nobody_logs_in() -> None:
    async with serving(Inbox(), users=USERS) as server, peer_of(server) as peer:
        assert (await peer.ask(b"AUTH PLAIN " + RIGHT + b"\r\n")).startswith("503 5.5.1 ")


async def test_an_endless_answer_is_cut_off() -> None:
    async with serving(Inbox(), users=USERS) as server, peer_of(server) as peer:
        await peer.ask(HELLO + b"AUTH PLAIN\r\n")
        peer.writer.write(b"A" * 100_000)
        assert (await peer.reply()).startswith("500 5.5.6 ")
        assert await peer.over()


async def test_where_a_login_is_required_nothing_is_taken_without_one() -> None:
    async with serving(Inbox(), users=USERS, auth="required") as server, peer_of(server) as peer:
        await peer.ask(HELLO)
        assert (await peer.ask(b"MAIL FROM:<ann@example.org>\r\n")).startswith("530 5.7.0 ")
        assert (await peer.ask(b"RCPT TO:<b@x.org>\r\n")).startswith("503 5.5.1 ")
        assert (await peer.ask(b"BDAT 4 LAST\r\nabcd")).startswith("503 5.5.1 ")


async def test_where_nobody_is_known_login_is_not_offered() -> None:
    async with serving(Inbox()) as server, peer_of(server) as peer:
        assert "AUTH" not in await peer.ask(HELLO)
        assert (await peer.ask(b"AUTH PLAIN " + RIGHT + b"\r\n")).startswith("502 5.5.1 ")


FAR = b"PROXY TCP4 192.0.2.7 127.0.0.1 1111 25\r\n"


async def far(server: Any, preface: bytes = FAR) -> Peer:
    """A peer that a proxy says is on another machine."""
    host, port = server.address.split(":")
    peer = Peer(*await asyncio.open_connection(host, int(port)))
    peer.writer.write(preface)
    return peer


async def test_a_password_does_not_come_in_clear_from_another_machine(certificate: TLS) -> None:
    async with serving(Inbox(), users=USERS, tls=certificate, proxy_protocol=("127.0.0.1",)) as server:
        peer = await far(server)
        assert (await peer.reply()).startswith("220 ")
        assert "AUTH" not in await peer.ask(HELLO)
        assert (await peer.ask(b"AUTH PLAIN " + RIGHT + b"\r\n")).startswith("538 5.7.11 ")
        assert (await peer.ask(b"STARTTLS\r\n")).startswith("220 ")
        await peer.writer.start_tls(trusting())
        assert "250-AUTH PLAIN LOGIN\r\n" in await peer.ask(HELLO)
        assert (await peer.ask(b"AUTH PLAIN " + RIGHT + b"\r\n")).startswith("235 2.7.0 ")
        peer.writer.close()
    async with serving(Inbox(), users=USERS, auth_without_tls=True, proxy_protocol=("127.0.0.1",)) as server:
        peer = await far(server)
        assert (await peer.reply()).startswith("220 ")
        assert "250-AUTH PLAIN LOGIN\r\n" in await peer.ask(HELLO)
        peer.writer.close()


async def test_what_was_said_before_tls_counts_for_nothing(certificate: TLS) -> None:
    async with serving(Inbox(), users=USERS, auth="required", tls=certificate) as server, peer_of(server) as peer:
        await peer.ask(HELLO)
        assert (await peer.ask(b"AUTH PLAIN " + RIGHT + b"\r\n")).startswith("235 ")
        assert (await peer.ask(b"STARTTLS\r\n")).startswith("220 ")
        await peer.writer.start_tls(trusting())
        await peer.ask(HELLO)
        assert (await peer.ask(b"MAIL FROM:<ann@example.org>\r\n")).startswith("530 5.7.0 ")


async def test_wrong_logins_close_the_connection_and_are_logged_without_a_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    stranger = base64.b64encode(b"\0hunter3\0hunter2")
    async with serving(Inbox(), users=USERS) as server, peer_of(server) as peer:
        await peer.ask(HELLO)
        for said in (WRONG, WRONG, stranger, stranger):
            assert (await peer.ask(b"AUTH PLAIN " + said + b"\r\n")).startswith("535 5.7.8 ")
        assert (await peer.ask(b"AUTH PLAIN " + WRONG + b"\r\n")).startswith("421 4.7.0 ")
        assert await peer.over()
    assert caplog.text.count("wrong login as ann@example.org") == 3
    assert caplog.text.count("wrong login as nobody we know") == 2
    assert "hunter" not in caplog.text


# As whom.


@pytest.mark.parametrize(
    ("user", "sender", "answer"),
    [
        (b"ann@example.org", b"ann@example.org", "250 "),
        (b"ann@example.org", b"Ann@EXAMPLE.org", "250 "),
        (b"ann@example.org", b"", "250 "),
        (b"ann@example.org", b"bob@example.org", "553 5.7.1 "),
        (b"ann@example.org", b"ann@example.org.evil.example", "553 5.7.1 "),
        (b"printer", b"3rd-floor@devices.example.org", "250 "),
        (b"printer", b"print@example.org", "250 "),
        (b"printer", b"printer@example.org", "553 5.7.1 "),
        (b"printer", b"x@sub.devices.example.org", "553 5.7.1 "),
    ],
)
async def test_the_sender_of_the_envelope_is_the_users_own(user: bytes, sender: bytes, answer: str) -> None:
    login = base64.b64encode(b"\0" + user + b"\0ann's")
    async with serving(Inbox(), users=USERS, senders=SENDERS) as server, peer_of(server) as peer:
        await peer.ask(HELLO + b"AUTH PLAIN " + login + b"\r\n")
        assert (await peer.ask(b"MAIL FROM:<" + sender + b">\r\n")).startswith(answer)


@pytest.mark.parametrize(
    ("header", "is_taken"),
    [
        (b"From: ann@example.org\r\n", True),
        (b'From: "Ann (home) <3" <ann@example.org>\r\n', True),
        (b"From: ann@example.org <ann@example.org>\r\n", True),
        (b"From: ANN@Example.Org\r\nSender: boss@example.org\r\n", True),
        (b"", False),
        (b"From:\r\n", False),
        (b"From: boss@example.org\r\n", False),
        (b"From: ann@example.org, boss@example.org\r\n", False),
        (b"From: ann@example.org <boss@example.org>\r\n", False),
        (b"From: ann@example.org\r\nFrom: boss@example.org\r\n", False),
        (b"From: boss@example.org\r\nFrom: ann@example.org\r\n", False),
        (b"From: ann@example.org\r\n , boss@example.org\r\n", False),
        (b"From: <boss@example.org>, (<) ann@example.org\r\n", False),
        (b"from : boss@example.org\r\nFrom: ann@example.org\r\n", False),
        (b"From: 'ann@example.org' (home) <ann@example.org>\r\n", True),
        (b"From: Lee, Ann <ann@example.org>\r\n", True),
        (b'From: "boss"@example.com, ann@example.org\r\n', False),
        (b"From: boss @example.com, ann@example.org\r\n", False),
        (b"From: boss(x)@example.com, ann@example.org\r\n", False),
        (b"From: boss@@example.com, ann@example.org\r\n", False),
        (b"From: boss@example.com\0, ann@example.org\r\n", False),
        (b"From: boss@example.com <ann@example.org>\r\n", False),
        (b"From: =?utf-8?q?boss=40example.com?=, ann@example.org\r\n", False),
        (b"From: boss\xef\xbc\xa0example.com, ann@example.org\r\n", False),
        (b'From: (a" b) boss@example.com, "<ann@example.org>\r\n', False),
        (b"From: ann@example.org\r\n" + b"X-A: 1\r\n" * 1000 + b"From: boss@example.com\r\n", False),
        (b"From: ann@example.org\r\nX-A: " + b"x" * 270_000 + b"\r\nFrom: boss@example.com\r\n", False),
        (b"From: ann@example.org\r\n--x\r\nFrom: boss@example.com\r\n", False),
        (b"From\0: boss@example.com\r\nFrom: ann@example.org\r\n", False),
        (b"\xef\xbb\xbfFrom: boss@example.com\r\nFrom: ann@example.org\r\n", False),
    ],
)
async def test_the_from_of_a_mail_is_the_users_own(header: bytes, is_taken: bool) -> None:
    app = Inbox()
    async with serving(app, users=USERS) as server, peer_of(server) as peer:
        await peer.ask(HELLO + b"AUTH PLAIN " + RIGHT + b"\r\n")
        answer = await peer.message(header + b"To: b@x.org\r\n\r\nhello\r\n.\r\n", MAIL)
        assert answer.startswith("250 " if is_taken else "550 5.7.1 ")
        assert server.buffered.used == 0
    assert len(app.bodies) == is_taken


def test_an_address_of_senders_may_be_written_in_either_form() -> None:
    senders = Senders({"ann": ("ann@bücher.example",), "bob": ("@BÜCHER.example",)})
    assert all(senders.may(user, "ann@xn--bcher-kva.example") for user in ("ann", "bob", "ann@bücher.example"))
    senders.check_header("ann", "From: Ann <ann@bücher.example>\r\n\r\n".encode())


def test_a_star_stands_for_all_addresses() -> None:
    senders = Senders({"app": ("*",)})
    assert senders.may("app", "x@y.example")
    senders.check_header("app", b"")
    with pytest.raises(RemoteProtocolError):
        senders.check_envelope("ann", "ann@example.org")


# Settings.


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"auth": "required"}, "auth: required needs users, or a password_file"),
        ({"auth": "optional"}, "auth: optional needs users"),
        ({"users": USERS, "protocol": "lmtp"}, "users log in over SMTP"),
        ({"users": USERS, "bind": "0.0.0.0:587"}, "users need tls: with a certificate and a key, or auth_without_tls"),
        ({"users": {"ann": Secret("hunter2")}}, "neither argon2id nor bcrypt"),
        ({"senders": {"ann": ("ann",)}}, "senders: ann: 'ann': .* write an address, @domain or"),
        ({"senders": {"ann": ("@",)}}, "senders: ann: '@'"),
    ],
)
def test_settings_that_make_no_sense(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        SMTPSettings(**given)
    assert "hunter2" not in str(caught.value)


def test_users_may_log_in_unless_that_is_off() -> None:
    assert SMTPSettings(users=USERS).authenticates
    assert SMTPSettings(users=USERS, auth="required").authenticates
    assert not SMTPSettings(users=USERS, auth="off").authenticates
    assert not SMTPSettings().authenticates


# The mechanisms.


@given(st.sampled_from(list(auth.MECHANISMS)), st.lists(st.binary(max_size=40), max_size=4))
def test_any_responses_are_credentials_or_a_refusal(mechanism: str, responses: list[bytes]) -> None:
    steps = auth.MECHANISMS[mechanism]()
    next(steps)
    with contextlib.suppress(StopIteration, RemoteProtocolError):
        for response in responses:
            steps.send(auth.decode(response))


@given(st.lists(st.sampled_from([b"AUTH PLAIN", b"AUTH LOGIN", b"*", b"=", RIGHT, WRONG, b"\xff", b"NOOP", b"RSET"])))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_dialogue_leaves_a_server_that_works(lines: list[bytes]) -> None:
    async with serving(Inbox(), users=USERS) as server:
        async with peer_of(server) as peer:
            peer.writer.write(HELLO + b"".join(line + b"\r\n" for line in lines if line != WRONG))
            peer.writer.write_eof()
            assert await peer.over()
        async with peer_of(server) as peer:
            assert (await peer.message(b"A: 1\r\n.\r\n", ENVELOPE)).startswith("250 ")


# Clients that somebody else wrote.


async def test_smtplib_logs_in_over_starttls(certificate: TLS) -> None:
    app = Inbox()

    def send(address: str, password: str) -> None:
        with smtplib.SMTP(*address.split(":"), timeout=LIMIT) as client:
            client.starttls(context=trusting())
            client.login("ann@example.org", password)
            client.sendmail("ann@example.org", ["b@x.org"], OURS[:-3])

    async with serving(app, users=USERS, auth="required", tls=certificate) as server:
        await asyncio.to_thread(send, server.address, "ann's")
        with pytest.raises(smtplib.SMTPAuthenticationError):
            await asyncio.to_thread(send, server.address, "hunter2")
    assert b" with ESMTPSA id " in app.bodies[0]
    assert len(app.bodies) == 1


async def test_aiosmtplib_logs_in_over_implicit_tls(certificate: TLS) -> None:
    app = Inbox()
    async with serving(app, users=USERS, auth="required", tls=certificate, implicit_tls=True) as server:
        host, port = server.address.split(":")
        await aiosmtplib.send(
            OURS[:-3].decode(),
            sender="ann@example.org",
            recipients=["b@x.org"],
            hostname=host,
            port=int(port),
            use_tls=True,
            validate_certs=False,
            username="ann@example.org",
            password="ann's",
        )
    assert app.scopes[0]["user"] == "ann@example.org"


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_swaks_logs_in(mechanism: str) -> None:
    app = Inbox()
    async with serving(app, users=USERS, auth="required") as server:
        host, port = server.address.split(":")
        command = [program("swaks"), "--server", host, "--port", port, "--auth", mechanism]
        command += ["--auth-user", "ann@example.org", "--auth-password", "ann's"]
        command += ["--from", "ann@example.org", "--to", "b@x.org"]
        swaks = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        heard, _ = await asyncio.wait_for(swaks.communicate(), LIMIT)
    assert swaks.returncode == 0, heard.decode()
    assert app.scopes[0]["user"] == "ann@example.org"


async def test_curl_logs_in(certificate: TLS, tmp_path: Path) -> None:
    app = Inbox()
    (tmp_path / "mail").write_bytes(OURS[:-3])
    async with serving(app, users=USERS, auth="required", tls=certificate, implicit_tls=True) as server:
        command = [program("curl"), "-sSk", f"smtps://{server.address}", "-u", "ann@example.org:ann's"]
        command += ["--mail-from", "ann@example.org", "--mail-rcpt", "b@x.org", "-T", str(tmp_path / "mail")]
        curl = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        heard, _ = await asyncio.wait_for(curl.communicate(), LIMIT)
    assert curl.returncode == 0, heard.decode()
    assert app.scopes[0]["user"] == "ann@example.org"
