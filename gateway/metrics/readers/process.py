"""The process: its event loop, its garbage collector, and what the system knows of it."""

import gc
from collections.abc import AsyncIterator

from gateway.metrics.family import Distribution, Sample, counter, gauge, histogram
from gateway.metrics.reader import Reader
from gateway.own_thread import operator_thread
from gateway.runtime.build import Gateway
from gateway.runtime.watchdog import DELAYS, loop_delay

DELAY = histogram(
    "gateway_loop_delay_seconds",
    "How long the event loop takes to begin a call from another thread, twice a second.",
    bounds=DELAYS,
)
COLLECTIONS = counter("gateway_gc_collections_total", "Runs of the garbage collector.", "generation")
COLLECTED = counter("gateway_gc_objects_collected_total", "Objects that it has freed.", "generation")
SYSTEM = (
    counter("process_cpu_seconds_total", "CPU time of the process, its own and the system's for it."),
    gauge("process_resident_memory_bytes", "Memory that the process has."),
    gauge("process_virtual_memory_bytes", "Addresses that the process has."),
    gauge("process_open_fds", "File descriptors that are open."),
    gauge("process_max_fds", "File descriptors that may be open."),
    gauge(
        "process_start_time_seconds",
        "When the process began, as Unix time; of several workers, the youngest.",
        joined="max",
    ),
)
WORKERS = gauge("gateway_workers", "Processes that serve: 1, or as many as `workers` says.")
DEATHS = counter("gateway_worker_deaths_total", "Workers that died, or were killed, while they served.")
_BY_NAME = {family.name: family for family in SYSTEM}


async def read(gateway: Gateway) -> AsyncIterator[Sample]:
    yield WORKERS.sample(1)
    yield DEATHS.sample(0)  # the parent counts them
    yield DELAY.sample(Distribution(counts=list(loop_delay.counts), sum=loop_delay.sum))
    for generation, told in enumerate(gc.get_stats()):
        yield COLLECTIONS.sample(told["collections"], str(generation))
        yield COLLECTED.sample(told["collected"], str(generation))
    for name, value in (await operator_thread.run(_system)).items():
        yield _BY_NAME[name].sample(value)


def _system() -> dict[str, float]:
    """Return what prometheus-client reads from /proc; nothing where there is none."""
    from prometheus_client import ProcessCollector  # not on the event loop: it takes 50 ms to import

    told = [sample for metric in ProcessCollector(registry=None).collect() for sample in metric.samples]
    return {sample.name: sample.value for sample in told if sample.name in _BY_NAME}


READER = Reader("process", (WORKERS, DEATHS, DELAY, COLLECTIONS, COLLECTED, *SYSTEM), read, of="process")
