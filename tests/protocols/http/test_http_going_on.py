"""Applications that go on: when their peer has left, after their answer, and when the server stops."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from contract import LIMIT, connect, transport_of
from http_peer import GET, Recorder, ask, read_answer, serving
from test_http_responses import piece, start
from test_http_websocket import HANDSHAKE
from turns import LONGEST, counted
from waiting import until

from protocols.errors import Disconnected, LocalProtocolError
from protocols.http.connection import HTTPConnection
from protocols.http.server import HTTPServer

CLOSE = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
FLOOD = 50_000
"""Events of an application that would go on for ever; without a turn of the loop they take longer than LONGEST."""


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.fixture(params=["raises", "swallows", "wraps", "groups"])
def ending(request: pytest.FixtureRequest) -> Any:
    """What an application makes of the OSError that send raises."""

    @contextlib.contextmanager
    def end() -> Iterator[None]:
        try:
            yield
        except OSError as error:
            match request.param:
                case "raises":
                    raise
                case "wraps":
                    raise RuntimeError("the client has left")  # noqa: B904 -- as Starlette does
                case "groups":
                    raise BaseExceptionGroup("of a task group", [error]) from None

    return end


async def test_an_endless_stream_ends_with_its_reader(ending: Any, caplog: pytest.LogCaptureFixture) -> None:
    ended = asyncio.Event()
    sent = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        if scope["path"] == "/":
            await send(start())
            await send(piece(b"ok"))
            return
        await send(start())
        try:
            with ending():
                while sent < FLOOD:
                    sent += 1
                    await send(piece(b"x" * 65536, more=True))
        finally:
            ended.set()

    async with serving(app) as server:
        for _ in range(3):
            sent = 0
            ended.clear()
            async with counted() as turns:
                reader, writer = await connect(server.address)
                writer.write(GET.replace(b"/ ", b"/stream "))
                await reader.readexactly(1000)
                writer.transport.abort()
                async with asyncio.timeout(LIMIT):
                    await ended.wait()
            assert sent < FLOOD
            assert turns.longest < LONGEST
            assert (await ask(server, CLOSE))[0].body == b"ok"
    assert warnings(caplog) == []


@pytest.mark.parametrize("beside", [False, True])
async def test_what_follows_an_answer_is_done_although_its_reader_has_left(
    caplog: pytest.LogCaptureFixture, *, beside: bool
) -> None:
    """In the application's own task a whole answer goes nowhere; in one beside it nothing is raised at all."""
    done: list[str] = []

    async def answer(receive: Any, send: Any) -> None:
        await receive()
        if not beside:
            assert (await receive())["type"] == "http.disconnect"
        await asyncio.sleep(0.05)
        await send(start())
        for _ in range(20 if beside else 0):
            await send(piece(b"x", more=True))
        await send(piece(b"x"))
        done.append("in the background")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await (asyncio.create_task(answer(receive, send)) if beside else answer(receive, send))

    async with serving(app) as server:
        _, writer = await connect(server.address)
        writer.write(GET)
        await until(lambda: server.active())
        writer.transport.abort()
        await until(lambda: done)
        await until(lambda: not server.active())
    assert warnings(caplog) == []


async def test_a_task_that_sends_after_the_run_hears_of_it() -> None:
    raised: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    tasks: list[Any] = []

    async def push(send: Any) -> None:
        try:
            while True:
                await send(piece(b"x", more=True))
        except Exception as error:
            raised.set_result(error)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        tasks.append(asyncio.create_task(push(send)))
        await receive()
        await receive()

    async with serving(app) as server:
        reader, writer = await connect(server.address)
        writer.write(GET)
        await reader.readexactly(1000)
        writer.transport.abort()
        async with asyncio.timeout(LIMIT):
            assert isinstance(await raised, OSError)


async def test_a_mistake_in_the_clean_up_is_still_a_crash(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        try:
            await send(start())
        finally:
            scope.no_such_method()

    async with serving(app) as server:
        _, writer = await connect(server.address)
        writer.write(GET)
        await until(lambda: server.active())
        writer.close()
        await until(lambda: not server.active())
    assert len(warnings(caplog)) == 1


async def test_a_disconnect_of_another_connection_is_a_crash(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("upstream") from Disconnected("the broker is gone")

    async with serving(app) as server:
        assert (await ask(server, GET))[0].status == 500
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize("kind", ["receive", "send"])
async def test_a_websocket_flooded_either_way_keeps_nobody_waiting(kind: str) -> None:
    done = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        for _ in range(FLOOD):
            if kind == "receive":
                assert (await receive())["type"] == "websocket.receive"
            else:
                await send({"type": "websocket.send", "text": ""})
        done.set()
        await receive()

    async with serving(app) as server, counted() as turns:
        reader, writer = await _open_websocket(server)
        reading = asyncio.ensure_future(_read_all(reader))
        if kind == "receive":
            writer.write(b"\x81\x80\0\0\0\0" * FLOOD)
        async with asyncio.timeout(4 * LIMIT):
            await done.wait()
        writer.transport.abort()
        await reading
    assert turns.longest < LONGEST


@pytest.mark.parametrize("opcode", [0x89, 0x8A], ids=["pings", "pongs"])
async def test_a_websocket_peer_that_pings_on_and_on_keeps_nobody_waiting(opcode: int) -> None:
    echoed = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        assert (await receive())["type"] == "websocket.receive"
        echoed.set()

    async with serving(app) as server, counted() as turns:
        reader, writer = await _open_websocket(server)
        reading = asyncio.ensure_future(_read_all(reader))
        writer.write(bytes((opcode, 0x80, 0, 0, 0, 0)) * 2 * FLOOD + b"\x81\x80\0\0\0\0")
        async with asyncio.timeout(4 * LIMIT):
            await echoed.wait()
        writer.transport.abort()
        await reading
    assert turns.longest < LONGEST


async def test_a_peer_that_pipelines_on_and_on_keeps_nobody_waiting() -> None:
    async with serving(Recorder()) as server, counted() as turns:
        reader, writer = await connect(server.address)
        reading = asyncio.ensure_future(_read_all(reader))
        writer.write(GET * 10_000 + CLOSE)
        async with asyncio.timeout(4 * LIMIT):
            await reading
        writer.close()
    assert turns.longest < LONGEST


async def test_a_body_in_the_smallest_chunks_keeps_nobody_waiting() -> None:
    app = Recorder()
    async with serving(app) as server, counted() as turns:
        chunked = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer, _ = await ask(server, chunked + b"1\r\nx\r\n" * FLOOD + b"0\r\n\r\n")
    assert answer.status == 200
    assert app.received == [b"x" * FLOOD]
    assert turns.longest < LONGEST


async def _open_websocket(server: HTTPServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await connect(server.address)
    writer.write(HANDSHAKE)
    assert (await read_answer(reader, body=False)).status == 101
    return reader, writer


async def _read_all(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(65536):
            pass


async def test_the_next_request_does_not_wait_for_a_background_task(caplog: pytest.LogCaptureFixture) -> None:
    release = asyncio.Event()
    ended: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(piece(scope["path"].encode()))
        if scope["path"] != "/last":
            await release.wait()
        ended.append(scope["path"])
        if scope["path"] == "/1":
            raise RuntimeError("in the background")

    async with serving(app) as server:
        reader, writer = await connect(server.address)
        requests = [GET.replace(b"/ ", b"/%d " % number) for number in range(3)]
        writer.write(requests[0])
        assert (await read_answer(reader)).body == b"/0"
        writer.write(requests[1] + requests[2])  # pipelined
        assert [(await read_answer(reader)).body for _ in range(2)] == [b"/1", b"/2"]
        post = b"POST /last HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
        writer.write(post + b"hello" + GET.replace(b"/ ", b"/last "))
        assert [(await read_answer(reader)).body for _ in range(2)] == [b"/last", b"/last"]
        assert server.active() == {"http": 3}
        writer.close()
        release.set()
        await until(lambda: not server.active())
        assert sorted(ended) == ["/0", "/1", "/2", "/last", "/last"]
    assert len(warnings(caplog)) == 1  # its crash


async def test_a_body_that_the_application_leaves_does_not_make_the_next_request_wait() -> None:
    release = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(piece(b"ok"))
        if scope["method"] == "POST":
            assert (await receive())["type"] == "http.disconnect"
            await release.wait()

    async with serving(app) as server:
        reader, writer = await connect(server.address)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50_000)
        assert (await read_answer(reader)).body == b"ok"
        writer.write(b"x" * 50_000 + GET)
        assert (await read_answer(reader)).body == b"ok"
        assert server.active() == {"http": 1}
        release.set()
        writer.close()


@pytest.mark.parametrize("leaves", [False, True], ids=["listens on", "is cancelled"])
async def test_a_task_that_listens_while_the_body_comes_hears_that_the_answer_is_complete(
    caplog: pytest.LogCaptureFixture, *, leaves: bool
) -> None:
    """As Starlette's streams do, whose body nobody has read."""
    heard: list[str] = []

    async def listen(receive: Any) -> None:
        while not heard or heard[-1] != "http.disconnect":
            heard.append((await receive())["type"])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "GET":
            await send(start())
            await send(piece(b"next"))
            return
        listener = asyncio.create_task(listen(receive))
        await until(lambda: heard)
        await send(start())
        await send(piece(b"ok"))
        if leaves:
            listener.cancel()
        await asyncio.wait({listener})

    async with serving(app) as server:
        reader, writer = await connect(server.address)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 10)
        assert (await read_answer(reader)).body == b"ok"
        await until(lambda: not server.active())  # its listener has ended, and the body is still to come
        writer.write(b"x" * 99_990 + GET)
        assert (await read_answer(reader)).body == b"next"
        writer.close()
    assert heard == (["http.request"] if leaves else ["http.request", "http.disconnect"])
    assert warnings(caplog) == []


@pytest.mark.parametrize("beside", [True, False], ids=["beside the answer", "after it"])
async def test_the_last_answer_of_a_connection_ends_the_wait_for_its_body(
    monkeypatch: pytest.MonkeyPatch, *, beside: bool
) -> None:
    """The application hears of the end, and the connection closes in time, although its peer stays."""
    monkeypatch.setattr("protocols.http.connection.LINGER", 0.1)

    async def listen(receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["more_body"]
        listener = asyncio.create_task(listen(receive)) if beside else None
        await asyncio.sleep(0)
        await send(start())
        await send(piece(b"ok"))
        await (listener or listen(receive))

    async with serving(app) as server:
        reader, writer = await connect(server.address)
        writer.write(CLOSE.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nhe"))
        assert (await read_answer(reader)).body == b"ok"
        await until(lambda: not server.active())
        await until(lambda: not server.service.connections)
        writer.close()


async def test_two_tasks_do_not_share_a_body() -> None:
    """Each would get some pieces. One that only looks whether the peer has left, as Starlette does it, may do so."""
    said: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reader = asyncio.create_task(receive())
        await asyncio.sleep(0.01)
        look = asyncio.create_task(receive())
        asyncio.get_running_loop().call_soon(look.cancel)
        await asyncio.wait({look})
        assert look.cancelled()
        try:
            await receive()
        except LocalProtocolError as error:
            said.append(str(error))
        await send({"type": "http.response.early_hint", "links": []})
        await send(start())
        await send(piece((await reader)["body"]))

    async with serving(app) as server:
        reader, writer = await connect(server.address)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        assert (await read_answer(reader)).status == 103
        writer.write(b"hello" + GET)
        assert (await read_answer(reader)).body == b"hello"
        writer.close()
    assert said == ["receive: another task of the application waits for the body; read it in one"]


async def test_so_many_background_tasks_of_one_connection_and_no_more() -> None:
    release = asyncio.Semaphore(0)
    begun = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal begun
        begun += 1
        await send(start())
        await send(piece(b"ok"))
        await release.acquire()

    async with serving(app) as server:
        reader, writer = await connect(server.address)
        writer.write(GET * 150)
        for _ in range(101):  # the last one is answered, and holds the connection
            await read_answer(reader)
        await asyncio.sleep(0.02)
        assert begun == 101
        release.release()
        await read_answer(reader)
        await asyncio.sleep(0.02)
        assert begun == 102
        for _ in range(1000):
            release.release()
        for _ in range(48):
            await read_answer(reader)
        await until(lambda: not server.active())
        writer.close()


async def test_answers_that_nobody_reads_do_not_fill_the_memory() -> None:
    """Pipelined requests are begun when the answer before is on its way, not when it is in the buffer."""
    begun = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal begun
        begun += 1
        await send(start())
        await send(piece(b"x" * 8_000_000))

    async with serving(app) as server:
        _, writer = await connect(server.address)
        transport_of(writer).pause_reading()
        writer.write(GET * 20)
        await asyncio.sleep(0.1)
        assert begun == 1
        writer.transport.abort()


async def test_hints_that_nobody_reads_do_not_fill_the_memory() -> None:
    sent = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        for _ in range(200):
            await send({"type": "http.response.early_hint", "links": [b"x" * 100_000]})
            sent += 1
        await send(start())
        await send(piece(b"ok"))

    async with serving(app) as server:
        _, writer = await connect(server.address)
        transport_of(writer).pause_reading()
        writer.write(GET)
        await until(lambda: sent)
        await asyncio.sleep(0.1)
        assert sent < 200
        writer.transport.abort()


async def test_stop_waits_for_a_background_task_within_the_grace() -> None:
    ended: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(piece(b"ok"))
        try:
            await asyncio.sleep(0.1 if scope["path"] == "/" else 1000)
            ended.append("done")
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async with serving(app) as server:
        reader, writer = await connect(server.address)
        writer.write(GET + GET.replace(b"/ ", b"/long "))
        for _ in range(2):
            await read_answer(reader)
        await server.stop(0.4)
        writer.close()
    assert ended == ["done", "cancelled"]


async def test_the_head_does_not_wait_for_the_body() -> None:
    release = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start(**{"content-type": "text/event-stream"}))
        await release.wait()
        await send(piece(b"data: 1\n\n"))

    async with serving(app) as server:
        reader, writer = await connect(server.address)
        writer.write(GET)
        async with asyncio.timeout(LIMIT):
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"transfer-encoding: chunked" in head
        release.set()
        assert await reader.readuntil(b"0\r\n\r\n") == b"9\r\ndata: 1\n\n\r\n0\r\n\r\n"
        writer.close()


@pytest.mark.parametrize("request_line", [b"HEAD / HTTP/1.1", b"GET /length HTTP/1.1", b"GET / HTTP/1.0"])
async def test_a_head_that_goes_first_is_framed_as_any_other(request_line: bytes) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start(**({"content-length": "2"} if scope["path"] == "/length" else {})))
        await asyncio.sleep(0.02)
        await send(piece(b"ok"))

    async with serving(app) as server:
        request = request_line + b"\r\nHost: a\r\n\r\n"
        answer, closed = await ask(server, request, body=b"HEAD" not in request)
    assert answer["transfer-encoding"] is None
    assert closed == (b"1.0" in request)
    assert answer.body == (b"" if b"HEAD" in request else b"ok")


async def test_head_and_body_of_one_turn_leave_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []

    async with serving(Recorder()) as server:
        reader, writer = await connect(server.address)
        await until(lambda: server.service.connections)
        write = HTTPConnection.write
        monkeypatch.setattr(HTTPConnection, "write", lambda self, data: written.append(data) or write(self, data))
        for _ in range(2):
            writer.write(GET)
            await read_answer(reader)
        writer.close()
    assert [data.count(b"hello") for data in written] == [1, 1]


EVENTS = "text/event-stream; charset=utf-8"


@pytest.mark.parametrize("kind", ["stream", "poll"])
async def test_stop_tells_at_once_what_would_never_end(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    order: list[str] = []
    running = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.request"
        if kind == "stream":
            await send(start(**{"content-type": EVENTS}))
            await send(piece(b"data: 1\n\n", more=True))
        running.set()
        try:
            order.append((await receive())["type"])
        except asyncio.CancelledError:
            order.append("cancelled")
            raise
        if kind == "stream":
            await send(piece(b"data: last\n\n", more=True))  # its peer is there

    async with serving(app) as server:
        reader, writer = await connect(server.address)
        writer.write(GET)
        await running.wait()
        began = time.monotonic()
        await server.stop(30.0)
        assert time.monotonic() - began < LIMIT
        heard = await reader.read()
        writer.close()
    assert order == ["http.disconnect"]
    if kind == "stream":
        assert heard.endswith(b"data: last\n\n\r\n")  # and no last chunk: it was not the whole response
    else:
        assert heard.startswith(b"HTTP/1.1 503 ")
    assert warnings(caplog) == []


@pytest.mark.parametrize("path", ["/working", "/streaming", "/uploading"])
async def test_stop_tells_everybody_before_it_cancels(path: str) -> None:
    """What may end by itself has half of the grace for that, and then hears that it is over."""
    order: list[str] = []
    running = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if path != "/uploading":
            await receive()
        if path == "/streaming":
            await send(start())
            await send(piece(b"1", more=True))
        listening = asyncio.ensure_future(_until_disconnect(receive))
        running.set()
        try:
            await asyncio.wait({listening}, timeout=1000)
            order.append(await listening)
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            order.append("cancelled")
            raise

    async with serving(app) as server:
        _, writer = await connect(server.address)
        writer.write(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n" + (b"" if path == "/uploading" else b"12345")
        )
        await running.wait()
        await asyncio.sleep(0.02)
        stopping = asyncio.ensure_future(server.stop(0.6))
        await asyncio.sleep(0.05)
        assert order == []
        await stopping
        writer.close()
    assert order == ["http.disconnect", "cancelled"]


async def _until_disconnect(receive: Any) -> str:
    while (event := await receive())["type"] != "http.disconnect":
        pass
    return str(event["type"])


async def test_who_hears_of_the_end_may_still_answer() -> None:
    running = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        running.set()
        assert (await receive())["type"] == "http.disconnect"
        await send(start())
        await send(piece(b"nothing new"))

    async with serving(app) as server:
        reader, writer = await connect(server.address)
        writer.write(GET)
        await running.wait()
        await asyncio.sleep(0.01)
        _, answer = await asyncio.gather(server.stop(30.0), read_answer(reader))
        assert (answer.body, answer["connection"]) == (b"nothing new", "close")
        writer.close()


async def test_each_receive_hears_the_disconnect_also_where_the_peer_leaves_while_the_server_stops() -> None:
    events: list[str] = []
    running = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        running.set()
        events.extend([(await receive())["type"] for _ in range(3)])

    async with serving(app) as server:
        _, writer = await connect(server.address)
        writer.write(GET)
        await running.wait()
        await asyncio.sleep(0.01)
        stopping = asyncio.ensure_future(server.stop(0.2))
        await asyncio.sleep(0.02)
        writer.close()
        await stopping
    assert events == ["http.disconnect"] * 3


async def test_several_tasks_of_an_application_hear_the_disconnect() -> None:
    heard: list[str] = []
    running, ended = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def listen() -> None:
            heard.append((await receive())["type"])

        await receive()
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(listen())
            await asyncio.sleep(0)
            running.set()
        await listen()  # and who asks when all have heard
        ended.set()

    async with serving(app) as server, asyncio.timeout(LIMIT):
        _, writer = await connect(server.address)
        writer.write(GET)
        await running.wait()
        writer.close()
        await ended.wait()
    assert heard == ["http.disconnect"] * 4


async def test_who_asks_for_ever_after_the_disconnect_takes_no_cpu_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    asked, ended = 0, asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal asked
        try:
            while True:
                await receive()
                asked += 1
        finally:
            ended.set()

    async with serving(app, disconnect_grace=0.5) as server, asyncio.timeout(LIMIT):
        _, writer = await connect(server.address)
        writer.write(GET)
        await writer.drain()
        writer.close()
        await ended.wait()
    assert 1 < asked < 60
    assert "cancelled, 0.5 s (disconnect_grace) after its peer left" in caplog.text


async def test_a_websocket_peer_that_ignores_the_close_costs_little() -> None:
    events: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        events.append(await receive())

    async with serving(app) as server:
        _, writer = await _open_websocket(server)
        began = time.monotonic()
        await server.stop(30.0)
        assert time.monotonic() - began < 4.0
        writer.close()
    assert events == [{"type": "websocket.disconnect", "code": 1012, "reason": "server shutting down"}]


async def test_a_websocket_that_is_never_accepted_hears_of_the_end() -> None:
    events: list[Any] = []
    running = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        running.set()
        events.append(await receive())

    async with serving(app) as server:
        reader, writer = await connect(server.address)
        writer.write(HANDSHAKE)
        await running.wait()
        _, answer = await asyncio.gather(server.stop(0.2), read_answer(reader))
        writer.close()
    assert answer.status == 503
    assert events == [{"type": "websocket.disconnect", "code": 1012, "reason": "server shutting down"}]


@pytest.mark.parametrize("grace", [0.05, 0])
async def test_how_long_a_job_goes_on_whose_client_has_left_is_a_setting(
    grace: float, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        ended.append("begun")
        try:
            await asyncio.sleep(0.3)
            ended.append("done")
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async with serving(app, disconnect_grace=grace) as server:
        _, writer = await connect(server.address)
        writer.write(GET)
        await until(lambda: ended)
        writer.close()
        await until(lambda: len(ended) > 1)
        await until(lambda: not server.active())
    assert ended == ["begun", "cancelled" if grace else "done"]
    assert ["disconnect_grace" in line for line in warnings(caplog)] == ([True] if grace else [])
