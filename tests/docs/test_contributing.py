"""The table of CONTRIBUTING.md and the source name the same places."""

import re
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
PLACE = re.compile(r"[\w.]+/[\w.*{},/]*")
MODULE = re.compile(r"[a-z_*]+\.py")


def _alternatives(place: str) -> list[str]:
    """``a/{b,c}.py`` -> ``a/b.py``, ``a/c.py``"""
    parts = re.split(r"\{(.*?)\}", place)
    return ["".join(each) for each in product(*[part.split(",") if i % 2 else [part] for i, part in enumerate(parts)])]


def _named() -> set[str]:
    named: set[str] = set()
    for row in re.findall(r"^\| (`.*?) \|", TEXT, re.MULTILINE):
        folder = ""
        for place in re.findall(r"`([^`]*)`", row):
            assert PLACE.fullmatch(place) or MODULE.fullmatch(place), place
            folder = folder if MODULE.fullmatch(place) else place.rpartition("/")[0] + "/"
            named |= set(_alternatives(folder + place if MODULE.fullmatch(place) else place))
    return named


def test_all_that_is_named_is_there() -> None:
    assert [place for place in sorted(_named()) if not list(ROOT.glob(place))] == []


def test_every_folder_of_the_source_is_named() -> None:
    """Who adds a folder says what lives there."""
    found = {path for place in _named() if place.endswith("/") for path in ROOT.glob(place)}
    packages = {path.parent for top in ("gateway", "protocols") for path in (ROOT / top).rglob("__init__.py")}
    inner = {path for path in packages if not any(path in each.parents for each in packages)}
    assert sorted(str(path.relative_to(ROOT)) for path in inner - found) == []
