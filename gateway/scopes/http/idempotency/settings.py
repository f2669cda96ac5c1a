"""The setting `idempotency` of an http route."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from gateway.scopes.http.token import TOKEN
from protocols.setting_forms import ByForm
from protocols.settings_config import SETTINGS_CONFIG
from protocols.units import Count, Length, Timeout


@dataclass(frozen=True)
class Idempotency:
    """How requests with an Idempotency-Key are answered."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    methods: tuple[str, ...] = ("POST", "PATCH")
    """The methods of requests whose key counts. The key of any other request is not looked at."""
    required: bool = False
    """Refuse a request by one of `methods` that has no key, with 400."""
    client: tuple[str, ...] = ("authorization", "cookie", "x-api-key")
    """The header fields that tell clients apart: a key is that of the client who sends the same values again. If your
    clients log in by another field, write it here, so that no client gets the answer of another."""
    keep: Timeout = 86400.0
    """For how long a key is known, from its request on."""
    max_body: Length = 1024 * 1024
    """The longest body of a request with a key (413), which is held in memory."""
    max_answer: Length = 256 * 1024
    """The longest answer that is kept. A longer one is sent, and a repetition is refused (409)."""
    max_keys: Count = 100_000
    """How many new keys each process takes within `keep`; after that it refuses requests with keys (503)."""

    def __post_init__(self) -> None:
        """Check the settings. Raises ValueError."""
        if not self.methods:
            raise ValueError("methods: write one at least")
        for name in ("methods", "client"):
            if wrong := next((each for each in getattr(self, name) if not TOKEN.fullmatch(each)), None):
                raise ValueError(f"{name}: {wrong!r} is not a name")


Idempotent = Annotated[
    bool | Idempotency,
    ByForm(lambda value: "settings" if isinstance(value, dict) else "switch", ("switch", "settings")),
]
"""``true``: with the defaults."""


def idempotency_of(written: bool | Idempotency | None) -> Idempotency | None:
    """Return the settings; None if keys are not looked at."""
    return Idempotency() if written is True else written or None
