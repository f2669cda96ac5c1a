"""The source in figures: lengths of files and functions, scope types outside their folder, ignored checks.

``python .ci/shape.py check`` prints what `make check` forbids: a scope type that is named where none may be, an ignored
check without its reason, a package without layers.
"""

import ast
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

SOURCE = "gateway", "protocols"
OTHERS = "benchmarks", "examples", ".ci"
LONGEST = 5
SCOPE_TYPE = re.compile(r"(?:http|websocket|mqtt|email|sms|task)(?:\.[a-z_.]+)?")
"""A scope type, or the type of one of its events."""
KNOW_THEM = "scopes", "consumers", "compat", "testing"
"""The folders of ``gateway`` that may name a scope type."""
TEMPLATES = "gateway/init/templates/"
"""Projects of their own, which handle what they like."""
OF_ONE_TYPE = {
    "gateway/console/http/answer.py",
    "gateway/console/http/guard.py",
    "gateway/console/http/request.py",
    "gateway/console/http/stream.py",
    "gateway/runtime/health.py",
    "gateway/config/carriers.py",
    "gateway/django/tasks/backend.py",
    "gateway/django/tasks/results.py",
    "gateway/django/tasks/runner.py",
}
"""HTTP applications, the setting ``websocket`` of MQTT servers, and what enqueues and runs Django's tasks."""
IGNORED = re.compile(r"# (noqa: [A-Z]+\d+(?:, ?[A-Z]+\d+)*|type: ignore\[[\w, -]+\])")
WITHOUT_LAYERS = {"protocols.sms.providers"}
"""A provider is one file, and its name is in no list."""


class Size(NamedTuple):
    lines: int
    place: str


class Ignored(NamedTuple):
    """A check that is ignored."""

    place: str
    what: str
    reason: str


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
            lines = (body[-1].end_lineno or body[-1].lineno) - body[0].lineno + 1 if body else 0
            yield Size(lines, f"{path}:{node.lineno} {node.name}")


def sizes(what: str, found: Iterable[Size]) -> Iterator[str]:
    ordered = sorted(found, reverse=True)
    lines = [each.lines for each in ordered]
    yield f"{what}: {len(lines)}; median {median(lines):.0f}, p90 {quantiles(lines, n=10)[8]:.0f}, max {lines[0]}"
    yield from (f"  {each.lines:5} {each.place}" for each in ordered[:LONGEST])


def scope_types() -> Iterator[str]:
    """Each place outside ``KNOW_THEM`` at which ``gateway`` names a scope type."""
    for path, text in files("gateway"):
        if path.split("/")[1] not in KNOW_THEM and path not in OF_ONE_TYPE and not path.startswith(TEMPLATES):
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and SCOPE_TYPE.fullmatch(node.value):
                    yield f"{path}:{node.lineno}: {node.value!r}"


def ignored(*folders: str) -> Iterator[Ignored]:
    for path, text in files(*folders):
        for number, line in enumerate(text.splitlines(), 1):
            if found := IGNORED.findall(line):
                reason = IGNORED.sub("", line[line.index(f"# {found[0]}") :]).strip(" -#")
                yield from (Ignored(f"{path}:{number}", what, reason) for what in found)


def without_reason() -> Iterator[str]:
    """Of a type that is ignored in tests no word is needed: the test gives a wrong one, or knows better."""
    for each in ignored(*SOURCE, *OTHERS, "tests"):
        if not each.reason and not (each.place.startswith("tests/") and each.what.startswith("type")):
            yield f"{each.place}: {each.what} has no reason; write it behind, after -- or #"


def without_layers() -> Iterator[str]:
    """Packages whose modules are in no contract of import-linter."""
    contracts = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layered = {name for each in contracts if each.get("exhaustive") for name in each["containers"]}
    packages = [path.parent for folder in SOURCE for path in sorted(Path(folder).rglob("__init__.py"))]
    for package in packages:
        name = ".".join(package.parts)
        modules = [path for path in package.iterdir() if path.suffix == ".py" or path in packages]
        if len(modules) > 2 and name not in layered | WITHOUT_LAYERS:
            yield f"{package}: no layers in pyproject.toml; add a contract with exhaustive = true"


def report() -> Iterator[str]:
    source = list(files(*SOURCE))
    yield from sizes("Files", (Size(len(text.splitlines()), path) for path, text in source))
    yield from sizes("Functions", (size for each in source for size in functions(*each)))
    by_file = Counter(each.partition(":")[0] for each in scope_types())
    yield f"Scope types named outside {' and '.join(KNOW_THEM)}: {by_file.total()}"
    yield from (f"  {number:5} {path}" for path, number in by_file.most_common())
    found = list(ignored(*SOURCE))
    yield f"Ignored in {', '.join(SOURCE)}: {len(found)}"
    yield from (f"  {each.place} {each.what}: {each.reason}" for each in found)
    counts = Counter(each.what for each in ignored("tests", *OTHERS))
    yield f"Ignored in {', '.join(('tests', *OTHERS))}: {counts.total()}"
    yield from (f"  {number:5} {what}" for what, number in counts.most_common())


def check() -> str | None:
    """What `make check` has to say."""
    places = ", ".join(f"gateway/{each}" for each in KNOW_THEM)
    named = [f"{each} is a scope type; only {places} may name one" for each in scope_types()]
    return "\n".join([*named, *without_reason(), *without_layers()]) or None


if __name__ == "__main__":
    if sys.argv[1:] == ["check"]:
        sys.exit(check())
    print("\n".join(report()))
