"""A clock that cannot be set."""

import time


def elapsed() -> float:
    """Seconds since the machine started, including those in which it slept if the system counts them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
