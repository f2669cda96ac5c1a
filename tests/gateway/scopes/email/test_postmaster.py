"""Mail for postmaster and abuse always has somewhere to go."""

import asyncio
import smtplib
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from conversation import Conversation, scope
from own_services import delivering
from smtp_peer import serving

from gateway import AsyncEmailConsumer, EmailToRouter, address, default, domain
from gateway.cli.explain import explain
from gateway.delivery.service import deliveries
from gateway.store.sqlite import SQLiteStore
from protocols.mail.submission import MaildirSubmission

MAIL = b"From: bob@example.net\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\n\r\nYour server sends me spam.\r\n"


class Seen(list[str]):
    def by(self, name: str) -> Any:
        seen = self

        class Desk(AsyncEmailConsumer):
            async def receive(self, message: Any) -> None:
                seen.append(name)

        return Desk


async def delivered(server: Any, *rcpt_to: str, mail: bytes = MAIL) -> dict[str, Any]:
    """Who was refused at RCPT."""
    host, _, port = server.address.rpartition(":")

    def post() -> dict[str, Any]:
        with smtplib.SMTP(host, int(port), timeout=10) as client:
            try:
                return client.sendmail("bob@example.net", rcpt_to, mail)
            except smtplib.SMTPRecipientsRefused as error:
                return error.recipients

    return await asyncio.to_thread(post)


def sent_to(folder: Path) -> list[Any]:
    """What was written into a maildir."""
    files = (file for file in folder.glob("new/*") if file.is_file())
    return [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]


@pytest.mark.parametrize("to", ["postmaster", "Postmaster@example.org", "ABUSE@elsewhere.example"])
async def test_mail_that_no_route_takes_is_accepted_and_a_line_in_the_log(
    to: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(EmailToRouter([address("help@example.org", Seen().by("help"))])) as server:
        assert await delivered(server, to) == {}
    [line] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "bob@example.net -> " in line.getMessage()
    assert "subject 'café'" in line.getMessage()


async def test_nobody_else_is_accepted() -> None:
    async with serving(EmailToRouter([address("help@example.org", Seen().by("help"))])) as server:
        assert list(await delivered(server, "sales@example.org")) == ["sales@example.org"]


@pytest.mark.parametrize(
    ("to", "name"),
    [
        ("postmaster@example.org", "boss"),
        ("abuse@example.org", "own"),
        ("abuse@x.example.com", "boss"),
        ("help@example.org", "rest"),
    ],
)
async def test_who_is_named_gets_it_before_routes_for_everything(to: str, name: str) -> None:
    seen = Seen()
    router = EmailToRouter(
        [domain("example.org", seen.by("rest")), address("abuse@example.com", seen.by("x"))], postmaster=seen.by("boss")
    )
    if name == "own":
        router = EmailToRouter(
            [address("abuse@example.org", seen.by("own")), default(seen.by("rest"))], postmaster=seen.by("boss")
        )
    async with serving(router) as server:
        assert await delivered(server, to) == {}
    assert seen == [name]


@pytest.mark.parametrize("conditions", [{}, {"sender": "bob@example.net"}])
async def test_a_route_by_address_gets_it_also_below_one_that_takes_everything_else(
    conditions: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The route above takes the domain's mail, and leaves what is for the postmaster to those that come after it."""
    seen = Seen()
    routes = [
        domain("example.org", seen.by("rest"), **conditions),
        address("abuse@example.org", seen.by("own")),
    ]
    router = EmailToRouter(routes, postmaster=seen.by("boss"))
    assert explain(router, "email:abuse@example.org", {}).pattern == "abuse@example.org"
    async with serving(router) as server:
        assert await delivered(server, "abuse@example.org") == {}
        assert await delivered(server, "help@example.org") == {}
    assert seen == ["own", "rest"]
    assert not [record for record in caplog.records if "can never match" in record.getMessage()]


async def test_a_mailbox_is_not_asked() -> None:
    """Its owner gets all of it, whatever a header field says."""
    router = EmailToRouter([address("help@example.org", Seen().by("help"))], postmaster=Seen().by("boss"))
    assert not router.routable(scope("email", transport="imap", rcpt_to=["postmaster@example.org"]))


async def test_it_is_forwarded_whole_to_an_address(tmp_path: Path) -> None:
    submission = MaildirSubmission(str(tmp_path))
    async with serving(EmailToRouter([], postmaster="ops@example.net"), submission=submission) as server:
        assert await delivered(server, "postmaster") == {}
        assert await delivered(server, "abuse@example.org") == {}
    sent = sent_to(tmp_path)
    assert sorted(str(mail["From"]) for mail in sent) == ["abuse@example.org", "postmaster@example.net"]
    for mail in sent:
        assert (mail["To"], mail["Subject"], mail["Auto-Submitted"]) == (
            "ops@example.net",
            "Fwd: café",
            "auto-generated",
        )
        [attached] = mail.iter_attachments()
        assert attached.get_content()["Subject"] == "café"


async def test_what_was_forwarded_is_not_forwarded_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    submission = MaildirSubmission(str(tmp_path))
    async with serving(EmailToRouter([], postmaster="ops@example.org"), submission=submission) as server:
        looped = b"X-Loop: abuse@example.org\r\n" + MAIL
        assert await delivered(server, "abuse@example.org", mail=looped) == {}
    assert not sent_to(tmp_path)
    assert "came back" in caplog.text


async def test_two_that_forward_to_each_other_do_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mail, at = MAIL, "a.example"
    for number, other in enumerate(["b.example", "a.example", "b.example"]):
        folder = tmp_path / str(number)
        router = EmailToRouter([], postmaster=f"postmaster@{other}")
        async with serving(router, submission=MaildirSubmission(str(folder))) as server:
            assert await delivered(server, f"postmaster@{at}", mail=mail) == {}
        sent, at = sent_to(folder), other
        assert len(sent) == (number < 2)
        mail = sent[0].as_bytes() if sent else b""
    assert "came back" in caplog.text


async def test_a_flood_is_not_forwarded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gateway.scopes.email.forwarding.MOST", 2)
    submission = MaildirSubmission(str(tmp_path))
    async with serving(EmailToRouter([], postmaster="ops@example.org"), submission=submission) as server:
        for _ in range(3):
            assert await delivered(server, "abuse@example.org") == {}
    assert len(sent_to(tmp_path)) == 2
    assert "not forwarded to ops@example.org: 2 have been within an hour; subject 'café'" in caplog.text


async def test_what_cannot_be_forwarded_now_comes_again() -> None:
    async with serving(EmailToRouter([], postmaster="ops@example.net")) as server:  # nothing can be sent
        with pytest.raises(smtplib.SMTPDataError, match="451"):
            await delivered(server, "postmaster")


async def test_it_leaves_by_the_outbox_where_there_is_a_store(tmp_path: Path, anyio_backend: object) -> None:
    store = SQLiteStore(tmp_path / "gateway.db")
    await store.open()
    with delivering(store):
        router = EmailToRouter([], postmaster="ops@example.net")
        given = scope("email", rcpt_to=["postmaster"], extensions={"event": {"id": "e1"}})
        async with Conversation(router, given) as server:
            server.say({"type": "email.receive", "body": MAIL, "more_body": False})
            await server.end()
            assert [event["type"] for event in server.heard()] == ["email.accept"]
        [item] = await deliveries.get().store.outgoing()
        assert item.recipient == "ops@example.net"
    await store.close()


def test_what_is_no_address_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"is not a mail address; write ops@example.org"):
        EmailToRouter([], postmaster="ops")
