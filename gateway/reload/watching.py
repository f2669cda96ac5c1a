"""Watches the files of a version."""

import contextlib
import importlib.util
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from watchfiles import Change, DefaultFilter, awatch

from gateway.reload.watched import Watched

STEP = 30
"""Milliseconds without another change after which a change counts: an editor writes a file in several steps."""
LONGEST = 300
"""Milliseconds after which it counts anyway."""


class _Filter(DefaultFilter):
    """Leaves out what a version does not consist of, and folders of tools (``.git``, ``.venv``, ``node_modules``)."""

    def __init__(self, watched: Watched) -> None:
        super().__init__()
        self._watched = watched

    def __call__(self, change: Change, path: str) -> bool:
        return self._watched.has(Path(path)) and super().__call__(change, path)


async def changes(watched: Watched) -> AsyncIterator[set[Path]]:
    """Yield the files that have changed, a moment after the last of them has."""
    async for found in awatch(*watched.roots(), watch_filter=_Filter(watched), step=STEP, debounce=LONGEST):
        yield {Path(path) for _, path in found}


def forget_bytecode(changed: Iterable[Path]) -> None:
    """Remove the compiled forms of ``changed``. Python uses one if the source has the same size and was changed in the
    same second, as after two quick edits."""
    for path in changed:
        if path.suffix == ".py":
            with contextlib.suppress(OSError):
                Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
