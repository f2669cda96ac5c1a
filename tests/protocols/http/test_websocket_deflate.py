"""permessage-deflate (RFC 7692), with what Autobahn's sections 12 and 13 ask: offers, messages, memory, threads."""

import asyncio
import gc
import os
import threading
import tracemalloc
import zlib
from typing import Any

import pytest
import websockets
from client_frames import client_frame
from contract import LIMIT, connect, transport_of
from http_peer import read_answer, serving
from hypothesis import given, settings
from hypothesis import strategies as st
from test_http_websocket import ACCEPT, HANDSHAKE, Echo, closed, to
from waiting import until
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from protocols.errors import RemoteProtocolError
from protocols.http.deflate import STEP, Deflater, Inflater, agree

TAIL = b"\x00\x00\xff\xff"
NAME = "permessage-deflate"
NONE_KEPT = "server_no_context_takeover; client_no_context_takeover"


def deflated(message: bytes, *, flush: int = zlib.Z_SYNC_FLUSH, bits: int = 15) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -bits)
    return (stream.compress(message) + stream.flush(flush)).removesuffix(TAIL)


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        (NAME, "; server_max_window_bits=12"),
        (f"{NAME}; client_max_window_bits", "; server_max_window_bits=12; client_max_window_bits=12"),
        (f"{NAME}; client_max_window_bits=10", "; server_max_window_bits=12; client_max_window_bits=10"),
        (f"{NAME}; client_max_window_bits=15", "; server_max_window_bits=12; client_max_window_bits=12"),
        (f"{NAME}; client_max_window_bits=8", "; server_max_window_bits=12; client_max_window_bits=8"),
        (f'{NAME};client_max_window_bits="11"', "; server_max_window_bits=12; client_max_window_bits=11"),
        (f"{NAME}; server_max_window_bits=15", "; server_max_window_bits=12"),
        (f"{NAME}; server_max_window_bits=9", "; server_max_window_bits=9"),
        (f"{NAME}; server_no_context_takeover", "; server_no_context_takeover; server_max_window_bits=12"),
        (f"{NAME} ; client_no_context_takeover ", "; client_no_context_takeover; server_max_window_bits=12"),
        (f"x-other, {NAME}; server_max_window_bits=8, {NAME}", "; server_max_window_bits=12"),
        (f"{NAME}; unknown, {NAME}; server_max_window_bits=10", "; server_max_window_bits=10"),
    ],
)
def test_an_offer_that_is_accepted(offer: str, answer: str) -> None:
    agreed = agree([offer.encode()], 12, takes_over=True)
    assert agreed is not None
    assert agreed.answer == NAME + answer
    assert agree([b"x-other", offer.encode()], 12, takes_over=True) == agreed  # in two fields


@pytest.mark.parametrize(
    "offer",
    [
        "",
        "x-webkit-deflate-frame",
        "permessage-deflates",
        f"x{NAME}",
        f"{NAME}; server_max_window_bits=8",  # zlib has no such window
        f"{NAME}; server_max_window_bits",
        f"{NAME}; server_max_window_bits=7",
        f"{NAME}; server_max_window_bits=16",
        f"{NAME}; server_max_window_bits=010",
        f"{NAME}; server_max_window_bits=1²",
        f"{NAME}; client_max_window_bits=0",
        f"{NAME}; client_max_window_bits=-9",
        f"{NAME}; client_max_window_bits=",
        f"{NAME}; client_no_context_takeover=1",
        f"{NAME}; server_no_context_takeover; server_no_context_takeover",
        f"{NAME}; client_max_window_bits=10; client_max_window_bits=10",
        f"{NAME}; unknown",
        f"{NAME};",
        f"{NAME}; client_max_window_bits; " + "x" * 3000,
    ],
)
def test_an_offer_that_is_not(offer: str) -> None:
    assert agree([offer.encode()], 15, takes_over=True) is None


def test_a_server_that_keeps_no_context_says_so() -> None:
    agreed = agree([NAME.encode()], 15, takes_over=False)
    assert agreed is not None
    assert (agreed.answer, agreed.server_takes_over, agreed.client_takes_over) == (f"{NAME}; {NONE_KEPT}", False, False)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=100),
        st.text(';,= "permessage-deflate_client_max_window_bits=089', max_size=80).map(str.encode),
    )
)
def test_any_offer_is_answered_or_passed_over(offer: bytes) -> None:
    agreed = agree([NAME.encode() + b";" + offer], 12, takes_over=True)
    assert agreed is None or agreed.answer.startswith(NAME)


@pytest.mark.parametrize("takes_over", [True, False])
@pytest.mark.parametrize("bits", [9, 12, 15])
async def test_the_library_websockets_understands_every_window(bits: int, *, takes_over: bool) -> None:
    factories = [
        ClientPerMessageDeflateFactory(),
        ClientPerMessageDeflateFactory(client_max_window_bits=True),
        ClientPerMessageDeflateFactory(server_max_window_bits=9, client_max_window_bits=9),
        ClientPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True),
    ]
    sizes = [0, 1, 10, 1000, 8192, STEP - 1, STEP, STEP + 1, 500_000]
    messages = [("some words of a message, \u00e9 " * 20_000)[:size] for size in sizes]
    config = {"compression_window_bits": bits, "compression_context_takeover": takes_over}
    async with serving(Echo(), compression=True, **config) as server:
        for factory in factories:
            async with to(server, extensions=[factory]) as socket:
                assert socket.response is not None
                assert NAME in socket.response.headers["sec-websocket-extensions"]
                for message in [*messages, *messages[::-1]]:
                    await socket.send(message)
                    assert await socket.recv() == message
                await socket.send(iter(["in ", "", "fragments"]))
                assert await socket.recv() == "in fragments"
                await socket.send(b"\0" * 100_000)
                assert await socket.recv() == b"\0" * 100_000


def test_the_examples_of_the_rfc() -> None:
    """RFC 7692, 7.2.3.1 to 7.2.3.5."""
    inflater = Inflater(15, 1000, takes_over=True)
    for data in (
        "f2 48 cd c9 c9 07 00",
        "f2 00 11 00 00",  # by the context of the one before
        "00 05 00 fa ff 48 65 6c 6c 6f 00",  # without compression
        "f3 48 cd c9 c9 07 00 00",  # the stream ends
        "f2 48 05 00 00 00 ff ff ca c9 c9 07 00",  # two blocks
        "f3 48 cd c9 c9 07 00",  # some clients end the stream, and send nothing behind it
        "f2 48 cd c9 c9 07 00",
    ):
        assert inflater.begin(bytearray(bytes.fromhex(data))) == b"Hello"


def test_without_takeover_each_message_stands_for_itself() -> None:
    inflater, deflater = Inflater(15, 1000, takes_over=False), Deflater(15, takes_over=False)
    assert deflater.deflate(b"Hello") == deflater.deflate(b"Hello")
    assert inflater.begin(bytearray.fromhex("f2 48 cd c9 c9 07 00")) == b"Hello"
    with pytest.raises(RemoteProtocolError, match="not deflated"):
        inflater.begin(bytearray.fromhex("f2 00 11 00 00"))


@pytest.mark.parametrize("size", [STEP - 1, STEP, STEP + 1, 1_000_000])
def test_a_message_is_inflated_up_to_the_bound_and_not_beyond(size: int) -> None:
    def inflate(longest: int) -> bytes:
        inflater = Inflater(15, longest, takes_over=True)
        done = inflater.begin(bytearray(deflated(b"x" * size)))
        return inflater.finish() if done is None else done

    assert inflate(size) == b"x" * size
    with pytest.raises(RemoteProtocolError, match="max_message"):
        inflate(size - 1)


def test_a_gigabyte_in_a_megabyte_is_refused_in_little_memory() -> None:
    bomb = bytearray(deflated(bytes(1024 * 1024), flush=zlib.Z_FULL_FLUSH) + TAIL) * 1024
    assert 1_000_000 < len(bomb) < 1_100_000
    inflater = Inflater(15, 1024 * 1024, takes_over=True)
    tracemalloc.start()
    try:
        assert inflater.begin(bomb) is None
        with pytest.raises(RemoteProtocolError) as refused:
            inflater.finish()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused.value.answer == 1009
    assert most < 6 * 1024 * 1024  # what is inflated, and the rest of the bomb


def test_a_long_message_that_inflates_to_nothing_is_left_to_a_thread() -> None:
    inflater = Inflater(15, 1024 * 1024, takes_over=True)
    for size, is_short in ((STEP // 5 - 1, True), (STEP // 5, False)):
        message = inflater.begin(bytearray(b"\0\0\0\xff\xff" * size + b"\0"))
        assert (message is not None) == is_short
        assert (inflater.finish() if message is None else message) == b""
    assert inflater.begin(bytearray(deflated(b"Hello"))) == b"Hello"


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        b"\x06",
        b"\x00\x05\x00\x00\x00Hello",
        b"".join([deflated(b"x", flush=zlib.Z_FINISH)] * 20),
        b"\x03\x00" * 500_000,
    ],
)
def test_what_is_not_deflated_or_ends_too_often_is_refused(data: bytes) -> None:
    inflater = Inflater(15, 1_000_000, takes_over=True)
    with pytest.raises(RemoteProtocolError) as refused:
        inflater.begin(bytearray(data))
        inflater.finish()
    assert refused.value.answer == 1007


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(deflated)), max_size=4))
def test_any_bytes_inflate_to_a_message_or_an_error(messages: list[bytes]) -> None:
    inflater = Inflater(9, 200, takes_over=True)
    codes = []
    for each in messages:
        try:
            message = inflater.begin(bytearray(each))
            assert len(inflater.finish() if message is None else message) <= 200
        except RemoteProtocolError as error:
            codes.append(error.answer)
            break
    assert set(codes) <= {1007, 1009}


@pytest.mark.parametrize(
    ("bits", "takes_over", "most"), [(9, True, 40), (12, True, 60), (15, True, 220), (15, False, 1)]
)
def test_the_memory_of_idle_connections_that_compress(bits: int, most: int, *, takes_over: bool) -> None:
    """``most`` KiB each, of 1,000 that have had a message in both directions."""
    message = b"hello world " * 1000
    data = deflated(message, bits=bits)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept = []
        for _ in range(1000):
            kept.append((Deflater(bits, takes_over=takes_over), Inflater(bits, 100_000, takes_over=takes_over)))
            kept[-1][0].deflate(message)
            assert kept[-1][1].begin(bytearray(data)) == message
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / 1000 < most * 1024


async def raw(server: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await connect(server.address)
    offer = b"Extensions: permessage-deflate; client_max_window_bits\r\nSec-WebSocket-Key: dGhl"
    writer.write(HANDSHAKE.replace(b"Key: dGhl", offer))
    answer = await read_answer(reader)
    assert answer["sec-websocket-extensions"] == f"{NAME}; server_max_window_bits=12; client_max_window_bits=12"
    return reader, writer


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([(0xC9, b"")], 1002),  # a control frame is never compressed
        ([(0x41, b""), (0xC0, b"")], 1002),  # the bit is the first fragment's
        ([(0xE1, b"")], 1002),
        ([(0xC1, b"\xff")], 1007),
        ([(0xC1, deflated(b"\xff"))], 1007),
        ([(0xC1, deflated(b"x" * 2_000_000))], 1009),
        ([(0x41, deflated(b"x" * 2_000_000)[:1000]), (0x80, deflated(b"x" * 2_000_000)[1000:])], 1009),
    ],
)
async def test_bad_frames_where_compression_is_agreed_on(frames: list[tuple[int, bytes]], code: int) -> None:
    app = Echo()
    async with serving(app, compression=True) as server:
        reader, writer = await raw(server)
        writer.write(b"".join(client_frame(*each) for each in frames))
        assert await reader.readexactly(4) == b"\x88\x02" + code.to_bytes(2)
        writer.close()
    assert app.events[-1] == {"type": "websocket.disconnect", "code": code, "reason": ""}


async def test_without_an_agreement_a_compressed_frame_is_refused() -> None:
    async with serving(Echo(), compression=False) as server:
        reader, writer = await connect(server.address)
        writer.write(HANDSHAKE + client_frame(0xC1, deflated(b"Hello")))
        assert (await read_answer(reader))["sec-websocket-extensions"] is None
        assert await reader.readexactly(4) == b"\x88\x02\x03\xea"
        writer.close()


@pytest.mark.parametrize("direction", ["in", "out"])
async def test_a_large_message_is_inflated_and_deflated_beside_the_loop(
    monkeypatch: pytest.MonkeyPatch, direction: str
) -> None:
    """The thread waits here until another connection has had its answer: on the loop it would wait for ever."""
    other = threading.Event()
    owner, name = (Inflater, "finish") if direction == "in" else (Deflater, "deflate")
    work = getattr(owner, name)

    def slow(self: Any, *arguments: Any) -> bytes:
        if direction == "in" or len(arguments[0]) > STEP:
            assert other.wait(LIMIT)
        result: bytes = work(self, *arguments)
        return result

    monkeypatch.setattr(owner, name, slow)
    message = "compress me " * 50_000
    async with serving(Echo(), compression=True) as server, to(server, compression="deflate") as socket:
        await socket.send(message)
        await socket.send("in its turn")
        async with to(server, compression="deflate") as second:
            await second.send("short")
            assert await second.recv() == "short"
        other.set()
        assert [await socket.recv(), await socket.recv()] == [message, "in its turn"]


@pytest.mark.parametrize(("owner", "name"), [(Inflater, "finish"), (Deflater, "deflate")])
async def test_a_thread_without_memory_ends_its_connection_alone(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    work = getattr(owner, name)

    def fails(self: Any, *arguments: Any) -> bytes:
        if threading.current_thread() is not threading.main_thread():
            raise MemoryError
        result: bytes = work(self, *arguments)
        return result

    monkeypatch.setattr(owner, name, fails)
    async with serving(Echo(), compression=True) as server, to(server, compression="deflate") as other:
        async with to(server, compression="deflate") as socket:
            await socket.send("compress me " * 50_000)
            assert (await closed(socket))[0] == 1011
        await other.send("short")
        assert await other.recv() == "short"


async def test_messages_of_several_tasks_and_a_cancelled_one_come_whole() -> None:
    """The compressor's window has a message of a task that was cancelled, so the peer has to have it as well."""
    texts = [f"{n} " * 50_000 for n in range(4)]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        sending = [asyncio.ensure_future(send({"type": "websocket.send", "text": text})) for text in texts]
        await asyncio.sleep(0)
        sending[1].cancel()
        await send({"type": "websocket.send", "text": "last"})
        await asyncio.wait(sending)

    async with serving(app, compression=True) as server, to(server, compression="deflate") as socket:
        assert [await socket.recv() for _ in range(5)] == [*texts, "last"]
        assert await closed(socket) == (1000, "")


async def test_a_cancelled_send_to_a_slow_peer_leaves_nothing_behind(recwarn: pytest.WarningsRecorder) -> None:
    done = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        for _ in range(8):  # more than the sockets' buffers hold
            sending = asyncio.ensure_future(send({"type": "websocket.send", "bytes": os.urandom(3_000_000)}))
            await asyncio.sleep(0)
            sending.cancel()
        await asyncio.wait([sending])
        done.set()
        await receive()

    async with serving(app, compression=True) as server:
        _, writer = await raw(server)
        transport_of(writer).pause_reading()
        await done.wait()
        (instance,) = server.service.running
        compressor: Any = instance
        await until(lambda: not compressor._compressor._waiting)
        writer.transport.abort()
        await until(lambda: not server.service.running)
    gc.collect()
    assert [str(each.message) for each in recwarn if "never awaited" in str(each.message)] == []


async def test_nothing_follows_a_close_that_overtakes_a_large_message() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        sending = asyncio.ensure_future(send({"type": "websocket.send", "bytes": bytes(4_000_000)}))
        await asyncio.sleep(0)
        await send({"type": "websocket.close", "code": 4000})
        with pytest.raises(OSError, match="closed"):
            await sending

    async with serving(app, compression=True) as server:
        reader, writer = await raw(server)
        assert await reader.readexactly(4) == b"\x88\x02" + (4000).to_bytes(2)
        writer.write(client_frame(0x88, (4000).to_bytes(2)))
        async with asyncio.timeout(LIMIT):
            assert await reader.read() == b""
        writer.close()


async def test_the_scope_says_nothing_of_compression() -> None:
    app = Echo()
    async with serving(app, compression=True) as server, websockets.connect(f"ws://{server.address}/"):
        pass
    assert app.scopes[0]["extensions"] == {"websocket.http.response": {}}


async def test_the_close_of_a_peer_is_read_behind_a_message_that_a_thread_inflates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The application closes meanwhile, and takes nothing more: its peer need not wait for CLOSE_TIMEOUT."""
    monkeypatch.setattr("protocols.http.websocket.CLOSE_TIMEOUT", 60.0)
    begun, go = threading.Event(), threading.Event()
    real = Inflater.finish

    def slow(self: Inflater) -> bytes:
        begun.set()
        go.wait(LIMIT)
        return real(self)

    monkeypatch.setattr(Inflater, "finish", slow)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(ACCEPT)
        await until(begun.is_set)
        await send({"type": "websocket.close"})
        go.set()
        await asyncio.Event().wait()

    async with (
        serving(app, compression=True, disconnect_grace=0.1) as server,
        to(server, compression="deflate") as socket,
    ):
        await socket.send("short")
        await socket.send(os.urandom(3 * STEP))
        assert (await closed(socket))[0] == 1000
        await until(lambda: not server.service.connections)
