"""The table of extras in docs/install.md has each extra that a user may want."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOR_DEVELOPERS = {"dev", "bench"}


def test_each_extra_is_named() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "install.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(extras.keys() - FOR_DEVELOPERS)
