"""Tests of the whole gateway: gateway.yaml with its routes and handlers, in memory. Run pytest."""

import asyncio
from pathlib import Path

import pytest
from gateway.testing import InMemoryGateway

import handlers

FILE = Path(__file__).with_name("gateway.yaml")


@pytest.fixture(autouse=True)
def _nothing_measured() -> None:
    handlers.temperatures.clear()


async def watch(payload: str) -> list[str]:
    """Open the page, publish as a device, and return what the page has shown."""
    async with InMemoryGateway(FILE) as house, house.websocket("/live/") as page, house.mqtt("hall-1") as device:
        await page.connect()
        shown = [await page.receive_from()]
        await device.connect()
        await device.publish("sensors/hall/temperature", payload)
        return [*shown, await page.receive_from()]


async def write(text: str) -> list[str]:
    """Send the house a mail, and return the answers."""
    async with InMemoryGateway(FILE) as house:
        await house.email("house@example.org", subject="Warm?", text=text).get_verdict()
        await house.settle()  # the route has a policy: the answer leaves by the outbox
        return [answer.text.strip() for answer in house.outbox.mails]


async def text(text: str) -> list[str]:
    """Send the house a text, and return the answers."""
    async with InMemoryGateway(FILE) as house:
        sender = house.sms(text)
        await sender.get_verdict()
        return [answer.text for answer in sender.replies]


async def get(path: str) -> int:
    async with InMemoryGateway(FILE) as house:
        return (await house.http("GET", path).get_response()).status


def test_a_reading_is_acknowledged_and_shown() -> None:
    assert asyncio.run(watch("21.5")) == ["Nothing has been measured yet.", "hall: 21.5 °C"]


def test_what_is_not_a_number_is_not_acknowledged() -> None:
    with pytest.raises(ValueError, match="could not convert"):
        asyncio.run(watch("warm"))


def test_a_mail_and_a_text_are_answered() -> None:
    handlers.temperatures.update(hall=20)
    assert asyncio.run(write("How warm is it?")) == ["hall: 20.0 °C"]
    assert asyncio.run(text("How warm is it?")) == ["hall: 20.0 °C"]


def test_there_is_one_page() -> None:
    assert [asyncio.run(get("/")), asyncio.run(get("/other"))] == [200, 404]
