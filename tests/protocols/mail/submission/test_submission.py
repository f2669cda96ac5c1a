"""Mail that applications send, into maildirs and by real servers."""

import asyncio
import mailbox
import socket
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult
from servers.submission import sending
from smtp_peer import Inbox, peer_of, serving
from waiting import until

from protocols.errors import LocalProtocolError, NotSent
from protocols.events import checked
from protocols.mail.events import CHECKS
from protocols.mail.submission import (
    MaildirSubmission,
    SMTPSubmission,
    Submission,
    SubmissionSettings,
    open_submission,
)
from protocols.secret import Secret

REPLY = b"From: gateway@x.org\nSubject: hi\n\n.body\n"


def by_smtp(address: str, **settings: Any) -> Any:
    return sending(f"smtp://{address}", **settings)


def files(maildir: Path) -> list[Path]:
    return list(maildir.glob("new/*"))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "smtp://",
        "http://x.org",
        "file://x.org/var",
        "file:",
        "smtp://user:secret@x.org",
        "lmtp://x.org",
        "x.org:25",
    ],
)
def test_urls_that_are_refused_without_their_secrets(url: str) -> None:
    with pytest.raises(ValueError, match="write smtp://") as caught:
        open_submission(SubmissionSettings(url))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "login", "port", "tls", "starttls"),
    [
        ("smtp://mail.example", None, 587, False, None),
        ("smtp://mail.example:25", "me", 25, False, True),
        ("smtps://mail.example", "me", 465, True, False),
        ("smtp://127.0.0.1:25", "me", 25, False, False),
        ("smtp://[::1]:25", None, 25, False, False),
        ("smtp://localhost", "me", 587, False, False),
    ],
)
def test_a_login_never_leaves_the_machine_in_clear(
    url: str, login: str | None, port: int, tls: bool, starttls: bool | None
) -> None:
    submission = open_submission(SubmissionSettings(url, username=login))
    assert isinstance(submission, SMTPSubmission)
    options = submission.login.options
    assert (options["port"], options["use_tls"], options["start_tls"]) == (port, tls, starttls)


async def submit(submission: Submission, mail_from: str, rcpt_to: Any, message: bytes) -> None:
    """As everybody does it."""
    event = {"type": "email.send", "mail_from": mail_from, "rcpt_to": rcpt_to, "message": message}
    mail = checked(CHECKS, event)
    await submission.submit(mail["mail_from"], mail["rcpt_to"], mail["message"])


async def test_by_a_server() -> None:
    app = Inbox()
    async with serving(app) as server, by_smtp(server.address) as submission:
        await submit(submission, "", ["B@X.org", "B@x.org", "c@x.org"], REPLY)
    assert app.scopes[0]["mail_from"] == ""
    assert app.scopes[0]["rcpt_to"] == ["B@x.org", "c@x.org"]
    assert app.content() == REPLY.replace(b"\n", b"\r\n")


async def test_addresses_that_are_not_ascii() -> None:
    app = Inbox()
    async with serving(app) as server, by_smtp(server.address) as submission:
        await submit(submission, "ünï@bücher.example", ["b@x.org"], REPLY)
    assert app.scopes[0]["mail_from"] == "ünï@xn--bcher-kva.example"


async def test_what_the_server_refuses_is_said_and_nothing_is_lost() -> None:
    class Routed(Inbox):
        def routable(self, scope: Any) -> bool:
            return bool(scope["rcpt_to"] == ["b@x.org"])

    app = Routed()
    async with serving(app) as server, by_smtp(server.address) as submission:
        with pytest.raises(NotSent, match=r"refused other@x\.org") as partly:
            await submission.submit("", ["b@x.org", "other@x.org"], REPLY)
        with pytest.raises(NotSent) as wholly:
            await submission.submit("", ["other@x.org"], REPLY)
    assert (partly.value.left, wholly.value.left) == ({"rcpt_to": ["other@x.org"]}, None)
    assert len(app.scopes) == 1


async def test_a_server_that_is_away() -> None:
    async with serving(Inbox()) as server:
        address = server.address
    async with by_smtp(address) as submission:
        with pytest.raises(NotSent, match=r"127\.0\.0\.1: "):
            await submission.submit("", ["b@x.org"], REPLY)


async def test_a_server_that_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        submission = open_submission(SubmissionSettings(f"smtp://127.0.0.1:{silent.getsockname()[1]}", timeout=0.1))
        with pytest.raises(NotSent):
            await submission.submit("", ["b@x.org"], REPLY)


@pytest.mark.parametrize("password", ["right", "wrong"])
async def test_a_login(password: str) -> None:
    logins: list[Any] = []

    def authenticator(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        logins.append(data)
        return AuthResult(success=data.password == b"right", handled=False)

    def peer() -> SMTP:
        return SMTP(
            None,
            hostname="x",
            loop=asyncio.get_running_loop(),
            auth_require_tls=False,
            auth_exclude_mechanism=["LOGIN"],
            authenticator=authenticator,
        )

    server = await asyncio.get_running_loop().create_server(peer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with by_smtp(f"{host}:{port}", username="me", password=Secret(password)) as submission:
        if password == "right":
            await submission.submit("", ["b@x.org"], REPLY)
        else:
            with pytest.raises(NotSent) as caught:
                await submission.submit("", ["b@x.org"], REPLY)
            assert "535" in str(caught.value)
            assert password not in str(caught.value)
    assert (logins[0].login, logins[0].password) == (b"me", password.encode())
    server.close()
    await server.wait_closed()


async def test_no_more_connections_than_allowed() -> None:
    release = asyncio.Event()
    running = 0
    most = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await release.wait()
        running -= 1

    async with serving(app) as server, by_smtp(server.address, max_connections=2) as submission:
        submitted = [asyncio.ensure_future(submission.submit("", ["b@x.org"], REPLY)) for _ in range(5)]
        await until(lambda: running >= 2)
        release.set()
        await asyncio.gather(*submitted)
    assert most == 2


async def test_into_a_folder(tmp_path: Path) -> None:
    submission = open_submission(SubmissionSettings(f"file:{tmp_path}/var/outbox"))
    assert isinstance(submission, MaildirSubmission)
    await asyncio.gather(*(submit(submission, "a@x.org", ["b@x.org", "c@X.org"], REPLY) for _ in range(3)))
    outbox = tmp_path / "var" / "outbox"
    written = files(outbox)
    assert len(written) == 3
    assert len(mailbox.Maildir(str(outbox), create=False)) == 3, "other programs read it"
    assert list((outbox / "tmp").iterdir()) == list((outbox / "cur").iterdir()) == []
    envelope = b"Return-Path: <a@x.org>\r\nX-Envelope-To: b@x.org, c@x.org\r\n"
    assert written[0].read_bytes() == envelope + REPLY.replace(b"\n", b"\r\n")


async def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotSent, match="file"):
        await MaildirSubmission(f"{tmp_path}/file/outbox").submit("", ["b@x.org"], REPLY)


@pytest.mark.parametrize(
    ("mail_from", "rcpt_to", "message", "sentence"),
    [
        ("a@x.org>\r\nRCPT TO:<evil@x.org", ["b@x.org"], REPLY, "address"),
        ("", ["b@x.org\nX: y"], REPLY, "address"),
        ("", "b@x.org", REPLY, "list"),
        ("", [], REPLY, "list"),
        ("", ["b@x.org"], b"no header fields", "no header fields"),
        ("", ["b@x.org"], b"Subject: hi\nSubject: injected\n\n", "more than once: subject"),
        ("", ["b@x.org"], b"Subject: a\r\nFrom: a@x.org\rFrom: evil@x.org\r\n\r\n", "more than once: from"),
    ],
)
async def test_injection_is_refused(
    mail_from: str, rcpt_to: Any, message: bytes, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(LocalProtocolError, match=sentence):
        await submit(MaildirSubmission(str(tmp_path)), mail_from, rcpt_to, message)
    assert files(tmp_path) == []


@pytest.mark.parametrize("field", [b"Bcc: c@x.org", b"bcc : c@x.org,\n\tc2@x.org", b"Resent-BCC:\n c@x.org\n c2@x.org"])
@pytest.mark.parametrize("body", [b"\nBcc: c@x.org\n", b"\n", b""])
async def test_blind_copies_stay_blind(field: bytes, body: bytes, tmp_path: Path) -> None:
    before, after = b"From: a@x.org\n", b"Subject: hi\n more\n"
    for message in (before + field + b"\n" + after, field + b"\n" + before + after, before + after + field + b"\n"):
        outbox = MaildirSubmission(str(tmp_path))
        await submit(outbox, "", ["b@x.org", "c@x.org"], message + body)
        (written,) = files(tmp_path)
        content = written.read_bytes().split(b"\r\n", 2)[2]
        assert content == (before + after + body).replace(b"\n", b"\r\n")
        written.unlink()


async def test_an_application_answers_a_message(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "email.send", "mail_from": "", "rcpt_to": [scope["mail_from"]], "message": REPLY})

    outbox = MaildirSubmission(str(tmp_path))
    async with serving(app, submission=outbox) as server, peer_of(server) as peer:
        assert (await peer.message(b"A: 1\r\n.\r\n")).startswith("250 ")
    assert len(files(tmp_path)) == 1
    async with serving(app) as server, peer_of(server) as peer:  # there is nothing that could send
        assert (await peer.message(b"A: 1\r\n.\r\n")).startswith("451 ")
