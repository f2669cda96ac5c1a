"""Tests of handlers.py, without a server. Run pytest."""

import asyncio

from gateway.testing import HttpCommunicator, WebsocketCommunicator

import handlers


async def chat(text: str) -> list[str]:
    """Two browsers connect, and the first one says something; return what each of them hears."""
    async with (
        WebsocketCommunicator(handlers.Chat, "/chat/") as one,
        WebsocketCommunicator(handlers.Chat, "/chat/") as other,
    ):
        await one.connect()
        await other.connect()
        await one.send_to(text)
        return [await one.receive_from(), await other.receive_from()]


def test_the_page_is_there() -> None:
    response = asyncio.run(HttpCommunicator(handlers.Page, "GET", "/").get_response())
    assert (response.status, response.header("content-type")) == (200, "text/html; charset=utf-8")


def test_what_one_says_all_hear() -> None:
    assert asyncio.run(chat("hello")) == ["hello", "hello"]
