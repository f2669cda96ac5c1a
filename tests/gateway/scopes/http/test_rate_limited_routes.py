"""`max_request_rate` of a route: who gets 429, and that other clients, other routes and stored messages do not."""

import contextlib
from typing import Any

import httpx
import pytest
import websockets

from gateway import URLRouter, url
from gateway.delivery.delivery_context import DeliveryContext, current_delivery
from protocols.http.server import HTTPServer, HTTPSettings


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "hello"})
        return
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


@contextlib.asynccontextmanager
async def serving(router: Any) -> Any:
    settings = HTTPSettings(bind="127.0.0.1:0", trusted_proxies=("127.0.0.1",))
    async with HTTPServer(router, settings, state={}) as server:
        yield server


async def statuses(server: HTTPServer, path: str, client: str, number: int, **options: Any) -> list[int]:
    async with httpx.AsyncClient(headers={"x-forwarded-for": client}) as http:
        return [
            (
                await http.request(options.get("method", "GET"), f"http://{server.address}{path}", content=b"x")
            ).status_code
            for _ in range(number)
        ]


async def test_one_client_may_ask_a_route_so_often_and_others_and_other_routes_are_served() -> None:
    router = URLRouter([url("^login/$", app, max_request_rate=2), url("^", app)])
    async with serving(router) as server:
        assert await statuses(server, "/login/", "192.0.2.7", 4, method="POST") == [200, 200, 429, 429]
        assert await statuses(server, "/login/", "192.0.2.8", 2) == [200, 200]
        assert await statuses(server, "/", "192.0.2.7", 4) == [200] * 4
        assert await statuses(server, "/login/", "2001:db8::1", 1) == [200]
        assert await statuses(server, "/login/", "2001:db8::2", 2) == [200, 429]
        assert await statuses(server, "/login/", "127.0.0.9", 4) == [200] * 4
        async with httpx.AsyncClient(headers={"x-forwarded-for": "192.0.2.7"}) as http:
            refused = await http.get(f"http://{server.address}/login/")
    assert (refused.text, refused.headers.get("connection")) == ("Too Many Requests", None)
    assert 1 <= int(refused.headers["retry-after"]) <= 30


async def test_a_websocket_above_the_limit_is_denied_with_429(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with serving(URLRouter([url("^chat/$", app, max_request_rate=1)])) as server:
        to: Any = {"uri": f"ws://{server.address}/chat/", "additional_headers": {"x-forwarded-for": "192.0.2.7"}}
        async with websockets.connect(**to) as socket:
            assert await socket.recv() == "hello"
        with pytest.raises(websockets.InvalidStatus) as denied:
            await websockets.connect(**to)
    assert denied.value.response.status_code == 429
    assert int(denied.value.response.headers["retry-after"]) >= 1
    assert "more than max_request_rate requests a minute from 192.0.2.7; answered 429" in caplog.text


async def test_a_server_without_denial_responses_closes_and_a_made_up_client_is_served() -> None:
    (route,) = URLRouter([url("^", app, max_request_rate=1)]).routes
    sent: list[Any] = []

    async def send(event: Any) -> None:
        sent.append(event["type"])

    async def run(type_: str, client: Any) -> str:
        sent.clear()
        scope = {"type": type_, "path": "/", "method": "GET", "client": client, "headers": [], "extensions": {}}
        await route.run(scope, send, send)
        return str(sent[0])

    assert [await run("websocket", ("192.0.2.7", 1)) for _ in range(2)] == ["websocket.accept", "websocket.close"]
    for client in (None, ("testclient", 50000), ("/run/g.sock", None), ("::1", 1)):
        assert [await run("http", client) for _ in range(3)] == ["http.response.start"] * 3
    assert await run("websocket", ("192.0.2.7", 1)) == "websocket.close"
    current_delivery.set(DeliveryContext(2))  # what comes from the store was counted when it arrived
    assert await run("websocket", ("192.0.2.7", 1)) == "websocket.accept"


@pytest.mark.parametrize("rate", [-1, True, "5", 1.5])
def test_a_rate_that_is_no_number_of_requests_is_an_error(rate: Any) -> None:
    with pytest.raises(ValueError, match="max_request_rate is a number of requests a minute"):
        url("^", app, max_request_rate=rate)
