"""The routes of the sms scope, as they are written in Python."""

import logging
from collections.abc import Collection
from typing import Any

from gateway.delivery.policy import Policy
from gateway.routing.router import PLAIN, Route, pattern_text, route
from gateway.scopes.sms.patterns import Country, Keyword, Name, Phone, ShortCode, To, doubt_of, prefix_of

logger = logging.getLogger(__name__)


def phone(prefix: str, target: Any, policy: Policy = PLAIN) -> Route:
    """Numbers that begin with ``prefix``, compared by digits; the longest prefix of a router wins. Short codes and
    names never match. Raises ValueError."""
    return _sure(route(Phone(pattern_text(prefix)), target, policy))


def country(region: str, target: Any, policy: Policy = PLAIN) -> Route:
    """Numbers that belong to one region (ISO 3166). Raises ValueError."""
    return route(Country(pattern_text(region)), target, policy)


def shortcode(code: str, target: Any, policy: Policy = PLAIN) -> Route:
    """One short code, three to eight digits. Raises ValueError."""
    return route(ShortCode(pattern_text(code)), target, policy)


def sender(name: str, target: Any, policy: Policy = PLAIN) -> Route:
    """One alphanumeric sender, without regard to case. Raises ValueError."""
    return route(Name(pattern_text(name)), target, policy)


def keyword(words: str | Collection[str], target: Any, policy: Policy = PLAIN) -> Route:
    """Texts that begin with this word, or with one of these, without regard to case and punctuation. STOP, START and
    HELP stand for all words that mean the same. Receipts have no keyword. Raises ValueError."""
    return route(Keyword(words), target, policy)


def recipient(number: str, target: Any, policy: Policy = PLAIN) -> Route:
    """Texts to numbers of ours that begin with ``number``, or to a short code of ours, beside routes by the sender.
    Raises ValueError."""
    return _sure(route(to(pattern_text(number)), target, policy))


def to(number: str) -> To:
    """Raises ValueError."""
    return To(Phone(number) if number.startswith("+") or not number.isdecimal() else ShortCode(number))


def _sure(route: Route) -> Route:
    """Return ``route``; log a line if its prefix is probably not meant."""
    prefix = prefix_of(route.pattern)
    if prefix and (doubt := doubt_of(prefix)):
        logger.warning("route %s: %s", route.label, doubt)
    return route
