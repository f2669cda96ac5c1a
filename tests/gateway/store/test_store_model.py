"""Any sequence of calls does what a dictionary would do."""

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager
from typing import Any, ClassVar, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from servers.postgresql import emptied

from gateway.store import Claim, Engine, Message, engine_of

Result = TypeVar("Result")
WHICH = st.integers(0, 9)
SUBJECTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
KEYS = st.sampled_from(["", "own", "a", "b"])


class Modelled:
    """What the store should know of one message."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.state = "waiting"
        self.attempts = 0
        self.due = 0.0
        self.alone = False

    @property
    def ordered(self) -> bool:
        return self.message.key not in ("", self.message.id)


class StoreMachine(RuleBasedStateMachine):
    """The subclass of each engine defines ``place``."""

    place: ClassVar[Callable[[], AbstractContextManager[Engine]]]
    """Makes a place in which there is no message."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.surroundings = contextlib.ExitStack()
        self.engine = self.surroundings.enter_context(self.place())
        self.store = self.engine.store()
        assert self.run(self.store.open()) == ""
        self.model: dict[str, Modelled] = {}
        self.claims: dict[str, tuple[str, str, int]] = {}
        self.claimed: dict[str, Claim] = {}
        """What the store said of each."""
        self.now = 100.0

    def run(self, call: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(asyncio.wait_for(call, 10))

    def teardown(self) -> None:
        self.run(self.store.close())
        self.runner.close()
        self.surroundings.close()

    def in_state(self, state: str) -> list[Modelled]:
        return [each for each in self.model.values() if each.state == state]

    @rule(keys=st.lists(KEYS, min_size=1, max_size=5), content=st.binary(max_size=30), subject=SUBJECTS)
    def put(self, keys: list[str], content: bytes, subject: str) -> None:
        """All at once: they share a commit, and keep their order."""
        messages = self.messages(keys, content, subject)
        self.run(self.all_of(*(self.store.put(message) for message in messages)))
        self.model |= {message.id: Modelled(message) for message in messages}

    @rule(keys=st.lists(KEYS, min_size=1, max_size=5), content=st.binary(max_size=30), room=st.integers(1, 5))
    def put_and_begin(self, keys: list[str], content: bytes, room: int) -> None:
        messages = self.messages(keys, content, "")
        put = {message.id: Modelled(message) for message in messages}
        before = self.free(set())
        blocked = any(each.due <= self.now for each in self.in_state("waiting"))  # by its key, perhaps
        begun = self.run(self.store.put_all(messages, begin=room, now=self.now))
        self.model |= put
        suspects = any(each.alone for each in self.model.values() if each.state in ("waiting", "running"))
        free = [each.message.id for each in put.values() if self.may_go(each, set())][:room]
        assert [each.id for each in begun] in ([[]] if suspects or before else [free, []] if blocked else [free])
        for each in begun:
            self.began(each)

    def messages(self, keys: list[str], content: bytes, subject: str) -> list[Message]:
        messages = []
        for number, key in enumerate(keys, len(self.model)):
            event = f"m{number}"
            key = event if key == "own" else key
            messages.append(Message(event, "mqtt", "r", key, self.now, content, subject=subject))
        return messages

    async def all_of(self, *calls: Coroutine[Any, Any, None]) -> None:
        await asyncio.gather(*calls)

    @rule(limit=st.integers(0, 9), busy=st.sets(st.sampled_from(["a", "b"])))
    def take(self, limit: int, busy: set[str]) -> None:
        taken = self.run(self.store.take(limit, now=self.now, busy=busy))
        free = self.free(busy)
        assert len(taken) == min(limit, len(free))
        assert [int(each.id[1:]) for each in taken] == sorted(int(each.id[1:]) for each in taken)
        assert {each.id for each in taken} <= {each.message.id for each in free}
        for each in taken:
            self.began(each)

    def began(self, message: Message) -> None:
        known = self.model[message.id]
        known.state = "running"
        known.attempts += 1
        given = (message.content, message.key, message.subject, message.attempts, message.received, message.alone)
        put = known.message
        assert given == (put.content, put.key, put.subject, known.attempts, put.received, known.alone)

    def free(self, busy: set[str]) -> list[Modelled]:
        free = [each for each in self.in_state("waiting") if self.may_go(each, busy)]
        one_runs = any(each.alone for each in self.in_state("running"))
        suspects = [each for each in free if each.alone and not one_runs]
        return suspects[:1] or [each for each in free if not each.alone]

    def may_go(self, wanted: Modelled, busy: set[str]) -> bool:
        if wanted.due > self.now or wanted.message.key in busy:
            return False
        same = [each for each in self.model.values() if wanted.ordered and each.message.key == wanted.message.key]
        running = any(each.state == "running" for each in same)
        live = [each for each in same if each.state == "waiting"]
        return not running and (not live or live[0] is wanted)

    @precondition(lambda self: self.in_state("running"))
    @rule(which=WHICH)
    def finish(self, which: int) -> None:
        known = self.one("running", which)
        self.run(self.store.finish(known.message.id))
        known.state = "gone"

    @precondition(lambda self: self.in_state("running"))
    @rule(which=WHICH, wait=st.sampled_from([0.0, 1.0, 50.0]))
    def retry(self, which: int, wait: float) -> None:
        known = self.one("running", which)
        self.run(self.store.retry(known.message.id, due=self.now + wait, error="E"))
        known.state, known.due, known.alone = "waiting", self.now + wait, False

    @precondition(lambda self: self.in_state("running"))
    @rule(which=WHICH)
    def bury(self, which: int) -> None:
        known = self.one("running", which)
        message = self.run(self.store.get(known.message.id))
        assert message is not None
        self.run(self.store.dead_letter(message, error="E"))
        known.state, known.alone = "dead", False

    @precondition(lambda self: self.in_state("dead"))
    @rule(which=WHICH)
    def revive(self, which: int) -> None:
        known = self.one("dead", which)
        assert self.run(self.store.requeue([known.message.id])) == 1
        known.state, known.due, known.attempts = "waiting", 0.0, 0

    @precondition(lambda self: self.in_state("dead"))
    @rule(which=WHICH)
    def drop(self, which: int) -> None:
        known = self.one("dead", which)
        assert self.run(self.store.drop([known.message.id])) == 1
        known.state = "gone"

    @precondition(lambda self: self.model)
    @rule(which=WHICH)
    def at_the_wrong_time(self, which: int) -> None:
        """What is asked of a message that is not in the state for it changes nothing."""
        known = list(self.model.values())[which % len(self.model)]
        event = known.message.id
        if known.state != "running":
            self.run(self.store.finish(event))
            self.run(self.store.retry(event, due=0.0, error="E"))
        if known.state != "dead":
            assert self.run(self.store.requeue([event])) == self.run(self.store.drop([event])) == 0

    def one(self, state: str, which: int) -> Modelled:
        there = self.in_state(state)
        return there[which % len(there)]

    @rule(seconds=st.sampled_from([1.0, 49.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def restart(self) -> None:
        self.run(self.store.close())
        self.store = self.engine.store()
        self.run(self.store.open())
        for each in self.in_state("running"):
            each.state, each.alone = "waiting", True
        for key, (event, state, attempts) in self.claims.items():
            self.claims[key] = (event, "free" if state == "busy" else state, attempts)

    @rule(key=st.sampled_from("xyz"), number=st.integers(0, 10**9))
    def claim(self, key: str, number: int) -> None:
        got = self.claimed[key] = self.run(self.store.claim(key, id=f"c{number}", now=self.now, ttl=1e6))
        event, state, attempts = self.claims.get(key, (f"c{number}", "free", 0))
        attempts += state == "free"
        expected = (event, {"free": "ours"}.get(state, state), attempts)
        assert (got.id, got.state, got.attempts) == expected
        self.claims[key] = (event, "busy" if state == "free" else state, attempts)

    @rule(key=st.sampled_from("xyz"))
    def settle(self, key: str) -> None:
        if key in self.claims:
            self.run(self.store.settle(self.claimed[key], result=key.encode()))
            event, _, attempts = self.claims[key]
            self.claims[key] = (event, "done", attempts)

    @rule(key=st.sampled_from("xyz"))
    def release(self, key: str) -> None:
        self.run(self.store.release(key, error="E"))
        if key in self.claims and self.claims[key][1] == "busy":
            event, _, attempts = self.claims[key]
            self.claims[key] = (event, "free", attempts)

    @invariant()
    def counts(self) -> None:
        counts = self.run(self.store.counts())
        expected = tuple(len(self.in_state(state)) for state in ("waiting", "running", "dead"))
        assert (counts.waiting, counts.running, counts.dead) == expected

    @invariant()
    def the_dead(self) -> None:
        dead = self.run(self.store.dead())
        assert [message.id for message in dead] == [each.message.id for each in self.in_state("dead")]


@contextlib.contextmanager
def in_a_file() -> Iterator[Engine]:
    with tempfile.TemporaryDirectory() as folder:
        yield engine_of(f"sqlite:{folder}/gateway.db")


@contextlib.contextmanager
def on_a_server() -> Iterator[Engine]:
    yield engine_of(emptied().url)


class SQLiteMachine(StoreMachine):
    place = staticmethod(in_a_file)


class PostgreSQLMachine(StoreMachine):
    place = staticmethod(on_a_server)


SQLiteMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=50, deadline=None)
TestSQLiteModel = SQLiteMachine.TestCase
PostgreSQLMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=40, deadline=None)
TestPostgreSQLModel = PostgreSQLMachine.TestCase
