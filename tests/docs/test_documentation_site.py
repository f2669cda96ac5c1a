"""The documentation as a site: ``make docs``."""

import functools
import http.server
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from servers.browser import browser
from servers.installation import ROOT
from servers.site import until

REMOTE = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=["']?(https?://[^"' >]+)""")


@pytest.fixture(scope="module")
def site() -> Path:
    """A dead link, or one to a heading that is not there, would stop it."""
    built = subprocess.run(["make", "-s", "docs"], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return ROOT / "build" / "docs" / "site"


def test_every_page_is_in_the_navigation() -> None:
    nav = yaml.safe_load((ROOT / "config" / "mkdocs.yml").read_text())["nav"]
    named = [page for part in nav for pages in part.values() for page in pages]
    docs = ROOT / "docs"
    pages = [str(path.relative_to(docs)) for path in docs.rglob("*.md") if path.parent.name != "decisions"]
    assert sorted(named) == sorted(pages)


def test_the_first_page_links_to_every_other_one() -> None:
    docs = ROOT / "docs"
    linked = {docs / target for target in re.findall(r"\]\(([\w./-]+\.md)", (docs / "index.md").read_text())}
    assert {page for page in docs.rglob("*.md") if page not in linked} == {docs / "index.md"}


def test_every_decision_has_its_number_in_its_title() -> None:
    titles = {page.name[:4]: page.read_text().partition("\n")[0] for page in (ROOT / "docs" / "decisions").iterdir()}
    assert {name: title for name, title in titles.items() if not title.startswith(f"# {int(name)}. ")} == {}


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(list((ROOT / "docs" / "decisions").glob("*.md")))
    assert {each for page in pages for each in REMOTE.findall(page.read_text())} == set()


def test_files_of_the_sources_are_named_without_a_link(site: Path) -> None:
    text = (site / "install.html").read_text()
    assert "config/Dockerfile" in text
    assert "../config/" not in text


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_request(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


FOUND = "document.activeElement.shadowRoot?.textContent"


@pytest.mark.browser
@pytest.mark.timeout(120)
def test_the_search(address: str, tmp_path: Path) -> None:
    with browser(tmp_path) as window:
        window.open(f"{address}/index.html")
        until(lambda: window.run("return document.querySelector('.md-search__button') !== null"), "there is a search")
        window.run("document.querySelector('.md-search__button').click()")
        until(lambda: window.run(f"return {FOUND} !== undefined"), "it can be written into")
        window.tools("Input.insertText", text="will delay")
        until(lambda: "wills (with delay)" in window.run(f"return {FOUND}"), "the page is found")
        assert window.errors() == []
