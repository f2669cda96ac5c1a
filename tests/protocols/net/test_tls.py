"""Certificates that change while a listener serves."""

import asyncio
import logging
import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from servers.certificates import make

from protocols.errors import BindError
from protocols.net.listener import Listener
from protocols.net.tls import CHECK_INTERVAL, TLS, Certificate, client_context

LIMIT = 10.0


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[attr-defined]


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("protocols.net.tls.time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


@pytest.fixture
def tls(tmp_path: Path) -> TLS:
    first = make(tmp_path, "first")
    used = TLS(str(tmp_path / "used.pem"), str(tmp_path / "used.key"))
    put(first, used)
    return used


def put(pair: TLS, place: TLS) -> None:
    """As who renews certificates does: new files in place of the old ones."""
    for source, target in ((pair.certificate, place.certificate), (pair.key, place.key)):
        shutil.copy(source, f"{target}.new")
        os.replace(f"{target}.new", target)


@pytest.fixture
async def listener(tls: TLS) -> AsyncIterator[Listener]:
    listener = Listener("127.0.0.1:0", tls=tls, alpn=["http/1.1"])
    await listener.start(Echo, count=lambda: 0, limit=10)
    yield listener
    listener.stop()


def anyone() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def dial(listener: Listener, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    port = int(listener.address.rpartition(":")[2])
    async with asyncio.timeout(LIMIT):
        return await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"here")
    async with asyncio.timeout(LIMIT):
        assert await reader.readexactly(4) == b"here"


async def shown(listener: Listener) -> bytes | None:
    """The certificate that a new connection is shown."""
    _, writer = await dial(listener, anyone())
    try:
        return writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.close()
        await writer.wait_closed()


def der(pair: TLS) -> bytes:
    return ssl.PEM_cert_to_DER_cert(Path(pair.certificate).read_text())


async def test_new_files_are_for_new_connections_and_the_old_ones_go_on(
    clock: Clock, tls: TLS, listener: Listener, tmp_path: Path
) -> None:
    old, second = der(tls), make(tmp_path, "second")
    streams = await dial(listener, anyone())
    put(second, tls)
    assert await shown(listener) == old  # it has looked less than a second ago
    clock.now += CHECK_INTERVAL
    assert await shown(listener) == der(second)
    await echo(*streams)
    streams[1].close()


async def test_a_broken_pair_changes_nothing_and_is_one_line(
    clock: Clock, tls: TLS, listener: Listener, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "protocols.net.tls")
    old, second = der(tls), make(tmp_path, "second")
    shutil.copy(second.certificate, tls.certificate)  # its key is not there yet
    for _ in range(3):
        clock.now += CHECK_INTERVAL
        assert await shown(listener) == old
    [line] = caplog.records
    assert line.levelname == "ERROR"
    assert "used.key is not the key of" in line.getMessage()
    shutil.copy(second.key, tls.key)
    for _ in range(3):
        clock.now += CHECK_INTERVAL
        assert await shown(listener) == der(second)
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    os.unlink(tls.key)
    clock.now += CHECK_INTERVAL
    assert await shown(listener) == der(second)
    assert "No such file" in caplog.records[-1].getMessage()


@pytest.mark.parametrize("part", ["certificate", "client_ca"])
def test_a_file_that_goes_while_it_is_read_changes_nothing(
    clock: Clock, tls: TLS, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authorities = tmp_path / "authorities.pem"
    shutil.copy(tls.certificate, authorities)
    certificate = Certificate(replace(tls, client_ca=str(authorities)))
    context = certificate.context()
    path = Path(getattr(certificate.tls, part))
    path.touch()
    monkeypatch.setattr("protocols.net.tls._check_readable", lambda *paths: str(path) in paths and path.unlink())
    clock.now += CHECK_INTERVAL
    assert certificate.context() is context


def test_a_pair_that_is_as_it_was_is_not_read_again(clock: Clock, tls: TLS) -> None:
    certificate = Certificate(tls)
    context = certificate.context()
    clock.now += CHECK_INTERVAL
    assert certificate.context() is context
    Path(tls.certificate).touch()
    assert certificate.context() is context
    clock.now += CHECK_INTERVAL
    assert certificate.context() is not context


async def test_other_authorities_are_asked_of_new_connections(clock: Clock, tls: TLS, tmp_path: Path) -> None:
    first, second = make(tmp_path, "ann"), make(tmp_path, "bob")
    authorities = tmp_path / "clients.pem"
    shutil.copy(first.certificate, authorities)
    listener = Listener("127.0.0.1:0", tls=replace(tls, client_ca=str(authorities)))
    await listener.start(Echo, count=lambda: 0, limit=10)
    ann, bob = anyone(), anyone()
    ann.load_cert_chain(first.certificate, first.key)
    bob.load_cert_chain(second.certificate, second.key)
    streams = await dial(listener, ann)
    await echo(*streams)
    assert await refused(listener, bob)
    shutil.copy(second.certificate, authorities)
    clock.now += CHECK_INTERVAL
    assert await refused(listener, ann)
    others = await dial(listener, bob)
    await echo(*others)
    await echo(*streams)
    for _, writer in (streams, others):
        writer.close()
    listener.stop()


async def refused(listener: Listener, context: ssl.SSLContext) -> bool:
    """TLS 1.3's client hears of it after its own handshake."""
    try:
        reader, writer = await dial(listener, context)
    except OSError:
        return True
    try:
        async with asyncio.timeout(LIMIT):
            return not await reader.read(1)
    except OSError:
        return True
    finally:
        writer.close()


@pytest.mark.parametrize(("offered", "chosen"), [(["h2", "http/1.1"], "http/1.1"), (["h2"], None), ([], None)])
async def test_alpn_is_answered_and_not_asked_for(listener: Listener, offered: list[str], chosen: str | None) -> None:
    context = anyone()
    if offered:
        context.set_alpn_protocols(offered)
    streams = await dial(listener, context)
    assert streams[1].get_extra_info("ssl_object").selected_alpn_protocol() == chosen
    await echo(*streams)
    streams[1].close()


def test_nothing_older_than_tls_1_2(tls: TLS) -> None:
    assert tls.context().minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_key_with_a_password_is_an_error_and_asks_nobody(tls: TLS) -> None:
    command = ["openssl", "ec", "-in", tls.key, "-aes128", "-passout", "pass:secret", "-out", f"{tls.key}.locked"]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(BindError, match="TLS"):
        replace(tls, key=f"{tls.key}.locked").context()


@pytest.mark.parametrize("part", ["certificate", "key", "client_ca"])
def test_the_file_that_is_missing_is_named(tls: TLS, part: str) -> None:
    with pytest.raises(BindError, match=r"^TLS: /none\.pem: No such file or directory$"):
        replace(tls, **{part: "/none.pem"}).context()


def test_authorities_that_are_none(tls: TLS) -> None:
    with pytest.raises(BindError, match=r"^TLS: .*used\.key: it contains no certificate; it must be a PEM file$"):
        replace(tls, client_ca=tls.key).context()
    with pytest.raises(BindError, match=r"^TLS: .*used\.key: it contains no certificate"):
        client_context(tls.key)


def test_a_pair_that_is_none(tls: TLS) -> None:
    with pytest.raises(BindError, match=r"^TLS: .*used\.key, .*used\.pem: both must be PEM files, and the key must"):
        TLS(tls.key, tls.certificate).context()


def test_a_clients_files(tls: TLS) -> None:
    assert client_context(tls.certificate, tls.certificate, tls.key).check_hostname
    with pytest.raises(BindError, match=r"^TLS: /none\.pem: No such file"):
        client_context(None, "/none.pem", tls.key)
