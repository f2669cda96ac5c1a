"""SMTP's replies: their enhanced status codes (RFC 2034, RFC 3463), and the reply to a message by its verdict."""

import re

from protocols.mail.verdict import Accept, Defer, Reject, Verdict

MAX_REASON = 400
"""Characters of an application's words in a reply (RFC 5321 4.5.3.1.5: a line has 512 octets)."""

# The enhanced status codes for replies of aiosmtpd, which have none.
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
    """Return ``reply`` with an enhanced status code, as a server must that announces ENHANCEDSTATUSCODES."""
    plain = _PLAIN.match(reply)
    if plain is None or plain[1] not in _ENHANCED:
        return reply
    return f"{plain[1]} {_ENHANCED[plain[1]]} {reply[plain.end() :]}"


def verdict_reply(verdict: Verdict, transaction_id: str) -> str:
    """Return the reply to a message."""
    match verdict:
        case Accept():
            return f"250 2.0.0 Accepted as {transaction_id}"
        case Reject(code, reason):
            return f"{code} {_with_status(reason, '5.7.1')}"
        case Defer(reason):
            return f"451 {_with_status(reason, '4.3.0')}"


def _with_status(reason: object, status: str) -> str:
    """Return the application's reason as one line, with its own enhanced status code, or else ``status``."""
    line = "".join(char if " " <= char <= "~" else "?" for char in str(reason)[:MAX_REASON])
    return line if re.match(rf"{status[0]}\.\d{{1,3}}\.\d{{1,3}} ", line) else f"{status} {line}"
