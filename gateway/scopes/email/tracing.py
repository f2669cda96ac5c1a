"""How mail is traced. Trace Context rides in header fields; an answer is recognized by the Message-ID that it names,
since no mail program copies fields that it does not know."""

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from gateway.spans import Carrier
from gateway.tracing.traced import FIELDS, Traced, from_pairs, pairs_of
from protocols.events import Event
from protocols.mail.headers import MAX_HEADER_BLOCK, first, parse_headers

_ID = re.compile(rb"<[^<>\s]{1,998}>")
LONGEST_FIELD = 64 * 1024
MOST_ANSWERED = 10
"""Ids that are looked for: the one in In-Reply-To, and the last ones in References."""


class TracedEmail(Traced):
    carries: ClassVar = True
    is_rare: ClassVar = True

    def carrier(self, scope: Any, event: Any) -> Carrier:
        return from_pairs(scope["headers"])

    def answers(self, scope: Any) -> Sequence[str]:
        headers = scope["headers"]
        to, chain = (_ids(first(headers, name)) for name in (b"in-reply-to", b"references"))
        return list(dict.fromkeys([*to, *reversed(chain)]))[:MOST_ANSWERED]

    def answered_by(self, scope: Any) -> str:
        sender: str = scope["mail_from"]
        return sender.lower()

    def with_trace(self, event: Event, carrier: Carrier) -> Event:
        """Put the fields in front. A message that is passed on keeps none of another trace."""
        message: bytes = event["message"]
        if any(name.decode("latin-1") in FIELDS for name, _ in parse_headers(message[:MAX_HEADER_BLOCK])):
            return event  # its handler has written its own, or passes a mail on that may be signed
        lines = "".join(f"{name.capitalize()}: {value}\r\n" for name, value in pairs_of(carrier))
        return {**event, "message": lines.encode("ascii", "replace") + message}

    def id_of(self, event: Event) -> str:
        found = _ids(first(parse_headers(event["message"][:MAX_HEADER_BLOCK]), b"message-id"))
        return found[0] if found else ""

    def recipients(self, event: Event) -> Sequence[str]:
        return [recipient.lower() for recipient in event["rcpt_to"]]


def _ids(value: bytes | None) -> list[str]:
    return [found.decode("latin-1") for found in _ID.findall((value or b"")[:LONGEST_FIELD])]
