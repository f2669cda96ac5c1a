"""Finds the modules of the user's own whose files have changed since they were imported."""

import linecache
import sys
import tokenize

from gateway.frames import is_own


def changed_modules() -> list[str]:
    """Return their names. Reads the files of all modules whose source was kept when they were imported, see
    :class:`gateway.runtime.sources.Sources`."""
    return [name for name, module in list(sys.modules.items()) if _has_changed(getattr(module, "__file__", None) or "")]


def _has_changed(file: str) -> bool:
    kept = linecache.cache.get(file)
    if kept is None or len(kept) == 1 or kept[1] is not None or not is_own(file):
        return False  # its source was not kept, or was read for a traceback
    try:
        with tokenize.open(file) as opened:
            text = opened.read()
    except (OSError, SyntaxError, UnicodeDecodeError):
        return True
    return text.removesuffix("\n") != "".join(kept[2]).removesuffix("\n")
