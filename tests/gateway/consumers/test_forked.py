"""A process that a method of a sync consumer forks: the event loop that helpers wait for does not turn there."""

import multiprocessing
from collections.abc import Callable
from typing import Any

import pytest
from conversation import Conversation, scope

from gateway import EmailConsumer, WebsocketConsumer

LIMIT = 20.0
FORK = multiprocessing.get_context("fork")


def told_in_a_child(call: Callable[[], object]) -> str:
    """What ``call`` raises in a process that this one forks."""
    reading, writing = FORK.Pipe(duplex=False)

    def called() -> None:
        try:
            call()
        except RuntimeError as error:
            writing.send(str(error))

    child = FORK.Process(target=called)
    child.start()
    try:
        assert reading.poll(LIMIT), "the child waits"
        return str(reading.recv())
    finally:
        child.kill()
        child.join(LIMIT)


class Chat(WebsocketConsumer):
    def receive(self, text: str | None, bytes: bytes | None = None) -> None:
        self.send(told_in_a_child(lambda: self.send("from the child")))


class Help(EmailConsumer):
    def receive(self, message: Any) -> None:
        self.reject(told_in_a_child(lambda: self.reply("from the child")))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12: of a process with threads
@pytest.mark.parametrize(
    ("consumer", "kind", "events"),
    [
        (Chat, "websocket", [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "x"}]),
        (
            Help,
            "email",
            [{"type": "email.receive", "body": b"From: ann@example.com\r\n\r\nx", "more_body": False}],
        ),
    ],
)
async def test_a_helper_in_a_child_is_an_error(consumer: Any, kind: str, events: list[dict[str, Any]]) -> None:
    async with Conversation(consumer.as_asgi(), scope(kind)) as peer:
        peer.say(*events)
        said = f"a helper of {consumer.__name__} was called in a process that its method has forked"
        while said not in str(await peer.hear()):
            pass
