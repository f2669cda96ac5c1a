"""What compresses a body piece by piece, in each coding."""

import zlib
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from typing import Any, Final, Protocol

_GZIP, _BROTLI, _ZSTD = 5, 4, 3
"""Levels at which a core compresses some 50 to 300 MB of text a second."""
_WINDOW, _SMALL = 17, 12
"""Logarithms of the bytes that an encoder looks back: a long window takes megabytes for each stream. The small one is
for streams that stay open, which may be thousands."""


class Encoder(Protocol):
    """Compresses one body."""

    def compress(self, data: bytes | memoryview) -> bytes: ...

    def flush(self) -> bytes:
        """Return what the client needs to read all that has been compressed."""

    def finish(self) -> bytes:
        """Return the end."""


class MakeEncoder(Protocol):
    """Makes an encoder. ``is_small``: one that takes little memory."""

    def __call__(self, *, is_small: bool) -> Encoder: ...


class _Gzip:
    def __init__(self, *, is_small: bool) -> None:
        window, memory = (_SMALL, 4) if is_small else (zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL)
        self._stream = zlib.compressobj(_GZIP, zlib.DEFLATED, 16 + window, memory)
        self.compress = self._stream.compress
        self.finish = self._stream.flush

    def flush(self) -> bytes:
        return self._stream.flush(zlib.Z_SYNC_FLUSH)


class _Brotli:
    def __init__(self, *, is_small: bool) -> None:
        import brotli

        stream = brotli.Compressor(quality=1 if is_small else _BROTLI, lgwin=_SMALL if is_small else _WINDOW)
        self.compress: Callable[[Any], bytes] = stream.process
        self.flush: Callable[[], bytes] = stream.flush
        self.finish: Callable[[], bytes] = stream.finish


class _Zstandard:
    def __init__(self, *, is_small: bool) -> None:
        import zstandard

        make = zstandard.ZstdCompressionParameters.from_level
        parameters = make(1, source_size=1 << _SMALL) if is_small else make(_ZSTD, window_log=_WINDOW)
        self._stream: Any = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        self._block = zstandard.COMPRESSOBJ_FLUSH_BLOCK
        self.compress: Callable[[Any], bytes] = self._stream.compress
        self.finish: Callable[[], bytes] = self._stream.flush

    def flush(self) -> bytes:
        flushed: bytes = self._stream.flush(self._block)
        return flushed


ENCODERS: Final[Mapping[str, MakeEncoder]] = {"zstd": _Zstandard, "br": _Brotli, "gzip": _Gzip}
"""Coding -> what makes an encoder. The best one first."""
LIBRARIES: Final = {"zstd": "zstandard", "br": "brotli"}
"""The libraries of codings that the standard library lacks."""


@cache
def is_installed(coding: str) -> bool:
    """Whether the library for ``coding`` is there. It is not imported."""
    return coding not in LIBRARIES or find_spec(LIBRARIES[coding]) is not None
