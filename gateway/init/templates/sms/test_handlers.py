"""Tests of handlers.py, without a server: asgiref plays it. Run pytest."""

import asyncio
from typing import Any

import handlers
import pytest
from asgiref.testing import ApplicationCommunicator

SCOPE = {"type": "sms", "sender": "+447700900123", "recipient": "+447700900999", "country": "GB", "extensions": {}}


async def receive(text: str) -> dict[str, Any]:
    """Deliver one text; return the first event that the handler sends."""
    provider = ApplicationCommunicator(handlers.Answer.as_asgi(), SCOPE)
    await provider.send_input({"type": "sms.receive", "text": text, "media": []})
    return await provider.receive_output(timeout=5)


@pytest.mark.parametrize(("text", "answer"), [("Hours", "9 to 17"), ("Hello", "Write HOURS")])
def test_a_text_is_answered(text: str, answer: str) -> None:
    assert answer in asyncio.run(receive(text))["text"]
