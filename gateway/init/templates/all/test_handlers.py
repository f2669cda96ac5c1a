"""Tests of handlers.py, without a server. Run pytest."""

import asyncio

import pytest
from gateway import TopicRouter, topic
from gateway.testing import (
    EmailCommunicator,
    HttpCommunicator,
    MqttCommunicator,
    SMSCommunicator,
    WebsocketCommunicator,
)

import handlers

devices = TopicRouter([topic("sensors/{room}/temperature", handlers.Thermometer)])


@pytest.fixture(autouse=True)
def _nothing_measured() -> None:
    handlers.temperatures.clear()


async def watch(payload: str) -> list[str]:
    """Open the page, publish as a device, and return what the page has shown."""
    async with WebsocketCommunicator(handlers.Live, "/live/") as page, MqttCommunicator(devices) as device:
        await page.connect()
        shown = [await page.receive_from()]
        await device.connect()
        await device.publish("sensors/hall/temperature", payload)
        return [*shown, await page.receive_from()]


def test_a_reading_is_acknowledged_and_shown() -> None:
    assert asyncio.run(watch("21.5")) == ["Nothing has been measured yet.", "hall: 21.5 °C"]


def test_what_is_not_a_number_is_not_acknowledged() -> None:
    with pytest.raises(ValueError, match="could not convert"):
        asyncio.run(watch("warm"))


def test_a_mail_is_answered() -> None:
    handlers.temperatures.update(hall=20)
    mail = EmailCommunicator(handlers.AnswerMail, subject="Warm?", text="How warm is it?")
    asyncio.run(mail.get_verdict())
    assert [answer.text.strip() for answer in mail.outbox.mails] == ["hall: 20.0 °C"]


def test_a_text_is_answered() -> None:
    handlers.temperatures.update(hall=20)
    sender = SMSCommunicator(handlers.AnswerText, "Warm?")
    asyncio.run(sender.get_verdict())
    assert [answer.text for answer in sender.replies] == ["hall: 20.0 °C"]


def test_the_page_is_there() -> None:
    assert asyncio.run(HttpCommunicator(handlers.Page, "GET", "/").get_response()).status == 200
