"""The error that a function raises, as an object."""

from collections.abc import Callable


def caught(raising: Callable[[], object]) -> BaseException:
    try:
        raising()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")
