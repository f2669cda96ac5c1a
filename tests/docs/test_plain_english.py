"""Pages, docstrings and comments are in plain English: turns of phrase that readers stumbled over do not come back."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ["*.md", "docs/**/*.md", "gateway.yaml.example", "gateway/**/*.py", "protocols/**/*.py", "examples/**/*.py"]
STUMBLES = {
    "whoever": r"\b[Ww]hoever\b",
    "otherwise than": r"\botherwise than\b",
    "a statement that begins with Who": r"(?m)(?:^|[.;|] |\"\"\"|# )Who [a-z][^.?|]*(?:[.|]|\"\"\")",
    "a docstring that begins with Those or Of": r"\"\"\"(?:Those|Of) [a-z`]",
    "a value that is no such thing": r"![rs]\} is no [a-z]",
}


def found(pattern: str, path: Path) -> list[str]:
    text = path.read_text()
    lines = [(text.count("\n", 0, match.start()) + 1, match[0]) for match in re.finditer(pattern, text)]
    return [f"{path.relative_to(ROOT)}:{number}: {words}" for number, words in lines]


@pytest.mark.parametrize("stumble", STUMBLES)
def test_nobody_stumbles_over(stumble: str) -> None:
    paths = sorted(path for each in TEXTS for path in ROOT.glob(each))
    assert not [line for path in paths for line in found(STUMBLES[stumble], path)]
