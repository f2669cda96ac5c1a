"""Parts of long texts that come by themselves."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from waiting import until

from protocols.errors import RemoteProtocolError
from protocols.sms import long_texts
from protocols.sms.long_texts import LongTexts
from protocols.sms.provider import Part, Reply, TextMessage

WORDS = {1: "one ", 2: "two ", 3: "three"}


def part(number: int, total: int = 3, reference: str = "r", id_: str = "") -> TextMessage:
    place = Part(reference, number, total)
    return TextMessage("+447700900123", "12345", id_ or f"{reference}{number}", WORDS.get(number, "x"), part=place)


class Handler:
    """Keeps the texts that it gets, and returns ``results`` one after the other, then no replies."""

    def __init__(self, *results: Sequence[Reply] | None) -> None:
        self.results = list(results)
        self.texts: list[TextMessage] = []

    async def __call__(self, text: TextMessage) -> Sequence[Reply] | None:
        self.texts.append(text)
        return self.results.pop(0) if self.results else []


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def give(texts: LongTexts, message: TextMessage, run: Any) -> "asyncio.Task[Any]":
    assert message.part is not None
    return asyncio.ensure_future(texts.handle(message, message.part, run))


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2), (2, 3, 1), (3, 2, 2, 1)])
async def test_parts_in_any_order_are_one_text_and_have_one_answer(order: tuple[int, ...]) -> None:
    texts, handler = LongTexts("texts"), Handler()
    assert await asyncio.gather(*(give(texts, part(number), handler) for number in order)) == [[] for _ in order]
    [text] = handler.texts
    assert (text.text, text.complete, text.part, text.message_id, text.segments) == (
        "one two three",
        True,
        None,
        "r1",
        3,
    )


async def test_a_part_that_comes_again_later_has_the_same_answer_and_no_run() -> None:
    texts, handler = LongTexts("texts"), Handler()
    await asyncio.gather(*(give(texts, part(number), handler) for number in (1, 2, 3)))
    assert await give(texts, part(2), handler) == []
    assert len(handler.texts) == 1


async def test_the_replies_are_in_the_answer_of_one_part_also_when_that_comes_again() -> None:
    reply = Reply(part(1), "thanks")
    texts, handler = LongTexts("texts"), Handler([reply])
    assert await asyncio.gather(*(give(texts, part(number), handler) for number in (1, 3, 2))) == [[], [], [reply]]
    assert [await give(texts, part(number), handler) for number in (1, 2, 3)] == [[], [reply], []]


async def test_after_a_failure_one_part_that_comes_again_begins_another_run() -> None:
    texts, handler = LongTexts("texts"), Handler(None)
    assert await asyncio.gather(*(give(texts, part(number), handler) for number in (1, 2, 3))) == [None] * 3
    assert await give(texts, part(3), handler) == []
    assert [text.text for text in handler.texts] == ["one two three"] * 2


async def test_a_reference_that_is_used_again_begins_another_text() -> None:
    texts, handler = LongTexts("texts"), Handler()
    await asyncio.gather(*(give(texts, part(number), handler) for number in (1, 2, 3)))
    await asyncio.gather(*(give(texts, part(number, id_=f"new{number}"), handler) for number in (1, 2, 3)))
    assert [text.message_id for text in handler.texts] == ["r1", "new1"]


async def test_without_repetitions_an_incomplete_text_is_delivered_with_a_mark_and_a_late_part_by_itself() -> None:
    texts, handler = LongTexts("texts", patience=0.02), Handler()
    assert await asyncio.gather(*(give(texts, part(number), handler) for number in (1, 3))) == [[], []]
    assert await give(texts, part(2), handler) == []
    assert [(text.text, text.complete) for text in handler.texts] == [("one three", False), ("two ", False)]


async def test_with_repetitions_nothing_is_handled_until_all_is_there_or_the_time_is_over() -> None:
    clock = Clock()
    texts, handler = LongTexts("texts", clock=clock), Handler()
    waiting = give(texts, part(1), handler)
    await asyncio.sleep(0)
    waiting.cancel()  # as the webhook does when its time is over: the provider gets 503
    await asyncio.wait([waiting])
    assert handler.texts == []
    clock.now = long_texts.KEEP + 1
    assert await give(texts, part(1), handler) == []
    assert [(text.text, text.complete) for text in handler.texts] == [("one ", False)]


async def test_a_run_that_is_cancelled_asks_for_all_parts_again() -> None:
    texts = LongTexts("texts")
    begun = asyncio.Event()

    async def hangs(text: TextMessage) -> Sequence[Reply] | None:
        begun.set()
        await asyncio.Event().wait()
        return []

    first = give(texts, part(1, 2), hangs)
    await asyncio.sleep(0)
    second = give(texts, part(2, 2), hangs)
    await begun.wait()
    second.cancel()
    assert await first is None


async def test_the_oldest_of_too_many_texts_makes_room_and_is_asked_for_again(monkeypatch: Any) -> None:
    monkeypatch.setattr(long_texts, "MOST_TEXTS", 10)
    texts, handler = LongTexts("texts"), Handler()
    waiting = [give(texts, part(1, reference=f"r{number}"), handler) for number in range(15)]
    await until(lambda: sum(task.done() for task in waiting) == 5)
    assert [task.result() for task in waiting[:5]] == [None] * 5
    assert handler.texts == []
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)


async def test_what_parts_hold_in_memory_has_a_bound(monkeypatch: Any) -> None:
    monkeypatch.setattr(long_texts, "MOST_CHARACTERS", 100)
    texts, handler = LongTexts("texts"), Handler()
    waiting = [give(texts, part(9, 9, reference=f"r{number}"), handler) for number in range(101)]
    await until(lambda: waiting[0].done())
    assert waiting[0].result() is None
    assert not waiting[-1].done()
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)


@pytest.mark.parametrize(("number", "total"), [(0, 3), (4, 3), (-1, 3), (1, 0), (1, 256)])
def test_a_part_without_a_place_in_its_text_is_malformed(number: int, total: int) -> None:
    with pytest.raises(RemoteProtocolError):
        Part("r", number, total)
