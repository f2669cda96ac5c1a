"""Handlers that the golden cases name."""

from typing import Any

LIMIT = 3


async def on_mail(scope: Any, receive: Any, send: Any) -> None: ...


async def on_order(scope: Any, receive: Any, send: Any) -> None: ...
