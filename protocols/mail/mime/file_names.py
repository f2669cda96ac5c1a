"""File names of attachments that are safe to store: from what the sender wrote, or from the type. Pure."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from mimetypes import MimeTypes

from protocols.mail.charsets import whole

LONGEST = 200
"""Bytes of a name in UTF-8. File systems allow 255; the application may want to add something."""
_LONGEST_SUFFIX = 20
_NOT_IN_NAMES = re.compile(r'[<>:"|?*]')
_SEPARATOR = re.compile(r"[/\\]")
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode categories that a name is without: controls, bidirectional and zero-width characters among them."""
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|\Z)", re.IGNORECASE)
"""Names that Windows takes for devices, whatever suffix they have."""
_SUFFIXES = {
    "text/plain": ".txt",
    "text/html": ".html",
    "text/calendar": ".ics",
    "text/vcard": ".vcf",
    "text/x-vcard": ".vcf",
    "text/rfc822-headers": ".txt",
    "message/rfc822": ".eml",
    "message/global": ".eml",
    "message/delivery-status": ".txt",
    "message/disposition-notification": ".txt",
    "message/feedback-report": ".txt",
    "image/jpeg": ".jpg",
    "image/jpg": ".jpg",
    "image/pjpeg": ".jpg",
    "image/tiff": ".tiff",
    "audio/mpeg": ".mp3",
    "application/octet-stream": ".bin",
    "application/ms-tnef": ".dat",
    "application/pkcs7-signature": ".p7s",
    "application/x-pkcs7-signature": ".p7s",
    "application/pkcs7-mime": ".p7m",
    "application/x-pkcs7-mime": ".p7m",
    "application/pgp-signature": ".asc",
    "application/pgp-encrypted": ".asc",
    "application/pgp-keys": ".asc",
}
"""Suffixes that the standard library has otherwise, or not at all."""


def safe_name(name: str) -> str:
    """Return ``name`` without its folders and without what file systems, shells and readers stumble over: it is not
    hidden, is no option, and looks like what it is. At most 200 bytes; the suffix is kept. It may be empty."""
    last = _SEPARATOR.split(whole(name).rstrip("/\\ "))[-1]
    visible = "".join(character for character in last if unicodedata.category(character) not in _INVISIBLE)
    clean = " ".join(_NOT_IN_NAMES.sub("_", visible).split()).strip(". ").lstrip("-. ")
    return shortened(f"_{clean}" if _DEVICE.match(clean) else clean)


def shortened(name: str, to: int = LONGEST) -> str:
    """Return ``name`` with at most ``to`` bytes in UTF-8. A suffix is kept."""
    if len(name.encode()) <= to:
        return name
    stem, suffix = _split(name)
    return stem.encode()[: to - len(suffix.encode())].decode("utf-8", "ignore").rstrip() + suffix


def _split(name: str) -> tuple[str, str]:
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix.encode()) > _LONGEST_SUFFIX:
        return name, ""
    return stem, dot + suffix


def name_by_type(content_type: str, subject: str = "") -> str:
    """Return a name for a part that has none: ``attachment.pdf``; of a message, its subject."""
    suffix = _SUFFIXES.get(content_type) or _types().guess_extension(content_type) or ".bin"
    stem = safe_name(_SEPARATOR.sub("_", subject)) if suffix == ".eml" else ""
    return shortened(f"{stem or _stem(content_type)}{suffix}")


def type_by_name(name: str) -> str:
    """Return the content type that the suffix of ``name`` stands for; ``application/octet-stream`` if none."""
    suffix = _split(name)[1].lower()
    known = next((kind for kind, ending in _SUFFIXES.items() if ending == suffix and suffix != ".dat"), None)
    return known or _types().guess_type(f"x{suffix}")[0] or "application/octet-stream"


def _stem(content_type: str) -> str:
    main = content_type.partition("/")[0]
    return {"image": "image", "message": "message", "text": "text"}.get(main, "attachment")


@cache
def _types() -> MimeTypes:
    """Return the standard library's own table: the system's files differ from one machine to the next."""
    return MimeTypes()


def unique_names(names: Iterable[str]) -> Iterator[str]:
    """Yield each of ``names``, which are safe and not empty, with a number where an earlier one is the same but for
    upper and lower case."""
    taken: set[str] = set()
    numbers: dict[str, int] = {}
    for name in names:
        unique, key = name, name.casefold()
        while unique.casefold() in taken:
            number = numbers[key] = numbers.get(key, 1) + 1
            stem, suffix = _split(name)
            unique = shortened(stem, LONGEST - len(suffix.encode()) - len(str(number)) - 1) + f"-{number}" + suffix
        taken.add(unique.casefold())
        yield unique
