"""Whose password is checked next. The checks are the test's."""

import asyncio
from collections.abc import Hashable

import pytest

from protocols.access.login_queue import LoginQueue

LIMIT = 10.0


class Checks:
    """Records what begins; each check ends when it is told to."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended = 0
        self._ends: dict[str, asyncio.Future[str]] = {}

    async def check(self, name: str) -> str:
        self.begun.append(name)
        self._ends[name] = asyncio.get_running_loop().create_future()
        return await self._ends[name]

    async def end(self, name: str, result: str | Exception = "") -> None:
        future = self._ends[name]
        self.ended += 1
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
        await turn()


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def made(size: int = 1, failures: dict[str, float] | None = None) -> tuple[LoginQueue[str], Checks]:
    known = failures if failures is not None else {}
    return LoginQueue(size, lambda address: known.get(address, 0.0)), Checks()


def ask(
    queue: LoginQueue[str], checks: Checks, address: str, name: str, key: Hashable | None = None, user: str = "ann"
) -> "asyncio.Task[str]":
    return asyncio.ensure_future(queue.run(name if key is None else key, address, user, lambda: checks.check(name)))


async def run_all(queue: LoginQueue[str], checks: Checks) -> list[str]:
    async with asyncio.timeout(LIMIT):
        await turn()
        while len(queue):
            await checks.end(checks.begun[checks.ended], "ok")
    return checks.begun


async def test_so_many_at_a_time() -> None:
    queue, checks = made(size=2)
    tasks = [ask(queue, checks, "a", str(number)) for number in range(4)]
    await turn()
    assert checks.begun == ["0", "1"]
    await checks.end("1", "right")
    assert checks.begun == ["0", "1", "2"]
    for name in ("0", "2", "3"):
        await checks.end(name, "right")
    assert await asyncio.gather(*tasks) == ["right"] * 4
    assert len(queue) == 0


async def test_addresses_take_turns() -> None:
    queue, checks = made()
    tasks = [ask(queue, checks, "bad", f"bad{number}") for number in range(50)]
    await turn()
    tasks.append(ask(queue, checks, "good", "good"))
    begun = await run_all(queue, checks)
    assert begun.index("good") <= 2
    assert len(begun) == len(tasks) == 51
    await asyncio.gather(*tasks)


async def test_the_user_names_of_one_address_take_turns() -> None:
    queue, checks = made()
    tasks = [ask(queue, checks, "site", f"bad{number}", user="bad") for number in range(50)]
    await turn()
    tasks += [ask(queue, checks, "site", f"{user}{number}", user=user) for user in ("bob", "eve") for number in (1, 2)]
    begun = await run_all(queue, checks)
    assert begun[:8] == ["bad0", "bad1", "bob1", "eve1", "bad2", "bob2", "eve2", "bad3"]
    assert len(begun) == 54
    await asyncio.gather(*tasks)


async def test_the_address_with_the_fewest_failures_comes_first() -> None:
    queue, checks = made(failures={"bad": 9.0, "worse": 20.0})
    tasks = [ask(queue, checks, address, address) for address in ("first", "worse", "bad", "good", "better")]
    assert await run_all(queue, checks) == ["first", "good", "better", "bad", "worse"]
    await asyncio.gather(*tasks)


async def test_who_says_the_same_shares_one_check() -> None:
    queue, checks = made()
    tasks = [ask(queue, checks, f"address {number}", "same", key="same") for number in range(1000)]
    assert await run_all(queue, checks) == ["same"]
    assert set(await asyncio.gather(*tasks)) == {"ok"}
    later = ask(queue, checks, "address 1", "same again", key="same")
    assert await run_all(queue, checks) == ["same", "same again"]
    assert await later == "ok"


async def test_a_shared_check_has_the_best_turn_of_all_who_wait_for_it() -> None:
    queue, checks = made(failures={"bad": 9.0})
    tasks = [ask(queue, checks, "first", "first"), ask(queue, checks, "bad", "shared", key="shared")]
    tasks += [ask(queue, checks, "other", "other"), ask(queue, checks, "good", "shared", key="shared")]
    assert await run_all(queue, checks) == ["first", "other", "shared"]
    await asyncio.gather(*tasks)


async def test_who_leaves_before_the_turn_is_forgotten() -> None:
    queue, checks = made()
    first = ask(queue, checks, "a", "first")
    await turn()
    for number in range(1000):
        gone = ask(queue, checks, f"b{number % 2}", f"gone {number}")
        await turn()
        gone.cancel()
        await turn()
    assert len(queue) == 1
    assert len(queue._turns) <= 3
    last = ask(queue, checks, "b0", "last")
    assert await run_all(queue, checks) == ["first", "last"]
    await asyncio.gather(first, last)


async def test_a_shared_check_goes_on_when_one_of_two_leaves() -> None:
    queue, checks = made()
    first = ask(queue, checks, "a", "first")
    one, two = (ask(queue, checks, address, "shared", key="shared") for address in ("b", "c"))
    await turn()
    one.cancel()
    assert await run_all(queue, checks) == ["first", "shared"]
    assert await two == "ok"
    await first


async def test_a_check_that_has_begun_ends_though_nobody_waits() -> None:
    queue, checks = made()
    gone = ask(queue, checks, "a", "first")
    await turn()
    gone.cancel()
    await turn()
    next_one = ask(queue, checks, "a", "next")
    await turn()
    assert checks.begun == ["first"]
    await checks.end("first", ValueError("nobody hears this"))
    await checks.end("next", "ok")
    assert await next_one == "ok"


async def test_what_a_check_raises_is_raised_to_all_who_wait() -> None:
    queue, checks = made()
    tasks = [ask(queue, checks, "a", "same", key="same") for _ in range(3)]
    await turn()
    await checks.end("same", ValueError("no"))
    for task in tasks:
        with pytest.raises(ValueError, match="no"):
            await task
