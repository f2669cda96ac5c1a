"""What the C library keeps of the memory that the process frees."""

import ctypes
import os

KEPT = 16 * 1024 * 1024
"""Freed bytes at the end of a heap that are kept for the next message."""
MAPPED = 4 * 1024 * 1024
"""Bytes of a block that gets pages of its own, which go back to the system when it is freed."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""mallopt(3)."""


def keep_freed() -> bool:
    """Keep freed memory, at most ``KEPT`` in a heap; return whether the C library does.

    By itself glibc gives back what a piece of 256 KiB had, and gets it again, page by page, for the next piece: two
    thirds of the time that an upload takes. What an operator has set (``MALLOC_TRIM_THRESHOLD_`` and its like) stays.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # musl and macOS have none
        return False
    return bool(mallopt(_TRIM_THRESHOLD, KEPT)) and bool(mallopt(_MMAP_THRESHOLD, MAPPED))
