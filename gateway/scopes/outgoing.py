"""Reads from a gateway's settings how it sends for code that has no scope."""

from typing import Any

from gateway.consumers.answering import Answering
from gateway.delivery.outgoing_servers import OutgoingServers
from gateway.scopes.installed import KINDS


def outgoing_servers(settings: Any) -> OutgoingServers:
    """``settings`` are the file's."""
    kinds = [kind for kind in KINDS.values() if kind.delivery is not None and kind.delivery.keep is not None]
    return OutgoingServers(
        {kind.name: kind.senders(settings) for kind in kinds},
        {kind.name: kind.lacking(settings) for kind in kinds},
    )


def answering_of(settings: Any) -> Answering:
    tokens = settings.reply_tokens.tokens() if settings.reply_tokens else None
    return Answering(tokens, default_from=settings.submission.default_from if settings.submission else "")
