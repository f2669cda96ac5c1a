"""What a submission server's answer means, by code, stage and enhanced status code."""

import asyncio
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from contract import LIMIT
from servers.submission import peer, sending

from protocols.errors import AccountRefused, NotSent, PermanentFailure
from protocols.mail.submission import SubmissionSettings, open_submission
from protocols.secret import Secret

REPLY = b"From: gateway@x.org\r\nSubject: hi\r\n\r\nbody\r\n"
LATER, NEVER, US = NotSent, PermanentFailure, AccountRefused


async def submitted(answers: dict[str, str], *recipients: str, **settings: Any) -> NotSent | None:
    async with peer(answers) as there:
        submission = open_submission(SubmissionSettings(f"smtp://{there.address}", timeout=LIMIT, **settings))
        try:
            async with asyncio.timeout(LIMIT):
                await submission.submit("me@x.org", recipients or ["b@x.org"], REPLY)
        except NotSent as error:
            return error
    return None


@pytest.mark.parametrize(
    ("stage", "answer", "kind"),
    [
        ("greeting", "554 5.7.1 you are on a list", US),
        ("greeting", "421 4.3.2 busy", LATER),
        ("greeting", "", LATER),
        ("EHLO", "550 5.7.1 no", LATER),  # HELO is tried then
        ("AUTH", "535 5.7.8 authentication failed", US),
        ("AUTH", "454 4.7.0 temporary authentication failure", LATER),
        ("EHLO", "250 peer.example", US),  # it offers no AUTH at all
        ("MAIL", "530 5.7.57 client was not authenticated", US),
        ("MAIL", "503 5.5.1 authenticate first", US),
        ("RCPT", "503 this server requires authentication to send to others", US),
        ("MAIL", "550 5.4.5 daily user sending limit exceeded", US),
        ("MAIL", "553 5.7.1 sender address rejected: not owned by user me", NEVER),
        ("MAIL", "552 5.3.4 message size exceeds limit", NEVER),
        ("MAIL", "451 4.3.0 later", LATER),
        ("RCPT", "550 5.1.1 no such user", NEVER),
        ("RCPT", "554 5.7.1 relay access denied", NEVER),
        ("RCPT", "530 5.7.0 authentication required", US),
        ("RCPT", "450 4.2.0 greylisted", LATER),
        ("RCPT", "452 4.2.2 mailbox full", LATER),
        ("RCPT", "552 5.2.2 mailbox full", NEVER),
        ("DATA", "554 5.5.1 no valid recipients", NEVER),
        ("DATA", "451 4.3.0 later", LATER),
        ("content", "554 5.7.1 spam", NEVER),
        ("content", "552 5.3.4 too big", NEVER),
        ("content", "554 5.7.705 access denied, tenant has exceeded threshold", US),
        ("content", "451 4.7.1 later", LATER),
        ("content", "", LATER),
        ("content", "250 2.0.0 taken", None),
    ],
)
async def test_what_an_answer_means(stage: str, answer: str, kind: type[NotSent] | None) -> None:
    login = {"username": "me", "password": Secret("secret")} if stage in ("AUTH", "EHLO") else {}
    error = await submitted({stage: answer}, **login)
    if answer.startswith("550 5.7.1 no") and stage == "EHLO":
        kind = US  # HELO offers no AUTH
    assert (type(error) if error else None) is kind
    if error and answer[:1] in "45":
        assert stage == "EHLO" or answer in str(error)
    assert error is None or (error.left is None and error.refused is None and "secret" not in str(error))


async def test_an_address_that_the_server_cannot_write_is_refused_for_good() -> None:
    assert type(await submitted({}, "ünï@x.org")) is NEVER


def unknown_to_us(folder: Path) -> ssl.SSLContext:
    key, cert = folder / "key.pem", folder / "cert.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=other.example"]
    subprocess.run([*make, "-keyout", key, "-out", cert], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    return context


async def test_a_certificate_that_does_not_verify_is_no_refusal_of_the_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It expires one night: what is sent then waits until it is renewed."""
    monkeypatch.setattr("protocols.mail.submission.login._is_loopback", lambda host: False)
    async with peer({"EHLO": "250-peer.example\r\n250 STARTTLS"}) as there:
        there.tls = unknown_to_us(tmp_path)
        submission = open_submission(SubmissionSettings(f"smtp://{there.address}", timeout=LIMIT))
        with pytest.raises(NotSent, match="CERTIFICATE_VERIFY_FAILED") as caught:
            async with asyncio.timeout(LIMIT):
                await submission.submit("me@x.org", ["b@x.org"], REPLY)
        assert type(caught.value) is LATER


async def test_what_is_wrong_before_the_server_lets_us_in_is_no_fault_of_the_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    submission = open_submission(SubmissionSettings("smtp://127.0.0.1:1", timeout=LIMIT))
    monkeypatch.setitem(submission.login.options, "hostname", "a..b")  # type: ignore[attr-defined]
    with pytest.raises(US, match="label empty"):
        await submission.submit("me@x.org", ["b@x.org"], REPLY)


@pytest.mark.parametrize("host", ["a..b", ".example.org", f"{'a' * 64}.example.org"])
def test_what_is_no_name_of_a_host_is_found_in_the_settings(host: str) -> None:
    with pytest.raises(ValueError, match="is not a host name"):
        open_submission(SubmissionSettings(f"smtp://{host}:25"))


async def test_of_three_recipients_one_is_refused_for_good_and_one_for_now() -> None:
    error = await submitted(
        {"b@x.org": "550 5.1.1 no such user", "c@x.org": "450 4.2.0 later"}, "a@x.org", "b@x.org", "c@x.org"
    )
    assert type(error) is LATER
    assert error.left == {"rcpt_to": ["c@x.org"]}
    assert str(error) == "127.0.0.1 refused c@x.org: 450 4.2.0 later"
    assert error.refused is not None
    assert error.refused.left == {"rcpt_to": ["b@x.org"]}
    assert str(error.refused) == "127.0.0.1 refused b@x.org: 550 5.1.1 no such user"


async def test_nobody_takes_it_and_one_never_will() -> None:
    error = await submitted({"a@x.org": "550 5.1.1 no", "b@x.org": "450 4.2.0 later"}, "a@x.org", "b@x.org")
    assert type(error) is LATER
    assert (error.left, error.refused and error.refused.left) == ({"rcpt_to": ["b@x.org"]}, {"rcpt_to": ["a@x.org"]})


async def test_all_but_one_have_it_and_that_one_never_will() -> None:
    error = await submitted({"b@x.org": "550 5.1.1 no"}, "a@x.org", "b@x.org")
    assert type(error) is NEVER
    assert error.left == {"rcpt_to": ["b@x.org"]}


@pytest.mark.parametrize(
    ("answer", "kind"), [("552 too many", LATER), ("550 5.5.3 too many", LATER), ("552 5.2.2 full", NEVER)]
)
async def test_too_many_recipients_is_no_refusal_of_those_beyond(answer: str, kind: type[NotSent]) -> None:
    error = await submitted({"b@x.org": answer}, "a@x.org", "b@x.org")
    assert type(error) is kind
    assert error.left == {"rcpt_to": ["b@x.org"]}


async def test_the_answer_is_known_before_the_goodbye() -> None:
    """A gateway that is killed while the server takes its time to answer QUIT would send the mail once more."""
    async with peer() as there:
        bye = asyncio.Event()
        talk = there._talk

        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await talk(_Until(reader, bye), writer)

        there._talk = slow
        async with asyncio.timeout(LIMIT), sending(f"smtp://{there.address}", keep_open=0) as submission:
            await submission.submit("", ["b@x.org"], REPLY)
            assert len(there.taken) == 1
            bye.set()


class _Until:
    """A reader that gives QUIT only when ``event`` is set."""

    def __init__(self, reader: asyncio.StreamReader, event: asyncio.Event) -> None:
        self._reader, self._event = reader, event

    async def readuntil(self, end: bytes) -> bytes:
        line = await self._reader.readuntil(end)
        if line.upper().startswith(b"QUIT"):
            await self._event.wait()
        return line
