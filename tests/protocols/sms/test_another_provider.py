"""A provider is one file beside the others. This one has a key that is fetched, and everything else that a few have."""

import asyncio
import json
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from servers import courier_provider
from servers.command import run
from servers.courier_provider import Courier, CourierSettings
from servers.gateway_process import GatewayProcess
from servers.ports import free_port
from servers.provider import Provider, provider
from servers.site import ROOT
from servers.web import listening
from waiting import until

from protocols.secret import Secret
from protocols.sms import PROVIDERS, SMSWebhook, TextMessage, fetching
from protocols.sms.fetching import Fetcher
from protocols.sms.provider import Request

PRIVATE = "07" * 32
HANDLERS = """
async def app(scope, receive, send):
    event = await receive()
    if event["type"] == "sms.receive":
        said = [scope["provider"], scope["sender"], scope["sender_type"], event["text"]]
        await send({"type": "sms.send", "text": " ".join(said)})
"""
FILE = """servers:
  web: {{protocol: http, bind: "127.0.0.1:{port}"}}
  texts:
    protocol: sms
    provider: courier
    on: web
    path: /hooks/courier
    key_host: {url}
    private_key: "{private}"
    api_url: {url}/texts
routes:
  sms: {{app: courier_handlers.app}}
"""


def settings_of(host: str) -> CourierSettings:
    return CourierSettings(on="web", path="/hooks/courier", key_host=host, private_key=Secret(PRIVATE), api_url=host)


PUBLIC = Courier(settings_of("")).public_key


async def test_one_file_in_the_folder_is_a_provider_from_the_file_to_the_reply(tmp_path: Path) -> None:
    for package in ("gateway", "protocols"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(courier_provider.__file__, tmp_path / "protocols" / "sms" / "providers" / "courier.py")
    here = {"PYTHONPATH": str(tmp_path)}
    async with provider((200, PUBLIC)) as peer:
        config = FILE.format(port=free_port(), url=peer.url, private=PRIVATE)
        daemon = GatewayProcess(tmp_path, "courier_handlers", HANDLERS, config, **here)
        daemon.start()
        try:
            await until(lambda: "try:  gateway send sms" in daemon.output() or daemon.ended())
            command = ("send", "sms", "+447700900123", "hello", "--to", "+447700900999")
            sent = await asyncio.to_thread(run, tmp_path, *command, **here)
            assert sent.returncode == 0, sent.stdout + daemon.output()
            await until(lambda: len(peer.posts) == 2)
        finally:
            daemon.stop(signal.SIGTERM)
    assert peer.posts[0][0] == "/key"
    assert json.loads(peer.posts[1][2]) == {
        "from": "+447700900999",
        "to": "+447700900123",
        "text": "courier +447700900123 number hello",
    }


class Hook:
    """The webhook of a courier whose keys are at ``peer``."""

    def __init__(self, peer: Provider) -> None:
        self.peer = peer
        self.scopes: list[Any] = []
        self.events: list[Any] = []
        self.webhook = SMSWebhook(self._app, settings_of(peer.url))
        self.courier: Any = self.webhook.provider

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        self.events.append(await receive())

    async def post(self, items: Sequence[Any], **changes: str) -> httpx.Response:
        request = self.courier.signed("http://hook.test/hooks/courier", items)
        return await self.send(request, **changes)

    async def send(self, request: Request, **changes: str) -> httpx.Response:
        headers = dict(request.headers) | {name.replace("_", "-"): value for name, value in changes.items()}
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(self.webhook), base_url="http://hook.test"
        ) as client:
            return await client.post("/hooks/courier", content=request.body, headers=headers)


@pytest.fixture
async def hook(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hook]:
    monkeypatch.setitem(PROVIDERS, "courier", Courier)
    async with provider((200, PUBLIC)) as peer:
        made = Hook(peer)
        yield made
        await made.webhook.stop(1)


def text(id_: str, said: str = "hello", **more: Any) -> dict[str, Any]:
    return {"from": "447700900123", "to": "12345", "id": id_, "text": said, **more}


async def test_a_key_is_fetched_once_for_requests_at_the_same_time_and_later(hook: Hook) -> None:
    answers = await asyncio.gather(*(hook.post([text(str(number))]) for number in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert (await hook.post([text("later")])).status_code == 200
    assert [post[0] for post in hook.peer.posts] == ["/key"]
    assert len(hook.scopes) == 51


async def test_the_missing_plus_is_added_to_numbers_and_not_to_short_codes(hook: Hook) -> None:
    await hook.post([text("1")])
    [scope] = hook.scopes
    assert (scope["sender"], scope["sender_e164"], scope["recipient"]) == ("+447700900123", "+447700900123", "12345")


async def test_one_request_brings_texts_receipts_and_a_confirmation_and_the_answer_sees_it(hook: Hook) -> None:
    receipt = {"from": "12345", "to": "447700900123", "id": "3", "status": "delivered"}
    items = [text("1"), {"confirm": f"{hook.peer.url}/confirmed"}, receipt, text("2")]
    answer = await hook.post(items, x_challenge="echo this")
    assert (answer.status_code, answer.text) == (200, "echo this")
    assert [event["type"] for event in hook.events] == ["sms.receive", "sms.status", "sms.receive"]
    assert [post[0] for post in hook.peer.posts] == ["/key", "/confirmed"]


async def test_a_confirmation_that_fails_asks_for_another_try(hook: Hook) -> None:
    hook.peer.answers = [(200, PUBLIC), (500, "")]
    assert (await hook.post([{"confirm": f"{hook.peer.url}/confirmed"}])).status_code == 503


async def test_parts_of_a_long_text_are_one_scope(hook: Hook) -> None:
    parts = [text(str(number), f"{number} ", part=["r", number, 3]) for number in (2, 3, 1)]
    answers = await asyncio.gather(*(hook.post([part]) for part in parts))
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert [event["text"] for event in hook.events] == ["1 2 3 "]


async def test_the_reply_to_a_long_text_leaves_once(hook: Hook) -> None:
    async def replies(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "sms.send", "text": "thanks"})

    hook.webhook.app = replies
    await asyncio.gather(*(hook.post([text(str(number), part=["r", number, 3])]) for number in (1, 2, 3)))
    await until(lambda: not hook.webhook.active())
    assert [post[0] for post in hook.peer.posts] == ["/key", "/"]


async def test_nothing_of_a_batch_of_101_is_handled_and_an_empty_one_is_fine(hook: Hook) -> None:
    assert (await hook.post([text(str(number)) for number in range(101)])).status_code == 400
    assert hook.scopes == []
    assert (await hook.post([])).status_code == 200


async def test_a_changed_body_and_a_key_of_someone_else_have_the_providers_own_refusal(hook: Hook) -> None:
    request = hook.courier.signed("http://hook.test/", [text("1")])
    for at in range(0, len(request.body), 7):
        changed = bytearray(request.body)
        changed[at] ^= 1
        assert (await hook.send(Request("POST", request.url, request.headers, bytes(changed)))).status_code == 401
    assert (await hook.send(request, x_key_url="https://example.org/key")).status_code == 401
    assert (await hook.send(request, x_signature="\x7f\x00")).status_code == 401
    assert hook.scopes == []
    assert [post[0] for post in hook.peer.posts] == ["/key"]


@pytest.mark.parametrize("answer", [(404, ""), (302, ""), (200, "x" * (fetching.LONGEST + 1)), (500, "")])
async def test_a_key_that_cannot_be_had_asks_for_another_try_and_redirects_are_not_followed(
    hook: Hook, answer: tuple[int, str]
) -> None:
    hook.peer.answers = [answer]
    assert (await hook.post([text("1")])).status_code == 503
    assert [post[0] for post in hook.peer.posts] == ["/key"]
    hook.peer.answers = [(200, PUBLIC)]
    assert (await hook.post([text("1")])).status_code == 200


async def test_a_server_of_keys_that_hangs_is_waited_for_within_the_time(
    hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT", 0.05)
    hook.peer.hangs = True
    assert (await hook.post([text("1")])).status_code == 503
    hook.peer.resume()
    assert (await hook.post([text("1")])).status_code == 200


async def test_a_key_that_trickles_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def trickles(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.01)

    monkeypatch.setattr(fetching, "TIMEOUT", 0.1)
    app = web.Application()
    app.router.add_get("/key", trickles)
    async with listening(app) as url:
        assert await Fetcher("texts").key(f"{url}/key") is None


async def test_requests_that_name_ever_other_keys_fetch_few_in_a_minute_and_one_that_is_kept_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetching, "MOST_A_MINUTE", 20)
    now = 0.0
    async with provider((200, "key")) as peer:
        fetcher = Fetcher("texts", lambda: now)
        found = [await fetcher.key(f"{peer.url}/{number}") for number in range(30)]
        assert found == [b"key"] * 20 + [None] * 10
        assert await fetcher.key(f"{peer.url}/19") == b"key"
        now = 61.0
        assert await fetcher.key(f"{peer.url}/29") == b"key"
        assert len(peer.posts) == 21
        now = fetching.KEEP + 62
        assert await fetcher.key(f"{peer.url}/29") == b"key"
        assert len(peer.posts) == 22  # a key is not kept for ever


async def test_requests_that_name_ever_other_keys_fetch_eight_at_a_time() -> None:
    async with provider((200, "key")) as peer:
        peer.hangs = True
        fetcher = Fetcher("texts")
        waiting = [asyncio.ensure_future(fetcher.key(f"{peer.url}/{number}")) for number in range(20)]
        await until(lambda: peer.waiting == 8 and sum(task.done() for task in waiting) == 12)
        peer.resume()
        assert await asyncio.gather(*waiting) == [b"key"] * 8 + [None] * 12


async def test_all_parts_of_a_text_may_be_in_one_request(hook: Hook) -> None:
    assert (
        await hook.post([text(str(number), f"{number} ", part=["r", number, 3]) for number in (3, 1, 2)])
    ).is_success
    assert [event["text"] for event in hook.events] == ["1 2 3 "]


@pytest.mark.parametrize("part", [[1], ["r", 0, 3], ["r", 1, 999], None, ["r", "1", "3"], 5])
async def test_a_request_that_the_providers_file_cannot_read_is_a_400_and_one_line(
    hook: Hook, part: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await hook.post([text("1", part=part)])).status_code == 400
    assert len([record for record in caplog.records if record.name == "protocols.sms.webhook"]) == 1


async def test_stopping_ends_what_is_being_fetched(hook: Hook) -> None:
    hook.peer.hangs = True
    waiting = asyncio.ensure_future(hook.post([text("1")]))
    await until(lambda: hook.peer.waiting == 1)
    await hook.webhook.stop(0)
    assert waiting.done() or (await asyncio.wait([waiting], timeout=10))[0]
    hook.peer.resume()


async def test_a_handler_is_not_waited_for_longer_than_the_provider_waits(
    hook: Hook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Courier, "deadline", 0.6)

    async def hangs(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    made = SMSWebhook(hangs, settings_of(hook.peer.url), name="texts")
    await made.start()
    assert "sms texts: timeout is 0.1 s, because courier waits for 0.6 s" in caplog.text
    hook.webhook = made
    hook.courier = made.provider
    assert (await hook.post([text("1")])).status_code == 503


def test_a_sample_is_a_request_that_the_webhook_takes() -> None:
    signed = Courier(settings_of("http://127.0.0.1")).sign("http://x/", TextMessage("+447700900123", "1", "id", "hi"))
    assert json.loads(signed.body) == [{"from": "447700900123", "to": "1", "id": "id", "text": "hi"}]
