"""A file of many thousand routes: read, checked and started in time and memory in proportion, right or wrong."""

import time
from pathlib import Path
from typing import Any

import pytest

from gateway.config.diagnostics import MOST, ConfigErrors
from gateway.config.loader import parse
from gateway.routing.router import Router
from gateway.runtime import banner
from gateway.runtime.application import ApplicationBuilder
from gateway.runtime.prepare_imports import prepare_imports

HANDLERS = "async def handle(scope, receive, send):\n    pass\n"
HEAD = """servers:
  mail: {protocol: smtp}
  devices: {protocol: mqtt}
  web: {protocol: http}
  texts: {protocol: sms, provider: generic, on: web, path: /sms, insecure: true}
routes:
  http: long_file.handle
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "long_file.py").write_text(HANDLERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def text(number: int) -> str:
    """``number`` routes of each kind that has them."""
    kinds = {
        "mqtt": 'topic: "sites/{}/door"',
        "email": "address: box{}@example.org",
        "sms": 'sender: "+44770{:07d}"',
    }
    lines = [HEAD]
    for kind, key in kinds.items():
        lines.append(f"  {kind}:\n")
        lines += [f"    - {{{key.format(n)}, app: long_file.handle}}\n" for n in range(number)]
    return "".join(lines)


def built(text: str, folder: Path) -> Any:
    """As ``gateway check`` does."""
    parsed = parse(text, name="gateway.yaml", folder=folder, environ={})
    builder = ApplicationBuilder(parsed, importable=not prepare_imports(parsed))
    app = builder.build()
    parsed.finish(builder.diagnostics)
    return app


def test_many_routes_are_read_and_the_start_page_is_short(folder: Path) -> None:
    app = built(text(4000), folder)
    routes = {str(route.pattern): route.app for route in app.routes}
    assert [len(routes[kind].routes) for kind in ("mqtt", "email", "sms")] == [4000, 4000, 4000]
    assert isinstance(routes["email"], Router)
    found = app.explain({"type": "email", "rcpt_to": ["box3999@example.org"], "mail_from": ""})
    assert str(found.pattern) == "box3999@example.org"
    lines = banner.route_lines(app, 2)
    assert [" ".join(line.split()) for line in lines[1:4]] == [
        "mqtt sites/0/door -> long_file.handle",
        "mqtt sites/1/door -> long_file.handle",
        "mqtt and 3998 more",
    ]
    assert len(lines) == 1 + 3 * 3
    assert len(banner.route_lines(app)) == 12_001


def seconds(work: Any) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


MISTAKES = [
    ("address: box", "adress: box"),  # an unknown key
    ("app: long_file", "ap: long_file"),  # and one that is missing
    ("long_file.handle", "long_file.nothing"),  # a target that is not there
    ("long_file.handle", "no_such_module.handle"),
    ("@example.org", ""),  # no address
    ("/door", "/#/x"),  # no filter
    ('/door"', "/door"),  # no YAML: a quotation that does not end
    ("app: long_file.handle", "app: long_file.handle, app: long_file.handle"),  # a key twice
    ("+44770", "${NO_SUCH_VARIABLE}"),
]


@pytest.mark.parametrize(("right", "wrong"), MISTAKES, ids=[wrong for _, wrong in MISTAKES])
def test_many_mistakes_are_found_in_proportion(folder: Path, right: str, wrong: str) -> None:
    def check(number: int) -> None:
        with pytest.raises(ConfigErrors) as errors:
            built(text(number).replace(right, wrong), folder)
        assert len(errors.value.diagnostics) <= 2 * MOST

    assert seconds(lambda: check(3000)) < 20 * (seconds(lambda: check(300)) + 0.1)  # all pairs: 100 times


def test_routes_that_can_never_match_are_found_in_proportion(folder: Path) -> None:
    def check(number: int) -> None:
        lines = [f"    - {{address: box{n % 7}@example.org, app: long_file.handle}}\n" for n in range(number)]
        with pytest.raises(ConfigErrors) as errors:
            built("".join(["servers:\n  mail: {protocol: smtp}\nroutes:\n  email:\n", *lines]), folder)
        assert len(errors.value.diagnostics) == min(MOST, number - 7)
        assert ("errors or more. Nothing was started." in str(errors.value)) == (number - 7 >= MOST)
        assert "routes.email[7] can never match: line 5 takes everything that it could match" in str(errors.value)

    assert seconds(lambda: check(6000)) < 20 * (seconds(lambda: check(600)) + 0.1)


def test_values_are_counted_where_aliases_repeat_them(folder: Path) -> None:
    many = "".join(f"    - {{address: box{n}@example.org, app: *target}}\n" for n in range(5000))
    head = "servers:\n  mail: {protocol: smtp}\nroutes:\n  email:\n"
    once = "    - {address: a@b.example, app: &target long_file.handle}\n"
    assert len(built(head + once + many, folder).routes[0].app.routes) == 5001
    laughs = ["a0: &a0 [x, x, x, x, x, x, x, x, x]\n"]
    laughs += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)]
    with pytest.raises(ConfigErrors, match="too many values; does an anchor repeat itself"):
        built("".join(laughs), folder)


def test_a_mistake_late_in_a_long_file_has_its_place(folder: Path) -> None:
    with pytest.raises(ConfigErrors) as errors:
        built(text(3000).replace("box2999@example.org", "box2999"), folder)
    (diagnostic,) = errors.value.diagnostics
    line = text(3000).replace("box2999@example.org", "box2999").splitlines()[diagnostic.line - 1]
    assert line[diagnostic.column - 1 :].startswith("box2999, app")
