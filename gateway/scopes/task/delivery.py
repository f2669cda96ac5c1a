"""How tasks are kept and run from the store, and what becomes of their results."""

import json
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from gateway.delivery.attempt import Attempt, Note, Outcome
from gateway.delivery.cut_off import CutOff, Undeliverable
from gateway.delivery.deduplication import DAY
from gateway.delivery.delivery_context import current_delivery
from gateway.delivery.disposition import disposition_of
from gateway.delivery.kind import DeliveryKind
from gateway.delivery.policy import Policy
from gateway.delivery.service import deliveries
from gateway.scopes.task import events, records
from gateway.store import StoreUnavailable
from gateway.task_queue import End, TaskRecord, current_attempt
from protocols.asgi import Application, TaskReceiveEvent, TaskScope
from protocols.events import LONGEST_RETRY_AFTER

_UNFINISHED = 7 * DAY
"""Seconds for which the failures of a task are known that waits for its next attempt."""
_EARLY = 0.05
"""Seconds before its time at which a task may run: the store's clock and the machine's differ by a little."""


def worker_id() -> str:
    """Return what this process is called in results."""
    return f"{socket.gethostname()}-{os.getpid()}"[:64]


class TaskAttempt(Attempt):
    """One attempt at a task. Its outcome has a note for the store with the result, which outlives the message."""

    sends: ClassVar = events.SENDS
    checks: ClassVar = events.CHECKS

    task_accept = Attempt.decide
    task_reject = Attempt.decide
    task_defer = Attempt.decide

    def __init__(self, app: Application, scope: TaskScope, events: Sequence[Any]) -> None:
        super().__init__(app, scope, events)
        self._scope = scope
        self.record = TaskRecord()
        self._call = events[0]
        self._ends: list[End] = []

    def on_end(self, call: End) -> None:
        self._ends.append(call)

    async def outcome(self) -> Outcome:
        """Run the task, unless it is not yet time for it. A task that its application rejects is a dead letter."""
        if (early := _seconds_early(self._scope)) > 0:
            wait = min(early, LONGEST_RETRY_AFTER)
            return Outcome({"type": "task.defer", "retry_after": wait}, [], [], None)
        self.record = await self._begun()
        token = current_attempt.set(self)
        try:
            outcome = _with_refusal(await super().outcome())
        finally:
            current_attempt.reset(token)
        return self._noted(outcome)

    def failing(self, error: BaseException) -> Outcome:
        return self._noted(super().failing(error))

    def _noted(self, outcome: Outcome) -> Outcome:
        """``outcome`` with the result, and with the calls that wait for the task's end if this is it."""
        record, is_last = self._ended(outcome)
        told = [partial(call, record, outcome.error) for call in self._ends] if is_last else []
        return replace(outcome, notes=[self._note(record)], after=told)

    @property
    def _delivery(self) -> dict[str, Any]:
        delivery: dict[str, Any] = self._scope["extensions"]["delivery"]
        return delivery

    async def _begun(self) -> TaskRecord:
        """Return the record with this attempt."""
        number, now = self._delivery["attempt"], time.time()
        before = await self._earlier() if number > 1 else TaskRecord()
        workers = records.workers(before, number - 1)
        return replace(
            before,
            status="RUNNING",
            started_at=before.started_at or now,
            last_attempted_at=now,
            finished_at=None,
            worker_ids=(*workers, worker_id()),
        )

    async def _earlier(self) -> TaskRecord:
        """Return the record of the attempts before this one, as far as it is there: the attempt matters more."""
        try:
            note = await deliveries.get().store.noted([records.key_of(self._delivery["id"])])
            return TaskRecord() if note is None else records.decoded(note)[2]
        except (StoreUnavailable, ValueError):
            return TaskRecord()

    def _ended(self, outcome: Outcome) -> tuple[TaskRecord, bool]:
        """Return the record after this attempt, and whether it was the last."""
        context = current_delivery.get()
        policy = context.policy if context is not None else None
        ends = disposition_of(policy or Policy(attempts=1), outcome, self._delivery["attempt"]).state
        record = self.record
        if isinstance(outcome.error, CutOff):  # no process has begun this one
            record = replace(record, worker_ids=record.worker_ids[:-1])
        if outcome.error is not None:
            record = replace(record, failures=(*record.failures, records.failure(outcome.error, outcome.failure)))
        if ends == "again":
            return replace(record, status="READY"), False
        if outcome.error is not None:
            return replace(record, status="FAILED", finished_at=time.time()), True
        value = outcome.verdict.get("return_value") if outcome.verdict is not None else None
        return replace(record, status="SUCCESSFUL", finished_at=time.time(), return_value=value), True

    def _note(self, record: TaskRecord) -> Note:
        ttl = self._scope["result_ttl"] + (0.0 if record.finished_at is not None else _UNFINISHED)
        note = records.encoded(self._scope, self._call, record)
        return Note(records.key_of(self._delivery["id"]), note, ttl)


def _seconds_early(scope: TaskScope) -> float:
    at = scope["run_after"]
    early = 0.0 if at is None else at - time.time()
    return early if early > _EARLY else 0.0


def _with_refusal(outcome: Outcome) -> Outcome:
    if outcome.error is not None or outcome.verdict is None or not outcome.rejected:
        return outcome
    return Outcome(None, [], [], Undeliverable(outcome.verdict["reason"] or "its application rejects it"))


def _call(event: TaskReceiveEvent) -> bytes:
    return json.dumps({"args": event["args"], "kwargs": event["kwargs"]}, indent=2, ensure_ascii=False).encode(
        errors="surrogatepass"
    )


class TaskDelivery(DeliveryKind):
    """A scope is one call."""

    name: ClassVar = "task"
    checks: ClassVar = events.CHECKS
    content: ClassVar = frozenset({"args", "kwargs"})
    raw: ClassVar = {"task.receive": _call}

    def stores(self, policy: Policy) -> bool:
        return True

    def order_key(self, scope: TaskScope, events: Sequence[Any]) -> str:
        """A queue's tasks stay in order."""
        return f"task:{scope['queue']}"

    def attempt(self, app: Application, scope: TaskScope, events: Sequence[Any]) -> TaskAttempt:
        return TaskAttempt(app, scope, events)
