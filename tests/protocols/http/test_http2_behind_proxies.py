"""HTTP/2 between HAProxy, the front end of many clients, and us; and between Chromium and us."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
from http_peer import Recorder, serving
from servers.browser import browser
from servers.certificates import make
from servers.haproxy import configured
from servers.ports import free_port

HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend front
  bind 127.0.0.1:{port}
  default_backend gateway
backend gateway
  http-reuse always
  server gateway {target} proto h2
"""


async def test_haproxy_puts_many_clients_on_few_connections() -> None:
    app = Recorder(body=b"y" * 10_000)
    async with serving(app, http2=True) as server:
        port = free_port()
        with configured(HAPROXY.format(port=port, target=server.address), port):
            async with httpx.AsyncClient(timeout=20) as client:
                url = f"http://127.0.0.1:{port}/a?b"
                sent = [client.post(url, content=bytes(size * 500)) for size in range(60)]
                answers = await asyncio.gather(*sent)
        assert {(answer.status_code, len(answer.content)) for answer in answers} == {(200, 10_000)}
        assert server.listener.counters.accepted < 60
    assert sorted(map(len, app.received)) == [size * 500 for size in range(60)]
    assert {scope["http_version"] for scope in app.scopes} == {"2"}
    assert dict(app.scopes[0]["headers"])[b"host"] == f"127.0.0.1:{port}".encode()


async def test_haproxy_keeps_a_connection_on_which_a_request_is_refused() -> None:
    async with serving(Recorder(), http2=True, max_body=1000, max_header=4096) as server:
        port = free_port()
        with configured(HAPROXY.format(port=port, target=server.address), port):
            async with httpx.AsyncClient(timeout=20) as client:
                url = f"http://127.0.0.1:{port}/"
                assert (await client.get(url)).status_code == 200
                assert (await client.get(url, headers={"x": "a" * 5000})).status_code == 431
                assert (await client.post(url, content=bytes(2000))).status_code == 413
                assert (await client.get(url)).status_code == 200
        assert server.listener.counters.accepted == 1


PAGE = b"""<!doctype html><p id=said></p><script>
async function talk() {
  const texts = await Promise.all([...Array(20).keys()].map((n) => fetch("/" + n).then((answer) => answer.text())));
  const socket = new WebSocket("wss://" + location.host + "/echo");
  socket.onopen = () => socket.send(texts.join(" "));
  socket.onmessage = (event) => { document.getElementById("said").innerText = "heard " + event.data; socket.close(); };
}
talk();
</script>"""


async def test_chromium_has_its_requests_and_a_websocket_on_one_connection(tmp_path: Path) -> None:
    seen: list[tuple[str, str]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["type"], scope["http_version"]))
        if scope["type"] == "http":
            body = PAGE if scope["path"] == "/" else scope["path"].encode()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
            await send({"type": "http.response.body", "body": body})
            return
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": event["text"]})

    def visit(port: str) -> None:
        with browser(tmp_path, flags=["--ignore-certificate-errors"]) as window:
            window.open(f"https://localhost:{port}/")
            window.shows("#said", "heard " + " ".join(f"/{number}" for number in range(20)))

    async with serving(app, http2=True, tls=make(tmp_path)) as server:
        await asyncio.to_thread(visit, server.address.split(":")[1])
    assert {version for _, version in seen} == {"2"}
    assert ("websocket", "2") in seen
