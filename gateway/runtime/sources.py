"""Keeps the source of the user's own modules as it was imported, so that the log shows the code that runs.

Python reads a traceback's lines when it writes it, from the file as it is then; somebody may have edited that.
"""

import linecache
import sys

from gateway.frames import is_own


class Sources:
    """Keeps the source of modules that were imported since the last call."""

    def __init__(self) -> None:
        self._kept: set[str] = set()
        self._modules = 0

    def look(self) -> None:
        """Read the files of new modules. This takes no time where there are none."""
        if len(sys.modules) == self._modules:
            return
        modules = list(sys.modules.values())
        self._modules = len(modules)
        files = {str(getattr(module, "__file__", None) or "") for module in modules} - self._kept
        self._kept |= files
        for file in files:
            if file.endswith(".py") and is_own(file):
                _keep(file)


def _keep(file: str) -> None:
    lines = linecache.getlines(file)
    # An entry without a time is one that linecache never reads again (as it does for modules from a zip file).
    linecache.cache[file] = sum(map(len, lines)), None, lines, file
