"""A family whose name breaks Prometheus' conventions cannot be defined."""

import pytest

from gateway.metrics.family import Family, counter, gauge, histogram, info
from gateway.metrics.table import FAMILIES, READERS

BOUNDS = (0.1, 1.0)


@pytest.mark.parametrize(
    ("name", "kind", "bounds"),
    [
        ("web_requests_total", "counter", ()),
        ("gateway_Requests_total", "counter", ()),
        ("gateway_requests", "counter", ()),
        ("gateway_requests_total", "gauge", ()),
        ("gateway_build", "info", ()),
        ("gateway_build_info", "gauge", ()),
        ("gateway_wait_seconds", "histogram", ()),
        ("gateway_wait_seconds", "histogram", (1.0, 0.5)),
        ("gateway_wait_seconds", "gauge", BOUNDS),
    ],
)
def test_a_name_says_its_kind(name: str, kind: str, bounds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=name):
        Family(name, "Help.", kind, bounds=bounds)


def test_a_help_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="sentence"):
        counter("gateway_requests_total", "requests")


def test_the_unit_is_in_the_name() -> None:
    assert counter("gateway_received_bytes_total", "Help.").unit == "bytes"
    assert gauge("gateway_age_seconds", "Help.").unit == "seconds"
    assert counter("gateway_requests_total", "Help.").unit == ""


def test_a_sample_has_a_value_for_each_label() -> None:
    family = counter("gateway_requests_total", "Help.", "server", "route")
    assert family.sample(1, "web", "^").labels == ("web", "^")
    with pytest.raises(ValueError, match="server, route"):
        family.sample(1, "web")


def test_what_only_grows_still_counts_when_its_gateway_has_ended() -> None:
    assert counter("gateway_a_total", "Help.").is_cumulative
    assert histogram("gateway_b_seconds", "Help.", bounds=BOUNDS).is_cumulative
    assert not gauge("gateway_open", "Help.").is_cumulative
    assert not info("gateway_build_info", "Help.").is_cumulative


def test_each_name_is_defined_once() -> None:
    names = [family.name for reader in READERS for family in reader.families]
    assert len(names) == len(set(names)) == len(FAMILIES) - 1
