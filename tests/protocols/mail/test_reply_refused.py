"""A reply that does not leave never defers the message that it answers, whichever way that came."""

import contextlib
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from imap_desk import mail, new_user, settings
from servers.dovecot import Dovecot, dovecot
from servers.submission import Peer, peer
from smtp_peer import LIMIT, peer_of, serving
from waiting import until

from gateway.consumers import AsyncEmailConsumer, EmailConsumer
from protocols.errors import AccountRefused, NotSent, PermanentFailure
from protocols.mail.imap.reader import IMAPReader
from protocols.mail.submission import SubmissionSettings, open_submission

HANDLED: list[str] = []
MAIL = b"From: ann@example.net\r\nSubject: hi\r\n\r\nhello\r\n.\r\n"


class Async(AsyncEmailConsumer):
    async def receive(self, message: Any) -> None:
        await self.reply("thank you")
        HANDLED.append("handled")


class Sync(EmailConsumer):
    def receive(self, message: Any) -> None:
        self.reply("thank you")
        HANDLED.append("handled")


class AsyncWaits(AsyncEmailConsumer):
    async def receive(self, message: Any) -> None:
        try:
            await self.reply("thank you", wait=True)
        except NotSent as error:
            HANDLED.append(type(error).__name__)
            raise


class SyncWaits(EmailConsumer):
    def receive(self, message: Any) -> None:
        try:
            self.send_message(b"Subject: hi\r\n\r\n", ["ann@example.net"], wait=True)
        except NotSent as error:
            HANDLED.append(type(error).__name__)
            self.defer("we cannot answer now")


@contextlib.asynccontextmanager
async def refusing(answers: dict[str, str]) -> AsyncIterator[tuple[Peer, Any]]:
    HANDLED.clear()
    async with peer(answers) as there:
        yield there, open_submission(SubmissionSettings(f"smtp://{there.address}", timeout=LIMIT))


def unsent(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records if record.levelno == logging.ERROR]


REFUSALS = {
    "550 5.1.1 no such user": "RCPT",
    "450 4.2.0 later": "RCPT",
    "530 5.7.0 authentication required": "MAIL",
    "": "greeting",
}


@pytest.mark.parametrize("answer", REFUSALS)
@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
@pytest.mark.parametrize("consumer", [Async, Sync])
async def test_by_smtp_and_lmtp(protocol: Any, answer: str, consumer: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with (
        refusing({REFUSALS[answer]: answer}) as (there, submission),
        serving(consumer.as_asgi(), protocol=protocol, submission=submission) as server,
        peer_of(server) as sender,
    ):
        hello = b"LHLO x\r\n" if protocol == "lmtp" else b"EHLO x\r\n"
        envelope = hello + b"MAIL FROM:<ann@example.net>\r\nRCPT TO:<desk@x.org>\r\n"
        assert (await sender.message(MAIL, envelope)).startswith("250 ")
    assert HANDLED == ["handled"]
    assert there.tried == 1
    [line] = unsent(caplog)
    said = "email ann@example.net -> desk@x.org: mail to ann@example.net not sent: 127.0.0.1"
    assert re.fullmatch(rf"\w{{12}} {re.escape(said)}.*{re.escape(answer)}", line)


@pytest.mark.parametrize(("consumer", "kind"), [(AsyncWaits, PermanentFailure), (SyncWaits, AccountRefused)])
async def test_a_handler_that_waits_decides_itself(consumer: Any, kind: type[NotSent]) -> None:
    answers = {"RCPT": "550 5.1.1 no such user"} if kind is PermanentFailure else {"greeting": "554 5.7.1 no"}
    async with (
        refusing(answers) as (_, submission),
        serving(consumer.as_asgi(), submission=submission) as server,
        peer_of(server) as sender,
    ):
        assert (await sender.message(MAIL)).startswith("451 ")
    assert [kind.__name__] == HANDLED


@pytest.fixture(scope="module")
def imap() -> Any:
    with dovecot() as server:
        yield server


async def test_from_a_mailbox(imap: Dovecot, caplog: pytest.LogCaptureFixture) -> None:
    user = new_user()
    imap.append(mail("hi", to=user), user=user)
    async with (
        refusing({"RCPT": "550 5.1.1 no such user"}) as (there, submission),
        IMAPReader(Async.as_asgi(), settings(imap, user), name="support", state={}, submission=submission),
    ):
        await until(lambda: HANDLED)
        await until(lambda: imap.count(user=user) == 0)
    assert (HANDLED, there.tried) == (["handled"], 1)
    assert "550 5.1.1 no such user" in unsent(caplog)[0]
