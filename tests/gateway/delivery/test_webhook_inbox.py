"""Webhooks end to end: a client, the HTTP server, the store, the worker, and an application that gets the request."""

import asyncio
import base64
import contextlib
import hmac
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook
from test_worker import working
from waiting import until

from gateway import AsyncHttpConsumer, Policy, ProtocolTypeRouter, URLRouter, url
from gateway.delivery.service import deliveries
from gateway.scopes.http.webhooks.github import GitHub
from gateway.scopes.http.webhooks.policy import WebhookPolicy
from gateway.scopes.http.webhooks.standard import StandardWebhooks
from gateway.scopes.http.webhooks.unsigned import Unsigned
from gateway.store import Store, StoreUnavailable
from gateway.store.sqlite import SQLiteStore
from protocols.http.server import HTTPServer
from protocols.http.settings import HTTPSettings
from protocols.secret import Secret

WHSEC = base64.b64encode(b"a secret of 24 bytes ...").decode()
ANYBODY = WebhookPolicy(inbox=True, attempts=2, backoff=0.01, verify=Unsigned())


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is looked for sooner than once a second."""
    monkeypatch.setattr("gateway.delivery.poller.LOOK_AGAIN", 0.02)


class Answers:
    """An application that answers as its requests' bodies say, and remembers them."""

    def __init__(self) -> None:
        self.seen: list[tuple[dict[str, Any], bytes]] = []

    @property
    def bodies(self) -> list[bytes]:
        return [body for _, body in self.seen]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        event = await receive()
        self.seen.append((scope, event["body"]))
        status, _, more = event["body"].decode().partition(" ")
        if status == "raise":
            raise RuntimeError(more)
        if status == "nothing":
            return
        headers = [(b"retry-after", more.encode())] if more.isdigit() else []
        await send({"type": "http.response.start", "status": int(status), "headers": headers})
        await send({"type": "http.response.body", "body": b"discarded"})
        assert (await receive())["type"] == "http.disconnect"
        if more == "then raise":
            raise RuntimeError(more)


def routed(app: Any, policy: Policy = ANYBODY) -> Any:
    return ProtocolTypeRouter({"http": URLRouter([url("^hooks/(?P<shop>[a-z]+)$", app, policy)])})


@contextlib.asynccontextmanager
async def serving(store: Store, app: Any) -> AsyncIterator[httpx.AsyncClient]:
    server = HTTPServer(app, HTTPSettings(bind="127.0.0.1:0"), name="web", state={"shared": True})
    async with server, working(store, app), httpx.AsyncClient(base_url=f"http://{server.address}/hooks") as client:
        yield client


async def dead(store: SQLiteStore) -> list[tuple[str, int, str]]:
    return [(each.subject, each.attempts, each.error) for each in await store.dead()]


async def is_done(store: SQLiteStore) -> bool:
    counts = await store.counts()
    return counts.waiting == counts.running == 0


async def test_a_request_is_answered_202_with_its_event_id_and_its_handler_gets_all_of_it(store: SQLiteStore) -> None:
    app = Answers()
    async with serving(store, routed(app)) as client:
        answer = await client.post("/shop?a=1", content=b"200", headers={"Idempotency-Key": "k1", "X-More": "yes"})
        assert (answer.status_code, answer.headers["content-type"]) == (202, "application/json")
        await until(lambda: app.seen)
        await until(lambda: is_done(store))
    scope, body = app.seen[0]
    assert body == b"200"
    assert (scope["method"], scope["path"], scope["query_string"]) == ("POST", "/hooks/shop", b"a=1")
    assert (b"x-more", b"yes") in scope["headers"]
    assert (scope["url_route"]["kwargs"], scope["state"]) == ({"shop": "shop"}, {"shared": True})
    assert scope["listener"] == "web"
    assert scope["extensions"]["webhook"] == {"id": "k1"}
    assert scope["extensions"]["delivery"]["id"] == answer.json()["id"]
    assert await dead(store) == []


async def test_a_consumer_handles_a_stored_request_as_any_other(store: SQLiteStore) -> None:
    seen: list[bytes] = []

    class Hook(AsyncHttpConsumer):
        async def handle(self, body: bytes) -> None:
            seen.append(body)
            await self.respond(b"", status=204)

    async with serving(store, routed(Hook)) as client:
        await client.post("/shop", content=b"paid")
        await until(lambda: seen == [b"paid"])
        await until(lambda: is_done(store))
    assert await dead(store) == []


@pytest.mark.parametrize(
    ("body", "runs", "error"),
    [
        ("204", 1, ""),
        ("500", 2, "its application answered 500"),
        ("503", 2, "its application answered 503"),
        ("429", 2, "its application answered 429"),
        ("404", 1, "its application answered 404"),
        ("302", 1, "its application answered 302"),
        ("raise on purpose", 2, "RuntimeError: on purpose"),
        ("200 then raise", 2, "RuntimeError: then raise"),
        ("nothing", 2, "RuntimeError: it ended without a complete response"),
        ("600", 2, "status is 600; write an integer from 200 to 599"),
    ],
)
async def test_what_comes_of_an_answer(store: SQLiteStore, body: str, runs: int, error: str) -> None:
    app = Answers()
    async with serving(store, routed(app)) as client:
        assert (await client.post("/shop", content=body)).status_code == 202
        await until(lambda: len(app.seen) == runs)
        await until(lambda: is_done(store))
    letters = await dead(store)
    assert [(subject, attempts) for subject, attempts, _ in letters] == [("http POST /hooks/shop", runs)] * bool(error)
    assert all(error in said for _, _, said in letters)


async def test_a_503_with_retry_after_is_no_failure_and_is_tried_again_when_it_says(store: SQLiteStore) -> None:
    app = Answers()
    async with serving(store, routed(app)) as client:
        await client.post("/shop", content=b"503 0")
        await until(lambda: len(app.seen) > 3)  # the policy has two attempts
    assert await dead(store) == []
    assert (await store.counts()).waiting == 1


async def test_a_repetition_is_answered_the_same_and_handled_once(store: SQLiteStore) -> None:
    app = Answers()
    async with serving(store, routed(app)) as client:

        async def post(body: bytes, key: str, path: str = "/shop") -> str:
            answer = await client.post(path, content=body, headers={"Idempotency-Key": key})
            assert answer.status_code == 202
            return str(answer.json()["id"])

        first = await post(b"200 a", "1")
        at_once = await asyncio.gather(*(post(b"200 a", "1") for _ in range(5)))
        assert set(at_once) == {first}
        others = {await post(b"200 b", "1"), await post(b"200 a", "2"), await post(b"200 a", "1", "/other")}
        assert len(others | {first}) == 4
        await until(lambda: len(app.seen) >= 4)
        await until(lambda: is_done(store))
        assert await post(b"200 a", "1") == first  # it is handled by now
    assert sorted(app.bodies) == [b"200 a", b"200 a", b"200 a", b"200 b"]


async def test_without_an_id_each_request_is_one_of_its_own(store: SQLiteStore) -> None:
    app = Answers()
    async with serving(store, routed(app)) as client:
        ids = {(await client.post("/shop", content=b"200")).json()["id"] for _ in range(3)}
        await until(lambda: len(app.seen) == 3)
    assert len(ids) == 3


async def test_the_identity_may_be_the_body_or_a_header_of_the_routes_choice(store: SQLiteStore) -> None:
    by_body = WebhookPolicy(inbox=True, verify=Unsigned(), identity="body")
    by_header = WebhookPolicy(inbox=True, verify=Unsigned(), identity="X-Order")
    routes = [url("^hooks/body$", Answers(), by_body), url("^hooks/header$", Answers(), by_header)]
    async with serving(store, ProtocolTypeRouter({"http": URLRouter(routes)})) as client:

        async def post(path: str, body: bytes, **headers: str) -> str:
            return (await client.post(path, content=body, headers=headers)).text

        one = await post("/body", b"200 a", **{"Idempotency-Key": "1"})
        assert await post("/body", b"200 a", **{"Idempotency-Key": "2"}) == one
        assert await post("/body", b"200 b", **{"Idempotency-Key": "1"}) != one
        one = await post("/header", b"200", **{"X-Order": "7"})
        assert await post("/header", b"200", **{"x-order": "7"}) == one
        assert await post("/header", b"200", **{"X-Order": "8"}) != one
        refused = "The request was refused: "
        assert await post("/header", b"200") == f"{refused}it has no X-Order header, which is the route's identity\n"
        assert await post("/header", b"200", **{"X-Order": "8" * 256}) == (
            f"{refused}its id has more than 255 characters\n"
        )


async def test_a_signed_id_is_enough_and_a_captured_request_is_handled_once(store: SQLiteStore) -> None:
    app = Answers()
    policy = WebhookPolicy(inbox=True, verify=StandardWebhooks(secret=Secret(WHSEC)))
    async with serving(store, routed(app, policy)) as client:

        async def post(body: str, id_: str, at: float) -> httpx.Response:
            when = datetime.fromtimestamp(int(at), UTC)
            signature = Webhook(WHSEC).sign(id_, when, body)
            headers = {"webhook-id": id_, "webhook-timestamp": str(int(at)), "webhook-signature": signature}
            return await client.post("/shop", content=body, headers=headers)

        now = datetime.now(UTC).timestamp()
        first = await post("200", "msg_1", now)
        assert first.status_code == 202
        assert (await post("200", "msg_1", now)).json() == first.json()
        assert (await post("200 again", "msg_1", now + 1)).json() == first.json()
        old = await post("200", "msg_2", now - 400)
        assert (old.status_code, "s behind this machine's clock" in old.text) == (403, True)
        await until(lambda: app.seen)
        await until(lambda: is_done(store))
    assert app.bodies == [b"200"]


async def test_what_is_refused_is_not_stored_and_is_one_line_without_secrets(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    app = Answers()
    policy = WebhookPolicy(inbox=True, verify=GitHub(secret=Secret("hunter2")), max_body=1000)
    signature = "sha256=" + hmac.new(b"hunter2", b"200", "sha256").hexdigest()
    async with serving(store, routed(app, policy)) as client:
        for method, body, headers, status in [
            ("GET", b"", {}, 405),
            ("POST", b"200", {}, 403),
            ("POST", b"200", {"X-Hub-Signature-256": "sha256=00"}, 403),
            ("POST", b"500", {"X-Hub-Signature-256": signature}, 403),
            ("POST", b"x" * 1001, {}, 413),
            ("POST", b"200", {"X-Hub-Signature-256": signature, "X-GitHub-Delivery": "x" * 256}, 400),
        ]:
            assert (await client.request(method, "/shop", content=body, headers=headers)).status_code == status

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(11):
                yield b"x" * 100

        assert (await client.post("/shop", content=chunks())).status_code == 413
        assert (await client.post("/shop", content=b"200", headers={"X-Hub-Signature-256": signature})).is_success
        await until(lambda: app.seen)
    assert app.bodies == [b"200"]
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 6
    assert all(line.startswith("http POST /hooks/shop from 127.0.0.1:") for line in lines)
    assert not any("hunter2" in line or signature[7:] in line for line in lines)


async def test_a_large_body_is_verified_and_stored(store: SQLiteStore) -> None:
    app, body = Answers(), b"200 " + b"x" * 3_000_000
    policy = WebhookPolicy(inbox=True, verify=GitHub(secret=Secret("k")))
    signature = "sha256=" + hmac.new(b"k", body, "sha256").hexdigest()
    async with serving(store, routed(app, policy)) as client:
        assert (await client.post("/shop", content=body, headers={"X-Hub-Signature-256": signature})).status_code == 202
        assert (await client.post("/shop", content=body + b"x", headers={"X-Hub-Signature-256": signature})).is_error
        await until(lambda: app.seen)
    assert app.bodies == [body]


async def test_a_sender_that_leaves_in_its_body_has_sent_nothing(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serving(store, routed(Answers())) as client:
        _, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(b"POST /hooks/shop HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n200")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        await until(lambda: "the sender left before its body was complete" in caplog.text)
    assert await is_done(store)
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_while_the_store_is_unavailable_the_answer_is_503_and_the_repetition_is_taken(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*arguments: Any, **more: Any) -> Any:
        raise StoreUnavailable("disk full")

    app = Answers()
    async with serving(store, routed(app)) as client:
        with monkeypatch.context() as broken:
            broken.setattr(deliveries.get().inbox, "put_once", fails)
            answer = await client.post("/shop", content=b"200", headers={"Idempotency-Key": "1"})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
        assert (await client.post("/shop", content=b"200", headers={"Idempotency-Key": "1"})).status_code == 202
        await until(lambda: app.seen)


async def test_requests_for_one_path_are_handled_in_order_where_the_route_asks_for_it(store: SQLiteStore) -> None:
    app = Answers()
    policy = WebhookPolicy(inbox=True, verify=Unsigned(), order="key")
    async with serving(store, routed(app, policy)) as client:
        for number in range(20):
            await client.post("/shop", content=f"200 {'x' * number}")
        await until(lambda: len(app.seen) == 20)
    assert [len(body) for body in app.bodies] == [4 + number for number in range(20)]


async def test_a_stored_request_whose_routes_have_changed_finds_its_new_one_through_several_routers(
    store: SQLiteStore,
) -> None:
    """No test of this file has a table of routes: as after a change of the file, each request is routed anew."""
    app = Answers()
    inner = URLRouter([url("^(?P<shop>[a-z]+)/paid$", app, ANYBODY)])
    async with serving(store, ProtocolTypeRouter({"http": URLRouter([url("^hooks/([0-9]+)/", inner)])})) as client:
        assert (await client.post("/7/shop/paid", content=b"200")).status_code == 202
        await until(lambda: app.seen)
        await until(lambda: is_done(store))
    route = app.seen[0][0]["url_route"]
    assert (route["args"], route["kwargs"]) == (("7",), {"shop": "shop"})
    assert await dead(store) == []


def test_a_policy_without_an_inbox_or_without_a_scheme_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="a policy needs inbox: true here"):
        routed(Answers(), Policy(attempts=3))
    with pytest.raises(ValueError, match="requests are stored under a WebhookPolicy"):
        routed(Answers(), Policy(inbox=True))
    with pytest.raises(ValueError, match="inbox: true needs verify"):
        WebhookPolicy(inbox=True)
    with pytest.raises(ValueError, match="verify needs inbox: true"):
        WebhookPolicy(verify=Unsigned())
