"""DMARC: whether the domain in From is the one that SPF or DKIM has verified.

The organisation that a domain belongs to is found in DNS (RFC 9989, 4.10), not in a list of public suffixes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from protocols.mail.authentication.lookups import LookupFailed, Lookups

LONGEST_WALK = 8
"""Names that are looked up for one domain, at most."""
_POLICIES = ("none", "quarantine", "reject")

_Record = dict[str, str]


@dataclass(frozen=True)
class Aligned:
    """What DMARC says."""

    result: str
    """``pass``, ``fail``, ``none`` (the domain has no policy), ``temperror`` or ``permerror``."""
    policy: str = "none"
    """What the domain asks for where it fails: ``none``, ``quarantine`` or ``reject``."""


class Domains(NamedTuple):
    """The domains for which SPF and DKIM have passed, or for which they have no result, because DNS is in trouble."""

    spf: str | None
    dkim: Sequence[str]


def check_dmarc(lookups: Lookups, author: str, passed: Domains, unknown: Domains) -> Aligned:
    """Check the domain in From, ``author``. It has not failed if one of the ``unknown`` might be its own."""
    try:
        walked = _walk(lookups, author)
        if not walked:
            return Aligned("none")
        place, record = _policy_of(author, walked)
        asked = record["p"] if place == author else record.get("sp", record["p"])
        policy = asked if asked in _POLICIES else "none"
        organisation = _organisation(author, walked)

        def among(domains: Domains) -> bool:
            ways = [("adkim", each) for each in domains.dkim] + ([("aspf", domains.spf)] if domains.spf else [])
            return any(_aligned(lookups, author, organisation, each, record.get(way)) for way, each in ways)

        result = "pass" if among(passed) else "temperror" if among(unknown) else "fail"
    except LookupFailed:
        return Aligned("temperror")
    return Aligned(result, policy)


def _aligned(lookups: Lookups, author: str, organisation: str, domain: str, mode: str | None) -> bool:
    if domain == author:
        return True
    return mode != "s" and _organisation(domain, _walk(lookups, domain)) == organisation


def _walk(lookups: Lookups, domain: str) -> dict[str, _Record]:
    """Return the records of ``domain`` and of the domains above it, the longest name first (RFC 9989, 4.10)."""
    found: dict[str, _Record] = {}
    for name in _names(domain):
        record = _record(lookups, name)
        if record is not None:
            found[name] = record
            if record.get("psd") == "n" or (record.get("psd") == "y" and name != domain):
                break
    return found


def _names(domain: str) -> Iterator[str]:
    labels = domain.split(".")
    yield domain
    for start in range(max(1, len(labels) - LONGEST_WALK + 1), len(labels)):
        yield ".".join(labels[start:])


def _record(lookups: Lookups, domain: str) -> _Record | None:
    records = [each for each in map(_tags, lookups.txt(f"_dmarc.{domain}")) if each is not None]
    return records[0] if len(records) == 1 else None  # with several, none counts


def _tags(text: bytes) -> _Record | None:
    pairs = [part.partition("=") for part in text.decode("utf-8", "replace").split(";")]
    tags = {name.strip().lower(): value.strip().lower() for name, _, value in pairs if name.strip()}
    is_ours = pairs[0][0].strip() == "v" and pairs[0][2].strip() == "DMARC1"
    return {"p": "none", **tags} if is_ours else None


def _policy_of(author: str, walked: dict[str, _Record]) -> tuple[str, _Record]:
    """Return the domain whose policy counts, and its record: From's own, else the organisation's."""
    place = author if author in walked else _organisation(author, walked)
    return (place, walked[place]) if place in walked else next(iter(walked.items()))


def _organisation(domain: str, walked: dict[str, _Record]) -> str:
    """Return the domain of the organisation that ``domain`` belongs to."""
    for name, record in walked.items():
        if record.get("psd") == "n":
            return name
        if record.get("psd") == "y" and name != domain:  # a public suffix: the organisation is a label longer
            labels = domain.split(".")
            return ".".join(labels[len(labels) - name.count(".") - 2 :])
    return min(walked, key=lambda name: name.count("."), default=domain)
