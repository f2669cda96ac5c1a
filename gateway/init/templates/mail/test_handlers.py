"""Tests of handlers.py, without a server: asgiref plays it. Run pytest."""

import asyncio
from typing import Any

import handlers
from asgiref.testing import ApplicationCommunicator

SCOPE = {
    "type": "email",
    "mail_from": "ann@example.net",
    "rcpt_to": ["hello@example.org"],
    "headers": [],
    "extensions": {},
}


async def deliver(text: str) -> dict[str, Any]:
    """Deliver one mail; return the first event that the handler sends."""
    mail = f"From: ann@example.net\r\nTo: hello@example.org\r\nSubject: Hi\r\n\r\n{text}\r\n"
    sender = ApplicationCommunicator(handlers.Hello.as_asgi(), SCOPE)
    await sender.send_input({"type": "email.receive", "body": mail.encode(), "more_body": False})
    return await sender.receive_output(timeout=5)


def test_a_mail_is_answered() -> None:
    answer = asyncio.run(deliver("How are you?"))
    assert answer["rcpt_to"] == ["ann@example.net"]
    assert b"You wrote 3 words" in answer["message"]


def test_an_empty_mail_is_rejected() -> None:
    assert asyncio.run(deliver(""))["type"] == "email.reject"
