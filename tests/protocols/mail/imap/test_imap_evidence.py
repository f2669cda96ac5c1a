"""Mail that a real mail server has put into a mailbox: for whom it was, what says so, and which route takes it."""

import asyncio
import smtplib
from collections.abc import Iterator
from typing import Any

import pytest
from imap_desk import LIMIT, reading
from servers.dovecot import Dovecot, dovecot, require_dovecot
from servers.ports import free_port
from waiting import until

from gateway import EmailToRouter, address, default, regex

_LMTP = """
protocols = imap lmtp
recipient_delimiter = +
lmtp_save_to_detail_mailbox = no
protocol lmtp {{
  postmaster_address = postmaster@example.org
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
}}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Dovecot, int]]:
    require_dovecot()
    port = free_port()
    with dovecot(more=_LMTP.format(port=port)) as server:
        yield server, port


class Desk:
    def __init__(self) -> None:
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)


def post(port: int, rcpt_to: str, head: str = "To: everybody@example.net") -> None:
    with smtplib.LMTP("127.0.0.1", port, timeout=LIMIT) as client:
        client.sendmail("ann@example.net", [rcpt_to], f"From: ann@example.net\r\n{head}\r\n\r\nhello\r\n")


@pytest.mark.parametrize(
    ("local", "tag", "captured"),
    [
        ("help", None, {}),
        ("help+bill7", "bill7", {}),
        ("help+42", "42", {"ticket": "42"}),
        ("help+" + "t" * 100, "t" * 100, {}),
    ],
)
async def test_the_recipient_is_the_one_of_the_envelope_with_its_tag(
    server: tuple[Dovecot, int], local: str, tag: str | None, captured: dict[str, str], request: Any
) -> None:
    dovecot, port = server
    user = f"help@u{abs(hash(request.node.name)) % 10**8}.example.org"
    rcpt_to = f"{local}@{user.partition('@')[2]}"
    await asyncio.to_thread(post, port, rcpt_to)
    desk = Desk()
    router = EmailToRouter([regex(r"^help\+(?P<ticket>\d+)@", desk), address(user, desk)])
    async with reading(router, dovecot, user):
        await until(lambda: desk.scopes, LIMIT)
    [scope] = desk.scopes
    assert scope["recipients"] == [{"address": rcpt_to, "source": "delivered-to", "tag": tag}]
    assert scope["rcpt_to"] == [rcpt_to]
    assert scope["url_route"]["kwargs"] == captured


async def test_a_mail_that_names_nobody_is_for_the_default(server: tuple[Dovecot, int]) -> None:
    """It came without an envelope, by a mail program, and the login is no address."""
    dovecot, _ = server
    dovecot.append(b"From: ann@example.net\r\nTo: undisclosed-recipients:;\r\n\r\nhello\r\n", user="nobody-named")
    desk = Desk()
    async with reading(EmailToRouter([default(desk)]), dovecot, "nobody-named"):
        await until(lambda: desk.scopes, LIMIT)
    assert (desk.scopes[0]["rcpt_to"], desk.scopes[0]["recipients"]) == ([], [])


async def test_conditions_are_asked_of_a_mail_in_a_mailbox(server: tuple[Dovecot, int]) -> None:
    dovecot, port = server
    user = "help@conditions.example.org"
    for head in ("Subject: Hello", "Auto-Submitted: auto-replied"):
        await asyncio.to_thread(post, port, user, head)
    people, robots = Desk(), Desk()
    async with reading(EmailToRouter([address(user, robots, kind="auto-reply"), address(user, people)]), dovecot, user):
        await until(lambda: people.scopes and robots.scopes, LIMIT)
    assert (people.scopes[0]["kind"], robots.scopes[0]["kind"]) == ("person", "auto-reply")
