"""Handlers that the golden cases name."""

from typing import Any

from gateway import AsyncEmailConsumer, AsyncMqttConsumer

LIMIT = 3


async def on_mail(scope: Any, receive: Any, send: Any) -> None: ...


async def on_order(scope: Any, receive: Any, send: Any) -> None: ...


class Tickets(AsyncEmailConsumer):
    async def receive(self, message: Any, ticket: str, queue: str = "") -> None: ...


class Orders(AsyncMqttConsumer):
    async def receive(self, topic: str, payload: bytes, order: str) -> None: ...


def view(request: Any) -> Any: ...


def wsgi(environ: Any, start_response: Any) -> Any: ...


def handle(message: Any) -> None: ...


def asgi2(scope: Any) -> Any: ...
