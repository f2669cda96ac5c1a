"""HTTPS and WSS."""

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any

import pytest
import websockets
from contract import say
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
