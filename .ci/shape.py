"""The source in figures: lengths of files and functions, scope types outside their folder, ignored checks."""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

SOURCE = "gateway", "protocols"
LONGEST = 5
SCOPE_TYPE = re.compile(r"(?:http|websocket|mqtt|email|sms)(?:\.[a-z_.]+)?")
"""A scope type, or the type of one of its events."""
KNOW_THEM = "scopes", "consumers"
"""The folders of ``gateway`` that may name a scope type."""
OF_ONE_TYPE = {
    "gateway/runtime/health.py",
    "gateway/config/carriers.py",
}
"""An HTTP application, and the setting ``websocket`` of MQTT servers."""
IGNORED = re.compile(r"# (?:ruff: )?(noqa: \w+|type: ignore\[[\w, -]+\])")


class Size(NamedTuple):
    lines: int
    place: str


def files(*folders: str) -> Iterator[tuple[str, str]]:
    """(path, text) of every module below ``folders``."""
    for folder in folders:
        for path in sorted(Path(folder).rglob("*.py")):
            yield str(path), path.read_text()


def functions(path: str, text: str) -> Iterator[Size]:
    """Lines of each function, its docstring not counted."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            yield Size((body[-1].end_lineno - body[0].lineno + 1) if body else 0, f"{path}:{node.lineno} {node.name}")


def sizes(what: str, found: Iterable[Size]) -> Iterator[str]:
    ordered = sorted(found, reverse=True)
    lines = [each.lines for each in ordered]
    yield f"{what}: {len(lines)}; median {median(lines):.0f}, p90 {quantiles(lines, n=10)[8]:.0f}, max {lines[0]}"
    yield from (f"  {each.lines:5} {each.place}" for each in ordered[:LONGEST])


def scope_types() -> Iterator[str]:
    """Each place outside ``KNOW_THEM`` at which ``gateway`` names a scope type."""
    for path, text in files("gateway"):
        if path.split("/")[1] not in KNOW_THEM and path not in OF_ONE_TYPE:
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and SCOPE_TYPE.fullmatch(node.value):
                    yield f"{path}:{node.lineno}: {node.value!r}"


def ignored(*folders: str) -> Iterator[str]:
    counts = Counter(each for _, text in files(*folders) for each in IGNORED.findall(text))
    yield f"Ignored in {', '.join(folders)}: {counts.total()}"
    yield from (f"  {number:5} {what}" for what, number in counts.most_common())


def report() -> Iterator[str]:
    source = list(files(*SOURCE))
    yield from sizes("Files", (Size(len(text.splitlines()), path) for path, text in source))
    yield from sizes("Functions", (size for each in source for size in functions(*each)))
    by_file = Counter(each.partition(":")[0] for each in scope_types())
    yield f"Scope types named outside {' and '.join(KNOW_THEM)}: {by_file.total()}"
    yield from (f"  {number:5} {path}" for path, number in by_file.most_common())
    yield from ignored(*SOURCE)
    yield from ignored("tests", "benchmarks", "examples")


def check() -> str | None:
    """What `make check` has to say."""
    found = list(scope_types())
    places = " and ".join(f"gateway/{each}" for each in KNOW_THEM)
    return "\n".join([*found, f"A scope type may be named in {places} only."]) if found else None


if __name__ == "__main__":
    if sys.argv[1:] == ["check"]:
        sys.exit(check())
    print("\n".join(report()))
