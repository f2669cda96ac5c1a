"""Every snippet of the documentation says something true: YAML is read by the real loader, Python compiles and finds
what it imports, links lead somewhere. ``<!-- fragment -->`` above a block excludes what cannot stand alone."""

import ast
import importlib
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from servers.programs import program

from gateway.config.loader import parse
from gateway.config.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(
    r"^(?P<mark><!-- fragment -->\n+)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)")
FILE = re.compile(r"# (?P<name>[\w.]+)(?P<more>, continued)?\n")
VARIABLE = re.compile(r"\$\{([A-Z_0-9]+)\}")


@dataclass(frozen=True)
class Snippet:
    page: Path
    line: int
    language: str
    text: str
    fragment: bool

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def snippets(page: Path) -> list[Snippet]:
    text = page.read_text()
    return [
        Snippet(page, text.count("\n", 0, found.start()) + 1, found["language"], found["text"], bool(found["mark"]))
        for found in BLOCK.finditer(text)
    ]


def every(language: str) -> "pytest.MarkDecorator":
    found = [each for page in PAGES for each in snippets(page) if each.language == language and not each.fragment]
    return pytest.mark.parametrize("snippet", found, ids=str)


def whole(text: str) -> str:
    """A gateway.yaml made of a snippet that may be a part of one: some top-level keys, or some servers."""
    data = yaml.safe_load(text)
    assert isinstance(data, dict), "not a mapping; mark it as a fragment"
    if "servers" in data:
        return text
    if data.keys() <= Settings.__dataclass_fields__.keys():
        return text + "\nservers: {web: {protocol: http, bind: 127.0.0.1:8000}}\n"
    assert all(isinstance(value, dict) and "protocol" in value for value in data.values()), "mark it as a fragment"
    return "servers:\n" + re.sub(r"^", "  ", text, flags=re.MULTILINE)


@every("yaml")
def test_yaml_is_read_without_a_mistake(snippet: Snippet, tmp_path: Path) -> None:
    if snippet.text.startswith("# broken.yaml"):
        return  # the tutorial's example of mistakes, which test_tutorial.py wants to find
    text = whole(snippet.text)
    parse(text, name=str(snippet), folder=tmp_path, environ=dict.fromkeys(VARIABLE.findall(text), "given")).finish()


def test_what_gateway_yaml_example_leaves_in_comments_is_right_too(tmp_path: Path) -> None:
    text = re.sub(r"^  # ", "  ", (ROOT / "gateway.yaml.example").read_text(), flags=re.MULTILINE)
    environ = dict.fromkeys(VARIABLE.findall(text), "given")
    settings = parse(text, name="gateway.yaml.example", folder=tmp_path, environ=environ).finish()
    assert {server.protocol for server in settings.servers.values()} == {
        "http",
        "mqtt",
        "smtp",
        "sms",
        "imap",
        "mqtt-client",
    }


@every("haproxy")
def test_haproxy_takes_its_file(snippet: Snippet, tmp_path: Path) -> None:
    file = tmp_path / "haproxy.cfg"
    file.write_text(snippet.text)
    done = subprocess.run([program("haproxy"), "-c", "-f", str(file)], capture_output=True, text=True, timeout=20)
    assert (done.returncode, "[WARNING]" in done.stderr) == (0, False), done.stderr


def test_json_is_json() -> None:
    for snippet in (each for page in PAGES for each in snippets(page) if each.language == "json"):
        json.loads(snippet.text)


@every("python")
def test_python_compiles_and_finds_what_it_imports(snippet: Snippet) -> None:
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST
    tree = compile(snippet.text, str(snippet), "exec", flags=flags, dont_inherit=True)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("gateway", "protocols"):
            module = importlib.import_module(node.module or "")
            missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
            assert not missing, f"{snippet}: {node.module} has no {', '.join(missing)}"


def write_files(page: Path, folder: Path) -> list[Path]:
    """The files that a page's snippets name in their first line, as they are when the page has been read to its end."""
    files: dict[str, str] = {}
    for snippet in snippets(page):
        named = FILE.match(snippet.text)
        if named and named["more"]:
            files[named["name"]] += snippet.text
        elif named:
            files[named["name"]] = snippet.text
    for name, text in files.items():
        (folder / name).write_text(text)
    return [folder / name for name in files]


def test_the_readme_s_example_is_right(tmp_path: Path) -> None:
    """Its consumer and its configuration, checked by the command itself."""
    write_files(ROOT / "README.md", tmp_path)
    check = [sys.executable, "-m", "gateway", "check", "-c", str(tmp_path / "gateway.yaml")]
    done = subprocess.run(
        check, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_page_on_testing_tests_passes(tmp_path: Path) -> None:
    """With warnings as errors: what it shows is what others copy."""
    write_files(ROOT / "docs" / "testing.md", tmp_path)
    pytest_as_it_comes = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        pytest_as_it_comes, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=30
    )
    assert "7 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = [(page.parent / link if link else page, anchor) for link, anchor in LINK.findall(page.read_text())]
    assert not [target for target, _ in targets if not target.exists()]
    assert not [(target, anchor) for target, anchor in targets if anchor and anchor not in anchors(target)]


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
