"""The setting `compress` of an http server or of a route."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

from protocols.http.compression.encoders import ENCODERS, LIBRARIES, is_installed
from protocols.setting_forms import ByForm
from protocols.settings_config import SETTINGS_CONFIG
from protocols.units import Bytes

TYPES = (
    "text/*",
    "application/json",
    "application/*+json",
    "application/javascript",
    "application/xml",
    "application/*+xml",
    "application/x-ndjson",
    "application/wasm",
    "image/svg+xml",
)
_TYPE = re.compile(r"[a-z0-9!#$&^_.+*-]+/[a-z0-9!#$&^_.+*-]+", re.IGNORECASE)


@dataclass(frozen=True)
class Compression:
    """Which responses are compressed, and how."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    types: tuple[str, ...] = TYPES
    """Media types; `*` is any part of a name. Default: text, JSON, JavaScript, XML, SVG and WebAssembly."""
    min_size: Bytes = 1024
    """A response with fewer bytes is sent as it is. One without a length, in pieces, is always compressed."""
    codings: tuple[Literal["zstd", "br", "gzip"], ...] | None = None
    """Codings in the order of preference, of those that a client likes alike. Default: `zstd`, `br`, `gzip`, as far as
    their libraries are installed (`zstd` and `br`: the extra `compression`)."""
    private: bool = False
    """Compress also responses that set cookies, that are `Cache-Control: private` or `no-store`, or that vary by
    `Cookie` or `Authorization`. If such a response has a secret and a text that a stranger chose, its compressed size
    tells the secret (BREACH)."""

    def __post_init__(self) -> None:
        """Check the settings. Raises ValueError."""
        for each in self.types:
            if not _TYPE.fullmatch(each):
                raise ValueError(f"types: {each!r} is not a media type, such as text/html or text/*")
        if self.codings == ():
            raise ValueError("codings: write one at least; compress: false compresses nothing")
        for coding in self.codings or ():
            if not is_installed(coding):
                raise ValueError(
                    f"codings: {coding} needs the library {LIBRARIES[coding]}: pip install asgi-gateway[compression]"
                )

    @property
    def available(self) -> tuple[str, ...]:
        """The codings that can be sent."""
        return self.codings or tuple(filter(is_installed, ENCODERS))

    def has_type(self, content_type: str) -> bool:
        """Whether responses with this Content-Type are compressed."""
        return _pattern(self.types).fullmatch(content_type.partition(";")[0].strip()) is not None


@lru_cache(maxsize=64)
def _pattern(types: tuple[str, ...]) -> re.Pattern[str]:
    alternatives = (re.escape(each).replace(r"\*", "[^/]*") for each in types)
    return re.compile("|".join(alternatives) or "(?!)", re.IGNORECASE)


Compress = Annotated[
    bool | Compression,
    ByForm(lambda value: "settings" if isinstance(value, dict) else "switch", ("switch", "settings")),
]
"""``true``: with the defaults."""


def compression_of(written: bool | Compression | None) -> Compression | None:
    """Return the settings; None if nothing is compressed."""
    return Compression() if written is True else written or None
