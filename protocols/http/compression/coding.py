"""Chooses a content coding by Accept-Encoding (RFC 9110, 12.5.3). Pure."""

import re
from collections.abc import Iterable
from typing import Final

SUFFIXES: Final = {"zstd": ".zst", "br": ".br", "gzip": ".gz"}
"""Coding -> what the name of a compressed sibling ends with. The best ones first."""
IDENTITY: Final = "identity"

_ITEM = re.compile(r"\s*([^\s;,]+)\s*(?:;\s*q\s*=\s*(\d(?:\.\d{0,3})?)\s*)?", re.ASCII | re.IGNORECASE)


def preferred(accept: str, available: Iterable[str]) -> str:
    """Return the coding among ``available`` that a client with this Accept-Encoding likes best, or ``identity``. Of
    several that it likes alike, the first."""
    weights = _weights(accept)
    plain = weights.get(IDENTITY, 0.0)  # not named, it is acceptable, but less liked than what is named
    rest = weights.get("*", 0.0)
    liked = {coding: weights.get(coding, rest) for coding in available}
    best = max(liked, key=lambda coding: liked[coding], default=IDENTITY)
    return best if liked.get(best, 0.0) > 0 and liked[best] >= plain else IDENTITY


def _weights(accept: str) -> dict[str, float]:
    """Return the weight of each coding that is named; 0 for what is not understood, so that it is not sent."""
    weights: dict[str, float] = {}
    for item in accept.split(","):
        if (found := _ITEM.fullmatch(item)) is not None:
            coding = found[1].lower()
            weights["gzip" if coding == "x-gzip" else coding] = min(1.0, float(found[2] or 1))
    return weights
