"""Windows of HTTP/2: slow applications and slow clients, each of which stops its own stream."""

import asyncio
import logging
from typing import Any

import h2.events
import pytest
from h2.settings import SettingCodes
from http2_peer import Peer, peer, request
from http_peer import Recorder, serving
from waiting import until

PIECE = 16 * 1024


async def narrow(client: Peer, window: int) -> None:
    """Let each stream send ``window`` bytes."""
    client.takes = False
    client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
    client.flush()
    await client.until(lambda: len(client.seen(h2.events.SettingsAcknowledged)) == 2)


async def test_an_upload_waits_for_its_application_and_no_other_does() -> None:
    go = asyncio.Event()
    app = Recorder()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            await go.wait()
        await app(scope, receive, send)

    async with serving(slow, http2=True) as server, peer(server) as client:
        number, sent = client.ask(request("POST", "/slow"), b"", ends=False), 0
        while client.h2.local_flow_control_window(number) >= PIECE - 1:
            client.h2.send_data(number, bytes(PIECE - 1))
            sent += PIECE - 1
        client.flush()
        assert sent < 70_000  # that much is the server's memory
        other = client.ask(request("POST", "/other"), bytes(10_000))
        assert (await client.answer(other)).status == "200"
        go.set()
        while sent < 300_000:
            await client.until(lambda: client.h2.local_flow_control_window(number) >= PIECE)
            client.h2.send_data(number, bytes(PIECE))
            client.flush()
            sent += PIECE
        client.h2.end_stream(number)
        client.flush()
        assert (await client.answer(number)).status == "200"
    assert [len(body) for body in app.received] == [10_000, sent]


async def test_uploads_that_are_reset_give_their_window_back() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/":
            await asyncio.sleep(60)
        await Recorder()(scope, receive, send)

    async with serving(app, http2=True, disconnect_grace=0.01) as server, peer(server) as client:
        whole = client.h2.outbound_flow_control_window
        for _ in range(20):
            number = client.ask(request("POST", "/never"), bytes(PIECE), ends=False)
            client.h2.send_data(number, bytes(PIECE))
            client.h2.reset_stream(number, 8)
            client.flush()
            await until(lambda: not server.active())
        assert (await client.get()).status == "200"
        assert client.h2.outbound_flow_control_window > whole // 2


@pytest.mark.parametrize("window", [1, 100])
async def test_an_answer_through_a_narrow_window(window: int) -> None:
    async with serving(Recorder(body=b"abcdefgh" * 20), http2=True) as server, peer(server) as client:
        await narrow(client, window)
        number = client.ask()
        while not client.streams[number].ended:
            await client.until(lambda: len(client.streams[number].body) % window == 0 or client.streams[number].ended)
            if not client.streams[number].ended:
                before = len(client.streams[number].body)
                client.h2.increment_flow_control_window(window, number)
                client.flush()
                await client.until(
                    lambda before=before: len(client.streams[number].body) > before or client.streams[number].ended
                )
        assert client.streams[number].body == b"abcdefgh" * 20


async def test_an_application_waits_for_a_slow_client_and_no_other_does() -> None:
    sent = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        if scope["path"] != "/large":
            await Recorder()(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(100):
            await send({"type": "http.response.body", "body": bytes(PIECE), "more_body": True})
            sent += PIECE
        await send({"type": "http.response.body", "body": b""})

    async with serving(app, http2=True) as server, peer(server) as client:
        await narrow(client, 10)
        number = client.ask(request("GET", "/large"))
        await client.until(lambda: len(client.streams[number].body) == 10)
        small = client.ask(request("GET", "/small"))
        assert (await client.answer(small)).body == b"hello"
        assert sent <= 5 * PIECE
        client.h2.increment_flow_control_window(2**30, number)
        client.h2.increment_flow_control_window(2**30)
        client.flush()
        assert len((await client.answer(number)).body) == 100 * PIECE


async def test_short_pieces_that_nobody_takes_are_few() -> None:
    sent = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(2000):
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            sent += 1
        await send({"type": "http.response.body", "body": b""})

    async with serving(app, http2=True) as server, peer(server) as client:
        await narrow(client, 1)
        number = client.ask()
        await client.until(lambda: client.streams[number].body)
        await asyncio.sleep(0.05)
        assert sent < 300
        client.h2.increment_flow_control_window(10_000, number)
        client.flush()
        assert (await client.answer(number)).body == b"a" * 2000


async def test_a_client_whose_window_stays_shut_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    errors: list[BaseException] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            for _ in range(100):
                await send({"type": "http.response.body", "body": bytes(PIECE), "more_body": True})
        except OSError as error:
            errors.append(error)
            raise

    with caplog.at_level(logging.INFO, "protocols"):
        async with serving(app, http2=True, stall_timeout=0.3) as server, peer(server) as client:
            await narrow(client, 0)
            assert (await client.answer(client.ask())).reset == "CANCEL"
            await until(lambda: not server.active())
    assert errors
    assert [each for each in caplog.messages if each.endswith("its peer reads nothing")]


async def test_a_finished_answer_does_not_wait_for_ever() -> None:
    async with serving(Recorder(), http2=True, stall_timeout=0.3) as server, peer(server) as client:
        await narrow(client, 0)
        number = client.ask()
        await until(lambda: not server.active())  # the application has ended
        assert (await client.answer(number)).reset == "CANCEL"


async def test_a_body_that_does_not_come() -> None:
    async with serving(Recorder(), http2=True, stall_timeout=0.3) as server, peer(server) as client:
        answer = await client.answer(client.ask(request("POST"), b"a", ends=False))
        assert answer.status == "408"
        assert (await client.get()).status == "200"


async def test_an_idle_connection_is_closed_and_one_with_a_request_is_not() -> None:
    go = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await go.wait()
        await Recorder()(scope, receive, send)

    async with serving(app, http2=True, keepalive_timeout=0.3) as server, peer(server) as client:
        number = client.ask()
        async with peer(server) as idle:
            await idle.until_closed()
            assert idle.goaways == [("NO_ERROR", 0)]
        go.set()
        assert (await client.answer(number)).status == "200"
        await client.until_closed()
        assert client.goaways == [("NO_ERROR", number)]


async def test_a_client_that_allows_a_large_table_gets_a_small_one() -> None:
    app = Recorder(headers=[(b"x-id", b"a" * 3000)])
    async with serving(app, http2=True) as server, peer(server) as client:
        client.h2.update_settings({SettingCodes.HEADER_TABLE_SIZE: 2**30})
        client.flush()
        for number in range(20):
            app.headers = [(b"x-id", b"%d" % number * 1000)]
            assert (await client.get()).status == "200"
        (connection,) = server.service.connections
        core = connection._session.core  # type: ignore[attr-defined]
        assert core.encoder.header_table_size == 4096


async def test_an_upload_that_goes_on_behind_its_answer_does_not_spoil_it() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"early"})

    async with serving(app, http2=True) as server, peer(server) as client:
        await narrow(client, 0)
        number = client.ask(request("POST", "/", ("content-length", "20000")), bytes(10_000), ends=False)
        await client.until(lambda: client.streams[number].heads)
        await until(lambda: not server.active())
        client.h2.send_data(number, bytes(10_000), end_stream=True)
        client.h2.increment_flow_control_window(10, number)
        client.flush()
        answer = await client.answer(number)
        assert (answer.body, answer.ended, answer.reset) == (b"early", True, None)
        assert server.refusals == {}
