"""One mail as the commands of an SMTP transaction (RFC 5321, 3.3). Pure."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import aiosmtplib

from protocols.asgi import DSNRequest
from protocols.mail.headers import message_id, parse_headers

_HEADER_END = b"\r\n\r\n"
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST_ENVID = 100
_NOT_XTEXT = re.compile(r"[^!-*,-<>-~]")


@dataclass(frozen=True, slots=True)
class Mail:
    """A message and its envelope."""

    mail_from: str
    rcpt_to: Sequence[str]
    message: bytes
    dsn: DSNRequest | None = None


def mail_command(mail: Mail, offered: Collection[str]) -> bytes:
    """Return MAIL with the parameters that the message needs, as far as the server offers them.

    Raises SMTPNotSupported if an address is not ASCII and the server has no SMTPUTF8, ValueError if the sender has a
    control character.
    """
    words = [f"FROM:<{mail.mail_from}>"]
    if "size" in offered:
        words.append(f"SIZE={len(mail.message)}")
    if "8bitmime" in offered and not mail.message.isascii():
        words.append("BODY=8BITMIME")
    if needs_utf8(mail, offered):
        words.append("SMTPUTF8")
    if mail.dsn is not None and "dsn" in offered:
        words += _return_parameters(mail, mail.dsn)
    return _line("MAIL", words)


def rcpt_command(mail: Mail, recipient: str, offered: Collection[str]) -> bytes:
    """Return RCPT for one recipient. Raises ValueError if it has a control character."""
    words = [f"TO:<{recipient}>"]
    if mail.dsn is not None and "dsn" in offered:
        if notify := mail.dsn.get("notify"):
            words.append(f"NOTIFY={','.join(notify).upper()}")
        if recipient.isascii():
            words.append(f"ORCPT=rfc822;{xtext(recipient)}")
    return _line("RCPT", words)


def needs_utf8(mail: Mail, offered: Collection[str]) -> bool:
    """Whether SMTPUTF8 has to be declared (RFC 6531, 3.4): for an address, or for header fields in UTF-8."""
    if not "".join([mail.mail_from, *mail.rcpt_to]).isascii():
        if "smtputf8" not in offered:
            raise aiosmtplib.SMTPNotSupported("the server takes no addresses that are not ASCII (SMTPUTF8)")
        return True
    return "smtputf8" in offered and not mail.message.isascii() and _has_utf8_fields(mail.message)


def _has_utf8_fields(message: bytes) -> bool:
    fields = message.partition(_HEADER_END)[0]
    try:
        return not fields.isascii() and bool(fields.decode())
    except UnicodeDecodeError:
        return False


def _return_parameters(mail: Mail, dsn: DSNRequest) -> list[str]:
    words = [f"RET={dsn['ret'].upper()}"] if "ret" in dsn else []
    envelope = xtext(dsn.get("envid") or (message_id(parse_headers(mail.message)) or "").strip("<>"))
    return [*words, f"ENVID={envelope}"] if 0 < len(envelope) <= _LONGEST_ENVID else words


def xtext(text: str) -> str:
    """Return ``text`` as a value of a parameter (RFC 3461, 4)."""
    return _NOT_XTEXT.sub(lambda found: "".join(f"+{byte:02X}" for byte in found[0].encode()), text)


def _line(verb: str, words: Sequence[str]) -> bytes:
    line = f"{verb} {' '.join(words)}"
    if _CONTROLS.search(line):
        raise ValueError("an address has a control character")
    return f"{line}\r\n".encode()
