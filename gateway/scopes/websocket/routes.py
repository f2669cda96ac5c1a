"""The routes of the websocket scope, as gateway.yaml writes them."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from gateway.scopes.http.origins import parse_origins
from gateway.scopes.routes import Target
from protocols.server import SETTINGS_CONFIG
from protocols.units import Count, Unit

_TEXT = {"type": "string", "examples": ["https://app.example.org", "null", "*"]}
_SCHEMA = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}
OriginList = Annotated[tuple[str, ...], Unit(parse_origins, _SCHEMA)]


@dataclass(frozen=True)
class WebSocketRoute:
    """A route of the websocket scope."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    app: Target
    """What answers: `module.attribute`, `module:attribute`, or `django`."""
    path: str | None = None
    """A regular expression, searched in the path without its leading slash, as Django does."""
    origins: OriginList | None = None
    """Pages that may connect beside those of this server: a list of origins such as https://app.example.org, or `*`
    for all. Default: pages of others may connect if the browser sends no cookies."""
    max_request_rate: Count | None = None
    """Handshakes a minute, all at once or spread over it, from one client address (IPv6: /64). One more gets 429."""
