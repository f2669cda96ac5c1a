"""Recognizes a peer that came to the wrong port, so that the log line can say what it seems to speak. Pure."""

from protocols.net.proxy import V1, V2

_BEGINNINGS = {
    "TLS": (b"\x16\x03",),
    "SSH": (b"SSH-",),
    "SMTP": (b"EHLO ", b"HELO ", b"LHLO "),
    "HTTP/2": (b"PRI * HTTP/2",),
    "HTTP": (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"CONNECT "),
    "a PROXY header": (V1, V2),
}


def describe_wrong_protocol(data: bytes, own: str, *, tls: str = "tls") -> str:
    """Say what the first bytes of a connection look like, as the end of a log line.

    Empty if they look like ``own`` protocol, or like none that is known. ``tls`` is the setting that makes this port
    speak TLS.
    """
    for protocol, beginnings in _BEGINNINGS.items():
        if data.startswith(beginnings) and protocol != own:
            return f" (it looks like {protocol}{_advice(protocol, own, tls)})"
    return ""


def _advice(protocol: str, own: str, tls: str) -> str:
    if protocol == "TLS":
        return f": is {tls}: missing?"
    if protocol == "HTTP/2" and own == "HTTP":
        return ": is http2: true missing?"
    if protocol == "a PROXY header":
        return ": is the proxy missing in proxy_protocol:?"
    return ""
