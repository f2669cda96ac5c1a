"""What every store engine keeps. An engine's tests inherit it and give it one fixture::

    class TestSQLiteStore(StoreContract):
        @pytest.fixture
        def engine(self, tmp_path: Path) -> Engine:
            return engine_of(f"sqlite:{tmp_path}/gateway.db")

It names a place in which there is no store yet. Two stores of one engine are what two processes have.
"""

import asyncio
import itertools
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest
from waiting import until

from gateway.store import (
    Engine,
    Holdings,
    Message,
    MessageState,
    Outgoing,
    OutgoingSummary,
    Search,
    Store,
    StoreUnavailable,
    Summary,
)
from gateway.store.values import KEEP, LONGEST_ERROR

NOW = 1_800_000_000.0
_numbers = itertools.count(1)


def a_message(id: str = "", **fields: Any) -> Message:
    id = id or f"m{next(_numbers)}"
    given: dict[str, Any] = {
        "type": "mqtt",
        "route": "mqtt sensors",
        "key": id,
        "received": NOW,
        "content": b"\x00\xff 21.5",
    }
    return Message(**({"id": id, "subject": "mqtt d1 -> t"} | given | fields))


def ids(messages: Sequence[Message | Summary]) -> list[str]:
    return [message.id for message in messages]


def summary_of(message: Message, state: MessageState) -> Summary:
    fields = {key: value for key, value in asdict(message).items() if key not in ("content", "alone", "priority")}
    return Summary(**fields, size=len(message.content), state=state)


class StoreContract:
    @pytest.fixture
    async def store(self, engine: Engine) -> AsyncIterator[Store]:
        store = engine.store()
        assert await store.open() == ""
        yield store
        await store.close()

    @pytest.fixture
    async def other(self, engine: Engine, store: Store) -> AsyncIterator[Store]:
        """A second process's."""
        other = engine.store()
        assert await other.open() == ""
        yield other
        await other.close()

    # The engine.

    async def test_the_engine_knows_whether_there_is_a_store_and_makes_none(self, engine: Engine) -> None:
        assert not engine.exists()
        assert list(engine.faults()) == []
        assert not engine.exists()
        store = engine.store()
        assert not engine.exists()
        await store.open()
        assert engine.exists()
        assert list(engine.faults()) == [], "also while a process has it open"
        await store.close()
        assert engine.exists()

    async def test_a_store_that_is_not_open_keeps_nothing(self, engine: Engine) -> None:
        store = engine.store()
        with pytest.raises(StoreUnavailable, match="not open"):
            await store.put(a_message())

    async def told(self, store: Store, event: str) -> list[str]:
        return [step.what for step in await store.history(event)]

    # Messages.

    async def test_what_is_put_is_taken_as_it_was(self, store: Store) -> None:
        message = a_message(key="topic/1", subject="mail \u20ac -> x")
        await store.put(message)
        assert await store.get(message.id) == message
        assert await store.take(10, now=NOW) == [replace(message, attempts=1)]
        assert await store.take(10, now=NOW) == []

    async def test_text_that_is_no_unicode_is_kept_readably(self, store: Store) -> None:
        await store.put(a_message("s1", subject="mail caf\udce9 \x00", key="k\udcff"))
        (message,) = await store.take(1, now=NOW)
        assert message.subject == "mail caf\\udce9 \\x00"
        await store.dead_letter(message, error="E: \udce9")
        assert (await store.dead())[0].error == "E: \\udce9"

    async def test_a_higher_priority_is_taken_first_and_the_oldest_of_each(self, store: Store) -> None:
        for number, priority in enumerate((0, -100, 5, 100, 0, -1, 100, 5)):
            await store.put(a_message(f"r{number}", priority=priority))
        assert ids(await store.take(3, now=NOW)) == ["r3", "r6", "r2"]
        assert ids(await store.take(9, now=NOW)) == ["r7", "r0", "r4", "r5", "r1"]

    async def test_a_route_that_is_full_is_passed_over_for_its_own_scope_type(self, store: Store) -> None:
        full = [("task", "queue a b"), ("task", "queue 'ü")]
        for number, (kind, route) in enumerate((*full, ("mqtt", "queue a b"), ("task", "queue a"), *full)):
            await store.put(a_message(f"f{number}", type=kind, route=route))
        assert ids(await store.take(9, now=NOW, full=full)) == ["f2", "f3"]
        assert ids(await store.take(9, now=NOW, full=full[:1])) == ["f1", "f5"]
        assert ids(await store.take(9, now=NOW)) == ["f0", "f4"]

    async def test_a_priority_counts_once_a_message_is_due(self, store: Store) -> None:
        await store.put_all([a_message("l1", priority=9, due=NOW + 5), a_message("l2"), a_message("l3", due=NOW + 5)])
        await store.put_all([a_message("l4", priority=-9, due=NOW + 5), a_message("l5", priority=9)])
        assert ids(await store.take(9, now=NOW)) == ["l5", "l2"]
        await store.retry("l5", due=NOW + 3, error="E: 1")
        assert await store.next_due() == NOW + 3
        assert ids(await store.take(9, now=NOW + 4)) == ["l5"]
        await store.retry("l5", due=NOW + 5, error="E: 1")
        await store.retry("l2", due=NOW + 5, error="E: 1")
        assert [each.due for each in await store.waiting()] == [NOW + 5] * 5
        assert ids(await store.take(2, now=NOW + 5)) == ["l1", "l5"]
        assert ids(await store.take(2, now=NOW + 5)) == ["l2", "l3"]
        assert ids(await store.take(2, now=NOW + 5)) == ["l4"]

    async def test_what_waits_with_a_priority_has_no_time_for_people(self, store: Store) -> None:
        await store.put_all([a_message("v1", priority=9), a_message("v2", priority=-9)])
        assert [each.due for each in await store.waiting()] == [0.0, 0.0]
        assert [message.due for message in await store.take(9, now=NOW)] == [0.0, 0.0]

    async def test_a_dead_message_that_is_tried_again_has_its_priority(self, store: Store) -> None:
        await store.put_all([a_message("q1"), a_message("q2", priority=9)])
        for message in await store.take(9, now=NOW):
            await store.dead_letter(message, error="E: 1")
        assert ids(await store.dead()) == ["q1", "q2"]
        assert await store.requeue(["q1", "q2"]) == 2
        assert ids(await store.take(9, now=NOW)) == ["q2", "q1"]

    async def test_a_priority_has_bounds(self, store: Store) -> None:
        with pytest.raises(ValueError, match="priority 1001 is not from -1000 to 1000"):
            await store.put(a_message(priority=1001))

    async def test_oldest_first_and_no_more_than_asked_for(self, store: Store) -> None:
        for number in range(5):
            await store.put(a_message(f"o{number}"))
        assert ids(await store.take(2, now=NOW)) == ["o0", "o1"]
        assert ids(await store.take(0, now=NOW)) == []
        assert ids(await store.take(9, now=NOW)) == ["o2", "o3", "o4"]

    async def test_calls_in_flight_together_keep_their_order(self, store: Store) -> None:
        await asyncio.gather(*(store.put(a_message(f"t{number:03}")) for number in range(300)))
        assert ids(await store.take(300, now=NOW)) == [f"t{number:03}" for number in range(300)]

    async def test_an_id_twice_is_an_error_and_its_neighbours_do_not_suffer(self, store: Store) -> None:
        await store.put(a_message("twice", content=b"first"))
        calls = [store.put(a_message(id)) for id in ("n1", "twice", "n2")]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [type(None), ValueError, type(None)]
        taken = await store.take(9, now=NOW)
        assert ids(taken) == ["twice", "n1", "n2"]
        assert taken[0].content == b"first"

    async def test_all_are_put_in_order_or_none(self, store: Store) -> None:
        await store.put_all([a_message(f"p{number}") for number in range(200)])
        with pytest.raises(ValueError, match="not stored"):
            await store.put_all([a_message("new"), a_message("p7")])
        assert ids(await store.take(999, now=NOW)) == [f"p{number}" for number in range(200)]

    async def test_nothing_can_be_put(self, store: Store) -> None:
        assert await store.put_all([], begin=1, now=NOW) == []
        await store.put_all([])
        await store.put_outgoing([])
        assert (await store.requeue([]), await store.drop([])) == (0, 0)
        assert (await store.requeue_outgoing([]), await store.drop_outgoing([])) == (0, 0)
        await store.save("empty", {})
        assert await store.noted([]) is None
        assert (await store.take(0, now=NOW), await store.take_outgoing(0, now=NOW)) == ([], [])

    async def test_one_of_a_key_at_a_time_in_order(self, store: Store) -> None:
        for id in ("a1", "a2", "b1", "a3", "b2"):
            await store.put(a_message(id, key=id[0]))
        assert ids(await store.take(9, now=NOW)) == ["a1", "b1"]
        assert ids(await store.take(9, now=NOW)) == []
        await store.finish("a1")
        assert ids(await store.take(9, now=NOW)) == ["a2"]
        await store.retry("a2", due=NOW + 10, error="E")
        assert ids(await store.take(9, now=NOW)) == [], "a3 may not overtake a2"
        assert ids(await store.take(9, now=NOW + 10)) == ["a2"]
        await store.dead_letter((await store.get("a2")) or a_message(), error="E")
        assert ids(await store.take(9, now=NOW)) == ["a3"]
        await store.finish("b1")
        assert ids(await store.take(9, now=NOW)) == ["b2"]

    async def test_order_holds_across_processes(self, store: Store, other: Store) -> None:
        await store.put(a_message("c1", key="c"))
        await other.put(a_message("c2", key="c"))
        assert ids(await store.take(9, now=NOW)) == ["c1"]
        assert ids(await other.take(9, now=NOW)) == []
        await store.finish("c1")
        assert ids(await other.take(9, now=NOW)) == ["c2"]

    async def test_a_revived_one_and_a_younger_one_that_fails_do_not_wait_for_each_other(
        self, store: Store, other: Store
    ) -> None:
        await store.put(a_message("older", key="k"))
        (older,) = await store.take(9, now=NOW)
        await store.dead_letter(older, error="E")
        await store.put(a_message("younger", key="k"))
        assert ids(await store.take(9, now=NOW)) == ["younger"]
        await other.requeue(["older"])
        assert await other.take(9, now=NOW) == [], "one of a key at a time"
        await store.retry("younger", due=NOW, error="E")
        assert ids(await other.take(9, now=NOW)) == ["older"]
        assert await store.take(9, now=NOW) == []
        await other.finish("older")
        assert ids(await store.take(9, now=NOW)) == ["younger"]

    async def test_revived_ones_that_wait_do_not_take_the_place_of_others(self, store: Store) -> None:
        keys = ["k", "l", "m"]
        for key in keys:
            await store.put(a_message(f"older {key}", key=key))
        for older in await store.take(9, now=NOW):
            await store.dead_letter(older, error="E")
        for key in keys:
            await store.put(a_message(f"younger {key}", key=key))
        assert len(await store.take(9, now=NOW)) == len(keys)
        await store.requeue([f"older {key}" for key in keys])
        await store.put(a_message("free 1"))
        await store.put(a_message("free 2"))
        assert ids(await store.take(2, now=NOW)) == ["free 1", "free 2"]

    async def test_keys_that_are_busy_are_left(self, store: Store) -> None:
        await store.put(a_message("k1", key="busy"))
        await store.put(a_message("k2", key="free"))
        assert ids(await store.take(1, now=NOW, busy=["busy"])) == ["k2"]
        assert ids(await store.take(1, now=NOW)) == ["k1"]

    async def test_many_behind_one_key_do_not_hide_the_others(self, store: Store) -> None:
        await asyncio.gather(*(store.put(a_message(f"h{number:03}", key="hot")) for number in range(200)))
        await store.put(a_message("cold"))
        assert ids(await store.take(2, now=NOW)) == ["h000", "cold"]

    async def test_a_failed_one_waits_until_it_is_due(self, store: Store) -> None:
        await store.put(a_message("f"))
        await store.take(1, now=NOW)
        assert await store.next_due() is None
        await store.retry("f", due=NOW + 30, error="Traceback:\n  x\nKeyError: 'order'")
        assert await store.next_due() == NOW + 30
        assert await store.take(1, now=NOW + 29.9) == []
        (again,) = await store.take(1, now=NOW + 30)
        assert again.attempts == 2
        assert again.error.endswith("KeyError: 'order'")

    async def test_all_that_are_finished_at_once_are_gone_and_the_next_of_their_keys_may_go(self, store: Store) -> None:
        await store.put_all([a_message("f1", key="k"), a_message("f2", key="k"), a_message("f3")])
        assert [each.id for each in await store.take(10, now=NOW)] == ["f1", "f3"]
        await store.finish_all(["f1", "f3", "nobody"])
        assert [each.id for each in await store.take(10, now=NOW)] == ["f2"]
        assert (await self.told(store, "f3"))[-1] == "done"
        await store.finish_all([])
        assert (await store.counts()).running == 1

    async def test_finished_is_gone_and_its_history_stays(self, store: Store) -> None:
        await store.put(a_message("g", content=b"x" * 100_000))
        await store.take(1, now=NOW)
        await store.retry("g", due=NOW, error="Traceback\nKeyError: 'order'")
        await store.take(1, now=NOW)
        await store.finish("g")
        assert await store.get("g") is None
        assert await store.is_known("g")
        steps = await self.told(store, "g")
        assert [step.partition(";")[0] for step in steps] == [
            "received", "attempt 1", "failed: KeyError: 'order'", "attempt 2", "done",
        ]  # fmt: skip
        assert "waits until 2027-01-15T08:00:00" in steps[2]

    # Messages that are begun as they are put.

    async def test_what_is_begun_as_it_is_put_need_not_be_taken(self, store: Store) -> None:
        put = [a_message(f"b{number}", subject="caf\udce9", key=f"k\udcff{number}") for number in range(5)]
        begun = await store.put_all(put, begin=3, now=NOW)
        assert ids(begun) == ["b0", "b1", "b2"]
        assert begun[0] == replace(put[0], attempts=1, subject="caf\\udce9", key="k\\udcff0")
        assert (await store.counts()).running == 3
        assert ids(await store.take(9, now=NOW)) == ["b3", "b4"]
        await store.finish_all(ids(put))
        assert await self.told(store, "b0") == await self.told(store, "b3") == ["received", "attempt 1", "done"]

    async def test_none_is_begun_before_an_older_one_that_is_due(self, store: Store) -> None:
        await store.put(a_message("older"))
        assert await store.put_all([a_message("b1")], begin=9, now=NOW) == []
        await store.take(1, now=NOW)
        assert await store.put_all([a_message("b2")], begin=9, now=NOW) == [], "b1 waits"
        assert ids(await store.take(9, now=NOW)) == ["b1", "b2"]
        await store.retry("older", due=NOW + 1, error="E")
        [begun] = await store.put_all([a_message("b3"), a_message("b4", due=NOW + 2)], begin=9, now=NOW)
        assert begun.id == "b3"

    async def test_what_is_begun_keeps_the_order_of_its_key_in_all_processes(self, store: Store, other: Store) -> None:
        begun = await store.put_all(
            [a_message("k1", key="k"), a_message("k2", key="k"), a_message("j1", key="j")], begin=9
        )
        assert ids(begun) == ["k1", "j1"]
        assert ids(await other.put_all([a_message("k3", key="k"), a_message("x")], begin=9)) == ["x"]
        assert await store.take(9, now=NOW) == []
        await store.finish_all(["k1"])
        assert ids(await other.put_all([a_message("k4", key="k")], begin=9, now=NOW)) == [], "k2 is due"
        assert ids(await other.take(9, now=NOW)) == ["k2"]
        await other.finish("k2")
        assert ids(await store.take(9, now=NOW)) == ["k3"]
        await store.finish("k3")
        assert ids(await store.take(9, now=NOW)) == ["k4"]

    async def test_what_was_begun_by_a_dead_process_comes_alone_and_nothing_is_begun_before(
        self, engine: Engine, store: Store
    ) -> None:
        gone = engine.store()
        await gone.open()
        assert len(await gone.put_all([a_message("d1"), a_message("d2")], begin=9, now=NOW)) == 2
        await gone.close()
        await store.recover()
        assert await store.put_all([a_message("new")], begin=9, now=NOW) == []
        [first] = await store.take(9, now=NOW)
        assert (first.id, first.attempts, first.alone) == ("d1", 2, True)

    @pytest.mark.parametrize("turns", [1, 2, 5])
    async def test_what_is_begun_for_nobody_waits(self, store: Store, turns: int) -> None:
        numbers = map(str, itertools.count())
        while not await self._cancelled(store.put_all([a_message(id := next(numbers))], begin=1, now=NOW), turns):
            await store.finish(id)  # the store was quicker
        async with asyncio.timeout(5):
            while not (taken := await store.take(1, now=NOW)):
                pass
        assert taken[0].attempts == 1

    # Messages that are put once.

    async def test_what_is_put_once_is_begun_and_its_repetition_is_known(self, store: Store, other: Store) -> None:
        claim, begun = await store.put_once(a_message("e1"), key="key", now=NOW, ttl=60, begin=True)
        assert (claim.id, claim.state) == ("e1", "ours")
        assert begun is not None
        assert (begun.id, begun.attempts, begun.key) == ("e1", 1, "e1")
        again, message = await other.put_once(a_message("e2"), key="key", now=NOW + 59, ttl=60, begin=True)
        assert (again.id, again.state, again.result, message) == ("e1", "done", b"", None)
        assert (await store.counts()).running == 1
        await store.finish("e1")
        assert await self.told(store, "e1") == ["received", "attempt 1", "done"]
        assert await store.take(9, now=NOW) == []

    async def test_of_many_at_once_one_is_put(self, store: Store, other: Store) -> None:
        calls = [
            each.put_once(a_message(f"e{n}{each is store}"), key="key", now=NOW, ttl=60)
            for n in range(20)
            for each in (store, other)
        ]
        found = await asyncio.gather(*calls)
        assert [claim.state for claim, _ in found].count("ours") == 1
        assert len(await store.take(9, now=NOW)) == 1

    async def test_what_had_failed_is_put_under_its_first_id_and_time(self, store: Store) -> None:
        await store.claim("k1", id="e1", now=NOW, ttl=60, failed_as="same")
        await store.release("k1", error="E")
        first = await store.claim("k1", id="e2", now=NOW + 1, ttl=60, failed_as="same")
        await store.release("k1", error="E")
        claim, begun = await store.put_once(
            a_message("e3"), key="k3", now=NOW + 9, ttl=60, failed_as="same", begin=True
        )
        assert (claim.id, claim.key, claim.state) == ("e1", "k1", "ours")
        assert begun is not None
        assert (begun.id, begun.key, begun.received, begun.attempts) == ("e1", "e1", first.received, 1)
        assert (await store.claim("k1", id="e4", now=NOW + 9, ttl=60)).state == "done"

    async def test_a_message_that_cannot_be_put_is_not_claimed(self, store: Store) -> None:
        await store.put(a_message("e1"))
        with pytest.raises(ValueError, match="not stored"):
            await store.put_once(a_message("e1"), key="key", now=NOW, ttl=60)
        assert (await store.claim("key", id="e2", now=NOW, ttl=60)).attempts == 1

    async def test_what_is_put_once_for_nobody_waits_and_is_known(self, store: Store) -> None:
        numbers = map(str, itertools.count())
        while not await self._cancelled(
            store.put_once(a_message(id := next(numbers)), key=id, now=NOW, ttl=60, begin=True), 1
        ):
            await store.finish(id)  # the store was quicker
        async with asyncio.timeout(5):
            while not (taken := await store.take(1, now=NOW)):
                pass
        assert (taken[0].id, taken[0].attempts) == (id, 1)
        assert (await store.claim(id, id="again", now=NOW, ttl=60)).state == "done"

    @pytest.mark.parametrize("value", ["\0", "\udc80"])
    async def test_a_list_of_what_no_database_can_keep_is_that_of_what_stands_for_it(
        self, store: Store, value: str
    ) -> None:
        await store.put_all([a_message("m1", type=value, route=value), a_message("m2")])
        assert ids(await store.waiting(type=value, route=value)) == ["m1"]
        assert await store.dead(type=value, route=value) == []
        assert await store.outgoing(type=value, message=value) == []

    async def test_the_history_of_nothing_is_empty(self, store: Store) -> None:
        assert await store.history("nobody") == []
        assert await store.get("nobody") is None

    # What a gateway measures.

    async def test_what_is_held_is_told(self, store: Store) -> None:
        assert await store.holdings() == Holdings()

    async def test_what_is_held_is_told_with_the_oldest_arrival(self, store: Store) -> None:
        for number, id in enumerate(["w", "r", "d", "o"]):
            await store.put(a_message(id, received=NOW + number, key="k" if id in "ro" else id))
        await store.take(3, now=NOW)
        await store.retry("w", due=NOW + 60, error="E")
        await store.dead_letter(a_message("d"), error="E")
        await store.put_outgoing([Outgoing(f"s{number}", "r", "sms", b"x", lane="sms a") for number in range(3)])
        await store.put_outgoing([Outgoing("m", "r", "email", b"x", lane="email")])
        await store.take_outgoing(1, now=NOW)
        await store.dead_letter_outgoing("s0", error="E")
        held = await store.holdings()
        assert (held.waiting, held.running, held.dead, held.oldest) == (2, 1, 1, NOW)
        assert held.outgoing == {("sms a", "dead"): 1, ("sms a", "waiting"): 2, ("email", "waiting"): 1}

    async def test_the_oldest_is_gone_when_it_is_handled(self, store: Store) -> None:
        await store.put_all([a_message("old", received=NOW - 60), a_message("new", received=NOW)])
        await store.take(2, now=NOW)
        await store.finish("old")
        assert (await store.holdings()).oldest == NOW

    async def test_a_lane_that_rests(self, store: Store) -> None:
        await store.put_outgoing([Outgoing("s", "r", "sms", b"x", lane="sms a")])
        await store.take_outgoing(1, now=NOW)
        await store.retry_outgoing("s", due=NOW + 60, error="E", rests=True)
        assert (await store.holdings()).resting == 1

    async def test_commits_and_their_calls_are_counted(self, store: Store) -> None:
        before = sum(store.commits.seconds.counts), store.commits.calls.sum
        await asyncio.gather(*(store.put(a_message()) for _ in range(5)))
        await store.get("nobody")  # which commits nothing
        assert store.commits.calls.sum - before[1] == 5
        assert 1 <= sum(store.commits.seconds.counts) - before[0] <= 5
        assert (store.commits.failed, store.commits.is_failing, store.calls_waiting) == (0, False, 0)

    async def test_counts(self, store: Store) -> None:
        for id in ("1", "2", "3", "4"):
            await store.put(a_message(id, key="k" if id > "2" else id))
        await store.take(3, now=NOW)
        await store.dead_letter(a_message("1"), error="E")
        await store.finish("2", outgoing=[Outgoing("2-0", "2", "email", b"x")])
        counts = await store.counts()
        assert (counts.waiting, counts.running, counts.dead, counts.outgoing) == (1, 1, 1, 1)

    # Claims.

    async def test_a_claim_is_ours_then_busy_then_done(self, store: Store, other: Store) -> None:
        first = await store.claim("key", id="e1", now=NOW, ttl=60)
        assert (first.id, first.state, first.attempts, first.received) == ("e1", "ours", 1, NOW)
        assert (await store.claim("key", id="e2", now=NOW, ttl=60)).state == "busy"
        assert (await other.claim("key", id="e3", now=NOW + 61, ttl=60)).state == "busy"
        await store.settle(first, result=b"250")
        again = await other.claim("key", id="e4", now=NOW + 5, ttl=60)
        assert (again.id, again.state, again.received, again.result) == ("e1", "done", NOW, b"250")

    async def test_a_released_claim_is_claimed_again_under_its_first_id(self, store: Store) -> None:
        await store.claim("key", id="e1", now=NOW, ttl=60)
        await store.release("key", error="KeyError: 'x'")
        again = await store.claim("key", id="e2", now=NOW + 1, ttl=60)
        assert (again.id, again.state, again.attempts, again.received) == ("e1", "ours", 2, NOW)
        assert await self.told(store, "e1") == ["received", "attempt 1", "failed: KeyError: 'x'", "attempt 2"]

    async def test_what_was_no_failure_is_not_counted(self, store: Store) -> None:
        await store.claim("key", id="e1", now=NOW, ttl=60)
        await store.release("key", error="deferred", counted=False)
        assert (await store.claim("key", id="e2", now=NOW, ttl=60)).attempts == 1
        await store.put(Message("m1", "mqtt", "route", "m1", NOW, b"content"))
        for _ in range(2):
            [taken] = await store.take(1, now=NOW)
            assert taken.attempts == 1
            await store.retry("m1", due=NOW, error="deferred", counted=False)

    async def test_claims_of_one_moment_are_each_given_once(self, store: Store) -> None:
        """New, repeated, failed before, and of a key that can only be written out: all in one commit."""
        await store.claim("failed", id="e1", now=NOW, ttl=60, failed_as="same")
        await store.release("failed", error="E")
        asked = [("new", ""), ("new", ""), ("other", "same"), ("third", "same"), ("failed", ""), ("\udcff", "else")]
        calls = [
            store.claim(key, id=f"n{number}", now=NOW, ttl=60, failed_as=looks)
            for number, (key, looks) in enumerate([*asked, *asked])
        ]
        found = await asyncio.gather(*calls)
        ours = sorted((claim.key, claim.attempts) for claim in found if claim.state == "ours")
        assert ours == [("\\udcff", 1), ("failed", 2), ("new", 1), ("other", 1), ("third", 1)]
        assert {claim.state for claim in found} == {"ours", "busy"}

    async def test_a_claim_that_has_become_another_messages_is_not_settled(self, store: Store) -> None:
        late = await store.claim("key", id="e1", now=NOW, ttl=60)
        await store.release("key", error="E")
        assert (await store.claim("key", id="e2", now=NOW + 61, ttl=60)).attempts == 1
        await store.settle(late, result=b"late")
        assert (await store.claim("key", id="e3", now=NOW + 61, ttl=60)).state == "busy"

    async def test_an_expired_claim_is_forgotten(self, store: Store) -> None:
        claim = await store.claim("key", id="e1", now=NOW, ttl=60)
        await store.settle(claim, result=b"")
        again = await store.claim("key", id="e2", now=NOW + 60.1, ttl=60)
        assert (again.id, again.state, again.attempts) == ("e2", "ours", 1)

    async def test_of_many_at_once_one_has_the_claim(self, store: Store, other: Store) -> None:
        calls = [each.claim("key", id=f"e{n}", now=NOW, ttl=60) for n in range(20) for each in (store, other)]
        states = [claim.state for claim in await asyncio.gather(*calls)]
        assert sorted(states) == ["busy"] * 39 + ["ours"]

    async def test_a_claim_is_settled_with_what_is_put(self, store: Store) -> None:
        claim, begun = await store.put_once(a_message("e1"), key="key", now=NOW, ttl=60)
        assert (claim.id, claim.state, begun) == ("e1", "ours", None)
        assert (await store.claim("key", id="e2", now=NOW, ttl=60)).state == "done"
        assert ids(await store.take(9, now=NOW)) == ["e1"]

    async def test_a_claim_is_settled_with_what_is_buried(self, store: Store) -> None:
        claim = await store.claim("key", id="e1", now=NOW, ttl=60)
        await store.dead_letter(a_message(claim.id), error="E", claim=claim)
        assert (await store.claim("key", id="e2", now=NOW, ttl=60)).state == "done"
        assert ids(await store.dead()) == ["e1"]

    async def test_one_that_looks_like_one_that_failed_is_that_one(self, store: Store, other: Store) -> None:
        first = await store.claim("k1", id="e1", now=NOW, ttl=60, failed_as="same")
        beside = await other.claim("k2", id="e2", now=NOW, ttl=60, failed_as="same")
        assert (first.id, first.key, beside.id, beside.key) == ("e1", "k1", "e2", "k2"), "two at once are two"
        await store.release("k1", error="E")
        again = await other.claim("k3", id="e3", now=NOW + 59, ttl=60, failed_as="same")
        assert (again.id, again.key, again.state, again.attempts) == ("e1", "k1", "ours", 2)
        assert (await store.claim("k4", id="e4", now=NOW, ttl=60, failed_as="same")).id == "e4", "it is busy again"
        assert (await store.claim("k5", id="e5", now=NOW, ttl=60)).id == "e5"
        await other.settle(again, result=b"")
        assert (await store.claim("k6", id="e6", now=NOW, ttl=60, failed_as="same")).id == "e6", "it is done"
        await store.release("k2", error="E")
        assert (await store.claim("k7", id="e7", now=NOW + 60, ttl=60, failed_as="same")).id == "e7", "it has expired"

    async def test_of_many_that_look_alike_each_failed_one_is_claimed_by_one(self, store: Store, other: Store) -> None:
        for number in range(5):
            await store.claim(f"k{number}", id=f"e{number}", now=NOW, ttl=60, failed_as="same")
        for number in range(5):
            await store.release(f"k{number}", error="E")
        calls = [
            each.claim(f"n{n} {each is store}", id=f"new{n}", now=NOW, ttl=60, failed_as="same")
            for n in range(10)
            for each in (store, other)
        ]
        again = [claim.id for claim in await asyncio.gather(*calls) if claim.attempts == 2]
        assert sorted(again) == [f"e{number}" for number in range(5)]

    @pytest.mark.parametrize("looks", ["", "same"])
    async def test_what_was_claimed_for_nobody_was_no_attempt(self, store: Store, looks: str) -> None:
        await self._cancelled(store.claim("key", id="e", now=NOW, ttl=60, failed_as=looks), 1)
        async with asyncio.timeout(5):
            while (claim := await store.claim("key", id="e", now=NOW, ttl=60, failed_as=looks)).state == "busy":
                pass
        assert claim.attempts == 1

    # Histories.

    async def test_each_step_of_what_was_put_for_a_claim_is_told_once(self, store: Store) -> None:
        await store.put_once(a_message("e1"), key="key", now=NOW, ttl=60)
        assert await self.told(store, "e1") == ["received"]
        await store.take(1, now=NOW)
        await store.finish("e1", outgoing=[Outgoing("e1-0", "e1", "sms", b"")])
        await store.take_outgoing(1, now=NOW)
        await store.finish_outgoing("e1-0")
        assert await self.told(store, "e1") == ["received", "attempt 1", "done", "sent e1-0"]

    async def test_each_step_of_what_was_buried_for_a_claim_is_told_once(self, store: Store) -> None:
        await store.claim("key", id="e1", now=NOW, ttl=60)
        await store.release("key", error="E1")
        claim = await store.claim("key", id="e2", now=NOW, ttl=60)
        await store.dead_letter(a_message(claim.id), error="E2", claim=claim)
        tried = ["received", "attempt 1", "failed: E1", "attempt 2", "failed: E2", "dead"]
        assert await self.told(store, "e1") == tried
        await store.requeue(["e1"])
        await store.take(1, now=NOW)
        await store.finish("e1")
        assert await self.told(store, "e1") == [*tried, "tried again", "attempt 1", "done"]

    # Dead letters.

    async def test_the_dead_are_listed_filtered_and_paged(self, store: Store) -> None:
        for number in range(6):
            kind = "email" if number % 2 else "mqtt"
            await store.dead_letter(
                a_message(f"d{number}", type=kind, route=f"r{number // 3}", attempts=3), error=f"E{number}"
            )
        dead = await store.dead()
        assert ids(dead) == [f"d{number}" for number in range(6)]
        assert dead[4] == summary_of(
            a_message("d4", type="mqtt", route="r1", attempts=3, error="E4"), MessageState.DEAD
        )
        assert ids(await store.dead(type="email")) == ["d1", "d3", "d5"]
        assert ids(await store.dead(route="r1", type="mqtt")) == ["d4"]
        assert ids(await store.dead(limit=2, after="d1")) == ["d2", "d3"]

    async def test_paging_goes_on_behind_what_was_dropped(self, store: Store) -> None:
        for number in range(4):
            await store.dead_letter(a_message(f"d{number}"), error="E")
        assert await store.drop(["d0", "d1", "nobody"]) == 2
        assert ids(await store.dead(after="d1")) == ["d2", "d3"]
        assert await self.told(store, "d0") == ["received", "failed: E", "dead", "dropped"]
        assert await store.get("d0") is None

    async def test_the_revived_start_over(self, store: Store) -> None:
        await store.put(a_message("r", key="k"))
        (message,) = await store.take(1, now=NOW)
        await store.dead_letter(message, error="E")
        assert await store.take(1, now=NOW) == []
        await store.put(a_message("later", key="k"))
        assert ids(await store.take(1, now=NOW)) == ["later"]
        assert await store.requeue(["r", "later"]) == 1
        assert await store.take(9, now=NOW) == [], "one of a key at a time"
        await store.finish("later")
        (again,) = await store.take(9, now=NOW)
        assert again == replace(message, attempts=1)
        assert await store.dead() == []

    async def test_a_list_has_no_content_and_of_an_error_its_end(self, store: Store) -> None:
        error = "Traceback\n" + "x" * 100_000 + "\nKeyError: 'order'"
        large = a_message("large", content=b"x" * 1_000_000)
        await store.dead_letter(large, error=error)
        [summary] = await store.dead()
        assert summary == summary_of(replace(large, error=error[-LONGEST_ERROR:]), MessageState.DEAD)
        assert summary.size == 1_000_000
        assert await store.summary("large") == summary
        assert (await store.get("large")) == replace(large, error=error)
        assert await store.summary("nobody") is None

    async def test_a_list_of_large_ones_takes_little_memory(self, store: Store) -> None:
        for number in range(10):
            await store.dead_letter(a_message(f"d{number}", content=b"x" * 1_000_000), error="E")
            await store.put(a_message(f"w{number}", content=b"x" * 1_000_000))
            await store.put_outgoing([Outgoing(f"o{number}", "nobody", "email", b"x" * 1_000_000)])
        tracemalloc.start()
        try:
            assert [len(each) for each in (await store.dead(), await store.waiting(), await store.outgoing())] == [
                10
            ] * 3
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()

    async def test_what_waits_is_listed_with_the_reason(self, store: Store) -> None:
        for number in range(4):
            await store.put(a_message(f"w{number}", type="email" if number % 2 else "mqtt"))
        await store.dead_letter(a_message("dead"), error="E")
        assert ids(await store.take(2, now=NOW)) == ["w0", "w1"]
        await store.retry("w0", due=NOW + 60, error="Traceback\nKeyError: 'order'")
        waiting = await store.waiting()
        assert [(each.id, each.state, each.attempts, each.due) for each in waiting] == [
            ("w0", "waiting", 1, NOW + 60), ("w1", "running", 1, 0.0),
            ("w2", "waiting", 0, 0.0), ("w3", "waiting", 0, 0.0),
        ]  # fmt: skip
        assert waiting[0].error.endswith("KeyError: 'order'")
        assert await store.summary("w1") == waiting[1]
        assert ids(await store.waiting(type="email")) == ["w1", "w3"]
        assert ids(await store.waiting(limit=2, after="w0")) == ["w1", "w2"]
        await store.finish("w1")
        assert ids(await store.waiting(after="w1")) == ["w2", "w3"], "also behind one that is gone"

    # By the beginning of an id.

    async def test_an_id_is_found_by_its_beginning(self, store: Store) -> None:
        for id in ("k1waits", "k1runs", "k1done", "k1dead", "other"):
            await store.put(a_message(id))
        await store.take(9, now=NOW)
        await store.retry("k1waits", due=NOW, error="E")
        await store.finish(
            "k1done", outgoing=[Outgoing(f"k1done-{number}", "k1done", "sms", b"") for number in range(20)]
        )
        await store.dead_letter((await store.get("k1dead")) or a_message(), error="E")
        claim = await store.claim("key", id="k1claim", now=NOW, ttl=60)
        await store.settle(claim, result=b"", outgoing=[Outgoing("k2-0", "k1claim", "sms", b"")])
        assert await store.find("k1") == ["k1claim", "k1dead", "k1done", "k1runs", "k1waits"]
        assert await store.find("k1", limit=2) == ["k1claim", "k1dead"]
        assert await store.find("k1done") == ["k1done"], "an event and what it sends are one"
        assert await store.find("k1done-1") == ["k1done"]
        assert await store.find("k2") == ["k1claim"]
        assert await store.find("k1", within=Search.DEAD) == ["k1dead"]
        assert await store.find("k1done-1", within=Search.OUTGOING, limit=3) == ["k1done-1", "k1done-10", "k1done-11"]
        assert await store.find("k1claim", within=Search.OUTGOING) == []
        for nothing in ("k1%", "k1_", "k1*", "K1", "\U0010ffff", "\udce9", "\0"):
            assert await store.find(nothing) == []

    # What handlers send.

    async def test_what_no_handler_sends_is_kept_once_and_leaves(self, store: Store) -> None:
        items = [Outgoing("d-0", "d", "email", b"mail", lane="email"), Outgoing("d-1", "d", "email", b"", lane="email")]
        await store.put_outgoing(items)
        await store.put_outgoing(items[:1])
        taken = await store.take_outgoing(9, now=NOW)
        assert [(item.id, item.content) for item in taken] == [("d-0", b"mail"), ("d-1", b"")]
        for item in taken:
            await store.finish_outgoing(item.id)
        assert await store.outgoing() == []

    async def test_what_has_not_left_is_listed_with_the_reason(self, store: Store) -> None:
        await store.put(a_message("o", route="r", subject="s"))
        await store.take(1, now=NOW)
        items = [
            Outgoing("o-0", "o", "email", b"mail"),
            Outgoing("o-1", "o", "sms", b"text", lane="sms texts"),
            Outgoing("o-2", "o", "sms", b"", lane="sms texts", behind="o-1"),
        ]
        await store.finish("o", outgoing=items)
        claim = await store.claim("key", id="c", now=NOW + 1, ttl=60)
        await store.settle(claim, result=b"", outgoing=[Outgoing("c-0", "c", "email", b"")])
        await store.put_outgoing([Outgoing("x-0", "x", "mqtt", b"")])
        (taken,) = await store.take_outgoing(1, now=NOW)
        assert taken.id == "o-0"
        await store.take_outgoing(9, now=NOW)
        await store.retry_outgoing("o-1", due=NOW + 60, error="x" * 1000 + "refused")
        listed = {each.id: each for each in await store.outgoing()}
        assert list(listed) == ["c-0", "o-0", "o-1", "o-2", "x-0"]
        assert listed["o-1"] == OutgoingSummary(
            id="o-1", message="o", type="sms", lane="sms texts", behind="", route="r", subject="s", received=NOW,
            size=4, state="waiting", attempts=1, due=NOW + 60, error=("x" * 1000 + "refused")[-LONGEST_ERROR:],
        )  # fmt: skip
        assert (listed["o-0"].state, listed["o-2"].behind) == ("leaving", "o-1")
        assert (listed["c-0"].received, listed["c-0"].route) == (NOW + 1, "")
        assert listed["x-0"].received is None
        assert ids_of(await store.outgoing(type="email")) == ["c-0", "o-0"]
        assert ids_of(await store.outgoing(message="o")) == ["o-0", "o-1", "o-2"]
        assert ids_of(await store.outgoing(limit=2, after="c-0")) == ["o-0", "o-1"]
        await store.finish_outgoing("o-0")
        assert ids_of(await store.outgoing(after="o-0")) == ["o-1", "o-2", "x-0"], "also behind one that has left"
        assert (await store.get_outgoing("o-2")) == items[2]
        assert await store.get_outgoing("o-0") is None

    async def test_what_waits_is_sent_now_if_an_operator_wants_it(self, store: Store) -> None:
        await self._two_outgoing(store)
        await store.retry_outgoing("o-0", due=NOW + 60, error="refused")
        assert await store.take_outgoing(9, now=NOW) == []
        assert await store.requeue_outgoing(["o-0", "o-1", "nobody"]) == 1, "o-1 is leaving"
        (again,) = await store.take_outgoing(9, now=NOW)
        assert (again.id, again.attempts) == ("o-0", 1)
        assert "to be sent now: o-0" in await self.told(store, "o")

    async def test_an_attempt_that_was_none_is_not_counted(self, store: Store) -> None:
        await self._two_outgoing(store)
        await store.retry_outgoing("o-0", due=NOW + 60, error="quiet hours", counted=False)
        assert await store.take_outgoing(9, now=NOW) == []
        (again,) = await store.take_outgoing(9, now=NOW + 60)
        assert (again.id, again.attempts) == ("o-0", 1)

    async def test_a_history_goes_on_and_one_that_there_is_not_begins(self, store: Store) -> None:
        await self._two_outgoing(store)
        before = await self.told(store, "o")
        await store.tell_history("o", "taken as SM1", ttl=60)
        assert await self.told(store, "o") == [*before, "taken as SM1"]
        await store.put_outgoing([Outgoing("alone-0", "alone", "sms", b"")])
        await store.tell_history("alone", "taken as SM2", ttl=60)
        await store.finish_outgoing("alone-0")
        await store.tell_history("alone", "receipt: delivered", ttl=60)
        assert await self.told(store, "alone") == ["taken as SM2", "sent alone-0", "receipt: delivered"]
        assert await store.find("alon") == ["alone"]
        await store.purge(now=store.now() + 61)
        assert await store.find("alon") == []

    async def test_what_is_dropped_is_not_sent(self, store: Store) -> None:
        await self._two_outgoing(store)
        await store.retry_outgoing("o-0", due=NOW, error="refused")
        assert await store.drop_outgoing(["o-0", "o-1", "nobody"]) == 1, "o-1 is leaving"
        assert await store.take_outgoing(9, now=NOW) == []
        assert ids_of(await store.outgoing()) == ["o-1"]
        assert (await self.told(store, "o"))[-1] == "dropped, not sent: o-0"

    async def _two_outgoing(self, store: Store) -> None:
        """Both of them leaving."""
        await store.put(a_message("o"))
        await store.take(1, now=NOW)
        await store.finish("o", outgoing=[Outgoing("o-0", "o", "email", b"mail"), Outgoing("o-1", "o", "sms", b"text")])
        assert len(await store.take_outgoing(9, now=NOW)) == 2

    async def test_what_is_sent_leaves_once(self, store: Store) -> None:
        await store.put(a_message("o"))
        await store.take(1, now=NOW)
        items = [Outgoing("o-0", "o", "email", b"mail"), Outgoing("o-1", "o", "sms", b"text")]
        await store.finish("o", outgoing=items)
        taken = await store.take_outgoing(9, now=NOW)
        assert taken == [replace(item, attempts=1) for item in items]
        assert await store.take_outgoing(9, now=NOW) == []
        await store.finish_outgoing("o-0")
        await store.retry_outgoing("o-1", due=NOW + 5, error="refused")
        assert await store.take_outgoing(9, now=NOW) == []
        (again,) = await store.take_outgoing(9, now=NOW + 5)
        assert (again.id, again.attempts, again.error) == ("o-1", 2, "refused")
        await store.finish_outgoing("o-1")
        assert (await store.counts()).outgoing == 0
        told = await self.told(store, "o")
        assert [step.partition(";")[0] for step in told[2:]] == [
            "done", "sent o-0", "failed: not sent o-1: refused", "sent o-1",
        ]  # fmt: skip

    async def test_what_has_left_in_part_is_the_rest_from_then_on(self, store: Store) -> None:
        item = Outgoing("p-0", "p", "email", b"to two", lane="email", behind="gone")
        await self.sends(store, [item, replace(item, id="p-1")])
        await store.take_outgoing(9, now=NOW)
        await store.retry_outgoing(
            "p-0", due=NOW, error="E", left=Outgoing("p-0", "p", "email", b"to one", recipient="one")
        )
        await store.retry_outgoing("p-1", due=NOW, error="E")
        taken = await store.take_outgoing(9, now=NOW)
        assert [each.content for each in taken] == [b"to one", b"to two"]
        assert taken[0] == replace(item, content=b"to one", recipient="one", attempts=2, due=NOW, error="E")

    async def test_a_busy_lane_holds_nobody_else_up(self, store: Store) -> None:
        lanes = ["a", "a", "a", "b", "", "b"]
        items = [Outgoing(f"l-{number}", "l", "sms", b"text", lane=lane) for number, lane in enumerate(lanes)]
        await self.sends(store, items)
        assert ids_of(await store.take_outgoing(2, now=NOW, busy=["a"])) == ["l-3", "l-4"]
        assert ids_of(await store.take_outgoing(9, now=NOW, busy=["a", "b", "c"])) == []
        assert ids_of(await store.take_outgoing(3, now=NOW, busy=[""])) == ["l-0", "l-1", "l-2"]
        assert await store.take_outgoing(9, now=NOW) == [replace(items[5], attempts=1)]

    async def test_what_is_due_in_a_late_lane_is_left_to_others_for_a_time(self, store: Store) -> None:
        lanes = {"l-0": "away", "l-1": "away", "l-2": "here"}
        await self.sends(store, [Outgoing(id, "l", "mqtt", b"", lane=lane, since=NOW) for id, lane in lanes.items()])
        assert ids_of(await store.take_outgoing(9, now=NOW + 4.9, late=["away"])) == ["l-2"]
        assert ids_of(await store.take_outgoing(1, now=NOW + 5, late=["away"])) == ["l-0"]
        await store.retry_outgoing("l-0", due=NOW + 10, error="the broker is away")
        assert ids_of(await store.take_outgoing(9, now=NOW + 14.9, late=["away"])) == ["l-1"]
        assert ids_of(await store.take_outgoing(9, now=NOW + 10)) == ["l-0"], "another process may send it"

    async def test_what_is_due_first_leaves_first_in_whatever_lane(self, store: Store) -> None:
        lanes = {"x-0": "b", "x-1": "a", "x-2": "b"}
        await self.sends(store, [Outgoing(id, "x", "sms", b"text", lane=lanes[id]) for id in lanes])
        await store.take_outgoing(2, now=NOW)
        await store.retry_outgoing("x-1", due=NOW + 1, error="E")
        await store.retry_outgoing("x-0", due=NOW + 2, error="E")
        taken = [ids_of(await store.take_outgoing(1, now=NOW + 2)) for _ in lanes]
        assert taken == [["x-2"], ["x-1"], ["x-0"]]

    async def test_one_behind_another_leaves_when_that_is_gone(self, store: Store) -> None:
        behind = {"p-0": "", "p-1": "p-0", "p-2": "p-1", "q-0": "", "q-1": "never-kept"}
        await self.sends(store, [Outgoing(id, "p", "sms", b"", behind=behind[id]) for id in behind])
        assert ids_of(await store.take_outgoing(9, now=NOW)) == ["p-0", "q-0", "q-1"]
        assert ids_of(await store.take_outgoing(9, now=NOW)) == [], "not while it is on its way"
        await store.retry_outgoing("p-0", due=NOW + 60, error="E")
        assert ids_of(await store.take_outgoing(9, now=NOW)) == [], "nor while it waits"
        assert ids_of(await store.take_outgoing(9, now=NOW + 60)) == ["p-0"]
        await store.finish_outgoing("p-0")
        assert ids_of(await store.take_outgoing(9, now=NOW)) == ["p-1"]
        await store.finish_outgoing("p-1")
        (last,) = await store.take_outgoing(9, now=NOW)
        assert (last.id, last.behind) == ("p-2", "p-1")

    async def test_what_is_dead_stays_with_all_behind_it_and_comes_back_whole(self, store: Store) -> None:
        behind = {"p-0": "", "p-1": "p-0", "p-2": "p-1", "q-0": ""}
        await self.sends(store, [Outgoing(id, "p", "sms", b"", behind=behind[id], since=NOW) for id in behind])
        await store.take_outgoing(9, now=NOW)
        await store.dead_letter_outgoing("p-0", error="400 no")
        listed = {each.id: (each.state, each.error) for each in await store.outgoing()}
        rest = ("dead", "the part before it was not sent (p-0): 400 no")
        assert listed == {"p-0": ("dead", "400 no"), "p-1": rest, "p-2": rest, "q-0": ("leaving", "")}
        assert ids_of(await store.outgoing(dead=True)) == ["p-0", "p-1", "p-2"]
        assert ids_of(await store.outgoing(dead=False)) == ["q-0"]
        counts = await store.counts()
        assert (counts.outgoing, counts.dead_outgoing) == (1, 3)
        assert await store.find("p-", within=Search.DEAD_OUTGOING) == ["p-0", "p-1", "p-2"]
        assert await store.take_outgoing(9, now=NOW) == []
        assert await store.requeue_outgoing(["p-2", "q-0"]) == 3, "q-0 is leaving"
        [first] = await store.take_outgoing(9, now=NOW)
        assert (first.id, first.attempts) == ("p-0", 1)
        assert first.since != NOW, "a new life"
        assert await store.drop_outgoing(["p-1"], dead=True) == 0, "it waits again"
        assert await store.drop_outgoing(["p-1"]) == 1
        told = await self.told(store, "p")
        assert "failed: not sent, dead: p-2: 400 no" in told
        assert told[-2:] == ["to be sent now: p-2", "dropped, not sent: p-1"]

    async def test_what_is_refused_of_it_is_a_dead_item_of_its_own(self, store: Store) -> None:
        await self.sends(store, [Outgoing("p-0", "p", "email", b"three", lane="email", since=NOW)])
        for number in (1, 2):
            await store.take_outgoing(9, now=NOW)
            never = Outgoing("p-0", "p", "email", b"one", error="550 no", lane="email", recipient="one", since=NOW)
            await store.retry_outgoing(
                "p-0", due=NOW, error="450 later", refused=never, left=replace(never, content=b"two")
            )
            assert await store.get_outgoing(f"p-0.{number}") == replace(never, id=f"p-0.{number}", state="dead")
        assert [each.state for each in await store.outgoing()] == ["waiting", "dead", "dead"]
        [whole] = await store.take_outgoing(9, now=NOW)
        assert (whole.id, whole.content) == ("p-0", b"two")
        await store.dead_letter_outgoing("p-0", error="550 no", refused=never)
        assert ids_of(await store.outgoing(dead=True)) == ["p-0", "p-0.1", "p-0.2", "p-0.3"]

    async def test_a_lane_that_rests_asks_with_one_item_at_a_time_and_never_twice_with_one(self, store: Store) -> None:
        now, lanes = store.now(), ["a", "a", "a", "b"]
        await self.sends(
            store, [Outgoing(f"l-{number}", "l", "sms", b"", lane=lane) for number, lane in enumerate(lanes)]
        )
        assert ids_of(await store.take_outgoing(1, now=now)) == ["l-0"]
        await store.retry_outgoing("l-0", due=now + 60, error="401", rests=True)
        listed = await store.outgoing()
        assert [(each.state, each.due, each.error) for each in listed] == [
            ("resting", now + 60, "401"), ("resting", now + 60, "401"), ("resting", now + 60, "401"),
            ("waiting", 0.0, ""),
        ]  # fmt: skip
        assert ids_of(await store.take_outgoing(9, now=now)) == ["l-3"]
        assert ids_of(await store.take_outgoing(9, now=now + 60)) == ["l-1"]
        assert ids_of(await store.take_outgoing(9, now=now + 60)) == []
        await store.retry_outgoing("l-1", due=now + 120, error="401", rests=True)
        await store.wake_lanes()
        assert ids_of(await store.take_outgoing(9, now=now + 60)) == ["l-2"]
        await store.retry_outgoing("l-2", due=now + 70, error="450 later")
        await store.wake_lanes()
        assert ids_of(await store.take_outgoing(9, now=now + 60)) == ["l-0"], "which asked longest ago"
        await store.retry_outgoing("l-0", due=now + 70, error="450 later")
        assert [each.attempts for each in await store.outgoing()] == [1, 0, 1, 1], "the account's refusals do not count"
        assert ids_of(await store.take_outgoing(9, now=now + 60)) == ["l-1"]
        assert ids_of(await store.take_outgoing(9, now=now + 60)) == []
        await store.retry_outgoing("l-1", due=now + 70, error="450 later")
        assert ids_of(await store.take_outgoing(9, now=now + 60)) == [], "what fails for now is not asked again at once"
        await store.wake_lanes()
        assert ids_of(await store.take_outgoing(9, now=now + 70)) == ["l-0"]
        await store.finish_outgoing("l-0")
        assert ids_of(await store.take_outgoing(9, now=now + 70)) == ["l-1", "l-2"], "all of it at once"

    async def test_a_lane_rests_until_the_other_side_says_something_else(self, store: Store) -> None:
        now = store.now()
        await self.sends(store, [Outgoing(f"l-{number}", "l", "sms", b"", lane="a") for number in range(6)])
        assert ids_of(await store.take_outgoing(1, now=now)) == ["l-0"]
        await store.retry_outgoing("l-0", due=now + 60, error="401", rests=True)
        assert ids_of(await store.take_outgoing(9, now=now + 60)) == ["l-1"]
        await store.dead_letter_outgoing("l-1", error="it is not text at all")
        assert ids_of(await store.take_outgoing(9, now=now + 60)) == ["l-2"], "nobody was asked"
        await store.dead_letter_outgoing("l-2", error="400 opted out", answered=True)
        assert ids_of(await store.take_outgoing(9, now=now + 60)) == ["l-0", "l-3", "l-4", "l-5"]

    async def sends(self, store: Store, items: list[Outgoing]) -> None:
        claim = await store.claim(items[0].message, id=items[0].message, now=NOW, ttl=60)
        await store.settle(claim, result=b"", outgoing=items)

    async def test_the_same_thing_to_send_is_kept_once(self, store: Store) -> None:
        item = Outgoing("x-0", "x", "email", b"mail")
        claim = await store.claim("key", id="x", now=NOW, ttl=60)
        await asyncio.gather(*(store.settle(claim, result=b"", outgoing=[item]) for _ in range(3)))
        assert ids_of(await store.take_outgoing(9, now=NOW)) == ["x-0"]

    # Owners.

    async def test_what_a_living_process_has_is_left_alone(self, store: Store, other: Store) -> None:
        await store.put(a_message("mine"))
        await store.take(1, now=NOW)
        await store.claim("key", id="e", now=NOW, ttl=60)
        assert await store.recover() == 0
        assert await other.recover() == 0
        assert await other.take(1, now=NOW) == []

    async def test_what_is_left_by_one_that_ended_is_given_back(self, engine: Engine, store: Store) -> None:
        gone = engine.store()
        await gone.open()
        await gone.put(a_message("left"))
        await gone.take(1, now=NOW)
        await gone.claim("key", id="e", now=NOW, ttl=60)
        await gone.put_outgoing([Outgoing("left-0", "left", "email", b"")])
        await gone.take_outgoing(1, now=NOW)
        await gone.close()
        assert await store.recover() in (0, 3), "some engines give it back when they close"
        assert await store.recover() == 0
        (message,) = await store.take(1, now=NOW)
        assert (message.id, message.attempts) == ("left", 2), "the attempt that may have killed it stays counted"
        claim = await store.claim("key", id="e2", now=NOW, ttl=60)
        assert (claim.id, claim.state, claim.attempts) == ("e", "ours", 2)
        assert len(await store.take_outgoing(1, now=NOW)) == 1
        assert "its process ended; given back" in await self.told(store, "left")

    async def test_a_close_that_is_cancelled_goes_on(self, engine: Engine, store: Store) -> None:
        gone = engine.store()
        await gone.open()
        await gone.claim("key", id="e", now=NOW, ttl=60)
        assert await self._cancelled(gone.close(), 1)

        async def is_free() -> bool:
            await store.recover()
            return (await store.claim("key", id="e2", now=NOW, ttl=60)).state == "ours"

        await until(is_free)

    async def test_what_was_leaving_when_its_process_died_is_first_to_leave(self, engine: Engine, store: Store) -> None:
        """The other side may have it already."""
        items = [Outgoing(f"l-{number}", "l", "sms", b"", lane="a") for number in range(3)]
        await self.sends(store, items)
        await store.take_outgoing(9, now=NOW)
        for number, later in enumerate((1.0, 2.0, 3.0)):
            await store.retry_outgoing(f"l-{number}", due=NOW + later, error="E")
        dying = engine.store()
        await dying.open()
        assert ids_of(await dying.take_outgoing(9, now=NOW + 2, busy=["b"])) == ["l-0", "l-1"]
        await dying.retry_outgoing("l-0", due=NOW + 2, error="E")
        await dying.close()
        await store.recover()
        assert ids_of(await store.take_outgoing(1, now=NOW + 3)) == ["l-1"]

    async def test_what_a_dead_process_had_comes_alone_in_any_process(self, engine: Engine, store: Store) -> None:
        gone = engine.store()
        await gone.open()
        await gone.put_all([a_message(f"a{number}", key="k" if number == 2 else "") for number in range(3)])
        await gone.take(9, now=NOW)
        await gone.close()
        other = engine.store()
        await other.open()
        await store.put_all([a_message("fresh1"), a_message("fresh2"), a_message("after", key="k")])
        [first] = await store.take(9, now=NOW)
        assert (first.id, first.attempts, first.alone) == ("a0", 2, True)
        assert ids(await other.take(1, now=NOW)) == ["fresh1"], "no two of them at a time, anywhere"
        await store.retry("a0", due=NOW, error="E")
        assert ids(await other.take(9, now=NOW, busy=["k"])) == ["a1"]
        [failed, fresh] = await store.take(9, now=NOW)
        assert (failed.id, failed.alone, fresh.id) == ("a0", False, "fresh2"), "its attempt has ended by itself"
        assert await store.take(9, now=NOW) == []
        await other.finish("a1")
        assert ids(await store.take(0, now=NOW)) == []
        assert ids(await store.take(9, now=NOW, busy=["k"])) == []
        assert ids(await other.take(9, now=NOW)) == ["a2"]
        await other.dead_letter(await other.get("a2") or a_message(), error="E")
        assert await store.requeue(["a2"]) == 1
        assert [each.alone for each in await store.take(9, now=NOW)] == [False]
        await other.close()

    async def test_no_message_is_taken_by_two(self, store: Store, other: Store) -> None:
        await asyncio.gather(*(store.put(a_message(f"w{number}")) for number in range(200)))

        async def work(store: Store) -> list[str]:
            got = []
            while taken := await store.take(7, now=NOW):
                got += ids(taken)
                await asyncio.gather(*(store.finish(id) for id in ids(taken)))
            return got

        done = await asyncio.gather(*(work(each) for each in (store, other, store, other)))
        assert sorted(itertools.chain(*done)) == sorted(f"w{number}" for number in range(200))

    # Cancelled callers.

    @pytest.mark.parametrize("turns", [0, 1, 2, 5])
    async def test_what_is_taken_for_nobody_is_taken_again(self, store: Store, turns: int) -> None:
        await store.put(a_message("c"))
        while not await self._cancelled(store.take(1, now=NOW), turns):
            await store.finish("c")  # the store was quicker
            await store.put(a_message("c"))
        async with asyncio.timeout(5):
            while not (taken := await store.take(1, now=NOW)):
                pass
        assert taken[0].attempts == 1

    @pytest.mark.parametrize("turns", [0, 1, 2, 5])
    async def test_what_is_claimed_for_nobody_is_claimed_again(self, store: Store, turns: int) -> None:
        keys = map(str, itertools.count())
        while not await self._cancelled(store.claim(key := next(keys), id=f"e{key}", now=NOW, ttl=60), turns):
            pass  # the store was quicker
        async with asyncio.timeout(5):
            while (await store.claim(key, id=f"e{key}", now=NOW, ttl=60)).state == "busy":
                pass

    async def _cancelled(self, call: Any, turns: int) -> bool:
        """Whether ``call`` was cancelled before it had its answer."""
        task = asyncio.ensure_future(call)
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    # What servers keep.

    async def test_a_space_has_what_was_put_last(self, store: Store) -> None:
        assert await store.load("mqtt devices") == {}
        await store.save("mqtt devices", {"a": b"1", "b": b"2", "\ud800\0": b""})
        await store.save("mqtt devices", {"a": b"3", "b": None, "c": None})
        await store.save("other", {"a": b"4"})
        assert await store.load("mqtt devices") == {"a": b"3", "\\ud800\\x00": b""}
        assert await store.load("other") == {"a": b"4"}

    async def test_many_changes_are_one(self, store: Store) -> None:
        changes = {str(number): bytes((number % 256,)) for number in range(1000)}
        await store.save("s", changes)
        assert await store.load("s") == changes
        await store.save("s", dict.fromkeys(changes))
        assert await store.load("s") == {}

    async def test_a_space_is_one_process_s(self, engine: Engine) -> None:
        one, two = engine.store(), engine.store()
        await one.open()
        await two.open()
        await one.load("s")
        await one.save("s", {"a": b"1"})
        with pytest.raises(StoreUnavailable, match="another gateway"):
            await two.load("s")
        await one.release_namespaces()
        assert await two.load("s") == {"a": b"1"}
        with pytest.raises(StoreUnavailable, match="another gateway"):
            await one.load("s")
        await two.close()
        assert await one.load("s") == {"a": b"1"}
        await one.close()

    # Leases.

    async def test_a_lease_is_one_process_s_until_it_releases_it(self, store: Store, other: Store) -> None:
        assert await store.acquire("mqtt")
        assert await store.acquire("mqtt")
        assert not await other.acquire("mqtt")
        assert await other.acquire("mail")
        await other.release_lease("mqtt")
        assert not await other.acquire("mqtt")
        await store.release_lease("mqtt")
        assert await other.acquire("mqtt")
        assert not await store.acquire("mqtt")

    async def test_a_lease_is_free_when_its_process_has_closed_the_store(self, engine: Engine, store: Store) -> None:
        other = engine.store()
        await other.open()
        assert await other.acquire("\ud800")
        assert not await store.acquire("\ud800")
        await other.close()
        assert await store.acquire("\ud800")

    async def test_of_many_that_ask_at_once_one_has_the_lease(self, store: Store, other: Store) -> None:
        stores = [store, other] * 10
        given = await asyncio.gather(*(each.acquire("mqtt") for each in stores))
        assert {each for each, ours in zip(stores, given, strict=True) if ours} in ({store}, {other})

    async def test_a_lease_and_a_namespace_of_one_name_are_two_things(self, store: Store, other: Store) -> None:
        assert await store.acquire("mqtt")
        assert await other.load("mqtt") == {}
        await store.release_namespaces()
        assert not await other.acquire("mqtt")

    async def test_a_living_process_has_not_lost_its_leases(self, store: Store) -> None:
        assert await store.acquire("mqtt")
        losing = asyncio.ensure_future(store.wait_lost())
        await store.probe()
        assert not losing.done()
        losing.cancel()

    # Notes.

    async def test_the_first_note_that_is_known_is_found(self, store: Store) -> None:
        await store.note("a", b"1", ttl=60)
        await store.note("b", b"2", ttl=60)
        await store.note("a", b"3", ttl=60)
        await store.note("over", b"4", ttl=-1)
        assert await store.noted(["over", "unknown", "a", "b"]) == b"3"
        assert await store.noted(["over"]) is None
        assert await store.noted([]) is None

    async def test_notes_are_every_process_s_until_they_expire(self, engine: Engine) -> None:
        one, two = engine.store(), engine.store()
        await one.open()
        await two.open()
        await one.note("\ud800", b"1", ttl=60)
        assert await two.noted(["\ud800"]) == b"1"
        await one.close()
        assert await two.purge(now=two.now() + 30) == 0
        assert await two.purge(now=two.now() + 61) == 1
        assert await two.noted(["\ud800"]) is None
        await two.close()

    async def test_a_note_is_swapped_only_if_it_is_what_was_read(self, store: Store) -> None:
        assert not await store.swap_note("a", b"0", b"1", ttl=60)
        assert await store.swap_note("a", None, b"1", ttl=60)
        assert not await store.swap_note("a", None, b"2", ttl=60)
        assert not await store.swap_note("a", b"2", b"3", ttl=60)
        assert await store.swap_note("a", b"1", b"", ttl=60)
        assert await store.noted(["a"]) == b""
        assert not await store.swap_note("a", b"1", None, ttl=60)
        assert not await store.swap_note("a", None, None, ttl=60)
        assert await store.swap_note("a", b"", None, ttl=60)
        assert await store.noted(["a"]) is None
        assert await store.swap_note("a", None, None, ttl=60)

    async def test_a_note_that_has_expired_is_none_to_a_swap(self, store: Store) -> None:
        await store.note("\ud800", b"1", ttl=-1)
        assert not await store.swap_note("\ud800", b"1", b"2", ttl=60)
        assert await store.swap_note("\ud800", None, b"2", ttl=60)
        assert await store.noted(["\ud800"]) == b"2"

    async def test_of_many_swaps_at_once_in_two_processes_none_is_lost(self, store: Store, other: Store) -> None:
        async def add(to: Store, key: str) -> None:
            while True:
                before = await to.noted([key])
                if await to.swap_note(key, before, str(int(before or b"0") + 1).encode(), ttl=60):
                    return

        keys = ["x", "y", "\ud800"]
        await asyncio.gather(*(add(each, key) for each in (store, other) for key in keys for _ in range(10)))
        assert [await store.noted([key]) for key in keys] == [b"20"] * 3

    # Forgetting.

    async def test_what_is_long_over_is_forgotten(self, store: Store) -> None:
        await store.put(a_message("done"))
        await store.put(a_message("waits"))
        await store.take(1, now=NOW)
        await store.finish("done")
        await store.claim("busy", id="b", now=NOW, ttl=1)
        over = await store.claim("over", id="o", now=NOW, ttl=1)
        await store.settle(over, result=b"")
        await store.dead_letter(a_message("dead"), error="E")
        assert await store.purge(now=(await store.history("done"))[-1].at) == 0
        later = (await store.history("done"))[-1].at + KEEP + NOW
        assert await store.purge(now=later) == 2
        assert await store.history("done") == []
        assert not await store.is_known("done")
        assert (await store.claim("busy", id="b2", now=later, ttl=1)).state == "busy"
        assert await store.get("waits") is not None
        assert ids(await store.dead()) == ["dead"]

    async def test_everything_is_there_after_closing_and_opening(self, engine: Engine) -> None:
        store = engine.store()
        await store.open()
        await store.put(a_message("p"))
        await store.dead_letter(a_message("q"), error="E")
        await store.close()
        again = engine.store()
        assert await again.open() == ""
        assert ids(await again.take(9, now=NOW)) == ["p"]
        assert ids(await again.dead()) == ["q"]
        await again.close()

    async def test_closing_does_what_was_asked_for_first(self, engine: Engine) -> None:
        store = engine.store()
        await store.open()
        puts = [asyncio.ensure_future(store.put(a_message(f"z{number}"))) for number in range(50)]
        await asyncio.sleep(0)
        await store.close()
        await asyncio.gather(*puts)
        again = engine.store()
        await again.open()
        assert (await again.counts()).waiting == 50
        await again.close()


def ids_of(items: Sequence[Outgoing | OutgoingSummary]) -> list[str]:
    return [item.id for item in items]
