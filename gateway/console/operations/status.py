"""The operation ``status``: how the gateway is."""

import asyncio
import os
import resource
import time
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TypedDict

from gateway import __version__
from gateway.console import joined
from gateway.console.here import Here
from gateway.console.operation import operation
from gateway.console.operations.servers import ServerState, states
from gateway.store import Counts, StoreUnavailable, engine_of

PATIENCE = 3.0
"""Seconds in which a store counts what it holds, or the answer does without."""


class StoreState(TypedDict):
    """The store, and how much it keeps."""

    url: str
    """Where it is."""
    trouble: str
    """Why nothing can be stored now; empty if it can be."""
    waiting: int | None
    """Messages that wait for a handler. Null, as those below, if the store cannot be read."""
    running: int | None
    """Messages that a handler has."""
    dead: int | None
    """Messages whose last attempt failed."""
    outgoing: int | None
    """Items that handlers sent and that have not left."""
    dead_outgoing: int | None
    """Items that handlers sent and that will not leave."""


class OlderGeneration(TypedDict):
    """A generation that a reload has replaced, and that still has connections or work to finish."""

    generation: int
    """Its number."""
    replaced: float
    """When another one took its place, in seconds since 1970."""
    connections: Mapping[str, int]
    """How many connections, requests and messages it still has, by the name of the server. It ends when it has none."""


class Status(TypedDict):
    """How the gateway is."""

    version: str
    """The version of the gateway."""
    file: str
    """The name of its file."""
    generation: int
    """The number of the generation that serves: 1 at the start, and one more with each reload."""
    older: list[OlderGeneration]
    """Generations that have not ended yet, the newest first."""
    pid: int
    """The number of its process."""
    started: float
    """When it started, in seconds since 1970."""
    uptime: float
    """For how many seconds it has run."""
    ready: bool
    """Whether every required server serves and the store can be written."""
    memory: int
    """Bytes of memory that the process has."""
    servers: list[ServerState]
    """In the order of the file."""
    store: StoreState | None
    """Null if the gateway has none."""


@operation("status", "GET", "/api/status", joined=joined.status)
async def status(here: Here) -> Status:
    """Tell how the gateway is: version, uptime, memory, its servers and its store."""
    servers, store = states(here), await _store(here)
    ready = all(each["state"] in ("ready", "standby") or not each["required"] for each in servers)
    return {
        "version": __version__,
        "file": here.gateway.file,
        "generation": here.generations.number if here.generations is not None else 1,
        "older": _older(here),
        "pid": os.getpid(),
        "started": here.started,
        "uptime": max(0.0, time.time() - here.started),
        "ready": ready and not (store and store["trouble"]),
        "memory": memory(),
        "servers": servers,
        "store": store,
    }


def _older(here: Here) -> list[OlderGeneration]:
    older = here.generations.older if here.generations is not None else ()
    return [{"generation": each.number, "replaced": each.replaced, "connections": each.connections()} for each in older]


async def _store(here: Here) -> StoreState | None:
    if (dispatcher := here.gateway.dispatcher) is None:
        return None
    trouble = await dispatcher.trouble()
    try:
        async with asyncio.timeout(PATIENCE):
            counts = await dispatcher.deliveries.store.counts()
    except (StoreUnavailable, TimeoutError):
        counts = None
    number: Mapping[str, int | None] = dict.fromkeys(_COUNTED) if counts is None else asdict(counts)
    return {
        "url": str(engine_of(here.gateway.settings.store)),
        "trouble": trouble,
        "waiting": number["waiting"],
        "running": number["running"],
        "dead": number["dead"],
        "outgoing": number["outgoing"],
        "dead_outgoing": number["dead_outgoing"],
    }


_COUNTED = tuple(each.name for each in fields(Counts))


def memory() -> int:
    """Bytes of memory now; on systems that do not tell, the most so far."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
