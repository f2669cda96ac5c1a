"""An application's lifespan."""

import asyncio
import traceback
from typing import Any

import pytest

from protocols.lifespan import Lifespan, StartupFailed


async def test_startup_fills_the_state_and_shutdown_is_heard() -> None:
    said: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for step in ("startup", "shutdown"):
            said.append((await receive())["type"])
            scope["state"]["pool"] = "open"
            await send({"type": f"lifespan.{step}.complete"})

    lifespan = Lifespan(app)
    await lifespan.startup()
    assert lifespan.state == {"pool": "open"}
    await lifespan.shutdown()
    assert said == ["lifespan.startup", "lifespan.shutdown"]


async def raises(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("only http")


async def returns(scope: Any, receive: Any, send: Any) -> None:
    return


@pytest.mark.parametrize("app", [raises, returns])
async def test_an_application_without_lifespan_is_left_alone(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    lifespan = Lifespan(app)
    await lifespan.startup()
    await lifespan.shutdown()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def answers_http(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200})


async def test_an_application_that_takes_it_for_a_request_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    await Lifespan(answers_http).startup()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_crash_in_startup_is_one_log_record_and_no_reason_to_stop(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise KeyError("settings")

    lifespan = Lifespan(app)
    await lifespan.startup()
    await lifespan.shutdown()
    assert [record.getMessage() for record in caplog.records] == ["lifespan"]


async def test_a_startup_that_is_given_up_is_cancelled() -> None:
    cancelled = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    lifespan = Lifespan(app)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await lifespan.startup()
    await lifespan.shutdown()
    assert cancelled.is_set()


async def test_of_a_traceback_that_starlette_sends_the_last_line_is_why() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        try:
            raise KeyError("settings")
        except KeyError:
            await send({"type": "lifespan.startup.failed", "message": traceback.format_exc()})

    with pytest.raises(StartupFailed, match=r"^KeyError: 'settings'$"):
        await Lifespan(app).startup()


async def test_a_failed_startup_says_why() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(StartupFailed, match="no database"):
        await Lifespan(app).startup()


async def test_no_answer_within_the_timeout_is_a_failed_startup() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await receive()

    with pytest.raises(StartupFailed, match="no answer"):
        await Lifespan(app, timeout=0.05).startup()


async def test_a_crash_after_startup_is_one_log_record(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        raise RuntimeError("while closing")

    lifespan = Lifespan(app)
    await lifespan.startup()
    await lifespan.shutdown()
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
