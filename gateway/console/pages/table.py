"""The table of all pages, in the order of the menu."""

from collections.abc import Mapping

from gateway.console.pages import connected, kept, live, overview
from gateway.console.pages.page import Asked, Download, Page

PAGES: list[Page] = [overview.OVERVIEW, *live.PAGES, *kept.PAGES, *connected.PAGES, *overview.PAGES]
MENU = [page for page in PAGES if page.in_menu]
DOWNLOADS: Mapping[str, Download] = {each.path: each for each in kept.DOWNLOADS}


def found(path: str, query: Mapping[str, list[str]]) -> tuple[Page, Asked] | None:
    """Return the page at a path and what is asked of it; None if there is none."""
    for page in PAGES:
        if (asked := page.asked(path, query)) is not None:
            return page, asked
    return None
