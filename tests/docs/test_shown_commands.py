"""Every `gateway` command that a page shows is one: its name, its options and what they may be."""

import re
import shlex
from pathlib import Path

import pytest

from gateway.cli.root import command

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted({ROOT / "README.md", *ROOT.glob("docs/*.md")} - {ROOT / "docs" / "extending.md"})
"""Without the page whose commands need the package that it makes."""
BLOCK = re.compile(r"^```(?:sh|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(gateway\s[a-z][^`]*)`")
BETWEEN = re.compile(r"[&|;><()]+")


def shown(text: str) -> list[list[str]]:
    """The arguments of each command: in a block each line, of one with output those after a prompt, and in the text."""
    blocks = BLOCK.findall(text)
    lines = [line.removeprefix("$ ") for block in blocks for line in _typed(block.replace("\\\n", ""))]
    lines += [" ".join(found.split()) for found in INLINE.findall(text)]
    return [words[1:] for line in lines for words in _commands(line) if Path(words[0]).name == "gateway"]


def _typed(block: str) -> list[str]:
    lines = block.splitlines()
    return [line for line in lines if line.startswith("$ ")] or lines


def _commands(line: str) -> list[list[str]]:
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in words:
        if BETWEEN.fullmatch(word):
            found.append([])
        else:
            found[-1].append(word)
    return [each for each in found if each]


def wrong(arguments: list[str]) -> str:
    """What the command line has against them, but for an argument that is missing. Nothing is run."""
    found, rest = command(), [*arguments]
    while rest and rest[0] in getattr(found, "commands", ()):
        found = found.commands[rest.pop(0)]
    if not rest:
        return ""
    try:
        context = found.make_context("gateway", [*rest])
        if hasattr(found, "commands"):
            found.resolve_command(context, rest)
    except Exception as error:
        return "" if str(error).startswith("Missing parameter") else f"gateway {shlex.join(arguments)}: {error}"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_shows_commands_that_there_are(page: Path) -> None:
    assert [said for arguments in shown(page.read_text()) if (said := wrong(arguments))] == []


@pytest.mark.parametrize("line", ["clients list --by nonsense", "clint list", "clients lost", "reload --cod"])
def test_what_is_none_is_found(line: str) -> None:
    assert line in wrong(line.split())


def test_a_block_has_commands_and_their_output() -> None:
    block = "```console\n$ gateway check && gateway reload  # both\ngateway 0.1.0\n$ gateway status | tail -1\n```\n"
    text = block + "`gateway\nwaiting`"
    assert shown(text) == [["check"], ["reload"], ["status"], ["waiting"]]
