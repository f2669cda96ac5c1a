"""Replies of SMTP: their enhanced status codes (RFC 2034, RFC 3463), and what a verdict is on the wire."""

import re

from protocols.mail.verdict import Accept, Defer, Reject, Verdict

MAX_REASON = 400
"""Characters of an application's words in a reply (RFC 5321 4.5.3.1.5: a line has 512 octets)."""

# What goes before a reply that aiosmtpd gives in the old way.
_ENHANCED = {
    "221": "2.0.0",
    "250": "2.0.0",
    "451": "4.3.0",
    "454": "4.7.0",
    "500": "5.5.2",
    "501": "5.5.4",
    "502": "5.5.1",
    "503": "5.5.1",
    "554": "5.7.0",
}
_PLAIN = re.compile(r"([245]\d\d) (?!\d\.\d{1,3}\.\d{1,3} )")


def enhance(reply: str) -> str:
    """``reply`` with an enhanced status code, as a server that announces ENHANCEDSTATUSCODES owes them."""
    plain = _PLAIN.match(reply)
    if plain is None or plain[1] not in _ENHANCED:
        return reply
    return f"{plain[1]} {_ENHANCED[plain[1]]} {reply[plain.end() :]}"


def verdict_reply(verdict: Verdict, transaction_id: str) -> str:
    """The answer to the message."""
    match verdict:
        case Accept():
            return f"250 2.0.0 Accepted as {transaction_id}"
        case Reject(code, reason):
            return f"{code} {_with_status(reason, '5.7.1')}"
        case Defer(reason):
            return f"451 {_with_status(reason, '4.3.0')}"


def _with_status(reason: object, status: str) -> str:
    """The application's words as one line, with their own enhanced status code or ``status``."""
    line = "".join(char if " " <= char <= "~" else "?" for char in str(reason)[:MAX_REASON])
    return line if re.match(rf"{status[0]}\.\d{{1,3}}\.\d{{1,3}} ", line) else f"{status} {line}"
