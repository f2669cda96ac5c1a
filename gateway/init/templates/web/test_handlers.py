"""Tests of handlers.py, without a server: asgiref plays it. Run pytest."""

import asyncio

import handlers
from asgiref.testing import ApplicationCommunicator

HTTP = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
WEBSOCKET = {"type": "websocket", "path": "/chat/", "headers": [], "query_string": b"", "subprotocols": []}


async def get() -> bytes:
    browser = ApplicationCommunicator(handlers.Page.as_asgi(), HTTP)
    await browser.send_input({"type": "http.request", "body": b"", "more_body": False})
    assert (await browser.receive_output(timeout=5))["status"] == 200
    return (await browser.receive_output(timeout=5))["body"]


async def connect() -> ApplicationCommunicator:
    browser = ApplicationCommunicator(handlers.Chat.as_asgi(), WEBSOCKET)
    await browser.send_input({"type": "websocket.connect"})
    assert (await browser.receive_output(timeout=5))["type"] == "websocket.accept"
    return browser


async def chat(text: str) -> list[str]:
    """Two browsers connect, and the first one says something; return what each of them hears."""
    browsers = [await connect(), await connect()]
    await browsers[0].send_input({"type": "websocket.receive", "text": text})
    heard = [(await browser.receive_output(timeout=5))["text"] for browser in browsers]
    for browser in browsers:
        await browser.send_input({"type": "websocket.disconnect", "code": 1000})
        await browser.wait(timeout=5)
    return heard


def test_the_page_is_there() -> None:
    assert b"<title>Chat</title>" in asyncio.run(get())


def test_what_one_says_all_hear() -> None:
    assert asyncio.run(chat("hello")) == ["hello", "hello"]
