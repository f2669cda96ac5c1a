"""Rows for an operator, for every engine: without the content, and with the state in words."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.store.priority import time_of
from gateway.store.rows import DAMAGED, as_float, as_int, as_str, outgoing_of
from gateway.store.states import BEHIND, DEAD, RUNNING, WAITING
from gateway.store.values import LONGEST_ERROR, Counts, MessageState, Outgoing, OutgoingState, OutgoingSummary, Summary

_STATES = {RUNNING: MessageState.RUNNING, DEAD: MessageState.DEAD}


def summary_of(row: tuple[Any, ...]) -> Summary:
    """A row of id, type, route, key, subject, received, size, state, attempts, due, error."""
    *names, received, size, state, attempts, due, error = row
    id_, type_, route, key, subject = map(as_str, names)
    return Summary(
        id=id_, type=type_, route=route, key=key, subject=subject, received=as_float(received), size=as_int(size),
        state=_STATES.get(state, MessageState.WAITING), attempts=as_int(attempts),
        due=time_of(as_float(due)), error=as_str(error),
    )  # fmt: skip


def outgoing_summary_of(row: tuple[Any, ...]) -> OutgoingSummary:
    """A row of id, message, kind, lane, behind, its message's route and subject, recipient, received, size, state,
    attempts, due, error, and ``until`` and ``error`` of its lane if that rests."""
    *names, received, size, state, attempts, due, error, until, refusal = row
    id_, message, type_, lane, behind, route, subject, recipient = map(as_str, names)
    shown, due, error = _standing(state, as_float(due), as_str(error), until, refusal)
    return OutgoingSummary(
        id=id_, message=message, type=type_, lane=lane, behind=behind, route=route, subject=subject,
        received=None if received is None else as_float(received), size=as_int(size),
        state=shown, attempts=as_int(attempts), due=due, error=error[-LONGEST_ERROR:], recipient=recipient,
    )  # fmt: skip


def _standing(
    state: object, due: float, error: str, until: object, refusal: object
) -> tuple[OutgoingState, float, str]:
    """An item's state, when it is due and its error, for an operator. ``until`` and ``refusal`` are those of its lane,
    if the lane rests."""
    if state == DEAD:
        return OutgoingState.DAMAGED if error == DAMAGED else OutgoingState.DEAD, due, error
    if state == RUNNING:
        return OutgoingState.LEAVING, due, error
    if until is None:
        return OutgoingState.WAITING, due, error
    return OutgoingState.RESTING, max(due, as_float(until)), error or as_str(refusal)


def standing_item(state: object, until: object, refusal: object, *row: Any) -> Outgoing:
    """An item with its state for an operator: a row of ``state``, ``until`` and ``error`` of its lane if that rests,
    and the columns ``OUTGOING``."""
    item, _ = outgoing_of(row)
    shown, due, error = _standing(state, item.due, item.error, until, refusal)
    return replace(item, state=shown, due=due, error=error)


def counts_of(messages: Mapping[int, int], outgoing: Mapping[int, int]) -> Counts:
    """How many there are, by the numbers of their states."""
    return Counts(
        waiting=messages.get(WAITING, 0) + messages.get(BEHIND, 0),
        running=messages.get(RUNNING, 0),
        dead=messages.get(DEAD, 0),
        outgoing=outgoing.get(WAITING, 0) + outgoing.get(RUNNING, 0),
        dead_outgoing=outgoing.get(DEAD, 0),
    )
