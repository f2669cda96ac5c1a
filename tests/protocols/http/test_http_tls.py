"""HTTPS and WSS."""

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any

import pytest
import websockets
from contract import LIMIT, say
from http_peer import GET, read_answer, serving
from servers.certificates import make
from servers.programs import program
from waiting import until

from protocols.errors import BindError
from protocols.http.server import HTTPServer, HTTPSettings
from protocols.net.listener import TLS


async def run(*command: str) -> bytes:
    process = await asyncio.create_subprocess_exec(program(command[0]), *command[1:], stdout=-1, stderr=-1)
    out, err = await process.communicate()
    assert process.returncode == 0, err
    return out


@pytest.fixture
async def tls(tmp_path: Path) -> TLS:
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    await run(
        *(
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "1",
            "-keyout",
            key,
            "-out",
            certificate,
        ),
        *("-subj", "/O=A, B/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
    )
    return TLS(certificate, key, client_ca=certificate)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": scope["scheme"]})
        return
    await send({"type": "http.response.start", "status": 200})
    told = {"scheme": scope["scheme"], **scope["extensions"]["tls"]}
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})


async def test_curl_with_a_client_certificate(tls: TLS) -> None:
    async with serving(app, tls=tls) as server:
        url = f"https://localhost:{server.address.split(':')[1]}/"
        told = json.loads(
            await run(
                "curl", "-sS", "-4", "--cacert", tls.certificate, "--cert", tls.certificate, "--key", tls.key, url
            )
        )
    assert (told["scheme"], told["tls_version"]) == ("https", 0x0304)
    assert told["client_cert_name"] == "CN=localhost,O=A\\, B"
    assert told["client_cert_chain"][0].startswith("-----BEGIN CERTIFICATE-----")


async def test_wss_and_bytes_that_are_no_tls(tls: TLS, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(app, tls=TLS(tls.certificate, tls.key)) as server:
        assert b"HTTP" not in await say(server.address, GET)
        context = ssl.create_default_context(cafile=tls.certificate)
        url = f"wss://localhost:{server.address.split(':')[1]}/"
        async with websockets.connect(url, ssl=context, host="127.0.0.1") as socket:
            assert await socket.recv() == "wss"
    assert [record for record in caplog.records if record.exc_info] == []


async def test_a_missing_certificate_is_one_sentence(tmp_path: Path) -> None:
    settings = HTTPSettings(bind="127.0.0.1:0", tls=TLS(str(tmp_path / "none"), str(tmp_path / "none")))
    with pytest.raises(BindError, match="No such file"):
        await HTTPServer(app, settings, state={}).start()


@pytest.mark.parametrize("secure", [False, True])
async def test_a_client_that_still_sends_when_its_answer_comes_is_not_reset(tmp_path: Path, *, secure: bool) -> None:
    """With a reset it could lose the answer, which may still be in its buffers."""
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    async with serving(app, tls=make(tmp_path) if secure else None, max_body=1000) as server:
        host, port = server.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port), ssl=trust if secure else None)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        answer = await read_answer(reader)
        for _ in range(10):
            writer.write(b"x" * 10_000)
            await writer.drain()
            await asyncio.sleep(0.01)
        writer.close()
        await until(lambda: not server.service.connections)
    assert (answer.status, answer["connection"]) == (413, "close")


def text_of(path: str) -> str:
    return Path(path).read_text()


def write(path: str, text: str) -> None:
    Path(path).write_text(text)


SUITES = {"TLS_AES_128_GCM_SHA256": 0x1301, "TLS_AES_256_GCM_SHA384": 0x1302, "ECDHE-RSA-AES128-GCM-SHA256": 0xC02F}


@pytest.mark.parametrize(
    ("version", "suite"),
    [
        (ssl.TLSVersion.TLSv1_3, "TLS_AES_256_GCM_SHA384"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES128-GCM-SHA256"),
    ],
)
@pytest.mark.parametrize("presents", [True, False])
async def test_the_tls_extension_of_both_scopes(
    tls: TLS, version: ssl.TLSVersion, suite: str, *, presents: bool
) -> None:
    """Every key of the extension, as OpenSSL on the other side sees the connection."""
    scopes: list[Any] = []

    async def seen(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await app(scope, receive, send)

    context = ssl.create_default_context(cafile=tls.certificate)
    context.maximum_version = version
    if version is ssl.TLSVersion.TLSv1_2:
        context.set_ciphers(suite)
    if presents:
        context.load_cert_chain(tls.certificate, tls.key)
    settings = tls if presents else TLS(tls.certificate, tls.key)
    async with serving(seen, tls=settings) as server:
        port = server.address.split(":")[1]
        async with websockets.connect(f"wss://localhost:{port}/", ssl=context, host="127.0.0.1") as socket:
            assert await socket.recv() == "wss"
            assert socket.transport.get_extra_info("cipher")[0] == suite
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port), ssl=context, server_hostname="localhost")
        writer.write(GET)
        assert (await read_answer(reader)).status == 200
        writer.close()
    own = text_of(tls.certificate)
    assert [scope["type"] for scope in scopes] == ["websocket", "http"]
    for scope in scopes:
        assert scope["extensions"]["tls"] == {
            "server_cert": own,
            "client_cert_chain": [own] if presents else [],
            "client_cert_name": "CN=localhost,O=A\\, B" if presents else None,
            "client_cert_error": None,
            "tls_version": {ssl.TLSVersion.TLSv1_2: 0x0303, ssl.TLSVersion.TLSv1_3: 0x0304}[version],
            "cipher_suite": SUITES[suite],
        }


async def test_a_client_whose_certificate_is_not_valid_reaches_no_application(tls: TLS, tmp_path: Path) -> None:
    async def never(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    stranger = make(tmp_path, "stranger")
    context = ssl.create_default_context(cafile=tls.certificate)
    context.load_cert_chain(stranger.certificate, stranger.key)
    async with serving(never, tls=tls) as server:
        url = f"wss://localhost:{server.address.split(':')[1]}/"
        with pytest.raises((OSError, websockets.InvalidMessage)):  # an alert, or the end after it
            await websockets.connect(url, ssl=context, host="127.0.0.1", open_timeout=LIMIT)


async def test_the_certificate_in_the_scope_is_the_one_in_use(tls: TLS, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after it was renewed, with the key in the same file and a chain behind it."""
    monkeypatch.setattr("protocols.net.tls.CHECK_INTERVAL", 0)
    plain = TLS(tls.certificate, tls.key)
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE

    async def told() -> Any:
        host, port = server.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port), ssl=trust)
        presented = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.write(GET)
        answer = await read_answer(reader)
        writer.close()
        return json.loads(answer.body)["server_cert"], ssl.DER_cert_to_PEM_cert(presented)

    async with serving(app, tls=plain) as server:
        before, presented = await told()
        assert before == presented
        renewed = make(Path(tls.certificate).parent, "renewed")
        certificate, key = text_of(renewed.certificate), text_of(renewed.key)
        write(tls.key, key)
        write(tls.certificate, key + certificate + before)
        after, presented = await told()
        assert after == presented == certificate != before
