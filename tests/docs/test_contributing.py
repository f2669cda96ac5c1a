"""The table of CONTRIBUTING.md and the source name the same places."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
PLACE = re.compile(r"[\w.-]+/[\w./]*")


def named() -> set[str]:
    rows = re.findall(r"^\| (`.*?) \|", TEXT, re.MULTILINE)
    return {place for row in rows for place in re.findall(r"`([^`]*)`", row)}


def test_a_place_is_a_path_from_the_root() -> None:
    """No pattern and no list in braces: what needs one is not in a folder of its own."""
    assert [place for place in named() if not PLACE.fullmatch(place)] == []
    assert not any(map(PLACE.fullmatch, ("protocols/mqtt/{wire,broker}/", "gateway/*.py", "settings.py")))


def test_all_that_is_named_is_there() -> None:
    assert [place for place in sorted(named()) if not (ROOT / place).exists()] == []


def test_every_folder_at_the_top_is_named() -> None:
    tops = {path.parts[len(ROOT.parts)] for path in ROOT.glob("[!.]*/**/*.py")} | {"config", "docs"}
    assert tops - {place.partition("/")[0] for place in named()} - {"build"} == set()


def test_every_folder_of_the_source_is_named() -> None:
    """You add a folder: say what lives there. A row for a folder covers those inside it."""
    found = {ROOT / place for place in named() if place.endswith("/")} - {ROOT / "gateway", ROOT / "protocols"}
    packages = {path.parent for top in ("gateway", "protocols") for path in (ROOT / top).rglob("__init__.py")}
    inner = {path for path in packages if not any(path in each.parents for each in packages)}
    assert sorted(str(path.relative_to(ROOT)) for path in inner if not found & {path, *path.parents}) == []
