"""Sends the response of a sync view as it comes."""

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler

_Next = Callable[[Any, None], Any]


class Handler(ASGIHandler):
    """Django's handler of requests, which sends each piece of a streamed response before it asks for the next one.

    Django itself makes a list of all pieces first: a file of 100 MB takes 100 MB, and a generator without an end is
    never sent.
    """

    async def run_get_response(self, request: Any) -> Any:
        """Return the response of the views."""
        return piecewise(await super().run_get_response(request))


def piecewise(response: Any) -> Any:
    """Return ``response`` with pieces that are asked for one by one, on the thread of the request."""
    if response.streaming and not response.is_async:
        response.streaming_content = _pieces(response.streaming_content)
    return response


async def _pieces(content: Iterable[bytes]) -> AsyncIterator[bytes]:
    pieces = iter(content)
    ask = sync_to_async(cast("_Next", next), thread_sensitive=True)
    while (piece := await ask(pieces, None)) is not None:
        yield piece
