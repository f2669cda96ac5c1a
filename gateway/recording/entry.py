"""One line of a recording: what arrived, and what became of it then."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.recording.readable import read, readable

CONTENT = "content"
"""Is among the names of what was left out if the application had not read the message."""


class Damaged(ValueError):
    """A line is no entry. The message is one sentence."""


@dataclass(frozen=True)
class Entry:
    """``facts`` are those of the arrival."""

    facts: Mapping[str, Any]
    scope: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]
    left_out: Sequence[str] = field(default=())
    """The names of what was left out, such as secrets."""

    @property
    def is_arrival(self) -> bool:
        """Whether it is something that arrived, and no attempt at a stored message."""
        return not self.facts["attempt"]

    @classmethod
    def of(
        cls, facts: Mapping[str, Any], scope: Mapping[str, Any], events: Sequence[Any], left_out: Sequence[str] = ()
    ) -> "Entry":
        """Make an entry, still with its secrets. ``state`` is the application's, and not a part of it."""
        return cls(facts, {key: value for key, value in scope.items() if key != "state"}, events, left_out)

    def without_secrets(self) -> "Entry":
        from gateway.recording.secrets import Secrets  # its expressions take a while to compile: not in the daemon

        secrets = Secrets()
        facts, scope = secrets.left_out(self.facts), secrets.left_out(self.scope)
        events = secrets.events_left_out(self.events)
        return Entry(facts, scope, events, sorted({*self.left_out, *secrets.names}))

    def data(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "arrival": dict(self.facts),
            "scope": readable(self.scope),
            "events": readable(list(self.events)),
            "left_out": list(self.left_out),
        }

    @classmethod
    def of_data(cls, data: Any) -> "Entry":
        """Make the entry whose :meth:`data` this is. Raises Damaged."""
        try:
            found = read(data)
        except (ValueError, TypeError, RecursionError) as error:
            raise Damaged(f"it cannot be read: {error}") from error
        match found:
            case {"arrival": dict(facts), "scope": dict(scope), "events": list(events), "left_out": list(names)}:
                if all(isinstance(each, dict) for each in events):
                    return cls(facts, scope, events, names)
        raise Damaged("it is no entry of a recording")

    @classmethod
    def read(cls, line: str | bytes) -> "Entry":
        """Raises Damaged."""
        try:
            data = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Damaged(f"it cannot be read: {error}") from error
        return cls.of_data(data)
