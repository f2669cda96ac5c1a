"""Peers that have come to the wrong port: a log line that says what they seem to speak saves its reader the search.

Pure.
"""

from protocols.net.proxy import V1, V2

_BEGINNINGS = {
    "TLS": (b"\x16\x03",),
    "SSH": (b"SSH-",),
    "SMTP": (b"EHLO ", b"HELO ", b"LHLO "),
    "HTTP/2": (b"PRI * HTTP/2",),
    "HTTP": (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"CONNECT "),
    "a PROXY header": (V1, V2),
}


def likeness(data: bytes, own: str, *, tls: str = "tls") -> str:
    """What the first bytes of a connection look like, as the end of a log line; empty where that is ``own`` protocol,
    or nothing that is known. ``tls`` is the setting by which this port would speak TLS."""
    for kind, beginnings in _BEGINNINGS.items():
        if data.startswith(beginnings) and kind != own:
            return f" (it looks like {kind}{_advice(kind, tls)})"
    return ""


def _advice(kind: str, tls: str) -> str:
    if kind == "TLS":
        return f": is {tls}: missing?"
    if kind == "a PROXY header":
        return ": is its sender missing in proxy_protocol:?"
    return ""
