"""Which texts are answered, and what becomes of an opt-out."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from conversation import Conversation, scope

from gateway import AsyncSMSConsumer, SMSConsumer
from gateway.consumers.answering import Answering, answering
from gateway.consumers.text_guard import SAME, TextGuard
from gateway.services import entered
from gateway.testing import InMemoryGateway, SMSCommunicator


class Plain(SMSConsumer):
    def receive(self, text: str, media: Any) -> None:
        self.reply(f"received {text} {self.answerable}")


class Awaiting(AsyncSMSConsumer):
    async def receive(self, text: str, media: Any) -> None:
        await self.reply(f"received {text} {self.answerable}")


FORMS = pytest.mark.parametrize("form", [Plain, Awaiting])


class Thanks(AsyncSMSConsumer):
    async def receive(self, text: str, media: Any) -> None:
        await self.reply("Thank you!")


class Echo(AsyncSMSConsumer):
    async def receive(self, text: str, media: Any) -> None:
        await self.reply(text)


async def answers(app: Any, text: str = "hi", opt: str | None = None, **keys: Any) -> list[str]:
    async with Conversation(app.as_asgi(), scope("sms", **keys)) as peer:
        peer.say({"type": "sms.receive", "text": text, "media": [], **({"opt": opt} if opt else {})})
        await peer.end()
        return [event["text"] for event in peer.heard()]


@pytest.fixture
def guard() -> Any:
    clock = [0.0]
    made = TextGuard(frozenset({"+44 7700 900555"}), lambda: clock[0])
    made.clock = clock  # type: ignore[attr-defined]
    with entered({answering: Answering(texts=made)}):
        yield made


async def test_two_programs_that_thank_each_other_stop(guard: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    numbers, texts, sent = ["+447700900111", "+447700900222"], ["hi"], 0
    while texts and sent < 100:
        texts = await answers(Thanks, texts[0], sender=numbers[0], recipient=numbers[1])
        numbers.reverse()
        sent += len(texts)
    assert sent == 6  # three each
    assert guard.prevented[SAME] == 1
    (record,) = [record for record in caplog.records if "not answered" in record.getMessage()]
    assert record.levelno == logging.WARNING
    assert (
        "not answered: its sender has had this answer 3 times within an hour; is it a program?" in record.getMessage()
    )


async def test_the_log_warns_once_in_a_row_and_counts_each(guard: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(6):
        await answers(Thanks)
    said = [record.levelname for record in caplog.records if "not answered" in record.getMessage()]
    assert said == ["WARNING", "INFO", "INFO"]
    assert guard.prevented[SAME] == 3


async def test_after_an_hour_the_sender_is_answered_again(guard: Any) -> None:
    assert [len(await answers(Thanks)) for _ in range(4)] == [1, 1, 1, 0]
    guard.clock[0] = 3601.0
    assert len(await answers(Thanks)) == 1


async def test_different_answers_have_a_limit_of_their_own(guard: Any) -> None:
    sent = [len(await answers(Echo, f"text {number}")) for number in range(22)]
    assert sent == [1] * 20 + [0, 0]
    assert guard.prevented["rate"] == 2
    assert len(await answers(Echo, "text", sender="+447700900124")) == 1  # another sender
    assert len(await answers(Echo, "text", recipient="+447700900998")) == 1  # another number of ours


async def test_the_limits_are_the_consumers(guard: Any) -> None:
    class Chatty(Thanks):
        same_answers_per_hour = 5
        answers_per_hour = 4

    assert [len(await answers(Chatty)) for _ in range(6)] == [1, 1, 1, 1, 0, 0]

    class Silent(Thanks):
        answers_per_hour = 0

    assert await answers(Silent, sender="+447700900124") == []


async def test_an_attempt_that_is_made_again_counts_once(guard: Any) -> None:
    again = {"extensions": {"delivery": {"id": "aaaaaaaaaaaa"}}}
    assert [len(await answers(Thanks, **again)) for _ in range(9)] == [1] * 9
    assert [len(await answers(Thanks)) for _ in range(3)] == [1, 1, 0]


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"sender": "+447700900555"}, "own_number"),
        ({"sender": "0044 7700 900555"}, "own_number"),
        ({"sender": "+15005550006", "recipient": "+15005550006"}, "own_number"),
        ({"sender": "HDFCBK"}, "alphanumeric"),
        ({"sender": "PAY247"}, "alphanumeric"),
        ({"opt": "out"}, "opt"),
        ({"opt": "help"}, "opt"),
    ],
)
@FORMS
async def test_what_is_never_answered(guard: Any, form: Any, keys: Any, reason: str, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    assert await answers(form, "STOP", **keys) == []
    assert guard.prevented == {**dict.fromkeys(guard.prevented, 0), reason: 1}
    assert len([message for message in caplog.messages if "not answered: " in message]) == 1


@pytest.mark.parametrize("sender", ["68849", "+447700900123", "whatsapp:+447700900123", "ann@example.org"])
async def test_who_can_be_answered_is(guard: Any, sender: str) -> None:
    assert await answers(Thanks, sender=sender) == ["Thank you!"]


async def test_a_receipt_is_never_answered() -> None:
    class Desk(AsyncSMSConsumer):
        async def status(self, message: Any) -> None:
            await self.reply("Thank you for delivering")

    receipt = SMSCommunicator(Desk.as_asgi(), status="delivered", message_id="1", sender="ACME")
    with pytest.raises(Exception, match="a delivery receipt cannot be answered"):
        await receipt.get_verdict()
    assert receipt.replies == []


class Subscriptions(AsyncSMSConsumer):
    async def receive(self, text: str, media: Any) -> None:
        await self.reply(f"received {text}")

    async def opt_out(self, text: str) -> None:
        await self.reply(f"out {text}")

    async def opt_in(self, text: str) -> None:
        await self.reply(f"in {text}")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("STOP", "out STOP"),
        ("Stop!", "out Stop!"),
        ("unsubscribe", "out unsubscribe"),
        ("start", "in start"),
        ("Cancel my order", "received Cancel my order"),
        ("YES", "received YES"),
        ("help", "received help"),
    ],
)
async def test_an_opt_out_has_a_method(guard: Any, text: str, answer: str) -> None:
    assert await answers(Subscriptions, text) == [answer]


async def test_what_the_provider_says_counts_more_than_the_word(guard: Any) -> None:
    calls: list[str] = []

    class Noted(Subscriptions):
        async def reply(self, text: str, media: Any = ()) -> None:
            calls.append(text)

    await answers(Noted, "basta", opt="out")
    await answers(Noted, "STOP", opt="in")
    await answers(Noted, "STOP", opt="help")
    assert calls == ["out basta", "in STOP", "received STOP"]


@FORMS
async def test_without_the_method_receive_gets_the_opt_out(guard: Any, form: Any) -> None:
    assert await answers(form, "STOP") == ["received STOP True"]


def test_a_misspelt_opt_out_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="opt_uot is never called; did you mean opt_out"):

        class Wrong(SMSConsumer):
            def receive(self, text: str, media: Any) -> None: ...

            def opt_uot(self, text: str) -> None: ...


FILE = """
servers:
  web: {protocol: http, bind: 127.0.0.1:0}
  texts: {protocol: sms, provider: generic, on: web, path: /sms, secret: "0123456789abcdef", number: "+447700900999"}
routes:
  sms: guard_handlers.Thanks
"""


async def test_the_numbers_of_the_file_are_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gateway.yaml").write_text(FILE)
    (tmp_path / "guard_handlers.py").write_text(
        "from gateway import SMSConsumer\n\n\nclass Thanks(SMSConsumer):\n"
        "    def receive(self, text, media):\n        self.reply('Thank you!')\n"
    )
    async with InMemoryGateway(tmp_path / "gateway.yaml") as gateway:
        for sender, number in (("+447700900999", 0), ("+447700900123", 1)):
            text = gateway.sms("hi", sender, "+447700900998")
            await text.get_verdict()
            assert len(text.replies) == number


async def test_very_many_senders_take_little_memory(guard: Any) -> None:
    for number in range(12_000):
        guard.over(scope("sms", sender=f"+4477{number:08d}"), "hi", str(number), 3, 20)
        if number % 1000 == 0:
            await asyncio.sleep(0)
    assert len(guard._all._recent) <= 5000
    assert len(guard._same._recent) <= 5000
