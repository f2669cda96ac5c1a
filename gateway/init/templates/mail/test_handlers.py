"""Tests of handlers.py, without a server. Run pytest."""

import asyncio

from gateway.testing import EmailCommunicator

import handlers


def test_a_mail_is_answered() -> None:
    mail = EmailCommunicator(handlers.Hello, subject="Hi", text="How are you?")
    assert asyncio.run(mail.get_verdict())["type"] == "email.accept"
    (answer,) = mail.outbox.mails
    assert answer.to == ["ann@example.net"]
    assert "You wrote 3 words" in answer.text


def test_an_empty_mail_is_rejected() -> None:
    mail = EmailCommunicator(handlers.Hello, subject="Hi")
    assert asyncio.run(mail.get_verdict())["type"] == "email.reject"
    assert not mail.outbox
