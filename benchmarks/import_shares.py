"""Runs a module as ``python -m`` does, and prints on SIGUSR2 the CPU milliseconds that each package took to import.

A package's time is that of its own modules, without what they import. Our packages are listed by their parts.
"""

import _frozen_importlib
import os
import runpy
import signal
import sys
import time
from collections import Counter
from typing import Any

_find: Any = getattr(_frozen_importlib, "_find_and_load")  # noqa: B009 -- not in its types
_shares: Counter[str] = Counter()
_below = [0.0]
"""The time of the imports within each import that is under way, from the outermost."""


def _timed(name: str, import_: Any) -> Any:
    began = time.process_time()
    _below.append(0.0)
    try:
        return _find(name, import_)
    finally:
        took = time.process_time() - began
        _shares[_package(name)] += (took - _below.pop()) * 1000
        _below[-1] += took


def _package(name: str) -> str:
    parts = name.split(".")
    return ".".join(parts[: 2 if parts[0] in ("gateway", "protocols") else 1])


def _report(*_: object) -> None:
    whole, imported = time.process_time() * 1000, _shares.total()
    print(f"{whole:.0f} ms, of which imports {imported:.0f}")
    print("\n".join(f"{took:6.1f}  {name}" for name, took in _shares.most_common(25)), flush=True)
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR2, _report)
    setattr(_frozen_importlib, "_find_and_load", _timed)  # noqa: B010 -- not in its types
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
