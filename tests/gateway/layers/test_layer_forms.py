"""What ``layer:`` may say: each form, and each mistake as one sentence without passwords."""

import sys
from pathlib import Path
from typing import Any

import pytest
from servers.command import run
from servers.site import ROOT

from gateway.config.diagnostics import ConfigErrors
from gateway.config.loader import parse
from gateway.exit_codes import MISTAKE
from gateway.layers import InMemoryChannelLayer, channel_layer
from gateway.layers.address import Django, Imported, Ipc, Memory, Redis, parse_layer
from gateway.layers.shared import SharedChannelLayer
from gateway.runtime.build import build
from gateway.secret_names import hide_passwords

FORMS: dict[str, Any] = {
    "memory": Memory(),
    "ipc": Ipc(None),
    "ipc:run/layer.sock": Ipc(Path("run/layer.sock")),
    "django": Django("default"),
    "django:other": Django("other"),
    "shop.layers.layer": Imported("shop.layers.layer"),
    "shop.layers:layer": Imported("shop.layers:layer"),
    "redis://h": Redis("redis", (("h", 6379),)),
    "redis://h:1/3": Redis("redis", (("h", 1),), database=3),
    "redis://[::1]:7000": Redis("redis", (("::1", 7000),)),
    "redis://ann:p%40ss@h": Redis("redis", (("h", 6379),), username="ann", password="p@ss"),
    "redis://:p%2Fss@h": Redis("redis", (("h", 6379),), password="p/ss"),
    "redis+unix:///run/r.sock?db=2": Redis("redis+unix", path="/run/r.sock", database=2),
    "redis+sentinel://a,b:7/main/1": Redis("redis+sentinel", (("a", 26379), ("b", 7)), master="main", database=1),
    "redis+cluster://a,b:7": Redis("redis+cluster", (("a", 6379), ("b", 7))),
    "rediss://h?ca=ca.pem": Redis("rediss", (("h", 6379),), tls={"ca": "ca.pem"}),
    "redis://h?layer=core&prefix=x&capacity=5&expiry=7&group_expiry=9": Redis(
        "redis", (("h", 6379),), core=True, prefix="x", capacity=5, expiry=7, group_expiry=9
    ),
    "redis+sentinel://a/main?sentinel_password=s": Redis(
        "redis+sentinel", (("a", 26379),), master="main", sentinel={"password": "s"}
    ),
}


@pytest.mark.parametrize("text", FORMS)
def test_each_form(text: str) -> None:
    assert parse_layer(text) == FORMS[text]


MISTAKES = {
    "redis": "'redis' is not a layer: Redis needs a host, such as redis://127.0.0.1:6379",
    "memry": "'memry' is not a layer; did you mean memory?",
    "ipc:": "'ipc:' is not a layer; did you mean ipc?",
    "amqp://h": "amqp:// is not a layer; write memory, ipc, redis://HOST, django, or module.attribute",
    "reddis://h": "reddis:// is not a layer; did you mean redis://?",
    "redis://": "redis:// needs a host, such as redis://127.0.0.1:6379",
    "redis://:secret@": "redis:// needs a host",
    "redis://h:port": "'h:port' is not HOST or HOST:PORT",
    "redis://h:99999": "'h:99999' is not HOST or HOST:PORT",
    "redis://h/x": "the database must be a whole number, 0 or more, and not 'x'",
    "redis://h/1/2": "the path of redis:// is the number of a database, and not '1/2'",
    "redis://:secret@a,b": "redis:// has one host; for several write redis+sentinel:// or redis+cluster://",
    "redis://h?colour=red": "colour= is not an option of redis://; it takes layer, prefix, capacity",
    "redis://h?layer=list": "layer=list is not one of channels_redis; write layer=pubsub or layer=core",
    "redis://h?capacity=0": "capacity= must be a whole number, 1 or more, and not '0'",
    "redis://h?prefix=": "prefix= must not be empty",
    "redis://h?ca=x.pem": "ca= is for TLS; write rediss://",
    "rediss://h?key=x.pem": "certificate= and key= belong together",
    "redis+unix://h/x": "redis+unix:// needs an absolute path",
    "redis+sentinel://h": "redis+sentinel:// needs the name of the master after the Sentinels",
    "redis+cluster://h?layer=core": "layer=core cannot use a Redis Cluster",
    "redis+cluster://h/1": "a Redis Cluster has one database, 0, and not 1",
    "redis://[::1": "the URL cannot be read",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_each_mistake(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as error:
        parse_layer(text)
    assert MISTAKES[text] in str(error.value)
    assert "secret" not in str(error.value)


def test_no_form_shows_a_password() -> None:
    url = "redis+sentinel://ann:hidden1@a,b/main?sentinel_password=hidden2"
    address = parse_layer(url)
    assert "hidden" not in f"{address} {address!r} {hide_passwords(url)}"
    assert str(address) == "redis+sentinel://a:26379,b:26379/main"


FILE = """servers:
  web: {protocol: http, bind: "127.0.0.1:0"}
routes: {http: layer_app.app}
layer: LAYER
"""
SETTINGS = """
SECRET_KEY = "only for this test"
CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels.layers.InMemoryChannelLayer"},
    "ours": {"BACKEND": "gateway.layers.installed.GatewayChannelLayer"},
    "gone": {"BACKEND": "not.there.Layer"},
}
"""
CHECKED = {
    "a Redis Cluster": ("redis+cluster://:secret@h?layer=core", "layer: layer=core cannot use a Redis Cluster"),
    "a missing authority": ("rediss://:secret@h?ca=gone.pem", "gone.pem"),
    "a path that is too long": ("ipc:" + "x" * 120, "ipc has no socket: its path has"),
    "no Django": ("django", "layer: django: Django is not set up; write django: {settings: ...}, too"),
}


@pytest.mark.parametrize(("layer", "said"), CHECKED.values(), ids=CHECKED)
def test_a_mistake_is_told_at_its_place(layer: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(FILE.replace("LAYER", f'"{layer}"'))
    (tmp_path / "layer_app.py").write_text("async def app(scope, receive, send): ...\n")
    done = run(tmp_path, "check")
    assert done.returncode == MISTAKE
    assert "gateway.yaml:4:8: error: layer: " in done.stdout + done.stderr
    assert said in done.stdout + done.stderr
    assert "secret" not in done.stdout + done.stderr


DJANGO = {
    "django:other": "CHANNEL_LAYERS of the settings has no 'other'; it has 'default', 'ours', 'gone'",
    "django:ours": "the BACKEND in CHANNEL_LAYERS is the gateway's own layer",
    "django:gone": "layer: django: Cannot import BACKEND 'not.there.Layer' specified for gone",
}


@pytest.mark.parametrize("layer", DJANGO)
def test_a_mistake_in_the_settings_of_django(layer: str, tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(FILE.replace("LAYER", layer) + "django: {settings: layer_site}\n")
    (tmp_path / "layer_app.py").write_text("async def app(scope, receive, send): ...\n")
    (tmp_path / "layer_site.py").write_text(SETTINGS)
    done = run(tmp_path, "check")
    assert (done.returncode, DJANGO[layer] in done.stdout + done.stderr) == (MISTAKE, True), done.stdout + done.stderr
    assert "gateway.yaml:4:8" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("package", "layer", "said"),
    [
        ("channels_redis", "redis://h", "redis:// needs channels_redis; pip install 'asgi-gateway[redis]'"),
        ("channels", "django", "django: it needs the package channels; pip install channels"),
    ],
)
def test_a_package_that_is_missing(
    package: str, layer: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finder that refuses to find it comes first, as where it is not installed."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT.replace("PACKAGE", package))
    (tmp_path / "gateway.yaml").write_text(FILE.replace("LAYER", layer))
    (tmp_path / "layer_app.py").write_text("async def app(scope, receive, send): ...\n")
    done = run(tmp_path, "check", PYTHONPATH=f"{ROOT}:{tmp_path}")
    assert (done.returncode, said in done.stdout + done.stderr) == (MISTAKE, True), done.stdout + done.stderr


WITHOUT = """
import importlib.util, sys

find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "PACKAGE" else find(name, package)
sys.modules["PACKAGE"] = None
sys.modules["PACKAGE.layers"] = None
"""


def test_layers_are_made_without_a_connection(tmp_path: Path) -> None:
    (tmp_path / "layer_made.py").write_text("async def app(scope, receive, send): ...\n")
    for text in ("ipc", "redis://127.0.0.1:1", "redis://127.0.0.1:1?layer=core"):
        file = FILE.replace("layer_app", "layer_made").replace("LAYER", text)
        layer = build(parse(file, name="gateway.yaml", folder=tmp_path)).services[channel_layer]
        assert isinstance(layer, SharedChannelLayer)
        assert isinstance(layer, InMemoryChannelLayer)
    assert not (tmp_path / "var").exists()
    sys.path.remove(str(tmp_path))


def test_several_mistakes_of_a_file_are_told_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors) as errors:
        build(parse(FILE.replace("LAYER", "redis://").replace("http: ", "mqtt: "), name="f", folder=tmp_path))
    assert len(errors.value.diagnostics) > 1


def test_workers_whose_groups_do_not_reach_one_another_are_a_warning(tmp_path: Path) -> None:
    (tmp_path / "layer_app.py").write_text("async def app(scope, receive, send): ...\n")
    for layer, warned in (("memory", True), ("ipc", False)):
        (tmp_path / "gateway.yaml").write_text(FILE.replace("LAYER", layer) + "workers: 2\n")
        done = run(tmp_path, "check")
        assert done.returncode == 0
        assert ("a group reaches the consumers of one worker only" in done.stdout + done.stderr) == warned
