"""Tests of handlers.py, without a server. Run pytest."""

import asyncio

import pytest
from gateway.testing import SMSCommunicator

import handlers


@pytest.mark.parametrize(("text", "answer"), [("Hours", "9 to 17"), ("Hello", "Write HOURS")])
def test_a_text_is_answered(text: str, answer: str) -> None:
    sender = SMSCommunicator(handlers.Answer, text)
    assert asyncio.run(sender.get_verdict())["type"] == "sms.accept"
    (reply,) = sender.replies
    assert answer in reply.text
