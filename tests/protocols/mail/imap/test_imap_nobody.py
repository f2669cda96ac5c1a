"""A real mailbox whose login name is no address, and mail in it that names no recipient."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from imap_desk import Desk, mail, reading
from own_services import delivering
from servers.dovecot import Dovecot, dovecot
from waiting import until

from gateway import EmailToRouter, Policy, address, default, domain, regex
from gateway.store.sqlite import SQLiteStore


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """An application that takes everything and says nothing."""


NAMED = [address("help@example.org", nothing), domain("example.org", nothing), regex("@support", nothing)]


@pytest.fixture
async def store(tmp_path: Path, anyio_backend: object) -> AsyncIterator[SQLiteStore]:
    opened = SQLiteStore(tmp_path / "gateway.db")
    await opened.open()
    with delivering(opened):
        yield opened
    await opened.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with dovecot() as running:
        yield running


MAILS = (
    b"From: Ann <ann@example.net>\r\nSubject: none\r\n\r\nhello\r\n",
    mail("undisclosed", to="undisclosed-recipients:;"),
    mail("broken", to="<>"),
)


@pytest.mark.parametrize("policy", [Policy(), Policy(attempts=3)], ids=["plain", "attempts"])
async def test_mailbox_mail_for_nobody_goes_to_the_default(
    server: Dovecot, policy: Policy, store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    user, desk = f"u{secrets.token_hex(4)}", Desk()
    server.append(*MAILS, user=user)
    async with reading(EmailToRouter([*NAMED, default(desk, policy)]), server, user):
        await until(lambda: server.count("Processed", user) == 3)
    assert desk.subjects == ["none", "undisclosed", "broken"]
    assert [scope["rcpt_to"] for scope in desk.scopes] == [[], [], []]
    assert "Traceback" not in caplog.text


async def test_mailbox_mail_for_nobody_is_unrouted_without_a_default(
    server: Dovecot, caplog: pytest.LogCaptureFixture
) -> None:
    user = f"u{secrets.token_hex(4)}"
    server.append(*MAILS, user=user)
    async with reading(EmailToRouter(NAMED), server, user, on_unrouted="move Unrouted"):
        await until(lambda: server.count("Unrouted", user) == 3)
    assert "Traceback" not in caplog.text
