"""The content of a message as a page shows it: as text, never as HTML."""

from dataclasses import dataclass

LONGEST = 64 * 1024
"""Bytes that are shown."""
_LINE = 16
_CONTROLS = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\t\n"} | {127: "\u2421"}


@dataclass(frozen=True)
class Body:
    """What is shown of some bytes."""

    text: str
    is_hex: bool
    size: int
    is_whole: bool


def body_of(data: bytes) -> Body:
    """Show text as it is, with signs in place of control characters, and other bytes in hexadecimal."""
    begin = data[:LONGEST]
    try:
        text, is_hex = begin.decode("utf-8", "strict" if len(data) <= LONGEST else "ignore"), False
    except UnicodeDecodeError:
        text, is_hex = _hex(begin), True
    shown = text if is_hex else text.replace("\r\n", "\n").translate(_CONTROLS)
    return Body(shown, is_hex, len(data), len(data) <= LONGEST)


def _hex(data: bytes) -> str:
    lines = (data[at : at + _LINE] for at in range(0, len(data), _LINE))
    return "\n".join(
        f"{number * _LINE:08x}  {line.hex(' '):<47}  {_printable(line)}" for number, line in enumerate(lines)
    )


def _printable(line: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else "." for byte in line)
