"""Services of a test's own, in the place of those of a gateway that is installed."""

import contextlib
from collections.abc import Iterator

from gateway.delivery.keep import Keep
from gateway.delivery.service import Deliveries, deliveries
from gateway.services import Services, install
from gateway.store import Store
from gateway.threads import Pool, thread_pool


@contextlib.contextmanager
def installed(services: Services) -> Iterator[None]:
    """Beside those that are installed."""
    before = install(services)
    install({**before, **services})
    try:
        yield
    finally:
        install(before)


@contextlib.contextmanager
def delivering(store: Store, keep: Keep | None = None) -> Iterator[Deliveries]:
    with installed({deliveries: (made := Deliveries(store, keep or Keep()))}):
        yield made


@contextlib.contextmanager
def threads(size: int) -> Iterator[Pool]:
    """A pool of its own, whose threads end with it."""
    with installed({thread_pool: (pool := Pool(size))}):
        yield pool
    pool.shutdown(wait=False)
