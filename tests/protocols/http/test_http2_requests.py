"""Requests and answers in HTTP/2, with h2, httpx, curl and nghttp as clients."""

import asyncio
import json
import logging
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import h2.events
import httpx
import pytest
from contract import connect
from http2_peer import peer, request
from http_peer import GET, Recorder, read_answer, serving
from servers.certificates import make
from servers.programs import program
from waiting import until

from protocols.http.server import HTTPServer

LARGE = 3_000_000


async def run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(program(command[0]), *command[1:], stdout=-1, stderr=-1)
    out, err = await process.communicate()
    assert process.returncode == 0, err
    return out.decode()


def port(server: HTTPServer) -> str:
    return server.address.split(":")[1]


async def told(scope: Any, receive: Any, send: Any) -> None:
    """Answers what it was asked."""
    size, event = 0, {"more_body": True}
    while event.get("more_body"):
        event = await receive()
        size += len(event.get("body", b""))
    facts = {
        **{key: scope[key] for key in ("http_version", "method", "path", "scheme")},
        "query": scope["query_string"].decode(),
        "headers": [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]],
        "size": size,
    }
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(facts).encode()})


async def test_curl_that_knows_beforehand_and_one_that_speaks_http_1_1() -> None:
    async with serving(told, http2=True) as server:
        url = f"http://127.0.0.1:{port(server)}/a%20b?c=d"
        second = json.loads(await run("curl", "-sS", "--http2-prior-knowledge", "-d", "x" * 100, url))
        first = json.loads(await run("curl", "-sS", "--http1.1", url))
        asked = json.loads(await run("curl", "-sS", "--http2", url))  # by an Upgrade, which RFC 9113 has no more
    assert (second["http_version"], second["method"], second["path"], second["query"]) == ("2", "POST", "/a b", "c=d")
    assert second["size"] == 100
    assert second["headers"][0] == ["host", url.split("/")[2]]
    assert (first["http_version"], asked["http_version"]) == ("1.1", "1.1")


@pytest.mark.parametrize("version", ["--http2", "--http1.1"])
async def test_alpn_chooses_the_version(tmp_path: Path, version: str) -> None:
    tls = make(tmp_path)
    async with serving(told, http2=True, tls=tls) as server:
        url = f"https://localhost:{port(server)}/"
        facts = json.loads(await run("curl", "-sS", "-4", version, "--cacert", tls.certificate, url))
    assert (facts["http_version"], facts["scheme"]) == ({"--http2": "2", "--http1.1": "1.1"}[version], "https")


async def test_a_server_without_http2_offers_none(tmp_path: Path) -> None:
    tls = make(tmp_path)
    async with serving(told, tls=tls) as server:
        context = ssl.create_default_context(cafile=tls.certificate)
        context.set_alpn_protocols(["h2", "http/1.1"])
        _, writer = await asyncio.open_connection("127.0.0.1", port(server), ssl=context, server_hostname="localhost")
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        writer.close()


async def test_httpx_sends_many_requests_on_one_connection(tmp_path: Path) -> None:
    tls = make(tmp_path)
    async with serving(told, http2=True, tls=tls) as server:
        context = ssl.create_default_context(cafile=tls.certificate)
        async with httpx.AsyncClient(http2=True, verify=context) as client:
            url = f"https://localhost:{port(server)}/"
            answers = await asyncio.gather(*(client.post(url, content=bytes(size * 1000)) for size in range(50)))
        assert {answer.http_version for answer in answers} == {"HTTP/2"}
        assert [answer.json()["size"] for answer in answers] == [size * 1000 for size in range(50)]
        assert server.listener.counters.accepted == 1


async def test_nghttp_and_h2load() -> None:
    async with serving(told, http2=True) as server:
        url = f"http://127.0.0.1:{port(server)}/"
        assert '"http_version": "2"' in await run("nghttp", url)
        said = await run("h2load", "-n", "3000", "-c", "3", "-m", "100", url)
    assert "3000 succeeded, 0 failed" in said


async def test_large_bodies_both_ways() -> None:
    app = Recorder(body=b"y" * LARGE)
    async with serving(app, http2=True) as server:
        url = f"http://127.0.0.1:{port(server)}/"
        async with httpx.AsyncClient(http2=True, http1=False) as client:
            answer = await client.post(url, content=b"x" * LARGE)
    assert answer.content == b"y" * LARGE
    assert app.received == [b"x" * LARGE]


async def test_head_and_statuses_without_a_body() -> None:
    async with serving(Recorder(), http2=True) as server, peer(server) as client:
        answer = await client.answer(client.ask(request("HEAD")))
        assert (answer.status, answer.body, answer.ended) == ("200", b"", True)
    async with serving(Recorder(status=204), http2=True) as server, peer(server) as client:
        answer = await client.get()
        assert (answer.status, answer.body, "content-length" in answer.heads[0]) == ("204", b"", False)


@pytest.mark.parametrize("how", [["-T", "-"], ["--data-binary", "@-"]])
async def test_curl_sees_the_answer_to_an_upload_that_is_too_long(how: list[str]) -> None:
    async with serving(Recorder(), http2=True, max_body=100_000) as server:
        url = f"http://127.0.0.1:{port(server)}/"
        options = ["-sS", "--http2-prior-knowledge", "-m", "15", "-o", "/dev/null", "-w", "%{http_code}", *how, url]
        process = await asyncio.create_subprocess_exec(program("curl"), *options, stdin=-1, stdout=-1, stderr=-1)
        out, _ = await process.communicate(bytes(LARGE))
    assert out == b"413"


async def test_fields_of_http_1_1_are_left_out() -> None:
    app = Recorder(headers=[(b"Connection", b"close"), (b"keep-alive", b"5"), (b"Set-Cookie", b"a=b"), (b"x", b"y")])
    async with serving(app, http2=True, server_header="us") as server, peer(server) as client:
        answer = await client.get()
    assert sorted(answer.heads[0]) == [":status", "content-length", "date", "server", "set-cookie", "x"]


async def test_cookies_are_joined_and_the_authority_is_the_host() -> None:
    app = Recorder()
    async with serving(app, http2=True) as server, peer(server) as client:
        await client.get("/", ("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("host", "A"), ("te", "trailers"))
    wanted = [(b"host", b"a"), (b"cookie", b"a=1; b=2"), (b"x", b"y"), (b"te", b"trailers")]
    assert app.scopes[0]["headers"] == wanted


async def test_host_alone_as_a_proxy_sends_it() -> None:
    app = Recorder()
    async with serving(app, http2=True) as server, peer(server) as client:
        await client.answer(client.ask([(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "b:1")]))
    assert app.scopes[0]["headers"] == [(b"host", b"b:1")]


async def test_interim_answers() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
        await Recorder()(scope, receive, send)

    async with serving(app, http2=True) as server, peer(server) as client:
        number = client.ask(request("POST", "/", ("expect", "100-continue")), ends=False)
        await client.until(lambda: len(client.streams[number].heads) == 2)
        client.h2.send_data(number, b"abc", end_stream=True)
        client.flush()
        answer = await client.answer(number)
    assert [head[":status"] for head in answer.heads] == ["103", "100", "200"]
    assert answer.heads[0]["link"] == "</a.css>; rel=preload"


async def test_trailers_of_a_request_are_read_over() -> None:
    app = Recorder()
    async with serving(app, http2=True) as server, peer(server) as client:
        number = client.ask(request("POST"), b"abc", ends=False)
        client.h2.send_headers(number, [("x-sum", "1")], end_stream=True)
        client.flush()
        assert (await client.answer(number)).status == "200"
    assert app.received == [b"abc"]


@pytest.mark.parametrize("asks", [True, False])
async def test_trailers_of_an_answer_are_for_a_client_that_asks_for_them(asks: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert ("http.response.trailers" in scope["extensions"]) is asks
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
        await send({"type": "http.response.body", "body": b"abc"})
        await send({"type": "http.response.trailers", "headers": [(b"x-a", b"1")], "more_trailers": True})
        await send({"type": "http.response.trailers", "headers": [(b"x-b", b"2")]})

    async with serving(app, http2=True) as server, peer(server) as client:
        answer = await client.get("/", *[("te", "trailers")] * asks)
        assert (answer.body, answer.ended) == (b"abc", True)
        assert answer.trailers == ({"x-a": "1", "x-b": "2"} if asks else {})


async def test_a_stream_of_events_begins_at_once() -> None:
    go = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await go.wait()
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await receive()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async with serving(app, http2=True) as server, peer(server) as client:
        number = client.ask()
        await client.until(lambda: client.streams[number].heads)
        go.set()
        await client.until(lambda: client.streams[number].body)
        answer = await client.answer(number)
    assert (answer.body, answer.ended) == (b"data: 1\n\n", True)


async def test_a_file_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"z" * LARGE)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": str(path)})

    async with serving(app, http2=True, pathsend=True) as server, peer(server) as client:
        answer = await client.get()
    assert (answer.heads[0]["content-length"], len(answer.body)) == (str(LARGE), LARGE)


async def test_a_crash_and_a_short_answer() -> None:
    async def crashes(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("in the test")

    async def ends_short(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        await send({"type": "http.response.body", "body": b"abc"})

    async with serving(crashes, http2=True) as server, peer(server) as client:
        answer = await client.get()
        assert (answer.status, answer.body) == ("500", b"Internal Server Error")
    async with serving(ends_short, http2=True) as server, peer(server) as client:
        answer = await client.get()
        assert (answer.ended, answer.reset) == (False, "INTERNAL_ERROR")


async def test_a_reset_is_a_disconnect_and_other_streams_go_on() -> None:
    heard: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/wait":
            while heard.append((await receive())["type"]) or heard[-1] != "http.disconnect":
                pass
        else:
            await Recorder()(scope, receive, send)

    async with serving(app, http2=True) as server, peer(server) as client:
        number = client.ask(request("GET", "/wait"))
        await until(lambda: heard)
        client.h2.reset_stream(number, 8)
        client.flush()
        await until(lambda: heard == ["http.request", "http.disconnect"])
        assert (await client.get()).body == b"hello"
        assert server.active() == {}


async def test_an_unread_body_is_not_wanted_long_after_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.http.http2.stream.LINGER", 0.05)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})

    async with serving(app, http2=True) as server, peer(server) as client:
        number = client.ask(request("POST"), b"x" * 10_000, ends=False)
        await client.until(lambda: client.streams[number].reset)
        assert (client.streams[number].body, client.streams[number].ended) == (b"no", True)
        assert client.streams[number].reset == "NO_ERROR"
        assert (await client.get()).body == b"no"


@pytest.mark.parametrize(("log", "wanted"), [("combined", '"GET /a HTTP/2.0" 200 5'), (True, "GET '/a' 200 5")])
async def test_the_access_log_has_the_version(caplog: pytest.LogCaptureFixture, log: Any, wanted: str) -> None:
    with caplog.at_level(logging.INFO, "protocols.http.access"):
        async with serving(Recorder(), http2=True, access_log=log) as server, peer(server) as client:
            await client.get("/a?b")
            await until(lambda: wanted in caplog.text)


async def test_an_operator_sees_what_is_on_a_connection() -> None:
    go = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await go.wait()
        await Recorder()(scope, receive, send)

    async with serving(app, http2=True) as server, peer(server) as client:
        first, second = client.ask(request("GET", "/a")), client.ask(request("GET", "/b"))
        await until(lambda: server.active() == {"http": 2})
        (seen,) = server.clients()
        assert seen.facts()["doing"] == "GET /a, and 1 more"
        go.set()
        await client.answer(first)
        await client.answer(second)
        await until(lambda: seen.facts()["doing"] == "idle")
        seen.remove()
        await client.until_closed()
        assert client.goaways == [("NO_ERROR", second)]


async def test_the_first_bytes_may_come_one_by_one() -> None:
    async with serving(Recorder(), http2=True) as server:
        async with peer(server, begins=False) as client:
            client.h2.initiate_connection()
            for byte in client.h2.data_to_send():
                client.raw(bytes((byte,)))
                await asyncio.sleep(0)
            assert (await client.get()).body == b"hello"
        reader, writer = await connect(server.address)
        for byte in b"PRX / HTTP/1.1\r\n\r\n":
            writer.write(bytes((byte,)))
            await asyncio.sleep(0)
        assert b" 400 " in await reader.read()
        writer.close()
        reader, writer = await connect(server.address)
        for byte in GET.replace(b"GET", b"PUT"):  # its first byte is that of the preface
            writer.write(bytes((byte,)))
            await asyncio.sleep(0)
        assert (await read_answer(reader)).status == 200
        writer.close()


async def test_a_server_without_http2_says_what_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "protocols"):
        async with serving(Recorder()) as server, peer(server, begins=False) as client:
            client.h2.initiate_connection()
            client.flush()
            assert (await client.reader.read()).startswith(b"HTTP/1.1 ")
    assert len([each for each in caplog.messages if "(it looks like HTTP/2: is http2: true missing?)" in each]) == 1


async def test_pings_are_answered() -> None:
    async with serving(Recorder(), http2=True) as server, peer(server) as client:
        client.h2.ping(b"12345678")
        client.flush()
        await client.until(lambda: client.seen(h2.events.PingAckReceived))
        assert client.seen(h2.events.PingAckReceived)[0].ping_data == b"12345678"


def test_h2_is_imported_by_those_who_ask_for_it_only() -> None:
    script = """
import asyncio, sys
from protocols.http.server import HTTPServer, HTTPSettings
async def main():
    HTTPServer(None, HTTPSettings(http2=len(sys.argv) > 1), state={})
asyncio.run(main())
print("h2" in sys.modules)
"""
    for arguments, wanted in (((), "False"), (("http2",), "True")):
        command = [sys.executable, "-c", script, *arguments]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == wanted


def test_without_h2_the_server_says_what_installs_it() -> None:
    script = """
import sys
sys.modules["h2"] = None
from protocols.errors import BindError
from protocols.http.server import HTTPServer, HTTPSettings
try:
    HTTPServer(None, HTTPSettings(http2=True), state={})
except BindError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    assert said == "http2: h2 is not installed; pip install 'asgi-gateway[http2]'"


SAME: dict[str, tuple[str, str, list[tuple[str, str]], bytes | None]] = {
    "a query": ("GET", "/a?b=c&d=%20", [], None),
    "a path with escapes": ("GET", "/a%2Fb/%C3%A4%00", [], None),
    "a path with UTF-8 that is not escaped, and dots": ("GET", "/x/../y;z=1,2", [], None),
    "an empty query": ("GET", "/a?", [], None),
    "fields": ("GET", "/", [("x-a", "b"), ("x-a", "\xe4"), ("x-empty", ""), ("cookie", "a=b; c=d")], None),
    "a body": ("POST", "/", [("content-length", "3"), ("content-type", "text/plain")], b"abc"),
    "an empty body": ("PUT", "/", [("content-length", "0")], None),
    "the server as a whole": ("OPTIONS", "*", [], None),
    "HEAD": ("HEAD", "/", [("range", "bytes=0-1")], None),
}


@pytest.mark.parametrize("case", SAME)
async def test_a_scope_is_that_of_http_1_1(case: str) -> None:
    method, path, more, body = SAME[case]
    app = Recorder(headers=[(b"x-answer", b"1")])
    async with serving(app, http2=True) as server:
        lines = [f"{method} {path} HTTP/1.1", "host: a", *(f"{name}: {value}" for name, value in more)]
        reader, writer = await connect(server.address)
        writer.write("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        first = await read_answer(reader, body=method != "HEAD")
        writer.close()
        async with peer(server) as client:
            second = await client.answer(client.ask(request(method, path, *more), body))
    assert (str(first.status), first.body) == (second.status, second.body)
    assert {":status": second.status, **dict(first.headers), "date": ""} == {**second.heads[0], "date": ""}
    one, two = app.scopes
    assert {**one, "http_version": "2", "client": None} == {**two, "client": None}
    assert app.received == [body or b""] * 2
