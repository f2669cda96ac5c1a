"""Text that can be encoded again, and text that fits on one line."""

_PLAIN = str.maketrans({**dict.fromkeys(range(0x20), " "), **dict.fromkeys(range(0x7F, 0xA0), " ")})


def whole(text: str) -> str:
    """Return ``text`` without lone surrogates, which UTF-7 can express but which cannot be encoded."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def one_line(text: str) -> str:
    """Return ``text`` on one line, without control characters: an encoded word may hide a line break."""
    if text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()
    return " ".join(whole(text).translate(_PLAIN).split())
