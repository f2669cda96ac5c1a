"""Says in a helper's words why an event of it was not sent: a handler that calls ``self.respond()`` need not know
``http.response.start``."""

from collections.abc import Mapping

from protocols.errors import LocalProtocolError, OutOfOrder
from protocols.events import Event

States = Mapping[str, str]
"""State of a scope -> why nothing else may be sent in it, and what to call."""


def in_words(helper: str, states: States, event: Event, error: LocalProtocolError) -> LocalProtocolError:
    """Return ``error``, which ``event`` of ``helper`` has met, as an error of the helper."""
    said = str(error).removeprefix(f"{event['type']}: ")
    if isinstance(error, OutOfOrder):
        said = states.get(error.state, said)
    return LocalProtocolError(f"{helper}: {said}")
