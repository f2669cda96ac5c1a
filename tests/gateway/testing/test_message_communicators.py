"""Mails and texts: one message, its verdict, and what is answered."""

from email.message import EmailMessage
from typing import Any

import pytest

from gateway import AsyncEmailConsumer, EmailConsumer, EmailToRouter, SMSConsumer, SMSFromRouter, address, phone
from gateway.testing import EmailCommunicator, SMSCommunicator
from protocols import LocalProtocolError


class Desk(EmailConsumer):
    def receive(self, message: Any) -> None:
        if message.subject == "spam":
            self.reject("no, thank you", code=554)
        elif message.subject == "later":
            self.defer("busy", retry_after=30)
        elif message.subject == "crash":
            raise KeyError("order")
        else:
            self.reply(f"You wrote: {message.text.strip()}, and {len(message.attachments)} files")


desk = EmailToRouter([address("help@example.org", Desk)])


async def test_a_mail_is_accepted_and_answered() -> None:
    mail = EmailCommunicator(desk, subject="Printer", text="It burns.", attachments=[("a.txt", b"a")])
    assert await mail.get_verdict() == {"type": "email.accept"}
    [answer] = mail.outbox.mails
    assert (answer.rcpt_to, answer.subject) == (["ann@example.net"], "Re: Printer")
    assert "You wrote: It burns., and 1 files" in answer.text
    assert await mail.get_verdict() == {"type": "email.accept"}, "it is delivered once"


async def test_verdicts() -> None:
    spam = await EmailCommunicator(desk, subject="spam").get_verdict()
    assert spam == {"type": "email.reject", "code": 554, "reason": "no, thank you"}
    later = await EmailCommunicator(desk, subject="later").get_verdict()
    assert (later["type"], later["retry_after"]) == ("email.defer", 30)
    stranger = await EmailCommunicator(desk, to="nobody@example.org").get_verdict()
    assert stranger["type"] == "email.reject"
    with pytest.raises(KeyError, match="order"):
        await EmailCommunicator(desk, subject="crash").get_verdict(timeout=3600)


async def test_a_verdict_for_each_recipient() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "email.reject", "rcpt_to": ["b@example.org"]})

    mail = EmailCommunicator(app, to=["Ann <a@example.org>", "b@example.org"], cc=["c@example.org"])
    assert mail.scope["rcpt_to"] == ["a@example.org", "b@example.org", "c@example.org"]
    verdicts = [(await mail.get_verdict(each))["type"] for each in mail.scope["rcpt_to"]]
    assert verdicts == ["email.accept", "email.reject", "email.accept"]
    assert (await mail.get_verdict())["type"] == "email.accept"


async def test_a_message_as_it_stands() -> None:
    class Reads(AsyncEmailConsumer):
        async def receive(self, message: Any) -> None:
            subjects.append(
                (message.subject, message.raw.count(b"\r\n"), self.scope["mail_from"], self.scope["rcpt_to"])
            )

    subjects: list[Any] = []
    standard = EmailMessage()
    standard["Subject"] = "of the standard library"
    standard.set_content("text")
    for message in (b"Subject: bytes\r\n\r\ntext\r\n", "Subject: text\n\ntext\n", standard):
        await EmailCommunicator(Reads, "<x@y.org>", message=message, mail_from="", rcpt_to=["z@y.org"]).get_verdict()
    assert [subject for subject, *_ in subjects] == ["bytes", "text", "of the standard library"]
    assert all(rest[1:] == ["", ["z@y.org"]] or rest[1:] == ("", ["z@y.org"]) for _, *rest in subjects)


async def test_two_verdicts_are_an_error_at_the_handler_s_line() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "email.accept"})
        await send({"type": "email.reject"})

    with pytest.raises(LocalProtocolError, match="there is a verdict"):
        await EmailCommunicator(app).get_verdict()


class Texts(SMSConsumer):
    def receive(self, text: str, media: Any) -> None:
        if text == "stop":
            self.reject("stopped")
        else:
            self.reply(f"{text}? {len(media)} pictures from {self.scope['country']}")

    def status(self, message: Any) -> None:
        statuses.append((message["message_id"], message["status"], message["error"]))


statuses: list[Any] = []
texts = SMSFromRouter([phone("+44", Texts)])


async def test_a_text_is_answered() -> None:
    text = SMSCommunicator(texts, "temp", "+442079460123", media=["https://example.org/a.jpg"])
    assert await text.get_verdict() == {"type": "sms.accept"}
    assert [(each.text, each.to) for each in text.replies] == [("temp? 1 pictures from GB", None)]
    assert (await SMSCommunicator(texts, "stop").get_verdict())["reason"] == "stopped"
    assert (await SMSCommunicator(texts, "hello", "+15550100").get_verdict())["type"] == "sms.reject"


async def test_a_receipt() -> None:
    receipt = SMSCommunicator(texts, status="failed", message_id="SM1", error="30003")
    assert await receipt.get_verdict() == {"type": "sms.accept"}
    assert statuses == [("SM1", "failed", "30003")]
    statuses.clear()
