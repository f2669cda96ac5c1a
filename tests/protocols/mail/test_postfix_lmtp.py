"""A real Postfix before our server: what its log says of each recipient, and what its queue sends again."""

import asyncio
import smtplib
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any

from servers.postfix_relay import relay
from smtp_peer import serving
from waiting import until

from gateway import AsyncEmailConsumer, EmailToRouter, address

LIMIT = 20.0


def routes(ran: list[str], *, slow: int) -> EmailToRouter:
    """x accepts, r rejects, and d defers ``slow`` times before it accepts."""
    left = [None] * slow

    class Accepts(AsyncEmailConsumer):
        async def receive(self, message: Any) -> None:
            ran.append("x")

    class Rejects(AsyncEmailConsumer):
        async def receive(self, message: Any) -> None:
            ran.append("r")
            await self.reject("5.2.2 Full")

    class Defers(AsyncEmailConsumer):
        async def receive(self, message: Any) -> None:
            ran.append("d")
            if left:
                left.pop()
                await self.defer("busy")

    return EmailToRouter(
        [address("x@example.org", Accepts), address("r@example.org", Rejects), address("d@example.org", Defers)]
    )


def post(port: int, *names: str) -> None:
    mail = EmailMessage()
    mail["From"], mail["Subject"], mail["Message-ID"], mail["Date"] = "a@x.org", "hi", make_msgid(), formatdate()
    mail.set_content("hello")
    with smtplib.SMTP("127.0.0.1", port, timeout=LIMIT) as client:
        client.send_message(mail, "a@x.org", [f"{name}@example.org" for name in names])


async def test_each_recipient_has_its_own_answer_by_lmtp() -> None:
    ran: list[str] = []
    async with serving(routes(ran, slow=1), protocol="lmtp") as server:
        with relay("lmtp", int(server.address.rpartition(":")[2])) as postfix:
            await asyncio.to_thread(post, postfix.port, "x", "r", "d")
            await until(lambda: "sent" in postfix.said("d@example.org"), LIMIT)
            assert postfix.said("x@example.org") == ["sent"]
            assert postfix.said("r@example.org") == ["bounced"]
            assert postfix.said("d@example.org") == ["deferred", "sent"]
    assert sorted(ran) == ["d", "d", "r", "x"]


async def test_a_retry_by_smtp_runs_only_what_deferred() -> None:
    ran: list[str] = []
    async with serving(routes(ran, slow=1)) as server:
        with relay("smtp", int(server.address.rpartition(":")[2])) as postfix:
            await asyncio.to_thread(post, postfix.port, "x", "d")
            await until(
                lambda: "sent" in postfix.said("d@example.org") and "sent" in postfix.said("x@example.org"), LIMIT
            )
            assert postfix.said("x@example.org") == postfix.said("d@example.org") == ["deferred", "sent"]
    assert sorted(ran) == ["d", "d", "x"]
