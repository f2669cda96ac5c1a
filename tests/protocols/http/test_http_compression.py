"""Responses in a content coding."""

import asyncio
import gzip
import random
import resource
import zlib
from pathlib import Path
from typing import Any

import brotli
import httpx
import pytest
import zstandard
from contract import connect
from http_peer import Answer, ask, read_answer, serving
from servers.programs import program
from waiting import until

from protocols.http.compression.coding import preferred
from protocols.http.compression.compressed import Compressed
from protocols.http.compression.encoders import ENCODERS
from protocols.http.compression.settings import Compression

TEXT = b"".join(b"line %d of a text\n" % number for number in range(3000))
HTML = (b"content-type", b"text/html; charset=utf-8")


def decoded(answer: Answer) -> bytes:
    match answer["content-encoding"]:
        case "gzip":
            return gzip.decompress(answer.body)
        case "br":
            return bytes(brotli.decompress(answer.body))
        case "zstd":
            return zstandard.ZstdDecompressor().decompressobj().decompress(answer.body)
    return answer.body


def request(accept: str = "gzip", method: str = "GET", version: str = "1.1") -> bytes:
    return f"{method} / HTTP/{version}\r\nHost: a\r\nAccept-Encoding: {accept}\r\n\r\n".encode()


def answers(*pieces: bytes, fields: Any = (HTML,), status: int = 200) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": list(fields)})
        for number, piece in enumerate(pieces, 1):
            await send({"type": "http.response.body", "body": piece, "more_body": number < len(pieces)})

    return app


async def answer_of(app: Any, asked: bytes, settings: Any = True, *, body: bool = True) -> Answer:
    async with serving(app, compress=settings) as server:
        return (await ask(server, asked, body=body))[0]


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
@pytest.mark.parametrize("pieces", [(TEXT,), (TEXT[:10], TEXT[10:], b""), (TEXT * 30,), (b"", TEXT, b"")])
async def test_each_coding_is_the_same_text(coding: str, pieces: tuple[bytes, ...]) -> None:
    answer = await answer_of(answers(*pieces), request(coding))
    assert (answer["content-encoding"], answer["vary"]) == (coding, "accept-encoding")
    assert decoded(answer) == b"".join(pieces)
    assert len(answer.body) < len(decoded(answer)) / 3


async def test_one_piece_has_a_length_and_the_connection_stays() -> None:
    async with serving(answers(TEXT), compress=True) as server:
        answer, closed = await ask(server, request())
    assert (answer["content-length"], closed) == (str(len(answer.body)), False)


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("", None),
        ("identity", None),
        ("gzip;q=0", None),
        ("*;q=0", None),
        ("gzip, br, zstd", "zstd"),
        ("gzip;q=1, br;q=0.5", "gzip"),
        ("br;q=0.5, gzip;q=0.7, zstd;q=0", "gzip"),
        ("identity;q=0, gzip;q=0.1", "gzip"),
        ("identity;q=0.9, gzip;q=0.1", None),
        ("*", "zstd"),
        ("x-gzip", "gzip"),
        ("GZIP", "gzip"),
        ("gzip;q=nonsense", None),
        ("deflate", None),
    ],
)
async def test_negotiation(accept: str, coding: str | None) -> None:
    answer = await answer_of(answers(TEXT), request(accept))
    assert (answer["content-encoding"], decoded(answer)) == (coding, TEXT)
    assert answer["vary"] == "accept-encoding"


def test_the_servers_order_counts_among_what_a_client_likes_alike() -> None:
    assert preferred("gzip, br", ["br", "gzip"]) == "br"
    assert preferred("gzip, br", ["gzip", "br"]) == "gzip"


async def test_a_request_without_accept_encoding_gets_the_text() -> None:
    answer = await answer_of(answers(TEXT), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (answer["content-encoding"], answer.body) == (None, TEXT)


@pytest.mark.parametrize(
    "field",
    [
        (b"content-encoding", b"br"),
        (b"content-range", b"bytes 0-9/10"),
        (b"cache-control", b"public, no-transform"),
        (b"content-digest", b"sha-256=:x:"),
        (b"content-type", b"image/png"),
        (b"set-cookie", b"a=b"),
        (b"cache-control", b"max-age=3, Private"),
        (b"cache-control", b"no-store"),
        (b"cache-control", b'private="x-a"'),
        (b"vary", b"Accept, Cookie"),
        (b"vary", b"Authorization"),
    ],
)
async def test_what_is_not_compressed(field: tuple[bytes, bytes]) -> None:
    fields = [field] if field[0] == b"content-type" else [HTML, field]
    answer = await answer_of(answers(TEXT, fields=fields), request())
    assert answer.body == TEXT
    assert answer["content-encoding"] in (None, "br")


async def test_no_type_no_compression() -> None:
    assert (await answer_of(answers(TEXT, fields=()), request())).body == TEXT


async def test_what_is_for_one_client_is_compressed_only_if_the_file_asks() -> None:
    fields = [HTML, (b"set-cookie", b"a=b"), (b"cache-control", b"private")]
    answer = await answer_of(answers(TEXT, fields=fields), request(), Compression(private=True))
    assert decoded(answer) == TEXT
    assert answer["content-encoding"] == "gzip"


@pytest.mark.parametrize("status", [204, 206, 304])
async def test_statuses_without_a_whole_body(status: int) -> None:
    answer = await answer_of(answers(TEXT, status=status), request())
    assert answer["content-encoding"] is None


@pytest.mark.parametrize(
    ("fields", "varies"),
    [
        ([], "accept-encoding"),
        ([(b"vary", b"Accept-Language")], "Accept-Language, accept-encoding"),
        ([(b"cache-control", b"private")], None),
        ([(b"cache-control", b"no-transform")], None),
    ],
)
async def test_a_304_has_the_vary_of_its_200(fields: Any, varies: str | None) -> None:
    answer = await answer_of(answers(b"", fields=fields, status=304), request())
    assert (answer.status, answer["vary"]) == (304, varies)


async def test_an_error_page_is_compressed() -> None:
    assert decoded(await answer_of(answers(TEXT, status=404), request())) == TEXT


async def test_a_head_has_the_fields_of_the_plain_text() -> None:
    fields = [HTML, (b"content-length", b"%d" % len(TEXT))]
    answer = await answer_of(answers(b"", fields=fields), request(method="HEAD"), body=False)
    assert (answer["content-encoding"], answer["vary"]) == (None, "accept-encoding")
    assert answer["content-length"] == str(len(TEXT))


@pytest.mark.parametrize("size", [0, 1, 1023])
@pytest.mark.parametrize("declared", [False, True])
async def test_a_short_body_stays_as_it_is(size: int, declared: bool) -> None:
    fields = [HTML, (b"content-length", b"%d" % size)] if declared else [HTML]
    answer = await answer_of(answers(b"x" * size, fields=fields), request())
    assert (answer["content-encoding"], answer.body) == (None, b"x" * size)


async def test_types_and_sizes_of_the_file() -> None:
    settings = Compression(types=("application/vnd.x+*",), min_size=10, codings=("gzip",))
    answer = await answer_of(
        answers(b"x" * 20, fields=[(b"Content-Type", b"Application/Vnd.x+json; a=b")]), request("br, gzip"), settings
    )
    assert answer["content-encoding"] == "gzip"
    assert (await answer_of(answers(TEXT), request(), settings))["content-encoding"] is None


async def test_vary_and_etags() -> None:
    fields = [HTML, (b"Vary", b"Origin"), (b"ETag", b'"v1"'), (b"accept-ranges", b"bytes")]
    answer = await answer_of(answers(TEXT, fields=fields), request())
    assert (answer["vary"], answer["etag"], answer["accept-ranges"]) == ("Origin, accept-encoding", 'W/"v1"', None)
    plain = await answer_of(answers(TEXT, fields=fields), request("identity"))
    assert (plain["vary"], plain["etag"], plain["accept-ranges"]) == ("Origin, accept-encoding", '"v1"', "bytes")
    weak = await answer_of(answers(TEXT, fields=[HTML, (b"etag", b'W/"v1"'), (b"vary", b"Accept-Encoding")]), request())
    assert (weak["etag"], weak["vary"]) == ('W/"v1"', "Accept-Encoding")


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
@pytest.mark.parametrize("kind", [b"text/event-stream", b"text/plain"])
async def test_each_event_of_a_stream_can_be_read_at_once(coding: str, kind: bytes) -> None:
    events = [b"data: %d\n\n" % number for number in range(5)]
    turn = asyncio.Semaphore(0)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        for event in events:
            await send({"type": "http.response.body", "body": event, "more_body": True})
            await turn.acquire()  # the next one comes when the client has read this one
        await send({"type": "http.response.body"})

    decoder: Any = {
        "gzip": lambda: zlib.decompressobj(31).decompress,
        "br": lambda: brotli.Decompressor().process,
        "zstd": lambda: zstandard.ZstdDecompressor().decompressobj().decompress,
    }[coding]()
    async with serving(app, compress=True) as server:
        reader, writer = await connect(server.address)
        writer.write(request(coding))
        assert coding.encode() in await reader.readuntil(b"\r\n\r\n")
        for event in events:
            text = b""
            while text != event:
                size = int(await reader.readuntil(b"\r\n"), 16)
                text += decoder((await reader.readexactly(size + 2))[:-2])
            turn.release()
        writer.close()


async def test_the_head_of_a_quiet_event_stream_leaves_at_once() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        while (await receive())["type"] != "http.disconnect":
            pass

    async with serving(app, compress=True) as server:
        reader, writer = await connect(server.address)
        writer.write(request())
        assert b"content-encoding: gzip" in await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await until(lambda: not server.service.running)


@pytest.mark.parametrize("coding", ENCODERS)
def test_event_streams_take_little_memory(coding: str) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    before, encoders = resident(), [ENCODERS[coding](is_small=True) for _ in range(300)]
    for encoder in encoders:
        for number in range(20):
            encoder.compress(b"data: %d\n\n" % number * 100)
            encoder.flush()
    assert (resident() - before) / len(encoders) < 200 * 1024


async def test_a_client_of_http_1_0_reads_to_the_end_of_the_connection() -> None:
    answer = await answer_of(answers(TEXT, b""), request(version="1.0"))
    assert decoded(answer) == TEXT


@pytest.mark.parametrize("pieces", [(TEXT,), (TEXT, b"")])
async def test_a_body_that_ends_short_is_cut(pieces: tuple[bytes, ...], caplog: pytest.LogCaptureFixture) -> None:
    app = answers(*pieces, fields=[HTML, (b"content-length", b"%d" % (len(TEXT) + 1))])
    async with serving(app, compress=True) as server:
        reader, writer = await connect(server.address)
        writer.write(request())
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await read_answer(reader)
        writer.close()
    assert "1 bytes short" in caplog.text


async def test_mistakes_of_the_application_are_the_servers_to_find(caplog: pytest.LogCaptureFixture) -> None:
    for fields in ([(b"content-type", "text/html")], [(b"a",)], 5, [(b"a b", b"")]):
        caplog.clear()
        async with serving(answers(TEXT, fields=(HTML,)), compress=True) as server:

            async def app(scope: Any, receive: Any, send: Any, fields: Any = fields) -> None:
                await send({"type": "http.response.start", "status": 200, "headers": fields})

            server.service.app = Compressed(app, Compression())
            assert (await ask(server, request()))[0].status == 500
        assert "header" in caplog.text


async def test_a_long_body_is_compressed_slice_by_slice_in_little_memory() -> None:
    body = random.Random(2).randbytes(40_000_000)
    async with serving(answers(body), compress=Compression(codings=("gzip",))) as server:
        reader, writer = await connect(server.address)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        writer.write(request())
        await reader.readuntil(b"\r\n\r\n")
        sizes = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
            sizes.append(size)
        writer.close()
    assert sum(sizes) > len(body)
    assert max(sizes) < 400_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
async def test_pieces_of_several_tasks_stay_whole_and_in_order(coding: str) -> None:
    long, pings = random.Random(3).randbytes(600_000), [b":%d\n\n" % number for number in range(9)]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        pieces = [long, *pings]
        await asyncio.gather(
            *(send({"type": "http.response.body", "body": each, "more_body": True}) for each in pieces)
        )
        await send({"type": "http.response.body"})

    answer = await answer_of(app, request(coding))
    assert decoded(answer) == long + b"".join(pings)


async def test_a_body_with_a_piece_that_was_cancelled_is_never_taken_for_a_whole_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [HTML]})
        await send({"type": "http.response.body", "body": TEXT, "more_body": True})
        piece = asyncio.ensure_future(send({"type": "http.response.body", "body": TEXT * 100, "more_body": True}))
        await asyncio.sleep(0)  # it is on the thread now
        piece.cancel()
        await asyncio.wait({piece})
        await send({"type": "http.response.body", "body": TEXT})

    async with serving(app, compress=True) as server:
        reader, writer = await connect(server.address)
        writer.write(request())
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await read_answer(reader)
        writer.close()
    assert "a piece before it was cancelled while it was compressed" in caplog.text


async def test_a_client_that_leaves_in_the_middle_ends_it() -> None:
    left = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [HTML]})
        try:
            while True:
                await send({"type": "http.response.body", "body": random.randbytes(100_000), "more_body": True})
        finally:
            left.set()

    async with serving(app, compress=True) as server:
        reader, writer = await connect(server.address)
        writer.write(request())
        await reader.readexactly(100)
        writer.transport.abort()
        await asyncio.wait_for(left.wait(), 10)


async def test_the_inner_settings_count() -> None:
    for inner, expected in ((None, None), (Compression(codings=("br",)), "br"), (Compression(min_size=10**9), None)):
        app = Compressed(answers(TEXT), inner)
        assert (await answer_of(app, request("gzip, br;q=0.5")))["content-encoding"] == expected


async def test_other_scopes_pass() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    told: Any = ({"type": "lifespan"}, object(), object())
    await Compressed(app, Compression())(*told)
    assert seen == [told]


async def test_curl_and_httpx_read_it() -> None:
    async with serving(answers(TEXT), compress=True) as server:
        url = f"http://{server.address}/"
        curl = await asyncio.create_subprocess_exec(program("curl"), "-sS", "-m", "5", "--compressed", url, stdout=-1)
        assert (await curl.communicate())[0] == TEXT
        async with httpx.AsyncClient() as client:
            for coding in ("gzip", "br", "zstd"):
                answer = await client.get(url, headers={"accept-encoding": coding})
                assert (answer.headers["content-encoding"], answer.content) == (coding, TEXT)


async def test_trailers_follow_a_compressed_body() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [HTML], "trailers": True})
        await send({"type": "http.response.body", "body": TEXT})
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]})

    async with serving(app, compress=True) as server:
        reader, writer = await connect(server.address)
        asked = b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
        writer.write(asked)
        assert (await reader.read()).endswith(b"\r\n0\r\nx-sum: 1\r\n\r\n")
        writer.close()


@pytest.mark.parametrize("wrong", [{"types": ("text",)}, {"types": ("text/(",)}])
def test_settings_that_cannot_be(wrong: Any) -> None:
    with pytest.raises(ValueError, match="media type"):
        Compression(**wrong)
