"""Reads from a gateway's settings how it sends for code that has no scope."""

from collections.abc import Mapping
from typing import Any

from gateway.consumers.answering import Answering
from gateway.consumers.text_guard import TextGuard
from gateway.delivery.outgoing_servers import OutgoingServers
from gateway.scopes.installed import KINDS
from protocols.lazy_names import LazyMapping, imported


def outgoing_servers(settings: Any) -> OutgoingServers:
    """``settings`` are the file's."""

    def senders(name: str) -> Mapping[str, Mapping[str, Any]]:
        return KINDS[name].senders(settings) if KINDS[name].sends else {}

    def lacking(name: str) -> str:
        return KINDS[name].lacking(settings) if KINDS[name].sends else "nothing of this type is sent"

    return OutgoingServers(LazyMapping(KINDS, senders), LazyMapping(KINDS, lacking))


def answering_of(settings: Any) -> Answering:
    tokens = settings.reply_tokens.tokens() if settings.reply_tokens else None
    numbers = frozenset(number for each in settings.servers.values() if (number := getattr(each, "number", "")))
    default_from = settings.submission.default_from if settings.submission else ""

    def media_login(server: str, url: str) -> Mapping[str, str]:
        given = settings.servers.get(server)
        if given is None or not hasattr(given, "provider"):
            return {}
        login: Mapping[str, str] = imported("protocols.sms.providers:provider_for")(given).media_login(url)
        return login

    return Answering(tokens, texts=TextGuard(numbers), media_login=media_login, default_from=default_from)
