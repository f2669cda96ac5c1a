"""A browser reads what is compressed, in ranges, and from siblings; and talks over a compressed WebSocket."""

import asyncio
import contextlib
import hashlib
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import brotli
import pytest
import zstandard
from servers.browser import Browser, browser
from servers.certificates import make
from servers.site import until

from gateway import ProtocolTypeRouter, StaticFiles, URLRouter, url
from protocols.http.compression.compressed import Compressed
from protocols.http.compression.settings import Compression
from protocols.http.server import HTTPServer, HTTPSettings

TEXT = b"".join(b"line %d of a text, with \xc3\xa9\n" % number for number in range(20_000))
CODINGS: tuple[Any, ...] = ("gzip", "br", "zstd")
SCRIPT = b"document.title = 'styled by a sibling'; //" + b"x" * 10_000


class Site:
    """The text in each coding, whole and in pieces; events; an echo; files. It notes what the browser has sent."""

    def __init__(self, folder: Path) -> None:
        self.ranges: list[bytes] = []
        self.seen: set[tuple[str, str]] = set()
        self.more = asyncio.Event()
        self._coded = {coding: Compressed(self.text, Compression(codings=(coding,))) for coding in CODINGS}
        self._events = Compressed(self.events, Compression(types=("text/event-stream",)))
        self._files = StaticFiles(folder)
        routes = [
            url("^(?:gzip|br|zstd)/", self.coded),
            url("^events$", self.coded_events),
            url("^files/", self.files),
            url("", self.page),
        ]
        self.app = ProtocolTypeRouter({"http": URLRouter(routes), "websocket": self.echo})

    async def coded(self, scope: Any, receive: Any, send: Any) -> None:
        await self._coded[scope["path"].split("/")[1]](scope, receive, send)

    async def coded_events(self, scope: Any, receive: Any, send: Any) -> None:
        await self._events(scope, receive, send)

    async def files(self, scope: Any, receive: Any, send: Any) -> None:
        self.ranges += [value for name, value in scope["headers"] if name == b"range"]
        await self._files(scope, receive, send)

    async def page(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
        await send({"type": "http.response.body", "body": b"<!doctype html><title>none</title><p>"})

    async def text(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.add((scope["http_version"], scope["path"]))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        size = len(TEXT) if scope["path"].endswith("whole") else 50_000
        for at in range(0, len(TEXT), size):
            more = at + size < len(TEXT)
            await send({"type": "http.response.body", "body": TEXT[at : at + size], "more_body": more})

    async def events(self, scope: Any, receive: Any, send: Any) -> None:
        kind = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": kind})
        await send({"type": "http.response.body", "body": b"data: first\n\n", "more_body": True})
        await self.more.wait()
        await send({"type": "http.response.body", "body": b"data: second\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    async def echo(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.add((scope["http_version"], "websocket"))
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await send({key: value for key, value in event.items() if key != "type"} | {"type": "websocket.send"})


class Visit:
    """A page of the site in a browser. Its methods are called on the loop."""

    def __init__(self, site: Site, server: HTTPServer, window: Browser) -> None:
        self.site, self.server, self.window = site, server, window

    async def run(self, script: str, *arguments: Any) -> Any:
        """Run an async function's body in the page."""

        def found() -> Any:
            self.window.run(_BEGIN % script, *arguments)
            until(lambda: self.window.run("return window.found") is not None, script)
            return self.window.run("return window.found")

        came = await asyncio.to_thread(found)
        assert "failed" not in came, came
        return came["value"]


_BEGIN = """
window.found = null;
const run = async (...given) => { %s };
run(...arguments).then((value) => { window.found = {value}; }, (error) => { window.found = {failed: `${error}`}; });
"""


@contextlib.asynccontextmanager
async def visiting(folder: Path, **settings: Any) -> AsyncIterator[Visit]:
    files = folder / "files"
    files.mkdir()
    (files / "script.js").write_bytes(b"document.title = 'of the file itself'")
    (files / "script.js.br").write_bytes(brotli.compress(SCRIPT))
    (files / "other.js").write_bytes(b"document.title = 'of the file itself'")
    (files / "other.js.zst").write_bytes(zstandard.ZstdCompressor().compress(SCRIPT))
    (files / "text.txt").write_bytes(TEXT)
    (files / "sound.wav").write_bytes(_wav(600))
    site = Site(files)
    server = HTTPServer(site.app, HTTPSettings(bind="127.0.0.1:0", tls=make(folder), **settings), state={})
    async with asyncio.timeout(90), server:
        with contextlib.ExitStack() as stack:
            opened = browser(
                folder, flags=["--ignore-certificate-errors", "--autoplay-policy=no-user-gesture-required"]
            )
            window = await asyncio.to_thread(stack.enter_context, opened)
            try:
                await asyncio.to_thread(window.open, f"https://localhost:{server.address.rpartition(':')[2]}/")
                yield Visit(site, server, window)
            finally:
                await asyncio.to_thread(stack.close)


def _wav(seconds: int) -> bytes:
    """A sound of so many seconds: 8,000 bytes each."""
    data = bytes(0x80 + number % 7 for number in range(8000)) * seconds
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8)
    return b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVE" + form + struct.pack("<4sI", b"data", len(data)) + data


FETCH = """
const answer = await fetch(given[0], {headers: given[1] || {}, cache: "no-store"});
const body = await answer.arrayBuffer();
const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", body));
return [answer.status, answer.headers.get("content-encoding"), answer.headers.get("content-range"),
  [...digest].map((each) => each.toString(16).padStart(2, "0")).join("")];
"""
LOAD = """
const script = document.createElement("script");
script.src = given[0];
document.title = "none";
await new Promise((done, failed) => { script.onload = done; script.onerror = failed; document.head.append(script); });
return document.title;
"""
EVENTS = """
window.source = new EventSource("/events");
window.heard = [];
await new Promise((done, failed) => {
  source.onmessage = (event) => { heard.push(event.data); done(); };
  source.onerror = failed; });
return heard;
"""
SECOND = """
while (heard.length < 2) await new Promise((done) => setTimeout(done, 20));
source.close();
return heard;
"""
SEEK = """
const sound = document.createElement("audio");
sound.preload = "metadata";
const happens = (name) => new Promise((done, failed) => {
  sound.addEventListener(name, done); sound.onerror = failed; });
let then = happens("loadedmetadata");
sound.src = "/files/sound.wav";
await then;
then = happens("seeked");
sound.currentTime = 580;
await then;
return [Math.round(sound.duration), Math.round(sound.currentTime)];
"""
TALK = """
const socket = new WebSocket(`wss://${location.host}/echo`);
socket.binaryType = "arraybuffer";
await new Promise((done, failed) => { socket.onopen = done; socket.onerror = failed; });
const ask = (message) => new Promise((done, failed) => {
  socket.onmessage = (event) => done(event.data); socket.onclose = failed; socket.send(message); });
const text = "a text that compresses well, \\u00e9 \\u{1f600}; ".repeat(5000);
const noise = crypto.getRandomValues(new Uint8Array(60000));
const same = [];
for (let turn = 0; turn < 20; turn++) {
  same.push(await ask(text.slice(turn)) === text.slice(turn));
  const heard = new Uint8Array(await ask(noise));
  same.push(heard.length === noise.length && heard.every((each, at) => each === noise[at]));
  same.push(await ask("") === "");
}
socket.onclose = null;
socket.close();
return [socket.extensions, same.length, same.every((each) => each)];
"""


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("http2", [False, True], ids=["1.1", "2"])
async def test_a_browser_reads_compressed_answers_files_and_messages(tmp_path: Path, http2: bool) -> None:
    async with visiting(tmp_path, http2=http2, compression=True) as visit:
        for coding in CODINGS:
            for path in (f"/{coding}/whole", f"/{coding}/pieces"):
                before = visit.server.traffic.bytes_sent
                assert await visit.run(FETCH, path) == [200, coding, None, _digest(TEXT)]
                assert visit.server.traffic.bytes_sent - before < len(TEXT) / 3
        assert await visit.run(EVENTS) == ["first"]
        visit.site.more.set()
        assert await visit.run(SECOND) == ["first", "second"]

        part = {"Range": "bytes=1000-1999"}
        place = f"bytes 1000-1999/{len(TEXT)}"
        assert await visit.run(FETCH, "/files/text.txt", part) == [206, None, place, _digest(TEXT[1000:2000])]
        behind = await visit.run(FETCH, "/files/text.txt", {"Range": f"bytes={len(TEXT)}-"})
        assert (behind[0], behind[2]) == (416, f"bytes */{len(TEXT)}")
        assert await visit.run(LOAD, "/files/script.js") == "styled by a sibling"
        assert await visit.run(LOAD, "/files/other.js") == "styled by a sibling"
        visit.site.ranges.clear()
        assert await visit.run(SEEK) == [600, 580]
        assert any(not each.startswith(b"bytes=0-") for each in visit.site.ranges), visit.site.ranges

        before = visit.server.traffic.bytes_sent
        extensions, messages, are_same = await visit.run(TALK)
        assert extensions.startswith("permessage-deflate")
        assert (messages, are_same) == (60, True)
        assert 20 * 60_000 < visit.server.traffic.bytes_sent - before < 20 * 75_000
    version = "2" if http2 else "1.1"
    assert {each for each, _ in visit.site.seen} == {version}
    assert (version, "websocket") in visit.site.seen
