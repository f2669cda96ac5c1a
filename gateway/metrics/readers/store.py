"""The store: its commits, its files, and attempts to send what is stored."""

import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from gateway.delivery.outgoing_counters import RESULTS
from gateway.metrics.family import Distribution, Sample, counter, gauge, histogram
from gateway.metrics.reader import Reader
from gateway.own_thread import disk_thread
from gateway.runtime.build import Gateway
from gateway.store import Store, engine_of
from gateway.store.figures import CALLS, SECONDS

AVAILABLE = gauge(
    "gateway_store_available",
    "0 while the last commit failed because nothing could be stored, 1 otherwise.",
    joined="min",
)
COMMIT = histogram("gateway_store_commit_seconds", "How long commits took, with their sync.", bounds=SECONDS)
BATCH = histogram("gateway_store_commit_calls", "How many calls one commit had in it.", bounds=CALLS)
FAILED = counter("gateway_store_commit_failures_total", "Commits that failed because nothing could be stored.")
CALLS_WAITING = gauge("gateway_store_calls_waiting", "Calls of the store that are not over yet.")
ATTEMPTS = counter(
    "gateway_outgoing_attempts_total",
    "Tries to send a stored message by their result: sent, retried, refused (the account), dead (the message).",
    "type",
    "result",
)
FILE = gauge(
    "gateway_store_file_bytes",
    "Size of the store's files: the database and its write-ahead log (wal).",
    "file",
    joined="max",
)
FREE = gauge("gateway_store_disk_free_bytes", "What is left on the disk that has the store.", joined="max")
DISK = gauge("gateway_store_disk_size_bytes", "Size of the disk that has the store.", joined="max")


async def read(gateway: Gateway) -> AsyncIterator[Sample]:
    if (dispatcher := gateway.dispatcher) is None:
        return
    here = dispatcher.deliveries
    for sample in _commits(here.store):
        yield sample
    for type_ in sorted({*gateway.outlets, *(type_ for type_, _ in here.counters.total)}):
        for result in RESULTS:
            yield ATTEMPTS.sample(here.counters.total.get((type_, result), 0), type_, result)
    for sample in await _files(gateway):
        yield sample


def _commits(store: Store) -> Iterator[Sample]:
    commits = store.commits
    yield AVAILABLE.sample(float(not commits.is_failing))
    yield COMMIT.sample(Distribution(counts=list(commits.seconds.counts), sum=commits.seconds.sum))
    yield BATCH.sample(Distribution(counts=list(commits.calls.counts), sum=commits.calls.sum))
    yield FAILED.sample(commits.failed)
    yield CALLS_WAITING.sample(store.calls_waiting)


async def _files(gateway: Gateway) -> list[Sample]:
    path = engine_of(gateway.settings.store).path
    return [] if path is None else await disk_thread.run(lambda: list(_sizes(path)))


def _sizes(path: Path) -> Iterator[Sample]:
    """Yield what can be read: the disk may be a network's, which is away."""
    file = path.resolve()
    for name, each in (("database", file), ("wal", file.with_name(f"{file.name}-wal"))):
        with contextlib.suppress(OSError):
            yield FILE.sample(os.stat(each).st_size, name)
    with contextlib.suppress(OSError):
        usage = shutil.disk_usage(file.parent)
        yield FREE.sample(usage.free)
        yield DISK.sample(usage.total)


READER = Reader(
    "store",
    (AVAILABLE, COMMIT, BATCH, FAILED, CALLS_WAITING, ATTEMPTS, FILE, FREE, DISK),
    read,
    of="process",  # a successor has the same store, and goes on counting
)
