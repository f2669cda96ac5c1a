"""Writes the tables of the metrics into docs/metrics.md: ``make schema``."""

from pathlib import Path

from gateway.metrics.page import page

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"

if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
