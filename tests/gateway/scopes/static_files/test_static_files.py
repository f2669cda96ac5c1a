"""Static files as a client gets them from the server."""

import asyncio
import gzip
import logging
import os
import resource
import subprocess
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any

import httpx
import pytest
from contract import LIMIT, connect
from conversation import scope
from servers.nginx import Nginx
from servers.programs import program
from static_site import OPEN, made, served
from waiting import until

from gateway import StaticFiles
from gateway.scopes.http.static_files.answer import PIECE

A_YEAR = "public, max-age=31536000, immutable"


@pytest.fixture
def static(tmp_path: Path) -> Path:
    return made(tmp_path)


async def test_a_file_has_its_type_its_validators_and_how_long_it_may_be_kept(static: Path) -> None:
    os.utime(static / "a.css", (784_111_777, 784_111_777))
    async with served(static) as client:
        answer = await client.get("/static/a.css")
    assert (answer.status_code, answer.content) == (200, OPEN)
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert answer.headers["content-length"] == str(len(OPEN))
    assert answer.headers["last-modified"] == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert answer.headers["cache-control"] == "public, max-age=60"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["etag"].startswith('"')
    assert "vary" not in answer.headers


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.HTML", "text/html; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.svg", "image/svg+xml"),
        ("a.wasm", "application/wasm"),
        ("a.woff2", "font/woff2"),
        ("a.tar.gz", "application/gzip"),
        ("a.txt.zst", "application/zstd"),
        ("a", "application/octet-stream"),
        ("a.unheard-of", "application/octet-stream"),
    ],
)
async def test_types(static: Path, name: str, kind: str) -> None:
    (static / name).write_bytes(b"x")
    async with served(static) as client:
        assert (await client.get(f"/static/{name}")).headers["content-type"] == kind


@pytest.mark.parametrize(
    ("name", "options", "cache_control"),
    [
        ("a.css", {"cache_control": "no-cache"}, "no-cache"),
        ("app.55e7cbb9ba48.css", {}, A_YEAR),
        ("app.55e7cbb9ba48.css", {"cache_control": "max-age=9"}, A_YEAR),
        ("app.55e7cbb9ba48.css", {"cache_control": "Private, max-age=9"}, "Private, max-age=9"),
        ("app.55e7cbb9ba48.css", {"cache_control": "no-store"}, "no-store"),
        ("app.55e7cbb9ba48.css", {"immutable": "^css/"}, "public, max-age=60"),
        ("css/b.css", {"immutable": "^css/"}, A_YEAR),
    ],
)
async def test_how_long_a_file_may_be_kept(
    static: Path, name: str, options: dict[str, str], cache_control: str
) -> None:
    async with served(static, **options) as client:
        assert (await client.get(f"/static/{name}")).headers["cache-control"] == cache_control


@pytest.mark.parametrize(
    ("name", "has_hash"),
    [
        ("main-0b1c2d3e.js", True),
        ("d41d8cd98f00b204e9800998ecf8427e.png", False),
        ("photo.d41d8cd98f00b204e9800998ecf8427e.png", True),
        ("backup-20261130.zip", False),
        ("my-document.js", False),
        ("x-deadbeef.js", False),
        ("jquery-3.7.1.min.js", False),
        ("app.55E7CBB9BA48.css", False),
        ("app.55e7cbb9ba48", False),
    ],
)
async def test_names_with_a_hash(static: Path, name: str, has_hash: bool) -> None:
    (static / name).write_bytes(b"x")
    async with served(static) as client:
        assert ((await client.get(f"/static/{name}")).headers["cache-control"] == A_YEAR) is has_hash


async def test_head_is_get_without_a_body(static: Path) -> None:
    async with served(static) as client:
        got, head = await client.get("/static/a.css"), await client.head("/static/a.css")
        assert (head.status_code, head.content) == (200, b"")
        assert {**head.headers, "date": ""} == {**got.headers, "date": ""}
        part = await client.head("/static/a.css", headers={"range": "bytes=0-1"})
        assert part.status_code == 200  # a range is defined for GET only


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"])
async def test_other_methods_are_not_allowed(static: Path, method: str) -> None:
    async with served(static) as client:
        answer = await client.request(method, "/static/a.css", content=b"x" * 1000)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
        assert (await client.get("/static/a.css")).content == OPEN


async def test_a_client_that_has_the_file_gets_304_until_it_changes(static: Path) -> None:
    async with served(static) as client:
        first = await client.get("/static/a.css")
        tag, date = first.headers["etag"], first.headers["last-modified"]
        for fields in ({"if-none-match": tag}, {"if-none-match": f'"x", W/{tag}'}, {"if-modified-since": date}):
            again = await client.get("/static/a.css", headers=fields)
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == tag
            assert again.headers["cache-control"] == first.headers["cache-control"]
            assert "content-type" not in again.headers
        (static / "a.css").write_bytes(b"new")
        changed = await client.get("/static/a.css", headers={"if-none-match": tag})
        assert (changed.status_code, changed.content) == (200, b"new")
        assert (await client.get("/static/a.css", headers={"if-match": tag})).status_code == 412


async def test_one_range(static: Path) -> None:
    async with served(static) as client:
        answer = await client.get("/static/a.css", headers={"range": "bytes=5-9"})
        assert (answer.status_code, answer.content) == (206, OPEN[5:10])
        assert answer.headers["content-range"] == f"bytes 5-9/{len(OPEN)}"
        assert answer.headers["content-type"] == "text/css; charset=utf-8"
        assert answer.headers["etag"]


async def test_several_ranges_are_a_multipart_body(static: Path) -> None:
    async with served(static) as client:
        answer = await client.get("/static/a.css", headers={"range": "bytes=0-3, -2, 7-7"})
    assert answer.status_code == 206
    head = f"content-type: {answer.headers['content-type']}\r\n\r\n".encode()
    parts: Any = BytesParser(policy=HTTP).parsebytes(head + answer.content).get_payload()
    size = len(OPEN)
    assert [part["content-range"] for part in parts] == [
        f"bytes 0-3/{size}",
        f"bytes {size - 2}-{size - 1}/{size}",
        f"bytes 7-7/{size}",
    ]
    assert [part.get_content_type() for part in parts] == ["text/css"] * 3
    assert b"\r\n\r\n" + OPEN[:4] + b"\r\n--" in answer.content
    assert b"\r\n\r\n" + OPEN[7:8] + b"\r\n--" in answer.content


async def test_ranges_behind_the_end_are_416_and_others_are_ignored(static: Path) -> None:
    async with served(static) as client:
        behind = await client.get("/static/a.css", headers={"range": "bytes=100000-"})
        assert (behind.status_code, behind.headers["content-range"]) == (416, f"bytes */{len(OPEN)}")
        for field in ("bytes=9-2", "pages=1-2", "bytes=0-9,5-20"):
            assert (await client.get("/static/a.css", headers={"range": field})).content == OPEN


async def test_a_range_of_a_version_that_is_gone_is_the_whole_file(static: Path) -> None:
    async with served(static) as client:
        tag = (await client.get("/static/a.css")).headers["etag"]
        fields = {"range": "bytes=5-9", "if-range": tag}
        assert (await client.get("/static/a.css", headers=fields)).status_code == 206
        (static / "a.css").write_bytes(b"another version")
        assert (await client.get("/static/a.css", headers=fields)).content == b"another version"


async def test_a_compressed_sibling_is_sent_to_who_takes_it(static: Path) -> None:
    packed = gzip.compress(OPEN)
    (static / "a.css.gz").write_bytes(packed)
    (static / "a.css.br").write_bytes(b"(br)")
    async with served(static) as client:
        async with client.stream("GET", "/static/a.css", headers={"accept-encoding": "gzip, br;q=0"}) as answer:
            assert b"".join([piece async for piece in answer.aiter_raw()]) == packed
            assert answer.headers["content-encoding"] == "gzip"
            assert answer.headers["content-type"] == "text/css; charset=utf-8"
            assert answer.headers["content-length"] == str(len(packed))
            assert answer.headers["vary"] == "accept-encoding"
        plain = await client.get("/static/a.css")
        assert (plain.content, plain.headers["vary"]) == (OPEN, "accept-encoding")
        assert plain.headers["etag"] != answer.headers["etag"]
        fields = {"accept-encoding": "gzip", "if-none-match": answer.headers["etag"]}
        same = await client.get("/static/a.css", headers=fields)
        assert (same.status_code, same.headers["vary"]) == (304, "accept-encoding")
        itself = await client.get("/static/a.css.gz", headers={"accept-encoding": "gzip"})
        assert itself.headers["content-type"] == "application/gzip"
        assert "content-encoding" not in itself.headers


async def test_a_sibling_of_an_older_version_is_not_sent(static: Path) -> None:
    (static / "a.css.gz").write_bytes(gzip.compress(b"of yesterday"))
    os.utime(static / "a.css.gz", (1_700_000_000, 1_700_000_000))
    async with served(static) as client:
        answer = await client.get("/static/a.css", headers={"accept-encoding": "gzip"})
    assert answer.content == OPEN
    assert "content-encoding" not in answer.headers


async def test_a_sibling_that_leads_out_of_the_folder_is_not_sent(static: Path) -> None:
    (static / "a.css.gz").symlink_to(static.parent / "key.pem")
    async with served(static) as client:
        assert (await client.get("/static/a.css", headers={"accept-encoding": "gzip"})).content == OPEN


async def test_a_folder_answers_with_its_index_and_under_a_path_with_a_slash(static: Path) -> None:
    async with served(static) as client:
        assert (await client.get("/static/css/")).content == OPEN
        moved = await client.get("/static/css?v=%0d1&x")
        assert (moved.status_code, moved.headers["location"]) == (301, "./css/?v=%0d1&x")
        assert str(moved.next_request.url).endswith("/static/css/?v=%0d1&x") if moved.next_request else False
        for path in ("/static/empty/", "/static/empty", "/static/", "/static/a.css/"):
            assert (await client.get(path)).status_code == 404
    async with served(static, "^static") as client:
        (static / "index.html").write_bytes(b"front")
        moved = await client.get("/static", follow_redirects=True)
        assert (moved.url.path, moved.content) == ("/static/", b"front")


async def test_no_redirect_leads_to_another_host(static: Path) -> None:
    async with served(static, "^") as client:
        for target in ("//evil.example/css", "//css", "///css", "/%2f/css"):
            answer = await client.send(httpx.Request("GET", client.base_url, extensions={"target": target.encode()}))
            assert answer.status_code == 404 or answer.headers["location"].startswith("./")


@pytest.mark.parametrize(
    "path",
    [
        "../key.pem",
        "%2e%2e/key.pem",
        "..%2fkey.pem",
        "css/../../key.pem",
        "css/../a.css",
        "./a.css",
        "..%5ckey.pem",
        "css%5cb.css",
        "a.css%00",
        "%00",
        ".env",
        ".git/config",
        "%2egit/config",
        "css//b.css",
        "/etc/passwd",
        "//etc/passwd",
        "out.pem",
        "above/key.pem",
        "sideways/x.txt",
        "round",
        "pipe",
        "a.css/b",
        "%ff.css",
        "%ed%a0%80",
        "x" * 300,
        "x/" * 3000,
    ],
)
async def test_paths_that_lead_nowhere(static: Path, path: str) -> None:
    async with served(static) as client:
        target = f"/static/{path}".encode()
        answer = await client.send(httpx.Request("GET", client.base_url, extensions={"target": target}))
        assert (answer.status_code, answer.content) == (404, b"Not Found\n")


@pytest.mark.parametrize("path", [".well-known/security.txt", "latest.css", "a%20b+%C3%BC.txt", "above/static/a.css"])
async def test_paths_that_lead_to_a_file(static: Path, path: str) -> None:
    async with served(static) as client:
        assert (await client.get(f"/static/{path}")).content == OPEN


async def test_a_folder_that_is_a_link_may_be_replaced(static: Path) -> None:
    current = static.parent / "current"
    current.symlink_to(static)
    async with served(current) as client:
        assert (await client.get("/static/a.css")).content == OPEN
        (static.parent / "next").mkdir()
        (static.parent / "next" / "a.css").write_bytes(b"next")
        (static.parent / "new").symlink_to("next")
        (static.parent / "new").rename(current)
        assert (await client.get("/static/a.css")).content == b"next"


async def test_a_large_file_is_read_in_pieces(static: Path) -> None:
    whole = os.urandom(3 * PIECE + 17)
    (static / "large.bin").write_bytes(whole)
    read: list[dict[str, Any]] = []

    async def send(event: dict[str, Any]) -> None:
        read.append(event)

    await StaticFiles(static)(scope("http", path="/large.bin"), None, send)
    sizes = [len(event["body"]) for event in read[1:]]
    assert sizes == [PIECE, PIECE, PIECE, 17]
    assert b"".join(event["body"] for event in read[1:]) == whole
    async with served(static) as client:
        assert (await client.get("/static/large.bin")).content == whole
        part = await client.get("/static/large.bin", headers={"range": f"bytes=3-{2 * PIECE}"})
        assert part.content == whole[3 : 2 * PIECE + 1]


async def test_a_file_that_shrinks_while_it_is_sent_is_cut_off(static: Path, caplog: pytest.LogCaptureFixture) -> None:
    large = static / "large.bin"
    large.write_bytes(bytes(64 * PIECE))
    async with served(static) as client:
        reader, writer = await connect(str(client.base_url.netloc, "ascii"))
        writer.write(b"GET /static/large.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LIMIT)
        os.truncate(large, 1000)
        got = 0
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            while True:
                got += len(await asyncio.wait_for(reader.readexactly(1000), LIMIT))
        writer.close()
        assert b"content-length: %d" % (64 * PIECE) in head
        assert got < 64 * PIECE
        assert (await client.get("/static/a.css")).content == OPEN
    (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert "short" in record.getMessage()


async def test_no_descriptor_is_left_open_by_clients_that_leave(static: Path) -> None:
    (static / "large.bin").write_bytes(bytes(64 * PIECE))
    before = len(os.listdir("/proc/self/fd"))
    for number in range(20):
        run = asyncio.ensure_future(_never_read(StaticFiles(static), number))
        for _ in range(number):
            await asyncio.sleep(0)
        run.cancel()
        await asyncio.wait([run])
    await until(lambda: len(os.listdir("/proc/self/fd")) <= before)


async def _never_read(app: StaticFiles, number: int) -> None:
    async def send(event: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    await app(scope("http", path="/large.bin" if number % 2 else "/a.css"), None, send)


async def test_a_file_that_the_gateway_may_not_read_is_403_and_a_line_in_the_log(
    static: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = StaticFiles(static)
    os.chmod(static / "a.css", 0)
    os.chmod(static, 0o700)
    before = os.geteuid()
    if before == 0:  # root may read everything
        os.seteuid(65534)
    try:
        assert await _status(app) == 403
    finally:
        os.seteuid(before)
        (static / "a.css").chmod(0o600)
    assert "/a.css: the file cannot be read: " in caplog.text
    assert await _status(app) == 200


async def test_without_descriptors_the_answer_is_503_and_the_next_one_is_the_file(
    static: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = StaticFiles(static)
    assert await _status(app) == 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
    try:
        status = await _status(app)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert status == 503
    assert "the file cannot be read: " in caplog.text
    assert await _status(app) == 200


async def _status(app: StaticFiles) -> int:
    sent: list[Any] = []

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    await app(scope("http", path="/a.css"), None, send)
    return int(sent[0]["status"])


async def test_other_scopes_are_an_error() -> None:
    with pytest.raises(LookupError):
        await StaticFiles(".")(scope("websocket"), None, None)


@pytest.mark.parametrize(
    "wrong", [{"folder": "not-there"}, {"cache_control": "a\r\nb: c"}, {"cache_control": "é"}, {"immutable": "("}]
)
def test_wrong_arguments_are_told_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"not-there|cannot be|not a regular"):
        StaticFiles(**{"folder": ".", **wrong})


async def test_curl_resumes_checks_and_unpacks(static: Path, tmp_path: Path) -> None:
    (static / "a.css.gz").write_bytes(gzip.compress(OPEN))
    kept, tag = tmp_path / "kept.css", tmp_path / "tag"
    kept.write_bytes(OPEN[:50])
    async with served(static) as client:
        where = str(client.base_url.join("/static/a.css"))
        await _curl("-C", "-", "-o", str(kept), where)
        assert kept.read_bytes() == OPEN
        assert await _curl("--compressed", where) == OPEN
        assert await _curl("--etag-save", str(tag), where) == OPEN
        assert await _curl("--etag-compare", str(tag), where) == b""
        assert await _curl("-z", str(kept), "-w", "%{http_code}", where) == b"304"


async def test_nginx_in_front_passes_ranges_and_304_on(static: Path, tmp_path: Path) -> None:
    async with served(static) as client:
        nginx = Nginx(tmp_path / "nginx", int(client.base_url.port or 0), more="gzip on; gzip_types text/css;")
        try:
            where = f"http://127.0.0.1:{nginx.port}/static/a.css"
            assert await _curl("-r", "5-9", where) == OPEN[5:10]
            head = (await _curl("--compressed", "-D", "-", "-o", "/dev/null", where)).decode().lower()
            assert "content-encoding: gzip" in head  # nginx has compressed it, and made the tag a weak one
            weak = next(line.partition(": ")[2].strip() for line in head.splitlines() if line.startswith("etag"))
            assert weak.startswith("w/")
            tag = f"If-None-Match: W{weak[1:]}"
            assert await _curl("-H", tag, "-w", "%{http_code}", where) == b"304"
        finally:
            nginx.close()


async def _curl(*arguments: str) -> bytes:
    command = [program("curl"), "-sS", "--max-time", "10", *arguments]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
