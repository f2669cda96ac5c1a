"""Forms that a consumer reads as they come: `stream_forms`."""

import asyncio
import hashlib
import os
import random
import resource
from pathlib import Path
from typing import Any

import httpx
import pytest
from servers.programs import program
from waiting import until

from gateway import AsyncHttpConsumer, HttpConsumer
from gateway.consumers.form_data import IN_MEMORY, LONGEST_TEXT, LONGEST_URLENCODED, MOST, FormError, FormReader
from protocols.http.server import HTTPServer, HTTPSettings

KEPT: list[Any] = []
"""The last file that a consumer had."""


def digest(file: Any) -> str:
    found = hashlib.sha256()
    for chunk in file.chunks():
        found.update(chunk)
    return found.hexdigest()


def told(form: Any) -> Any:
    KEPT[:] = [file for files in form.files.values() for file in files]
    files = {name: [(f.filename, f.size, digest(f)) for f in files] for name, files in form.files.items()}
    return [{name: form.get_all(name) for name in form}, files]


class AsyncForms(AsyncHttpConsumer):
    stream_forms = True

    async def handle(self, body: bytes) -> None:
        assert body == b""
        await self.respond_json(told(await self.form(body)))


class SyncForms(HttpConsumer):
    stream_forms = True

    def handle(self, body: bytes) -> None:
        self.respond_json(told(self.form(body)))


def serving(consumer: Any) -> HTTPServer:
    settings = HTTPSettings(bind="127.0.0.1:0", max_body=200_000_000)
    return HTTPServer(consumer.as_asgi(), settings, state={})


def temporary_files() -> int:
    """Count the files without a name that are open."""
    links = (Path(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd"))
    return sum("/#" in os.readlink(each) or "(deleted)" in os.readlink(each) for each in links if each.is_symlink())


@pytest.mark.parametrize("consumer", [AsyncForms, SyncForms])
async def test_an_upload_of_100_mb_takes_little_memory_and_its_file_is_closed(consumer: Any, tmp_path: Path) -> None:
    piece, digested = random.Random(3).randbytes(1_000_000), hashlib.sha256()
    with (tmp_path / "film").open("wb") as film:
        for _ in range(100):
            film.write(piece)
            digested.update(piece)
    files, memory = temporary_files(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with serving(consumer) as server:
        curl = await asyncio.create_subprocess_exec(
            *(program("curl"), "-sS", "-m", "20", "-F", "name=Zoë", "-F", f"film=@{tmp_path}/film", "-F", "tag=a"),
            *("-F", "note=@-;filename=n.txt", f"http://{server.address}/"),
            stdin=-1,
            stdout=-1,
        )
        out, _ = await curl.communicate(b"a note")
    note = hashlib.sha256(b"a note").hexdigest()
    expected = {"film": [["film", 100_000_000, digested.hexdigest()]], "note": [["n.txt", 6, note]]}
    assert httpx.Response(200, content=out).json() == [{"name": ["Zoë"], "tag": ["a"]}, expected]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 30_000
    await until(lambda: temporary_files() <= files)
    with pytest.raises(ValueError, match="the request is over"):
        _ = KEPT[0].content


async def test_short_files_stay_in_memory() -> None:
    async with serving(AsyncForms) as server, httpx.AsyncClient() as client:
        answer = await client.post(f"http://{server.address}/", files={"a": ("a", b"1"), "b": ("b", b"")})
    assert [each[0][:2] for each in answer.json()[1].values()] == [["a", 1], ["b", 0]]


async def test_an_urlencoded_form_is_read_as_well() -> None:
    async with serving(SyncForms) as server, httpx.AsyncClient() as client:
        answer = await client.post(f"http://{server.address}/", data={"a": "1"})
    assert answer.json() == [{"a": ["1"]}, {}]


def multipart(*parts: bytes) -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


FIELD = b'Content-Disposition: form-data; name="f"\r\n\r\n'
FILE = b'Content-Disposition: form-data; name="f"; filename="x"\r\n\r\n'
MULTIPART = "multipart/form-data; boundary=b"


@pytest.mark.parametrize(
    ("kind", "body", "sentence"),
    [
        ("text/plain", b"a", "is not a form"),
        (MULTIPART, b"nonsense", "is not multipart/form-data"),
        (MULTIPART, multipart(FIELD + b"a")[:-10], "ends before its last boundary"),
        (MULTIPART, multipart(*[FIELD] * (MOST + 1)), f"more than {MOST} parts"),
        (MULTIPART, multipart(FIELD + b"x" * (LONGEST_TEXT // 2), FIELD + b"x" * LONGEST_TEXT), "have more than"),
        (MULTIPART, multipart(b"Content-Disposition: form-data\r\n\r\n"), "has no name"),
        (MULTIPART, multipart(FIELD + b"\xff"), "not UTF-8"),
        ("application/x-www-form-urlencoded", b"a" * (LONGEST_URLENCODED + 1), "is longer than"),
    ],
)
async def test_what_is_not_a_form_is_400(kind: str, body: bytes, sentence: str) -> None:
    async with serving(AsyncForms) as server, httpx.AsyncClient() as client:
        answer = await client.post(f"http://{server.address}/", content=body, headers={"content-type": kind})
    assert (answer.status_code, sentence in answer.text) == (400, True), answer.text


async def test_a_client_that_leaves_in_the_middle_leaves_no_file() -> None:
    files = temporary_files()
    async with serving(AsyncForms) as server:
        for _ in range(20):
            host, port = server.address.split(":")
            _, writer = await asyncio.open_connection(host, int(port))
            head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {MULTIPART}\r\nContent-Length: 9000000\r\n\r\n--b\r\n"
            writer.write(head.encode() + FILE + b"x" * 2 * IN_MEMORY)
            await writer.drain()
            writer.transport.abort()
        await until(lambda: not server.service.running)
        await until(lambda: temporary_files() <= files)


@pytest.mark.parametrize("step", [1, 3, 7, 1000])
def test_a_form_in_pieces_of_any_size_is_the_same(step: int) -> None:
    body = multipart(FILE + b"\r\n--b\r" * 50, FIELD + "Zoë".encode(), FILE + b"second")
    reader = FormReader(MULTIPART.encode())
    for begin in range(0, len(body), step):
        reader.feed(body[begin : begin + step])
    form = reader.end()
    assert form["f"] == "Zoë"
    assert [file.content for file in form.files["f"]] == [b"\r\n--b\r" * 50, b"second"]
    reader.close()


def test_files_around_the_limit_are_the_same_in_memory_and_in_the_file() -> None:
    contents = [b"a" * (IN_MEMORY - 1), b"b", b"c" * 10, b"", b"d" * IN_MEMORY]
    reader = FormReader(MULTIPART.encode())
    reader.feed(multipart(*(FILE + content for content in contents)))
    assert [file.content for file in reader.end().files["f"]] == contents
    reader.close()


def test_a_form_without_a_boundary_is_none() -> None:
    with pytest.raises(FormError, match="not a form"):
        FormReader(b"multipart/form-data")
