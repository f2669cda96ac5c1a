"""Reading gateway.yaml: every text gives settings or diagnostics. More cases are in ``cases``."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import checks, yaml_file
from gateway.config.diagnostics import ConfigErrors
from gateway.config.environment import Unset, expand
from gateway.config.loader import load, parse
from gateway.config.settings import Settings

CASES = sorted(
    case
    for case in (Path(__file__).parent / "cases").glob("*.yaml")
    if case.stem != "anchor_of_itself"  # its tree has no end
)
MINIMAL = "servers: {web: {protocol: http}}\napplication: a.b\n"
YAMLISH = st.text(alphabet="abc:{}[]&*!|>'\"-?#,%@`~ \n\t0123456789$${}\\xuUé\ud800\x85\ufeff", max_size=60)
WORDS = st.lists(
    st.sampled_from(
        [
            *("servers: ", "routes: ", "web:", "protocol: http", "mqtt", "  ", "\n", "{", "}", "[", "]", "&a ", "*a"),
            *("- ", ": ", "!!int ", "${X}", "${", "http:", "app: a.b", "path: '('", "null", "true", "1", "1.5", ">"),
            *("bind: :1", "'", '"', "<<: ", "log: "),
        ]
    ),
    max_size=30,
).map("".join)
DATA = st.recursive(
    st.sampled_from(["http", "x", "1", "null", "true", "1.5", "[]", "{}", "''"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(
            st.sampled_from(
                ["servers", "web", "protocol", "routes", "http", "mqtt", "app", "path", "log", "tls", "email", "x"]
            ),
            inner,
            max_size=4,
        ).map(lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items.items()) + "}")
    ),
    max_leaves=12,
)


def settings_of(text: str, **environ: str) -> Settings:
    return parse(text, name="gateway.yaml", folder=Path("/nowhere"), environ=environ).finish()


def errors(text: str, **environ: str) -> str:
    with pytest.raises(ConfigErrors) as caught:
        settings_of(text, **environ)
    return str(caught.value)


@settings(deadline=None)  # a target may be looked for in every folder of the path
@given(st.one_of(st.text(), YAMLISH, WORDS, DATA))
def test_any_text_gives_settings_or_diagnostics(text: str) -> None:
    try:
        parsed = parse(text, name="gateway.yaml", folder=Path("/nowhere"), environ={"X": "1"})
        settings = parsed.finish(checks.diagnostics(parsed))
        assert isinstance(settings, Settings)
    except ConfigErrors as caught:
        count = len(caught.diagnostics)
        assert count


@settings(deadline=None)  # a target may be looked for in every folder of the path
@given(st.one_of(WORDS, DATA))
def test_every_diagnostic_lies_in_the_file(text: str) -> None:
    try:
        settings_of(text)
    except ConfigErrors as caught:
        for diagnostic in caught.diagnostics:
            assert 1 <= diagnostic.line <= max(1, len(text.splitlines()))
            assert diagnostic.column >= 1


def test_the_minimal_file() -> None:
    assert list(settings_of(MINIMAL).servers) == ["web"]


def test_nesting_is_bounded() -> None:
    assert "nested too deeply" in errors("[" * 5000)


def test_a_billion_laughs_are_bounded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]
    assert "too many values" in errors("\n".join(lines))


def test_a_long_file_is_refused() -> None:
    assert "longer than" in errors("#" * 20_000_001)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigErrors, match=r"there is no such file; looked at in this order: .*; `gateway init` makes one"
    ):
        load(tmp_path / "no.yaml")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_bytes(b"servers:\r\n  caf\xc3\xa9\xe9: {}\r\n")
    with pytest.raises(ConfigErrors, match=r"gateway\.yaml:2:7: error: the file is not UTF-8 text here \(byte 0xe9\)"):
        load(tmp_path / "gateway.yaml")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_a_file_in_another_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "gateway.yaml").write_text("\ufeff" * (encoding != "utf-16") + MINIMAL, encoding=encoding)
    with pytest.raises(ConfigErrors, match=r"1:1: error: the file is UTF-16; save it as UTF-8"):
        load(tmp_path / "gateway.yaml")


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(MINIMAL, encoding="utf-8-sig")
    assert load(tmp_path / "gateway.yaml").finish().application == "a.b"


def test_a_secret_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2\n")
    text = "servers: {s: {protocol: imap, host: h, username: u, password: '${file:password}'}}\napplication: a.b"
    (tmp_path / "gateway.yaml").write_text(text)
    settings = load(tmp_path / "gateway.yaml").finish()
    assert settings.servers["s"].password.reveal() == "hunter2"
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    "value", ["true", "1234", "1.50", "null", "~", "on", "+1", "a b", "{x}", "'", "# no comment", "é"]
)
def test_a_value_of_the_environment_is_text_where_text_is_wanted(value: str) -> None:
    text = "servers: {s: {protocol: imap, host: h, username: u, password: ${P}}}\napplication: a.b"
    assert settings_of(text, P=value).servers["s"].password.reveal() == value


def test_a_value_of_the_environment_is_not_yaml() -> None:
    settings = settings_of("servers: {web: {protocol: http}}\napplication: ${A}", A="a.b, threads: 9")
    assert settings.application == "a.b, threads: 9"
    assert settings.threads == 32


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "1"),
        ("x${A}y${A}", "x1y1"),
        ("${B:-2}", "2"),
        ("${E:-2}", "2"),
        ("${E}", ""),
        ("$${A}", "${A}"),
        ("$A", "$A"),
    ],
)
def test_references(text: str, value: str) -> None:
    assert expand(text, {"A": "1", "E": ""}, Path())[0] == value


@pytest.mark.parametrize("text", ["${B}", "${a b}", "${", "${A", "${}", "${file:/no/such}", "${file:/dev/zero}"])
def test_references_without_a_value(text: str) -> None:
    with pytest.raises(Unset):
        expand(text, {"A": "1"}, Path())


@pytest.mark.parametrize("key", ["password", "auth_token", "pasword", "secret", "api_key"])
@pytest.mark.parametrize("value", ["hunter2", "'hunter2'", "[hunter2, 'hunter2']", "{a: hunter2}"])
def test_no_excerpt_shows_a_secret(key: str, value: str) -> None:
    message = errors(f"servers: {{web: {{protocol: http, {key}: {value}, bnid: 1}}}}\napplication: a.b")
    assert "hunter2" not in message
    assert "bnid" in message


@pytest.mark.parametrize(
    "text",
    [
        "password: |\nhunter2\n",
        "password: hunter2\n  x: [",
        "{password: hunter2, x",
        "password: 'hunter2",
        "{auth: hunter2",
    ],
)
def test_no_syntax_error_shows_a_secret(text: str) -> None:
    assert "hunter2" not in errors(text)


@pytest.mark.parametrize("text", ["password: |\n      hunter2\n      hunter2\n", "password: hunter2\n      hunter2\n"])
def test_no_line_of_a_long_secret_is_shown(text: str) -> None:
    message = errors(f"servers:\n  web:\n    protocol: http\n    {text}    bnid: 1\napplication: a.b")
    assert "hunter2" not in message


def test_carets_stand_below_the_mistake() -> None:
    message = errors(
        "servers: {s: {protocol: imap, host: h, username: u, password: hunter2hunter2, bnid: 1}}\napplication: a.b"
    )
    _, text, carets, *_ = message.splitlines()
    assert text[carets.index("^") : carets.rindex("^") + 1] == "bnid"


@pytest.mark.parametrize("password", ["hunter2", "hun@ter2", "hun/ter2", "@ter2", "12hun/ter2"])
def test_a_url_with_a_password_is_shown_without_it(password: str) -> None:
    url = f"mqtt://ann:{password}@h"
    message = errors(f"servers: {{p: {{protocol: mqtt-client, url: '{url}', bnid: 1}}}}\napplication: a.b")
    assert "hun" not in message
    assert "ter2" not in message


def test_a_url_with_a_port_and_no_password_is_shown() -> None:
    message = errors("servers: {p: {protocol: mqtt-client, url: 'mqtt://h:1883/@x', bnid: 1}}\napplication: a.b")
    assert "mqtt://h:1883/@x" in message


def _tree(loader: Any, text: str) -> Any:
    try:
        return _flat(loader(text).get_single_node())
    except (yaml.YAMLError, ValueError):
        return "refused"


def _flat(node: Any) -> Any:
    """Everything of a node that is looked at: what it is, its value and its place."""
    if node is None:
        return None
    start, end = node.start_mark, node.end_mark
    whole = isinstance(node, yaml.ScalarNode) or node.flow_style
    place = [start.line, start.column, *([end.line, end.column] if whole else [])]
    if isinstance(node, yaml.ScalarNode):
        return [node.tag, node.value, place]
    if isinstance(node, yaml.MappingNode):
        return [node.tag, place, [[_flat(key), _flat(value)] for key, value in node.value]]
    return [node.tag, place, list(map(_flat, node.value))]


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="NOT TESTED: PyYAML has no libyaml here")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_the_fast_loader_sees_what_the_slow_one_sees(case: Path) -> None:
    """Where it refuses a text, or would see it otherwise, the slow one is asked."""
    text = case.read_text().partition("=====")[0]
    fast, slow = _tree(yaml_file._FastLoader, text), _tree(yaml_file._Loader, text)
    if yaml_file._SEEN_OTHERWISE.search(text) is None and fast != "refused":
        assert fast == slow
