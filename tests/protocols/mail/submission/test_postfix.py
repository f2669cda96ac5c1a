"""What a real Postfix answers, and what the submission client makes of it."""

import asyncio
from collections.abc import Iterator

import pytest
from servers.postfix import LIMIT, MAILBOXES, postfix, postfix_server
from servers.submission import sending
from waiting import until

from protocols.asgi import DSNRequest
from protocols.errors import AccountRefused, NotSent, PermanentFailure

MAIL = b"From: desk@example.net\r\nSubject: hi\r\n\r\nhello\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postfix() as address:
        yield address


async def submitted(
    address: str, *recipients: str, sender: str = "desk@example.net", content: bytes = MAIL
) -> NotSent | None:
    try:
        async with asyncio.timeout(LIMIT), sending(f"smtp://{address}") as submission:
            await submission.submit(sender, list(recipients), content)
    except NotSent as error:
        return error
    return None


@pytest.mark.parametrize(
    ("recipient", "kind", "answer"),
    [
        ("ann@example.org", None, ""),
        ("nobody@example.org", PermanentFailure, "550 5.1.1 <nobody@example.org>: Recipient address rejected"),
        ("ann@elsewhere.example", PermanentFailure, "554 5.7.1 <ann@elsewhere.example>: Relay access denied"),
        ("later@example.org", NotSent, "450 4.2.0 <later@example.org>: Recipient address rejected: greylisted"),
    ],
)
async def test_a_recipient(server: str, recipient: str, kind: type[NotSent] | None, answer: str) -> None:
    error = await submitted(server, recipient)
    assert (type(error) if error else None) is kind
    assert not error or answer in str(error)


async def test_of_three_recipients_each_has_its_answer(server: str) -> None:
    error = await submitted(server, "ann@example.org", "nobody@example.org", "later@example.org")
    assert type(error) is NotSent
    assert error.left == {"rcpt_to": ["later@example.org"]}
    assert error.refused is not None
    assert error.refused.left == {"rcpt_to": ["nobody@example.org"]}


async def test_the_size_and_the_sender(server: str) -> None:
    large = await submitted(server, "ann@example.org", content=MAIL + b"x" * 30_000)
    assert isinstance(large, PermanentFailure)
    assert "552 5.3.4" in str(large)
    foreign = await submitted(server, "ann@example.org", sender="not-ours@example.net")
    assert isinstance(foreign, PermanentFailure)
    assert "553 5.7.1" in str(foreign)


async def test_one_that_takes_nothing_from_us() -> None:
    with postfix(clients="check_client_access inline:{ {127.0.0.1=554 5.7.1 on a list} }") as address:
        error = await submitted(address, "ann@example.org")
    assert isinstance(error, AccountRefused)
    assert "554 5.7.1" in str(error)


async def test_a_login_where_there_is_none(server: str) -> None:
    async with sending(f"smtp://{server}", username="me") as submission:
        with pytest.raises(AccountRefused, match="AUTH"):
            await submission.submit("", ["ann@example.org"], MAIL)


async def test_a_notification_names_the_envelope_and_the_recipient() -> None:
    """RFC 3464: Original-Envelope-Id, and ORCPT as Original-Recipient."""
    dsn: DSNRequest = {"notify": ["success"], "ret": "hdrs", "envid": "item+1"}
    with postfix_server(main=MAILBOXES) as server:
        async with asyncio.timeout(LIMIT), sending(f"smtp://{server.address}") as submission:
            await submission.submit("ann@example.org", ["ann@example.org"], MAIL, dsn=dsn)
            await until(lambda: len(server.delivered("ann")) == 2)
        (notification,) = (mail for mail in server.delivered("ann") if b"message/delivery-status" in mail)
    assert b"Original-Envelope-Id: item+1\n" in notification
    assert b"Original-Recipient: rfc822;ann@example.org\n" in notification
    assert b"Action: delivered\n" in notification
