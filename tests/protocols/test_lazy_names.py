"""Values that are made when they are asked for."""

import pytest

from protocols.lazy_names import LazyMapping


def test_a_value_is_made_once_and_when_it_is_asked_for() -> None:
    made: list[str] = []

    def make(name: str) -> str:
        made.append(name)
        return name.upper()

    mapping = LazyMapping(["b", "a"], make, {"c": "there"})
    assert ([*mapping], len(mapping), "a" in mapping, "d" in mapping) == (["b", "a", "c"], 3, True, False)
    assert (mapping.made(), made) == ({"c": "there"}, [])
    assert (mapping["a"], mapping["a"], mapping.get("d")) == ("A", "A", None)
    assert (mapping.made(), made) == ({"a": "A", "c": "there"}, ["a"])
    assert [*mapping.values()] == ["B", "A", "there"]
    with pytest.raises(KeyError, match="d"):
        mapping["d"]
