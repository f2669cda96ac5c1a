"""What differs between two versions of a file, by the paths of its settings; secrets are masked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any

from gateway.config.document import Loc, label
from gateway.config.masking import hides
from gateway.secret_names import hide_passwords
from protocols.secret import Secret

_LONGEST = 80
"""Characters of a value that are shown."""


@dataclass(frozen=True)
class Change:
    """A setting that has another value, or was added or removed: then ``before`` or ``after`` is empty. Both are alike
    where what differs is a secret, or too long to be shown."""

    path: str
    before: str
    after: str

    def __str__(self) -> str:
        if not self.before:
            return f"+ {self.path}: {self.after}"
        if self.before == self.after:
            return f"{self.path}: changed ({self.after})"
        return f"- {self.path}: {self.before}" if not self.after else f"{self.path}: {self.before} -> {self.after}"


def changes(before: Any, after: Any) -> list[Change]:
    """Return what differs between two objects of settings."""
    return [*_changes((), before, after)]


def _changes(loc: Loc, before: Any, after: Any) -> Iterator[Change]:
    if before == after:
        return
    parts = _parts(before), _parts(after)
    if parts[0] is None or parts[1] is None or type(before) is not type(after):
        yield Change(label(loc), _shown(loc, before), _shown(loc, after))
    elif isinstance(before, Sequence):
        yield from _of_list(loc, before, after)
    else:
        for key in dict.fromkeys([*parts[0], *parts[1]]):
            yield from _of_key((*loc, key), parts[0].get(key, _ABSENT), parts[1].get(key, _ABSENT))


_ABSENT = object()


def _of_key(loc: Loc, before: Any, after: Any) -> Iterator[Change]:
    if before is _ABSENT or after is _ABSENT:
        yield Change(label(loc), _shown(loc, before), _shown(loc, after))
    else:
        yield from _changes(loc, before, after)


def _of_list(loc: Loc, before: Sequence[Any], after: Sequence[Any]) -> Iterator[Change]:
    """What is alike at both ends is left out, so that a new first route is one change."""
    shorter = min(len(before), len(after))
    start = next((at for at in range(shorter) if before[at] != after[at]), shorter)
    alike = range(shorter - start)
    end = next((at for at in alike if before[-1 - at] != after[-1 - at]), len(alike))
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    for at in range(max(len(old), len(new))):
        place = (*loc, start + at)
        yield from _of_key(place, old[at] if at < len(old) else _ABSENT, new[at] if at < len(new) else _ABSENT)


def _parts(value: Any) -> Mapping[str, Any] | None:
    """The settings in ``value``, by name; None if it is a value of its own."""
    if isinstance(value, Mapping):
        return value
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return {} if isinstance(value, tuple | list) else None


def _shown(loc: Loc, value: Any) -> str:
    if value is _ABSENT:
        return ""
    if isinstance(value, Secret) or any(hides(key, value) for key in _keys(loc)):
        return "***"
    text = hide_passwords(_text(value))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _keys(loc: Loc) -> list[str]:
    """Return the keys that may say that the value at ``loc`` is a secret. ``auth`` has settings below it, which have
    keys of their own."""
    keys = [step for step in loc if isinstance(step, str)]
    return [*(key for key in keys[:-1] if key != "auth"), *keys[-1:]]


def _text(value: Any) -> str:
    """As the file may write it; of a mapping, what differs from the defaults is enough."""
    if isinstance(value, Secret):
        return "***"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_text, value))}]"
    if (parts := _parts(value)) is None:
        return f"{value:g}" if isinstance(value, float) else str(value)
    said = {key: each for key, each in parts.items() if each != _default(value, key)}
    return f"{{{', '.join(f'{key}: {_masked(key, each)}' for key, each in said.items())}}}"


def _masked(key: str, value: Any) -> str:
    return "***" if hides(key, value) else _text(value)


def _default(value: Any, key: str) -> Any:
    """The default of a field, unless the field says what the mapping is."""
    if isinstance(value, Mapping) or key == "protocol":
        return _ABSENT
    found = next(field for field in fields(value) if field.name == key)
    return found.default if found.default_factory is MISSING else found.default_factory()
