"""docs/metrics.md says of every metric what its definition says."""

from tooling.metrics_page import PAGE

from gateway.metrics.page import BEGIN, END, page
from gateway.metrics.table import FAMILIES


def test_the_page_has_the_tables_of_the_definitions() -> None:
    text = PAGE.read_text()
    assert text.count(BEGIN) == text.count(END) == 1
    assert page(text) == text, "make schema writes them again"


def test_every_metric_is_on_the_page_once() -> None:
    text = PAGE.read_text()
    assert all(text.count(f"| `{name}` |") == 1 for name in FAMILIES)
