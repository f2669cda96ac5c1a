"""What all communicators do: a crash comes out at once, a timeout says where the application waits, nothing leaks."""

import asyncio
from typing import Any

import pytest

from gateway import (
    AsyncWebsocketConsumer,
    WebsocketConsumer,
    aio,
    get_channel_layer,
    group_send,
    publish,
    send_mail,
    send_text,
)
from gateway.event_sender import sender
from gateway.testing import ApplicationCommunicator, WebsocketCommunicator
from protocols import LocalProtocolError
from protocols.mail.events import send_event

NEVER = 3600.0
"""Seconds: a test that waits for it fails by its own time limit."""


class Echo(AsyncWebsocketConsumer):
    async def receive(self, text: str | None, bytes: bytes | None = None) -> None:
        if text == "crash":
            await self.send("last words")
            raise ValueError("it cannot")
        if text == "close":
            await self.close(4001, "enough")
        if text == "both":
            await self._emit({"type": "websocket.send", "text": "a", "bytes": b"b"})
        if text != "silence":
            await self.send(text)


@pytest.fixture
async def echo() -> Any:
    communicator = WebsocketCommunicator(Echo, "/")
    assert await communicator.connect() == (True, None)
    return communicator


async def test_a_crash_comes_out_at_once_after_what_was_sent_before(echo: WebsocketCommunicator) -> None:
    await echo.send_to("crash")
    assert await echo.receive_from(timeout=NEVER) == "last words"
    for call in (echo.receive_output, echo.receive_nothing, echo.wait):
        with pytest.raises(ValueError, match="it cannot"):
            await call(timeout=NEVER)
    for again in (echo.send_to("more"), echo.disconnect()):
        with pytest.raises(ValueError, match="it cannot"):
            await again


async def test_a_crash_comes_out_of_the_block() -> None:
    with pytest.raises(ValueError, match="it cannot"):
        async with WebsocketCommunicator(Echo, "/") as echo:
            await echo.connect()
            await echo.send_to("crash")
            assert await echo.receive_from() == "last words"


async def test_an_error_of_the_test_is_not_hidden_by_the_application_s() -> None:
    with pytest.raises(KeyError):
        async with WebsocketCommunicator(Echo, "/") as echo:
            await echo.connect()
            await echo.send_to("crash")
            raise KeyError


async def test_a_timeout_says_where_the_application_waits_and_leaves_it_alone() -> None:
    begun = asyncio.Event()

    class Slow(AsyncWebsocketConsumer):
        async def receive(self, text: str | None, bytes: bytes | None = None) -> None:
            begun.set()
            await asyncio.sleep(NEVER if text == "slow" else 0)
            await self.send(text)

    async with WebsocketCommunicator(Slow, "/") as slow, WebsocketCommunicator(Echo, "/") as echo:
        assert await slow.connect()
        assert await echo.connect()
        await slow.send_to("slow")
        await begun.wait()
        with pytest.raises(
            TimeoutError, match=r"sent nothing within 0\.01 s; it waits at test_communicator.py:\d+, in r"
        ):
            await slow.receive_output(timeout=0.01)
        with pytest.raises(TimeoutError, match=r"^the application sent nothing within 0.01 s$"):
            await echo.receive_output(timeout=0.01)
        await echo.send_to("still here")
        assert await echo.receive_from() == "still here"
        with pytest.raises(TimeoutError, match=r"did not end within 0\.01 s"):
            await slow.disconnect(timeout=0.01)


async def test_receive_nothing_takes_nothing_and_ends_nothing(echo: WebsocketCommunicator) -> None:
    assert await echo.receive_nothing(timeout=0.01)
    await echo.send_to("hello")
    assert await echo.receive_nothing(timeout=NEVER) is False
    assert await echo.receive_from() == "hello"
    await echo.disconnect()
    assert await echo.receive_nothing(timeout=NEVER)


async def test_an_application_that_has_ended_is_no_timeout(echo: WebsocketCommunicator) -> None:
    await echo.disconnect()
    with pytest.raises(AssertionError, match="sent nothing, and has ended"):
        await echo.receive_output(timeout=NEVER)
    await echo.wait(timeout=NEVER)


async def test_what_a_server_would_not_send_is_an_error_at_the_handler_s_line(echo: WebsocketCommunicator) -> None:
    await echo.send_to("both")
    with pytest.raises(LocalProtocolError, match="text and bytes"):
        await echo.receive_output(timeout=NEVER)


async def test_the_disconnect_arrives_once_and_nothing_is_sent_after_it() -> None:
    heard = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        heard.append((await receive())["type"])
        with pytest.raises(OSError, match="the peer is gone"):
            await send({"type": "websocket.send", "text": "too late"})

    async with WebsocketCommunicator(app, "/") as peer:
        await peer.connect()
        await peer.disconnect()
    assert heard == ["websocket.disconnect"]


async def test_the_scope_can_be_changed_before_the_first_event() -> None:
    class WhoAmI(AsyncWebsocketConsumer):
        async def connect(self, message: Any) -> None:
            await self.accept()
            await self.send(self.scope["user"])

    who = WebsocketCommunicator(WhoAmI, "/")
    who.scope["user"] = "ann"
    assert await who.connect()
    assert await who.receive_from() == "ann"
    await who.disconnect()


async def test_any_application_of_a_scope_type_that_is_not_known_here() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (event := await receive())["type"] != "syslog.disconnect":
            await send({"type": "syslog.stored", "text": event["text"]})

    async with ApplicationCommunicator(app, {"type": "syslog"}) as any_:
        await any_.send_input({"type": "syslog.receive", "text": "a"})
        assert await any_.receive_output() == {"type": "syslog.stored", "text": "a"}
        await any_.send_input({"type": "syslog.disconnect"})
        await any_.wait()


async def test_what_is_sent_beside_the_scope_is_in_the_outbox_and_groups_are_those_of_the_test() -> None:
    class Desk(WebsocketConsumer):
        def receive(self, text: str | None, bytes: bytes | None = None) -> None:
            head = b"From: desk@example.org\r\nTo: ann@example.net\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
            mail = head + b"\r\nHello\r\n"
            sender.get().send(send_event("desk@example.org", ["ann@example.net"], mail))
            self.send("done")

    async with WebsocketCommunicator(Desk, "/") as desk:
        await desk.connect()
        await desk.send_to("go")
        assert await desk.receive_from() == "done"
        [mail] = desk.outbox.mails
        assert (mail.mail_from, mail.rcpt_to, mail.to) == ("desk@example.org", ["ann@example.net"], ["ann@example.net"])
        assert (mail.subject, mail.text.strip(), mail.html) == ("Grüße", "Hello", "<div>Hello</div>")
        assert (desk.outbox.texts, desk.outbox.publications) == ([], [])


async def test_groups_reach_the_members_of_all_communicators() -> None:
    from gateway import layer_event

    class Member(AsyncWebsocketConsumer):
        async def connect(self, message: Any) -> None:
            await self.group_add("room")
            await self.accept()

        @layer_event("say")
        async def say(self, message: Any) -> None:
            await self.send(message["text"])

    async with WebsocketCommunicator(Member, "/") as one, WebsocketCommunicator(Member, "/") as other:
        for each in (one, other):
            assert await each.connect()
        await get_channel_layer().group_send("room", {"type": "say", "text": "hello"})
        assert [await one.receive_from(), await other.receive_from()] == ["hello", "hello"]


async def test_an_application_that_is_forgotten_ends_with_its_communicator() -> None:
    ended = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await receive()
            await receive()
        finally:
            ended.set()

    forgotten = WebsocketCommunicator(app, "/")
    await forgotten.send_input({"type": "websocket.connect"})
    await asyncio.sleep(0)
    del forgotten
    async with asyncio.timeout(5):
        await ended.wait()


@pytest.mark.parametrize("is_async", [False, True])
async def test_the_helpers_that_send_from_anywhere_are_recorded(is_async: bool) -> None:
    class Desk(WebsocketConsumer):
        def receive(self, text: str | None, bytes: bytes | None = None) -> None:
            publish("lamps/1", "on")
            send_mail("ann@example.net", subject="Hot", text="40", from_="desk@example.org")
            send_text("+447700900123", "Hot")
            group_send("nobody", {"type": "x"})
            self.send("done")

    class AsyncDesk(AsyncWebsocketConsumer):
        async def receive(self, text: str | None, bytes: bytes | None = None) -> None:
            await aio.publish("lamps/1", "on")
            await aio.send_mail("ann@example.net", subject="Hot", text="40", from_="desk@example.org")
            await aio.send_text("+447700900123", "Hot")
            await aio.group_send("nobody", {"type": "x"})
            await self.send("done")

    async with WebsocketCommunicator(AsyncDesk if is_async else Desk, "/") as desk:
        await desk.connect()
        await desk.send_to("go")
        assert await desk.receive_from() == "done"
        assert [(each.topic, each.payload) for each in desk.outbox.publications] == [("lamps/1", b"on")]
        assert [(each.subject, each.mail_from) for each in desk.outbox.mails] == [("Hot", "desk@example.org")]
        assert [(each.to, each.text) for each in desk.outbox.texts] == [("+447700900123", "Hot")]
