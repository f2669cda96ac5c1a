"""How the answers of several workers become one."""

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from gateway.console.resource_parameters import PAGE

Answer = Mapping[str, Any]
Arguments = Mapping[str, Any]
_STATES = ("ready", "connecting", "starting", "draining", "standby", "stopped")
"""The states of a server: the first one of any worker is that of the gateway."""


def pages(key: str) -> Callable[[Sequence[Answer], Arguments], Answer]:
    """Join pages of entries that are in the order of ``key``, or of what the parameter ``by`` names."""

    def joined(answers: Sequence[Answer], arguments: Arguments) -> Answer:
        by, limit = arguments.get("by"), arguments.get("limit", PAGE)
        placed = [([-each.get(by, 0) if by else 0, each[key], each["server"]], each) for each in _all(answers)]
        placed.sort(key=lambda each: each[0])
        is_over = len(placed) <= limit and not any(each["next"] for each in answers)
        kept = placed[:limit]
        return {
            "entries": [each for _, each in kept],
            "total": sum(each["total"] for each in answers),
            "next": None if is_over or not kept else cursor(kept[-1][0]),
        }

    return joined


def cursor(place: list[Any]) -> str:
    """Return what a client gives as ``after`` for the entries behind ``place``."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def entries(answers: Sequence[Answer], arguments: Arguments) -> Answer:
    """Join what was found in several workers."""
    return {"entries": list(_all(answers))}


def removed(answers: Sequence[Answer], arguments: Arguments) -> Answer:
    """Add up what was found and removed."""
    return {name: sum(each[name] for each in answers) for name in answers[0]}


def one(answers: Sequence[Answer], arguments: Arguments) -> Answer:
    """Return the answer of this process, or of another one that has found something: no other is needed."""
    return answers[0]


def servers(answers: Sequence[Answer], arguments: Arguments) -> Answer:
    return {"servers": _servers([each["servers"] for each in answers])}


def status(answers: Sequence[Answer], arguments: Arguments) -> Answer:
    """Tell how the gateway is: its servers and its memory are those of all workers."""
    return {
        **answers[0],
        "older": [each for answer in answers for each in answer["older"]],
        "generation": max(each["generation"] for each in answers),
        "ready": all(each["ready"] for each in answers),
        "memory": sum(each["memory"] for each in answers),
        "servers": _servers([each["servers"] for each in answers]),
    }


def routes(answers: Sequence[Answer], arguments: Arguments) -> Answer:
    """Add up the rates of each route. Of the times the longest counts: what half of all took is not known."""
    return {
        **answers[0],
        "routes": [_route(each) for each in zip(*(answer["routes"] for answer in answers), strict=False)],
        "unrouted": [_route(each) for each in zip(*(answer["unrouted"] for answer in answers), strict=False)],
    }


def _route(facts: Sequence[Answer]) -> Answer:
    histories = [reversed(each["history"]) for each in facts]
    history = [{**_rates(points), "at": points[0]["at"]} for points in zip(*histories, strict=False)]
    return {**facts[0], **_rates(facts), "history": history[::-1]}


def _rates(facts: Sequence[Answer]) -> Answer:
    rates = [each["rate"] for each in facts if each["rate"] is not None]
    failing = [each["rate"] * each["error_share"] for each in facts if each["rate"] and each["error_share"] is not None]
    return {
        "rate": sum(rates) if rates else None,
        "error_share": sum(failing) / sum(rates) if failing and sum(rates) else None,
        "p50": _longest(each["p50"] for each in facts),
        "p99": _longest(each["p99"] for each in facts),
    }


def _longest(times: Iterable[float | None]) -> float | None:
    return max((each for each in times if each is not None), default=None)


def _servers(of_workers: Sequence[Sequence[Answer]]) -> list[Answer]:
    found: dict[str, list[Answer]] = {}
    for each in (server for servers in of_workers for server in servers):
        found.setdefault(each["name"], []).append(each)
    return [_server(each) for each in found.values()]


def _server(states: Sequence[Answer]) -> Answer:
    """One server: that of the worker in which it serves, with what is in flight in all."""
    first = min(states, key=lambda each: _STATES.index(each["state"]))
    nouns = dict.fromkeys(noun for each in states for noun in each["active"])
    return {**first, "active": {noun: sum(each["active"].get(noun, 0) for each in states) for noun in nouns}}


def _all(answers: Sequence[Answer]) -> Iterable[Any]:
    return (entry for answer in answers for entry in answer["entries"])
