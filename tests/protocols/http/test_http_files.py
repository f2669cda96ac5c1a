"""Files that an application answers with: `http.response.pathsend`, by sendfile."""

import asyncio
import contextlib
import hashlib
import logging
import os
import random
import resource
import socket
import ssl
import threading
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from contract import connect, crashes
from http_peer import GET, ask, read_answer, serving
from servers.certificates import make
from servers.programs import program
from waiting import until

from protocols.http import open_file
from protocols.http.open_file import OpenFile

SIZE = 5_000_000
CONTENT = random.Random(1).randbytes(SIZE)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def answers_with(path: Path, *fields: tuple[bytes, bytes]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.pathsend", "path": path})

    return app


def descriptors() -> Counter[str]:
    """Count what this process has open, sockets together."""
    found: Counter[str] = Counter()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found[os.readlink(f"/proc/self/fd/{number}").partition("[")[0]] += 1
    return found


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes that each call of sendfile has sent."""
    counted: list[int] = []
    real = os.sendfile

    def counting(*arguments: int) -> int:
        counted.append(real(*arguments))
        return counted[-1]

    monkeypatch.setattr(os, "sendfile", counting)
    return counted


async def test_a_long_file_goes_by_sendfile_and_the_connection_stays(file: Path, sent: list[int]) -> None:
    async with serving(answers_with(file)) as server:
        reader, writer = await connect(server.address)
        for _ in range(2):
            writer.write(GET)
            answer = await read_answer(reader)
            assert (answer["content-length"], answer.body == CONTENT) == (str(SIZE), True)
        await until(lambda: server.traffic.bytes_sent > 2 * SIZE)
        writer.close()
    assert sum(sent) == 2 * SIZE


async def test_pipelined_answers_stay_in_order(file: Path, sent: list[int]) -> None:
    async with serving(answers_with(file)) as server:
        reader, writer = await connect(server.address)
        writer.write(GET * 3)
        assert all([(await read_answer(reader)).body == CONTENT for _ in range(3)])
        writer.close()
    assert sum(sent) == 3 * SIZE


async def test_a_short_file_is_read_and_sent_with_few_calls(tmp_path: Path, sent: list[int]) -> None:
    (tmp_path / "short").write_bytes(b"short")
    async with serving(answers_with(tmp_path / "short")) as server:
        assert (await ask(server, GET))[0].body == b"short"
    assert sent == []


async def test_curl_gets_the_same_file(file: Path) -> None:
    async with serving(answers_with(file)) as server:
        for options in ([], ["-0"]):
            curl = await asyncio.create_subprocess_exec(
                program("curl"), "-sS", "-m", "10", *options, f"http://{server.address}/", stdout=-1
            )
            out, _ = await curl.communicate()
            assert out == CONTENT


async def test_under_tls_it_is_read_and_encrypted(file: Path, sent: list[int], tmp_path: Path) -> None:
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    async with serving(answers_with(file), tls=make(tmp_path)) as server:
        host, port = server.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port), ssl=trust)
        writer.write(GET)
        assert (await read_answer(reader)).body == CONTENT
        writer.close()
    assert sent == []


async def test_a_file_that_shrinks_cuts_the_connection(
    file: Path, sent: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    counting = os.sendfile

    def shrinking(*arguments: int) -> int:
        now = counting(*arguments)
        os.truncate(file, 1000)
        return now

    monkeypatch.setattr(os, "sendfile", shrinking)
    async with serving(answers_with(file)) as server:
        reader, writer = await connect(server.address)
        writer.write(GET)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await read_answer(reader)
        writer.close()
    assert "bytes short" in caplog.text


async def test_a_file_that_is_removed_meanwhile_is_sent_to_its_end(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.sendfile

    def removing(*arguments: int) -> int:
        file.unlink(missing_ok=True)
        return real(*arguments)

    monkeypatch.setattr(os, "sendfile", removing)
    async with serving(answers_with(file)) as server:
        assert (await ask(server, GET))[0].body == CONTENT


async def test_a_length_that_is_not_the_files_is_a_mistake(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    for length in (SIZE - 1, SIZE + 1):
        async with serving(answers_with(file, (b"content-length", b"%d" % length))) as server:
            reader, writer = await connect(server.address)
            writer.write(GET)
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await read_answer(reader)
                await reader.readexactly(1)
            writer.close()
    assert len(crashes(caplog)) == 1
    assert "1 bytes short" in caplog.text


async def test_who_reads_nothing_is_cut_off(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with file.open("r+b") as longer:
        longer.truncate(50_000_000)
    async with serving(answers_with(file), stall_timeout=0.5) as server:
        before = descriptors()
        _, writer = await connect(server.address)
        writer.write(GET)
        await until(lambda: "it reads nothing" in caplog.text)
        await until(lambda: not server.service.running)
        writer.close()
        await until(lambda: descriptors() <= before)


async def test_peers_that_leave_in_the_middle_leave_no_descriptor(file: Path) -> None:
    with file.open("r+b") as longer:
        longer.truncate(50_000_000)
    async with serving(answers_with(file)) as server:
        before = descriptors()
        for number in range(40):
            reader, writer = await connect(server.address)
            writer.write(GET)
            await reader.readexactly(1000 * number + 1)
            if number % 2:
                raw: socket.socket = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
            writer.transport.abort()
        await until(lambda: not server.service.running)
        await until(lambda: descriptors() <= before)


async def test_a_stop_in_the_middle_ends_it(file: Path) -> None:
    with file.open("r+b") as longer:
        longer.truncate(50_000_000)
    async with serving(answers_with(file)) as server:
        reader, writer = await connect(server.address)
        writer.write(GET)
        await reader.readexactly(1000)
        await server.stop(0.1)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(50_000_000)
        writer.close()
    await until(lambda: not descriptors()[str(file)])


async def test_a_cancelled_thread_keeps_the_numbers_of_its_descriptors(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread sends after the cancellation: a number that another connection has by then would get its bytes."""
    begun, go, used = threading.Event(), threading.Event(), []
    real = os.sendfile

    def slow(out: int, *arguments: int) -> int:
        begun.set()
        go.wait(5)
        used.append(os.fstat(out).st_mode)  # raises for a closed one
        return real(out, *arguments)

    monkeypatch.setattr(os, "sendfile", slow)
    async with serving(answers_with(file)) as server:
        _, writer = await connect(server.address)
        writer.write(GET)
        await until(begun.is_set)
        next(iter(server.service.running)).cancel()
        await until(lambda: not server.service.running)
        go.set()
        await until(lambda: bool(used))
        writer.close()


@pytest.mark.parametrize("phase", ["open", "read"])
async def test_a_cancelled_thread_reads_from_an_open_file(
    phase: str, file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Under TLS. The file is closed after the thread, which no close has to wait for."""
    begun, go, read = threading.Event(), threading.Event(), []

    def slow(path: Path) -> OpenFile:
        opened = real(path)
        content = opened.file.read

        def gated(size: int) -> bytes:
            begun.set()
            go.wait(5)
            read.append(len(content(size)))  # raises for a closed one
            return CONTENT[:size]

        monkeypatch.setattr(opened, "file", SimpleNamespace(read=gated, close=opened.file.close))
        if phase == "open":
            gated(1)
        return opened

    real = open_file._opened
    monkeypatch.setattr(open_file, "_opened", slow)
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    async with serving(answers_with(file), tls=make(tmp_path)) as server:
        host, port = server.address.split(":")
        _, writer = await asyncio.open_connection(host, int(port), ssl=trust)
        writer.write(GET)
        await until(begun.is_set)
        next(iter(server.service.running)).cancel()
        await until(lambda: not server.service.running)
        assert descriptors()[str(file)] == 1
        go.set()
        await until(lambda: read and not descriptors()[str(file)])
        writer.close()


async def test_much_is_sent_in_little_memory(file: Path) -> None:
    with file.open("r+b") as longer:
        longer.truncate(200_000_000)
    digest = hashlib.sha256()
    async with serving(answers_with(file)) as server:
        reader, writer = await connect(server.address)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        left = 200_000_000
        while left:
            data = await reader.read(1 << 20)
            left -= len(data)
            digest.update(data)
        writer.close()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000
    expected = hashlib.sha256()
    with file.open("rb") as again:
        while data := again.read(1 << 20):
            expected.update(data)
    assert digest.digest() == expected.digest()
