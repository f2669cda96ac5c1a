"""What a backend of Django's task framework does, as values: run in a project's folder, for the backend that is named.

The framework's own backend that runs a task at once is the control: what both can do, both do alike.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from datetime import timezone as datetime_timezone
from typing import Any

import django

django.setup()

import task_code
from django.conf import settings
from django.utils import timezone
from django.utils.module_loading import import_string
from task_code import ended

ALIAS = sys.argv[1]
task_backends = import_string(f"{settings.FRAMEWORK}.task_backends")
BACKEND = task_backends[ALIAS]
BEHAVIOURS: dict[str, Callable[[], Any]] = {}


def behaviour(function: Callable[[], Any]) -> Callable[[], Any]:
    BEHAVIOURS[function.__name__] = function
    return function


def of(task: Any) -> Any:
    return task.using(backend=ALIAS)


def ran(task: Any, *args: Any, **kwargs: Any) -> Any:
    return ended(of(task).enqueue(*args, **kwargs))


def raised(function: Callable[[], Any]) -> str:
    try:
        return f"returned {function()!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error}".replace("InvalidTaskError", "InvalidTask")


def said(result: Any) -> list[Any]:
    return [result.status.value, result.return_value, result.attempts, result.is_finished, len(result.errors)]


@behaviour
def it_returns_a_value() -> Any:
    return said(ran(task_code.add, 1, b=2))


@behaviour
def an_async_task_returns_a_value() -> Any:
    return said(ran(task_code.add_later, 1, b=2))


@behaviour
def an_async_task_uses_the_orm() -> Any:
    return said(ran(task_code.count_users))


@behaviour
def arguments_come_as_json() -> Any:
    result = ran(task_code.same, 1, "ü", (2, b"b"), None, True, 1.5, a={"b": [()]})
    return [said(result), result.args, result.kwargs]


@behaviour
def arguments_that_are_not_json_are_refused() -> Any:
    refused = [object(), {1}, b"\xff", timezone.now(), task_code.Odd(1, 2)]
    return [raised(lambda given=given: of(task_code.same).enqueue(given)).partition(":")[0] for given in refused]


@behaviour
def return_values_come_as_json() -> Any:
    return [ran(task_code.give, what).return_value for what in ("bytes", "tuple")]


@behaviour
def a_return_value_that_is_not_json_fails_the_task() -> Any:
    results = [ended(of(task_code.give).using(queue_name="mails").enqueue(what)) for what in ("object", "wrong bytes")]
    return [[each.status.value, {error.exception_class.__name__ for error in each.errors} == {name}]
            for each, name in zip(results, ("TypeError", "ValueError"), strict=True)]  # fmt: skip


@behaviour
def a_task_that_raises_has_failed() -> Any:
    result = ran(task_code.fail)
    error = result.errors[0]
    return [
        result.status.value,
        result.attempts,
        len(result.errors),
        error.exception_class_path,
        error.exception_class is ValueError,
        "it failed" in error.traceback and "task_code.py" in error.traceback,
        raised(lambda: result.return_value),
    ]


@behaviour
def an_exception_of_any_class_is_named() -> Any:
    return [ran(task_code.fail, how).errors[0].exception_class_path for how in ("Odd", "chained", "SystemExit")]


@behaviour
def the_cause_of_an_exception_is_in_its_traceback() -> Any:
    traceback = ran(task_code.fail, "chained").errors[0].traceback
    return ["KeyError: 'first'" in traceback, "LookupError: second" in traceback]


@behaviour
def an_async_task_that_raises_has_failed() -> Any:
    result = ran(task_code.fail_later)
    return [result.status.value, result.errors[0].exception_class_path]


@behaviour
def a_task_may_take_its_context() -> Any:
    result = ran(task_code.told, "x")
    attempt, status, ident, workers, attempts, args = result.return_value
    return [attempt, status, ident == result.id, workers, attempts, args]


@behaviour
def its_times_follow_each_other() -> Any:
    before = timezone.now()
    result = ran(task_code.add, 1)
    times = [before, result.enqueued_at, result.started_at, result.finished_at, timezone.now()]
    return [times == sorted(times), result.last_attempted_at == result.started_at, timezone.is_aware(times[1])]


@behaviour
def its_worker_has_a_name() -> Any:
    result = ran(task_code.add, 1)
    return [len(result.worker_ids), all(isinstance(each, str) and 0 < len(each) <= 64 for each in result.worker_ids)]


@behaviour
def its_id_is_text() -> Any:
    one, two = of(task_code.add).enqueue(1), of(task_code.add).enqueue(1)
    return [isinstance(one.id, str), 0 < len(one.id) <= 64, one.id != two.id]


@behaviour
def what_it_is_enqueued_with_is_in_its_result() -> Any:
    result = of(task_code.mailed).using(priority=7).enqueue()
    task = result.task
    return [result.backend == ALIAS, task.queue_name, task.priority, task.backend == ALIAS, task.run_after]


@behaviour
def it_can_be_awaited() -> Any:
    async def run() -> Any:
        return await of(task_code.add).aenqueue(1, b=2)

    return said(ended(asyncio.run(run())))


@behaviour
def a_queue_that_is_not_in_the_settings_is_refused() -> Any:
    return raised(lambda: of(task_code.add).using(queue_name="other"))


@behaviour
def a_priority_has_bounds() -> Any:
    return [raised(lambda given=given: of(task_code.add).using(priority=given)) for given in (101, -101, 1.5)]


@behaviour
def a_function_in_a_function_is_no_task() -> Any:
    def inner() -> None: ...

    task = import_string(f"{settings.FRAMEWORK}.task")
    return [raised(lambda: task(backend=ALIAS)(inner)), raised(lambda: task(backend=ALIAS)(lambda: None))]


@behaviour
def a_context_needs_its_name() -> Any:
    task = import_string(f"{settings.FRAMEWORK}.task")
    return raised(lambda: task(backend=ALIAS, takes_context=True)(task_code.not_a_task))


@behaviour
def its_signals_are_sent_in_order() -> Any:
    results = [ran(task_code.add, 1), ran(task_code.fail)]
    ends = time.monotonic() + 10
    while True:
        lines = [line.split() for line in (settings.HERE / "signals").read_text().splitlines()]
        heard = [[line[1:3] for line in lines if line[0] == result.id] for result in results]
        if all(len(each) == 3 for each in heard) or time.monotonic() > ends:
            return [sorted(each, key=lambda told: told[0] != "task_enqueued") for each in heard]  # in another process
        time.sleep(0.02)


@behaviour
def it_says_what_it_can_do() -> Any:
    return [BACKEND.supports_async_task, BACKEND.supports_priority]


@behaviour
def it_can_be_called_at_once() -> Any:
    return [task_code.add.call(1, 2), task_code.add_later.call(1, 2), asyncio.run(task_code.add.acall(1, 2))]


if ALIAS != "immediate":

    @behaviour
    def it_says_what_more_it_can_do() -> Any:
        return [BACKEND.supports_defer, BACKEND.supports_get_result]

    @behaviour
    def a_result_can_be_found() -> Any:
        result = ran(task_code.add, 1, b=2)
        found = [of(task_code.add).get_result(result.id), BACKEND.get_result(result.id)]
        return [[each == result, each.task == result.task, each.return_value] for each in found]

    @behaviour
    def a_result_can_be_awaited() -> Any:
        async def run(ident: str) -> Any:
            found = await of(task_code.add).aget_result(ident)
            await found.arefresh()
            return found.return_value

        return asyncio.run(run(ran(task_code.add, 1, b=2).id))

    @behaviour
    def a_result_that_is_not_there_is_not_found() -> Any:
        return [raised(lambda given=given: BACKEND.get_result(given)) for given in ("123", "", "ü\0" * 50, 7)]

    @behaviour
    def a_result_of_another_task_is_no_result_of_this() -> Any:
        return raised(lambda: task_code.add_later.get_result(ran(task_code.add, 1).id)).partition("(")[0]

    @behaviour
    def a_result_is_refreshed() -> Any:
        result = of(task_code.add).using(run_after=timezone.now() + timedelta(seconds=1)).enqueue(1)
        first = [result.status.value, result.attempts, result.started_at, result.finished_at]
        result.refresh()
        waits = [result.status.value, raised(lambda: result.return_value)]
        return [first, waits, ended(result).status.value]

    @behaviour
    def it_waits_for_its_time() -> Any:
        at = timezone.now() + timedelta(seconds=1)
        result = ended(of(task_code.add).using(run_after=at).enqueue(1))
        return [result.started_at >= at - timedelta(seconds=0.1), result.task.run_after == at, result.status.value]

    @behaviour
    def a_time_that_is_past_is_now() -> Any:
        at = timezone.now() - timedelta(days=1)
        return said(ended(of(task_code.add).using(run_after=at).enqueue(1)))

    @behaviour
    def a_time_needs_its_zone() -> Any:
        return raised(lambda: of(task_code.add).using(run_after=datetime(2030, 1, 1)))  # noqa: DTZ001 -- it is refused

    @behaviour
    def what_has_failed_twice_may_succeed() -> Any:
        result = ran(task_code.third_time)
        ends = [error.traceback.rstrip().rpartition("\n")[2] for error in result.errors]
        return [said(result)[:3], len(result.worker_ids), ends]

    @behaviour
    def a_task_that_takes_too_long_has_failed() -> Any:
        result = ran(task_code.hang)
        return [result.status.value, result.errors[0].exception_class_path]

    @behaviour
    def a_time_at_the_end_of_all_times_can_be_looked_up() -> Any:
        for zone in (0, 14, -12):
            last = datetime.max.replace(tzinfo=datetime_timezone(timedelta(hours=zone)))
            result = of(task_code.add).using(run_after=last).enqueue(1)
            result.refresh()
        first = datetime.min.replace(tzinfo=datetime_timezone(timedelta(hours=14)))
        return [result.status.value, ended(of(task_code.add).using(run_after=first).enqueue(1)).status.value]

    @behaviour
    def however_it_ends_it_has_failed() -> Any:
        found = [ran(task_code.ends_oddly, how) for how in task_code.ODD]
        found += [ran(task_code.ends_oddly_later, how) for how in (*task_code.ODD, "cancelled")]
        return [[each.status.value, each.attempts, each.errors[-1].exception_class_path] for each in found]

    @behaviour
    def a_task_enqueues_another() -> Any:
        return ended(task_code.add.get_result(ran(task_code.enqueue_another).return_value)).return_value

    @behaviour
    def arguments_have_a_most() -> Any:
        return raised(lambda: of(task_code.same).enqueue("x" * 2**21))

    @behaviour
    def a_return_value_has_a_most() -> Any:
        fits, too_long = ran(task_code.long, 1_000_000), ran(task_code.long, 2**21)
        return [len(fits.return_value), too_long.status.value, too_long.errors[-1].traceback.splitlines()[-1]]

    @behaviour
    def a_number_that_is_too_large_is_refused() -> Any:
        return raised(lambda: of(task_code.same).enqueue(2**70)).partition(":")[0]

    @behaviour
    def a_queue_without_a_route_is_refused() -> Any:
        return raised(lambda: of(task_code.add).using(queue_name="nobody").enqueue(1))


def told(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except Exception as error:
        return f"raised {type(error).__name__}: {error}"


print(json.dumps({name: told(function) for name, function in BEHAVIOURS.items()}))
