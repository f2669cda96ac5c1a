"""Which plain applications are told of that wait without an answer, and which are not; real peers: test_mistakes.py."""

import asyncio
import contextlib
from typing import Any, ClassVar

import pytest
from waiting import until

from gateway.consumers import unanswered
from gateway.consumers.waiting import tell_waiting
from protocols.app_run import AppRun, observed

PATIENCE = 0.02


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unanswered, "PATIENCE", PATIENCE)
    monkeypatch.setattr(observed, "waits", tell_waiting)


class Device(AppRun):
    sends: ClassVar[Any] = {"connecting": {"mqtt.accept": "open", "mqtt.auth": "connecting"}, "open": {}}

    def mqtt_accept(self, event: Any) -> None: ...

    mqtt_auth = mqtt_accept


async def waits(scope: Any, receive: Any, send: Any) -> None:
    while (await receive())["type"] != "mqtt.disconnect":
        pass


async def answers_in_time(scope: Any, receive: Any, send: Any) -> None:
    async def answer() -> None:
        await asyncio.sleep(0)
        await send({"type": "mqtt.accept"})

    later = asyncio.create_task(answer())
    await waits(scope, receive, send)
    await later


async def works(scope: Any, receive: Any, send: Any) -> None:
    """As Django does: it hears of the disconnect by another task, and may take its time."""
    gone = asyncio.create_task(waits(scope, receive, send))
    await gone


async def looks(scope: Any, receive: Any, send: Any) -> None:
    """A long poll with Starlette's ``request.is_disconnected()``: it looks whether the peer is there, and goes on."""
    event: Any = {}
    while event.get("type") != "mqtt.disconnect":
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                event = await receive()
        await asyncio.sleep(PATIENCE / 4)


async def asks(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "mqtt.auth"})
    await waits(scope, receive, send)


@pytest.mark.parametrize(
    ("app", "properties", "told"),
    [
        (waits, {}, 1),
        (answers_in_time, {}, 0),
        (works, {}, 0),
        (looks, {}, 0),
        (asks, {"authentication_method": "SCRAM"}, 0),
    ],
)
async def test_who_is_told_of(app: Any, properties: Any, told: int, caplog: pytest.LogCaptureFixture) -> None:
    scope: Any = {"type": "mqtt", "client_id": "t1", "properties": properties}
    run = Device(app, scope)
    run.feed({"type": "mqtt.connect", "username": None, "password": None})
    task = asyncio.create_task(run.run())
    await asyncio.sleep(3 * PATIENCE)  # the time in which a line would come
    await until(lambda: caplog.text.count("mqtt t1: the application waits at ") == told)
    run.disconnect({"type": "mqtt.disconnect", "reason_code": 0, "reason": "", "clean": True})
    assert await task is None
