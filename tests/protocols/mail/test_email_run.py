"""One message through an application, to its verdict."""

import asyncio
import contextlib
import gc
import logging
import re
from collections.abc import Sequence
from typing import Any

import pytest
from waiting import until

from protocols.errors import LocalProtocolError, NotSent, PermanentFailure
from protocols.mail.run import EmailRun, deliver
from protocols.mail.scope import email_scope
from protocols.mail.verdict import Accept, Defer, Reject, Verdict


class Outbox:
    def __init__(self, error: Exception | None = None) -> None:
        self.sent: list[tuple[str, list[str], bytes]] = []
        self.error = error

    async def submit(self, mail_from: str, rcpt_to: Sequence[str], message: bytes, *, dsn: Any = None) -> None:
        if self.error:
            raise self.error
        self.sent.append((mail_from, list(rcpt_to), message))


async def run(app: Any, body: bytes = b"A: 1\r\n\r\n", timeout: float = 5.0, submission: Any = None) -> Verdict:
    scope = email_scope(
        body if isinstance(body, bytes) else body[0],
        transport="smtp",
        listener="mail",
        mail_from="",
        rcpt_to=["a@x.org"],
        received_at=0.0,
        state={},
    )
    return await deliver(app, scope, body, timeout=timeout, submission=submission)


def sends(*events: dict[str, Any]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for event in events:
            await send(event)

    return app


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], Accept()),
        ([{"type": "email.accept"}], Accept()),
        ([{"type": "email.reject"}], Reject(550, "Message rejected")),
        ([{"type": "email.reject", "code": 552, "reason": "full"}], Reject(552, "full")),
        ([{"type": "email.defer"}], Defer()),
        ([{"type": "email.defer", "reason": "busy", "retry_after": 60}], Defer("busy", 60)),
        ([{"type": "email.defer", "retry_after": 1e9}], Defer(retry_after=86400)),
    ],
)
async def test_verdicts(events: list[dict[str, Any]], expected: Verdict) -> None:
    assert await run(sends(*events)) == expected


@pytest.mark.parametrize(
    "events",
    [
        [{"type": "email.accept"}, {"type": "email.reject"}],
        [{"type": "email.reject", "code": 250}],
        [{"type": "email.reject", "code": "550"}],
        [{"type": "email.defer", "retry_after": float("nan")}],
        [{"type": "email.send", "mail_from": "", "rcpt_to": ["a@x.org"], "message": b""}],
        [{"type": "email.receive"}],
    ],
)
async def test_what_may_not_be_sent(events: list[dict[str, Any]], caplog: pytest.LogCaptureFixture) -> None:
    assert await run(sends(*events)) == Defer()
    assert caplog.records[0].exc_info
    assert isinstance(caplog.records[0].exc_info[1], LocalProtocolError)


@pytest.mark.parametrize("came", [b"", b"x", b"x" * 1_000_000])
async def test_the_body_comes_as_it_is_and_then_the_disconnect_once(came: bytes) -> None:
    events: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while not events or events[-1]["type"] != "email.disconnect":
            events.append(await receive())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await receive()

    assert await run(app, came) == Accept()
    assert events[:-1] == [{"type": "email.receive", "body": came, "more_body": False}]
    assert events[0]["body"] is came


async def test_a_crash_defers_even_after_an_accept(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "email.accept"})
        raise KeyError("order")

    assert await run(app) == Defer()
    assert len([record for record in caplog.records if record.exc_info]) == 1


async def test_a_timeout_defers_even_after_an_accept(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "email.accept"})
        await asyncio.sleep(1000)

    assert await run(app, timeout=0.01) == Defer()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_a_handler_that_ends_late_has_deferred() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
        await send({"type": "email.accept"})

    assert await run(app, timeout=0.01) == Defer()


async def test_a_timeout_inside_the_application_is_its_crash(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise TimeoutError("its own")

    assert await run(app) == Defer()
    assert caplog.records[0].exc_info


async def test_cancelling_the_delivery_cancels_the_application() -> None:
    running, cancelled = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        running.set()
        try:
            await asyncio.sleep(1000)
        finally:
            cancelled.set()

    task = asyncio.ensure_future(run(app))
    await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled.is_set()


async def test_sending_is_awaited_and_legal_before_and_after_the_verdict() -> None:
    outbox = Outbox()
    reply = {"type": "email.send", "mail_from": "", "rcpt_to": ["b@x.org"], "message": b"Subject: hi\r\n\r\n"}
    assert await run(sends(reply, {"type": "email.reject"}, reply), submission=outbox) == Reject()
    assert outbox.sent == [("", ["b@x.org"], b"Subject: hi\r\n\r\n")] * 2


REPLY = {"type": "email.send", "mail_from": "", "rcpt_to": ["b@x.org"], "message": b"Subject: hi\r\n\r\n"}


async def test_a_reply_that_does_not_leave_is_logged_and_the_message_is_accepted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert await run(sends(REPLY), submission=Outbox(PermanentFailure("550 no such user"))) == Accept()
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert re.fullmatch(
        r"\w{12} email <> -> a@x\.org: mail to b@x\.org not sent: 550 no such user", record.getMessage()
    )


async def test_who_is_refused_and_who_only_for_now_are_a_line_each(caplog: pytest.LogCaptureFixture) -> None:
    refused = PermanentFailure("550 no", left={"rcpt_to": ["c@x.org"]})
    error = NotSent("450 later", left={"rcpt_to": ["b@x.org"]}, refused=refused)
    assert await run(sends(REPLY), submission=Outbox(error)) == Accept()
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "mail to b@x.org not sent: 450 later",
        "mail to c@x.org not sent: 550 no",
    ]


async def test_a_handler_that_waits_learns_of_it() -> None:
    outbox = Outbox(NotSent("away"))

    async def careful(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(NotSent):
            await send(REPLY | {"wait": True})

    assert await run(sends(REPLY | {"wait": True}), submission=outbox) == Defer()
    assert await run(careful, submission=outbox) == Accept()


async def test_a_silent_submission_server_does_not_make_the_handler_late(caplog: pytest.LogCaptureFixture) -> None:
    class Silent(Outbox):
        async def submit(self, mail_from: str, rcpt_to: Sequence[str], message: bytes, *, dsn: Any = None) -> None:
            await asyncio.Event().wait()

    assert await run(sends(REPLY, REPLY, REPLY), timeout=0.5, submission=Silent()) == Accept()
    assert ": it was not taken within 0.25 s, half of the time" in caplog.records[0].getMessage()
    assert len(caplog.records) == 3


async def test_a_missing_key_is_named() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(LocalProtocolError, match="message"):
            await send({"type": "email.send", "mail_from": "", "rcpt_to": ["b@x.org"]})

    assert await run(app, submission=Outbox()) == Accept()


async def test_a_mail_whose_handler_fails_does_not_wait_for_the_garbage_collector() -> None:
    class Content(bytes):
        pass

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        raise RuntimeError(len(body))

    gc.collect()
    gc.disable()
    logging.disable()  # pytest keeps the records, and an error in each
    try:
        assert await run(app, Content(b"A: 1\r\n\r\n")) == Defer()
        await until(lambda: not any(issubclass(type(each), EmailRun | Content) for each in gc.get_objects()))
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)
