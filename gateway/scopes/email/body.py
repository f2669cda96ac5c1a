"""Reads a message whole, for applications that have no use for its chunks."""

from protocols.asgi import Receive


async def whole_body(receive: Receive) -> bytes:
    """Return the message's bytes, joined."""
    chunks: list[bytes] = []
    more = True
    while more:
        event = await receive()
        chunks.append(event["body"])
        more = event["more_body"]
    return b"".join(chunks)
