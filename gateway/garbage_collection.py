"""Keeps Python's cyclic garbage collector from looking at objects that live as long as the process does."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Do not collect while many objects are made that all stay: the collector would look at all of them again and
    again, which takes three quarters of the time that a long file needs."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def start_up() -> None:
    """Collect nothing until :func:`settle`: hardly anything of what a start makes is garbage."""
    gc.disable()


YOUNG = 2000
"""Objects made and not freed at which a collection looks at the new ones, as in later Pythons. Python 3.11 has 700,
which 8 mails that wait for the store together reach: each wave of messages would be looked at, in vain. 50,000 would
take a tenth off a request on one of 1,000 busy connections; but then a hundred large mails, which handlers keep in
circles, could wait for a collection."""


def settle() -> None:
    """Never look at the objects that exist now, and collect again: a collection over 50,000 routes would stop the event
    loop, and one over the modules alone takes a tenth of a start."""
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
    gc.enable()
