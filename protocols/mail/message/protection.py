"""Tells whether a mail is encrypted or signed, and by what. Nothing is decrypted or verified."""

import re
from typing import Literal

from protocols.mail.mime import Part

Protection = Literal["", "s/mime", "pgp"]

_SMIME = ("application/pkcs7-mime", "application/x-pkcs7-mime")
_SIGNATURES: dict[str, Protection] = {
    "application/pgp-signature": "pgp",
    "application/pkcs7-signature": "s/mime",
    "application/x-pkcs7-signature": "s/mime",
}
_ENCRYPTED_ARMOR = "-----BEGIN PGP MESSAGE-----"
_SIGNED_ARMOR = re.compile(r"-----BEGIN PGP SIGNED MESSAGE-----\n(?:[A-Za-z]{1,30}: .{0,200}\n)*\n?")
_SIGNATURE = "\n-----BEGIN PGP SIGNATURE-----"
_END = "-----END PGP SIGNATURE-----"


def encrypted_by(parts: list[Part], text: str) -> Protection:
    """Return what the mail is encrypted by; empty if it is not."""
    for part in parts:
        if part.content_type == "multipart/encrypted":
            return "s/mime" if "pkcs7" in part.parameters.get("protocol", "").lower() else "pgp"
        if part.effective_type in _SMIME and not _is_signed(part):
            return "s/mime"
    return "pgp" if text.lstrip().startswith(_ENCRYPTED_ARMOR) else ""


def signed_by(parts: list[Part], text: str) -> Protection:
    """Return what the mail is signed by; empty if it is not. ``text`` is as it came, with PGP's lines around it."""
    for part in parts:
        if part.content_type == "multipart/signed":
            protocol = part.parameters.get("protocol", "").lower()
            types = [protocol, *(child.content_type for child in part.children)]
            return next((_SIGNATURES[each] for each in types if each in _SIGNATURES), "")
        if part.effective_type in _SMIME and _is_signed(part):
            return "s/mime"
    return "pgp" if _SIGNED_ARMOR.match(text.lstrip()) else ""


def is_signature(part: Part) -> bool:
    """Whether the part is the signature of another one, which no person reads."""
    return part.effective_type in _SIGNATURES


def is_signed_data(part: Part) -> bool:
    """Whether the part holds a signed entity (opaque S/MIME)."""
    return part.effective_type in _SMIME and _is_signed(part)


def _is_signed(part: Part) -> bool:
    kind = part.parameters.get("smime-type", "").lower()
    return kind == "signed-data" or (not kind and part.inner is not None)


def without_armor(text: str) -> str:
    """Return a text that PGP has signed without PGP's lines; another text as it is (RFC 9580, 7)."""
    begin = _SIGNED_ARMOR.match(text.lstrip())
    if begin is None:
        return text
    signed, _, rest = text.lstrip()[begin.end() :].partition(_SIGNATURE)
    after = rest.partition(_END)[2]
    return re.sub(r"^- ", "", signed, flags=re.MULTILINE) + after
