"""How pydantic reads the dataclasses of settings: unknown keys are errors, and their docstrings are the reference."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_made: list[dict[str, Any]] = []
_now: dict[str, Any] = {}
"""What those have that are made now: a scope type may be imported within :func:`documented`."""


def settings_config(**more: Any) -> dict[str, Any]:
    """Return a ``__pydantic_config__``."""
    made = {"extra": "forbid", **_now, **more}
    _made.append(made)
    return made


def is_settings_config(config: Any) -> bool:
    """Return whether ``config`` is the ``__pydantic_config__`` of settings, and not another one."""
    return any(config is each for each in _made)


@contextmanager
def documented() -> Iterator[None]:
    """Let what pydantic makes of settings have their docstrings. It parses the source for that, which is most of what a
    schema costs: only the reference needs it."""
    for each in (_now, *_made):
        each["use_attribute_docstrings"] = True
    try:
        yield
    finally:
        for each in (_now, *_made):
            del each["use_attribute_docstrings"]


SETTINGS_CONFIG = settings_config()
"""``__pydantic_config__`` of every settings dataclass."""
