"""Prepares the documentation site in build/docs, where ``make docs`` builds it: ``python .ci/site.py``.

The pages name files of the sources (an example, the Dockerfile), which a site does not have: there the names stand
without a link. What is new in docs/decisions is in the navigation by itself; another page has to be put into it.
"""

import re
import shutil
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "docs"
_LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<target>(?:\.\./)+[^)#]+)(?:#[^)]*)?\)")


def main() -> None:
    shutil.rmtree(BUILD, ignore_errors=True)
    pages = shutil.copytree(ROOT / "docs", BUILD / "docs")
    for page in pages.rglob("*.md"):
        page.write_text(_without_sources(page, pages))
    (BUILD / "mkdocs.yml").write_text(yaml.safe_dump(_settings(), sort_keys=False))


def _without_sources(page: Path, pages: Path) -> str:
    def named(link: re.Match[str]) -> str:
        target = (page.parent / link["target"]).resolve()
        if target.is_relative_to(pages):
            return link[0]
        path = str(target.relative_to(BUILD))
        return link["text"] if path in link["text"] else f"{link['text']} ({path})"

    return _LINK.sub(named, page.read_text())


def _settings() -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load((ROOT / "config" / "mkdocs.yml").read_text())
    docs = ROOT / "docs"
    settings["nav"][-1]["Decisions"] = sorted(str(path.relative_to(docs)) for path in docs.glob("decisions/*.md"))
    return settings


if __name__ == "__main__":
    main()
