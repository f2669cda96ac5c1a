"""The threads that sync handlers run on."""

from collections.abc import AsyncIterator

from gateway.metrics.family import Distribution, Sample, gauge, histogram
from gateway.metrics.reader import Reader
from gateway.runtime.build import Gateway
from gateway.threads import WAITS, thread_pool

SIZE = gauge("gateway_threads", "Threads for sync handlers: threads in the file.")
BUSY = gauge("gateway_threads_busy", "Threads that are at work.")
WAITING = gauge("gateway_threads_calls_waiting", "Calls of sync handlers that wait for a thread.")
WAIT = histogram("gateway_threads_wait_seconds", "How long such calls waited for a thread.", bounds=WAITS)


async def read(gateway: Gateway) -> AsyncIterator[Sample]:
    pool = gateway.services[thread_pool]
    yield SIZE.sample(pool.size)
    yield BUSY.sample(pool.use.running)
    yield WAITING.sample(pool.use.waiting)
    yield WAIT.sample(Distribution(counts=list(pool.use.waits.counts), sum=pool.use.waits.sum))


READER = Reader("threads", (SIZE, BUSY, WAITING, WAIT), read)
