"""The field Accept-Encoding, read as RFC 9110 has it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.http.compression.coding import IDENTITY, SUFFIXES, preferred

ALL = tuple(SUFFIXES)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "identity"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate, br", "br"),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZIP", "gzip"),
        ("deflate", "identity"),
        ("*", "zstd"),
        ("zstd;q=0, *", "br"),
        ("br;q=0.5, gzip;q=0.8", "gzip"),
        ("br;q=0.5,gzip;q=0.5", "br"),
        ("gzip;q=0", "identity"),
        ("gzip;q=0.0", "identity"),
        ("gzip ; q = 0.3", "gzip"),
        ("identity, gzip;q=0.5", "identity"),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("identity;q=0", "identity"),  # nothing else is acceptable either: the file is better than a 406
        ("br;q=much", "identity"),
        ("br;q=-1", "identity"),
        ("br;q=9", "br"),
        ("br;level=4", "identity"),
        ("gzip,,br", "br"),
    ],
)
def test_the_best_that_a_client_likes(accept: str, expected: str) -> None:
    assert preferred(accept, ALL) == expected


def test_only_what_is_there_is_chosen() -> None:
    assert preferred("zstd, br, gzip;q=0.1", ["gzip"]) == "gzip"
    assert preferred("zstd, br", ["gzip"]) == IDENTITY


@settings(deadline=None)
@given(
    st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")) | st.text("gzipbrstd*;q=0.19, ", max_size=60),
    st.sets(st.sampled_from(ALL)),
)
def test_any_text_gives_what_is_there_and_was_named(accept: str, available: set[str]) -> None:
    chosen = preferred(accept, available)
    assert chosen == IDENTITY or chosen in available
    if chosen != IDENTITY:
        assert chosen in accept.lower() or "*" in accept
