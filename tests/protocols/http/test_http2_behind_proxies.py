"""HTTP/2 between HAProxy, the front end of many clients, and us; and between Chromium and us."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
from http_peer import Recorder, serving
from servers.browser import browser
from servers.certificates import make
from servers.haproxy import configured
from servers.nginx import Nginx
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


async def test_haproxy_loses_no_request_when_its_connections_have_had_their_share() -> None:
    """It repeats none here: a POST that is lost is a 502 for its client."""
    app = Recorder()
    async with serving(app, http2=True, max_requests_per_connection=5) as server:
        port = free_port()
        config = HAPROXY.replace("mode http", "mode http\n  retries 0").format(port=port, target=server.address)
        with configured(config, port):
            async with httpx.AsyncClient(timeout=20) as client:
                url = f"http://127.0.0.1:{port}/"
                for _ in range(5):
                    answers = await asyncio.gather(*(client.post(url, content=bytes(1000)) for _ in range(40)))
                    assert {answer.status_code for answer in answers} == {200}
        assert server.listener.counters.accepted >= 200 / 40
    assert len(app.received) == 200


NGINX = """
location / {{
    proxy_pass http://{target};
    proxy_http_version 1.1;
    proxy_set_header Connection "";
}}
location /grpc {{
    grpc_pass grpc://gateway;
    grpc_set_header TE trailers;
}}
"""
UPSTREAM = "client_max_body_size 100m; upstream gateway {{ server {target}; keepalive 4; }}"


async def test_nginx_speaks_http_2_with_its_clients_and_with_us(tmp_path: Path) -> None:
    """``grpc_pass`` is nginx' client of HTTP/2. Clients of either kind of connection come by HTTP/2."""
    seen: list[tuple[str, str, int]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        size = 0
        while (event := await receive())["type"] == "http.request":
            size += len(event["body"])
            if not event["more_body"]:
                break
        seen.append((scope["http_version"], scope["path"], size))
        has_trailers = "http.response.trailers" in scope["extensions"]
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": has_trailers})
        await send({"type": "http.response.body", "body": bytes(size)})
        if has_trailers:
            await send({"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]})

    async with serving(app, http2=True) as server:
        place = {"target": server.address}
        nginx = Nginx(tmp_path / "nginx", 0, location=NGINX.format(**place), more=UPSTREAM.format(**place), http2=True)
        try:
            async with httpx.AsyncClient(http1=False, http2=True, timeout=20) as client:
                sizes = [0, 1, 70_000, 3_000_000]
                paths = [f"{start}{size}" for size in sizes for start in ("/", "/grpc/")]
                sent = [
                    client.post(f"http://127.0.0.1:{nginx.port}{path}", content=bytes(int(path.rpartition("/")[2])))
                    for path in paths
                ]
                answers = await asyncio.gather(*sent)
        finally:
            nginx.close()
        assert server.listener.counters.accepted <= len(sent)
    assert {(each.status_code, each.http_version) for each in answers} == {(200, "HTTP/2")}
    assert [len(each.content) for each in answers] == [size for size in sizes for _ in range(2)]
    assert sorted(seen) == sorted(
        ("2" if "grpc" in path else "1.1", path, int(path.rpartition("/")[2])) for path in paths
    )


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
