"""Targets: found, or one of the three sentences."""

import json.decoder
from pathlib import Path

import pytest
from servers.command import run

from gateway.config.loader import parse
from gateway.runtime.importing import TargetError, import_target
from gateway.runtime.prepare_imports import prepare_imports


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)


def module(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / f"{name}.py").write_text(text)


@pytest.mark.parametrize("target", ["json.decoder.JSONDecoder", "json.decoder:JSONDecoder"])
def test_both_ways_of_writing(target: str) -> None:
    assert import_target(target) is json.decoder.JSONDecoder


def test_an_attribute_of_an_attribute() -> None:
    assert import_target("json.decoder:JSONDecoder.decode") is json.decoder.JSONDecoder.decode


@pytest.mark.parametrize(
    "target", ["json", "", ".", ":", "json.", ".loads", "json:", "a b.c", "../x.y", "json.decoder:a b"]
)
def test_what_is_no_target(target: str) -> None:
    with pytest.raises(TargetError, match="is not a target"):
        import_target(target)


def test_no_such_module() -> None:
    with pytest.raises(TargetError, match="there is no module 'targets_nowhere'"):
        import_target("targets_nowhere.x")


def test_no_such_module_in_a_package() -> None:
    with pytest.raises(TargetError, match=r"there is no module 'json.decodr'; did you mean 'decoder'\?"):
        import_target("json.decodr.JSONDecoder")


def test_no_such_attribute() -> None:
    with pytest.raises(TargetError, match=r"module 'json' has no 'dumsp'; did you mean 'dump"):
        import_target("json.dumsp")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 / 0", r"at {}.py:1: ZeroDivisionError: division by zero"),
        ("x = 1\ndef f(:", r"at {}.py:2: SyntaxError: "),
        ("import not_there_at_all", r"at {}.py:1: ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("raise SystemExit(3)", r"at {}.py:1: SystemExit: 3"),
        ("import json\njson.loads('{{')", r"at {}.py:2: JSONDecodeError: "),
        ("class E(BaseException): ...\nraise E('first\\nsecond')", r"at {}.py:2: E: first$"),
        ("class E(Exception):\n  def __str__(self): 1 / 0\nraise E", r"at {}.py:3: E$"),
        ("def f(): f()\nf()", r"at {}.py:1: RecursionError: "),
        ("def __getattr__(name): raise LookupError(name)", r"at {}.py:1: LookupError: x$"),
    ],
)
def test_the_module_failed(tmp_path: Path, text: str, words: str) -> None:
    name = f"targets_failing_{abs(hash(text))}"
    module(tmp_path, name, text)
    with pytest.raises(TargetError, match=f"importing '{name}' failed .*{words.format(name)}"):
        import_target(f"{name}.x")


def test_the_users_own_lines_are_the_trace(tmp_path: Path) -> None:
    module(tmp_path, "targets_inner", "def limit(text):\n    return int(text)")
    module(tmp_path, "targets_outer", "import targets_inner\n\nLIMIT = targets_inner.limit('three')")
    with pytest.raises(TargetError) as caught:
        import_target("targets_outer.x")
    places = [line.rpartition("/")[2] for line in caught.value.trace]
    expected = ["targets_outer.py:3  LIMIT = targets_inner.limit('three')", "targets_inner.py:2  return int(text)"]
    assert places == expected


def test_a_line_that_is_no_python_is_shown(tmp_path: Path) -> None:
    module(tmp_path, "targets_unfinished", "x = 1\ndef f(:\n    pass")
    module(tmp_path, "targets_above", "import targets_unfinished")
    with pytest.raises(TargetError) as caught:
        import_target("targets_above.x")
    assert caught.value.trace == ["targets_above.py:1  import targets_unfinished", "targets_unfinished.py:2  def f(:"]


@pytest.mark.parametrize(
    ("files", "message", "lines"),
    [
        (
            {"settings": "SECRET_KEY = 'x'\nROOT_URLCONF = 'urls_of_site'\nINSTALLED = 1 / 0"},
            "1:20: error: Django cannot be set up with 'settings_of_site' at settings_of_site.py:3: ZeroDivisionError",
            ["settings_of_site.py:3  INSTALLED = 1 / 0"],
        ),
        (
            {
                "settings": "SECRET_KEY = 'x'\nROOT_URLCONF = 'urls_of_site'",
                "urls": "import views_of_site\nurlpatterns = []",
                "views": "from django.http import Http403",
            },
            "3:16: error: 'django': the project's URLs cannot be imported at views_of_site.py:1: ImportError: "
            "cannot import name 'Http403' from 'django.http'",
            ["urls_of_site.py:1  import views_of_site", "views_of_site.py:1  from django.http import Http403"],
        ),
    ],
)
def test_what_fails_in_a_django_project_is_shown(
    tmp_path: Path, files: dict[str, str], message: str, lines: list[str]
) -> None:
    for name, text in files.items():
        module(tmp_path, f"{name}_of_site", text)
    (tmp_path / "gateway.yaml").write_text(
        "django: {settings: settings_of_site}\nservers: {web: {protocol: http}}\nroutes: {http: django}\n"
    )
    done = run(tmp_path, "check")
    assert done.returncode == 2
    assert f"gateway.yaml:{message}" in done.stderr
    assert [line.strip() for line in done.stderr.splitlines() if line.startswith("        ")] == lines


def test_ctrl_c_during_an_import_is_no_mistake_of_the_module(tmp_path: Path) -> None:
    module(tmp_path, "targets_interrupted", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        import_target("targets_interrupted.x")


def test_the_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = tmp_path / "below"
    below.mkdir()
    module(below, "targets_first", "x = 1")
    module(tmp_path, "targets_first", "x = 2")
    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])
    text = "servers: {web: {protocol: http}}\napplication: targets_first.x\n"
    assert prepare_imports(parse(text, name="gateway.yaml", folder=below)) == []
    assert import_target("targets_first.x") == 1
