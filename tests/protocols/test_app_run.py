"""One application run, by scripted peers."""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

import pytest

from protocols.app_run import AppRun
from protocols.errors import Disconnected, LocalProtocolError

LIMIT = 5.0
SCOPE: Any = {"type": "call"}


class Call(AppRun):
    sends = {
        "ringing": {"call.answer": "open", "call.reject": "over"},
        "open": {"call.speak": "open", "call.dictate": "open", "call.hang_up": "over"},
    }
    limit = 4
    disconnect_grace = 0.05

    def __init__(self, app: Any) -> None:
        super().__init__(app, SCOPE)
        self.heard: list[Any] = []
        self.flow: list[str] = []

    def call_answer(self, event: Any) -> None:
        self.heard.append("answer")

    def call_reject(self, event: Any) -> None:
        self.heard.append("refuse")

    def call_speak(self, event: Any) -> None:
        self.heard.append(event["words"])

    async def call_dictate(self, event: Any) -> None:
        await asyncio.sleep(0)
        self.heard.append("dictated")

    def call_hang_up(self, event: Any) -> Awaitable[None] | None:
        self.heard.append("hung up")
        return None

    def pause(self) -> None:
        self.flow.append("pause")

    def resume(self) -> None:
        self.flow.append("resume")


async def run(app: Any, *events: Any) -> Call:
    call = Call(app)
    for event in events:
        call.feed(event)
    async with asyncio.timeout(LIMIT):
        await call.run()
    return call


async def test_what_is_sent_reaches_the_protocol_in_order() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "call.answer"})
        await send({"type": "call.dictate"})
        await send({"type": "call.speak", "words": (await receive())["words"]})
        await send({"type": "call.hang_up"})

    call = await run(app, {"type": "call.words", "words": "echo"})
    assert call.heard == ["answer", "dictated", "echo", "hung up"]
    assert (call.error, call.state) == (None, "ended")


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        (["call.speak"], "'call.speak' may not be sent now .state ringing.; legal: call.answer, call.reject"),
        (["call.reject", "call.answer"], "state over.; legal: nothing more"),
        (["call.answer", "call.answer"], "state open"),
        (["call.answer", "__class__"], "may not be sent"),
        (["call.answer", "call.speak"], "call.speak needs the key 'words'"),
    ],
)
async def test_an_illegal_event_raises_out_of_send(events: list[str], sentence: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for event in events[:-1]:
            await send({"type": event})
        with pytest.raises(LocalProtocolError, match=sentence):
            await send({"type": events[-1]})

    assert (await run(app)).error is None


@pytest.mark.parametrize(
    "error",
    [
        *(RuntimeError("x"), SystemExit(3), KeyboardInterrupt("x"), GeneratorExit("x")),
        *(LocalProtocolError("x"), asyncio.CancelledError()),
    ],
)
async def test_a_crash_is_returned_and_logged_once_with_its_scope(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise error

    assert (await run(app)).error is error
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.__dict__["scope"] is SCOPE


async def test_a_run_that_is_thrown_away_with_its_loop_is_no_crash(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    call = Call(app)
    running = call.run()
    running.send(None)
    await asyncio.to_thread(running.close)
    assert (call.error, caplog.records) == (None, [])


async def test_cancelling_the_caller_cancels_the_application() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    call = Call(app)
    task = asyncio.ensure_future(call.run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert call.ended


async def test_a_full_inbox_pauses_the_peer_and_half_of_it_resumes() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(5):
            await receive()

    call = await run(app, *({"type": "call.words", "words": str(n)} for n in range(5)))
    assert call.flow == ["pause", "resume"]


async def test_the_disconnect_is_last_comes_once_and_needs_no_room() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while True:
            seen.append((await receive())["type"])

    call = Call(app)
    for _ in range(10):
        call.feed({"type": "call.words"})
    gone: Any = {"type": "call.disconnect"}
    call.disconnect(gone)
    call.disconnect(gone)
    call.feed({"type": "call.words"})
    async with asyncio.timeout(LIMIT):
        assert await call.run() is None
    assert seen == ["call.words"] * 10 + ["call.disconnect"]


async def test_sending_to_a_peer_that_left_raises_and_is_no_crash(caplog: pytest.LogCaptureFixture) -> None:
    caught: list[Exception] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        try:
            await send({"type": "call.answer"})
        except OSError as error:
            caught.append(error)
        await send({"type": "call.answer"})

    call = Call(app)
    gone: Any = {"type": "call.disconnect"}
    call.disconnect(gone)
    assert await call.run() is None
    assert isinstance(caught[0], Disconnected)
    assert caplog.records == []


async def test_an_application_that_does_not_end_after_the_disconnect_is_cancelled_with_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(1000)

    call = Call(app)
    gone: Any = {"type": "call.disconnect"}
    call.disconnect(gone)
    async with asyncio.timeout(LIMIT):
        assert await call.run() is None
    assert ["cancelled" in record.message for record in caplog.records] == [True]


async def test_progress_after_the_disconnect_is_not_cut_short() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (event := await receive())["type"] != "call.disconnect":
            await asyncio.sleep(0.02)
            seen.append(event["words"])

    call = Call(app)
    for number in range(10):
        call.feed({"type": "call.words", "words": str(number)})
    gone: Any = {"type": "call.disconnect"}
    call.disconnect(gone)
    async with asyncio.timeout(LIMIT):
        await call.run()
    assert len(seen) == 10


async def test_after_its_end_an_application_can_send_no_more() -> None:
    kept: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        kept.append(send)

    await run(app)
    with pytest.raises(LocalProtocolError, match="already returned"):
        await kept[0]({"type": "call.answer"})


@pytest.mark.parametrize("ends", [0, 1], ids=["the first", "the second"])
async def test_one_of_two_tasks_in_receive_is_cancelled_and_the_other_still_hears(ends: int) -> None:
    """As a listener for the disconnect, and a generator that asks now and then whether it has come."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        tasks = [asyncio.create_task(receive()) for _ in range(2)]
        await asyncio.sleep(0)
        tasks.pop(ends).cancel()
        await asyncio.sleep(0)
        call.disconnect(gone)
        heard.append(await tasks[0])

    heard: list[Any] = []
    gone: Any = {"type": "call.disconnect"}
    call = Call(app)
    assert await call.run() is None
    assert heard == [gone]


async def test_a_cancelled_receive_loses_no_event() -> None:
    seen: list[Any] = []
    call: Call

    async def app(scope: Any, receive: Any, send: Any) -> None:
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        call.feed({"type": "call.words", "words": "kept"})
        seen.append(await receive())

    call = Call(app)
    async with asyncio.timeout(LIMIT):
        await call.run()
    assert seen[0]["words"] == "kept"


def test_a_table_that_names_a_missing_method_is_an_error_at_class_creation() -> None:
    with pytest.raises(AttributeError, match="call_whistle"):
        type("Broken", (AppRun,), {"sends": {"open": {"call.whistle": "open"}}})
