"""What a handler keeps of a conversation with one sender of texts."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway import AsyncSMSConsumer
from gateway.consumers import conversation
from gateway.consumers.conversation import MAX_STATE
from gateway.testing import InMemoryGateway, SMSCommunicator

HANDLERS = """
import asyncio
from gateway import AsyncSMSConsumer, SMSConsumer

def counted(state):
    return {**state, "texts": state.get("texts", 0) + 1}

class Votes(SMSConsumer):
    same_answers_per_hour = answers_per_hour = 1000
    conversation_ttl = 3600

    def receive(self, text, media):
        if text == "end":
            self.update_conversation(lambda state: {})
        elif text == "look":
            self.reply(str(self.load_conversation().get("texts", 0)))
        else:
            self.reply(str(self.update_conversation(counted)["texts"]))

    def status(self, message):
        self.update_conversation(lambda state: {**state, "texts": 100})

class AsyncVotes(AsyncSMSConsumer):
    same_answers_per_hour = answers_per_hour = 1000
    conversation_ttl = 3600

    async def receive(self, text, media):
        if text == "end":
            await self.update_conversation(lambda state: {})
        elif text == "look":
            await self.reply(str((await self.load_conversation()).get("texts", 0)))
        else:
            state = await self.update_conversation(counted)
            await self.reply(str(state["texts"]))

    async def status(self, message):
        await self.update_conversation(lambda state: {**state, "texts": 100})

class Atomic(SMSConsumer):
    def receive(self, text, media):
        try:
            self.update_conversation(counted)
        except LookupError as error:
            self.reply(str(error))
"""
FILE = """
servers:
  web: {{protocol: http, bind: 127.0.0.1:0}}
  texts: {{protocol: sms, provider: generic, on: web, path: /sms, secret: "0123456789abcdef"}}
routes:
  sms: {target}
{store}
"""
STORE = "store: sqlite:var/gateway.db"


def gateway_of(folder: Path, target: str, store: str = STORE) -> InMemoryGateway:
    (folder / "gateway.yaml").write_text(FILE.format(target=target, store=store))
    (folder / "conversing.py").write_text(HANDLERS)
    return InMemoryGateway(folder / "gateway.yaml")


@pytest.fixture(params=["Votes", "AsyncVotes"])
async def gateway(tmp_path: Path, request: Any) -> AsyncIterator[InMemoryGateway]:
    async with gateway_of(tmp_path, f"conversing.{request.param}") as made:
        yield made


async def text(gateway: InMemoryGateway, said: str = "1", *parties: str, **keys: Any) -> str:
    before = len(gateway.outbox.texts)
    await gateway.sms(said, *parties, **keys).get_verdict()
    return ", ".join(reply.text for reply in gateway.outbox.texts[before:])


async def test_a_conversation_goes_on_from_text_to_text(gateway: InMemoryGateway) -> None:
    assert [await text(gateway) for _ in range(3)] == ["1", "2", "3"]
    assert await text(gateway, "look") == "3"
    await text(gateway, "end")
    assert await text(gateway, "look") == "0"
    assert await text(gateway) == "1"


async def test_each_sender_and_each_number_of_ours_has_its_own(gateway: InMemoryGateway) -> None:
    ours, other = "+447700900999", "+447700900998"
    assert await text(gateway, "1", "+447700900123", ours) == "1"
    assert await text(gateway, "1", "+447700900124", ours) == "1"
    assert await text(gateway, "1", "+447700900123", other) == "1"
    assert await text(gateway, "1", "00447700900123", "+44 7700 900999") == "2"  # the same two, written otherwise


async def test_a_receipt_belongs_to_the_conversation_of_its_text(gateway: InMemoryGateway) -> None:
    await gateway.sms(status="delivered", message_id="1").get_verdict()
    assert await text(gateway) == "101"


async def test_texts_at_once_lose_no_change(gateway: InMemoryGateway) -> None:
    await asyncio.gather(*(text(gateway) for _ in range(200)))
    assert sorted(int(reply.text) for reply in gateway.outbox.texts) == list(range(1, 201))


async def test_a_conversation_expires_after_its_last_change(gateway: InMemoryGateway) -> None:
    await text(gateway)
    await gateway.move_time(3000)
    assert await text(gateway) == "2"
    await gateway.move_time(3000)
    assert await text(gateway, "look") == "2"
    await gateway.move_time(700)
    assert await text(gateway, "look") == "0"
    assert await gateway.store.execute("SELECT count(*) FROM notes") == [(1,)]
    await gateway.store.purge(now=gateway.store.now())
    assert await gateway.store.execute("SELECT count(*) FROM notes") == [(0,)]


async def test_the_store_shows_no_numbers_in_keys(gateway: InMemoryGateway) -> None:
    await text(gateway)
    ((key,),) = await gateway.store.execute("SELECT key FROM notes")
    assert key.startswith("conversation:")
    assert "447700900" not in key


async def test_a_gateway_without_a_store_says_what_to_write(tmp_path: Path) -> None:
    async with gateway_of(tmp_path, "conversing.Votes", store="") as gateway:
        arrived = gateway.sms("1")
        with pytest.raises(LookupError, match="update_conversation: the gateway has no store; write store: sqlite:"):
            await arrived.get_verdict()


async def test_a_route_with_a_transaction_keeps_none(tmp_path: Path) -> None:
    async with gateway_of(tmp_path, "{app: conversing.Atomic, attempts: 2, atomic: true}") as gateway:
        assert "a route with atomic: true keeps no conversation" in await text(gateway)


@pytest.mark.parametrize(
    ("made", "error", "sentence"),
    [
        (lambda state: None, TypeError, "the function returned None; return the whole state"),
        (lambda state: state.update(a=1), TypeError, "the function returned None"),
        (lambda state: {"a": object()}, TypeError, "the state is not JSON"),
        (lambda state: {"a": float("nan")}, TypeError, "the state is not JSON"),
        (lambda state: {"a": "x" * MAX_STATE}, ValueError, "bytes, and at most 16384 are kept"),
        (lambda state: 1 / 0, ZeroDivisionError, "division"),
    ],
)
async def test_a_wrong_state_is_one_sentence_and_changes_nothing(
    gateway: InMemoryGateway, made: Any, error: Any, sentence: str
) -> None:
    await text(gateway)

    class Wrong(AsyncSMSConsumer):
        async def receive(self, text: str, media: Any) -> None:
            await self.update_conversation(made)

    surroundings = gateway._surroundings()
    with pytest.raises(error, match=sentence):
        await SMSCommunicator(Wrong.as_asgi(), "1", surroundings=surroundings).get_verdict()
    assert await text(gateway, "look") == "1"


@pytest.mark.parametrize("ttl", [0, -1, 31 * 86400, float("nan")])
async def test_a_wrong_time_is_refused(gateway: InMemoryGateway, ttl: float) -> None:
    class Wrong(AsyncSMSConsumer):
        conversation_ttl = ttl

        async def receive(self, text: str, media: Any) -> None:
            await self.update_conversation(lambda state: {"a": 1})

    with pytest.raises(ValueError, match="conversation_ttl is"):
        await SMSCommunicator(Wrong.as_asgi(), "1", surroundings=gateway._surroundings()).get_verdict()


async def test_a_text_whose_changes_always_come_too_late_ends(
    gateway: InMemoryGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "_TRIES", 15)
    calls: list[Any] = []

    class Slow(AsyncSMSConsumer):
        async def receive(self, text: str, media: Any) -> None:
            await self.update_conversation(change)

    def change(state: Any) -> Any:
        calls.append(state)
        return {"mine": True}

    noted = gateway.store.noted

    async def other_first(keys: Any) -> Any:
        found = await noted(keys)
        await gateway.store.note(keys[0], json.dumps({"theirs": len(calls)}).encode(), ttl=60)
        return found

    gateway.store.noted = other_first
    with pytest.raises(RuntimeError, match="other texts of this sender change the conversation all the time"):
        await SMSCommunicator(Slow.as_asgi(), "1", surroundings=gateway._surroundings()).get_verdict()
    assert len(calls) == 15
