"""The Content-Type of a file, by the ending of its name."""

from functools import cache
from mimetypes import MimeTypes
from os.path import splitext

UNKNOWN = "application/octet-stream"
_ALSO = {
    ".avif": "image/avif",
    ".br": "application/x-brotli",
    ".bz2": "application/x-bzip2",
    ".cjs": "text/javascript",
    ".gz": "application/gzip",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".jxl": "image/jxl",
    ".m4a": "audio/mp4",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".ogg": "audio/ogg",
    ".otf": "font/otf",
    ".rtf": "application/rtf",
    ".ttf": "font/ttf",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
    ".xz": "application/x-xz",
    ".zst": "application/zstd",
}
"""Types that Python's own table lacks in some versions, or has in an older form than RFC 9239 and IANA."""


@cache
def _table() -> dict[str, str]:
    """Return Python's own table, without the files of the system: those differ from machine to machine."""
    return MimeTypes(filenames=()).types_map[True] | _ALSO


def media_type(name: str) -> str:
    """Return the media type; text is UTF-8."""
    found = _table().get(splitext(name)[1].lower(), UNKNOWN)
    return f"{found}; charset=utf-8" if found.startswith("text/") else found
