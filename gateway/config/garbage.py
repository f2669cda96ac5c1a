"""Python's cyclic garbage collector, kept from looking at what lives as long as the process does."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """While many objects are made that all stay: the collector looks at all of them again and again, which takes three
    quarters of the time that a long file needs."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def settle() -> None:
    """What is there now is not looked at any more: a collection over 50,000 routes would stop the event loop."""
    gc.collect()
    gc.freeze()
