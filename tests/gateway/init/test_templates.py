"""Each template is a project that works: its test passes, it runs at once, and takes the samples of ``run --try``."""

import re
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
from servers.daemon import Daemon
from servers.new_project import make
from servers.ports import free_port
from servers.site import ROOT, until

from gateway.init import template

TESTS = {"django": ("manage.py", "test")}
"""The arguments of Python that run a project's tests, where they are not pytest's."""
SAMPLES: Mapping[str, list[str]] = {
    "all": [
        r"try:  \S+ send mqtt sensors/1/temperature 21\.5\n +acknowledged; .*handlers\.Thermometer took it",
        r"try:  \S+ send email house@example\.org Hello\n +250 .*; .*handlers\.\w+ took it",
        r"try:  \S+ send sms \+447700900123 Hello\n +200 OK; .*\n.*1: 21\.5 °C",
        r"try:  \S+ send websocket /live/\n +connected; .*handlers\.\w+ took it",
        r"try:  \S+ send http /\n +200 OK; .*\n(.*\n)* +<title>House</title>",
    ],
    "django": [
        r"try:  \S+ send email hello@example\.org Hello\n +250 .*; .*handlers\.\w+ took it",
        r"try:  \S+ send websocket /live/\n +connected; .*handlers\.\w+ took it",
        r"try:  \S+ send http /admin/\n +200 OK; .*django took it",
    ],
    "mail": [r"try:  \S+ send email hello@example\.org Hello\n +250 .*; .*handlers\.\w+ took it"],
    "mqtt": [r"try:  \S+ send mqtt sensors/1/temperature 21\.5\n +acknowledged; .*handlers\.Thermometer took it"],
    "sms": [r"try:  \S+ send sms \+447700900123 Hello\n +200 OK; .*\n.*Write HOURS"],
    "web": [
        r"try:  \S+ send websocket /chat/ Hello\n +connected; .*\n +Hello",
        r"try:  \S+ send http /\n +200 OK; .*\n(.*\n)* +<title>Chat</title>",
    ],
}


def project(folder: Path, name: str) -> None:
    """Make a project with the command, on ports of this test's own."""
    done = make("--yes", "--template", name, str(folder))
    assert done.exit_code == 0, done.stderr
    file = folder / "gateway.yaml"
    file.write_text(re.sub(r"(127\.0\.0\.1:)\d+", lambda found: f"{found[1]}{free_port()}", file.read_text()))


def test_every_template_is_tried() -> None:
    assert template.names() == sorted(SAMPLES)


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_template(name: str, tmp_path: Path) -> None:
    project(tmp_path, name)
    assert {"gateway.yaml", "README.md", ".gitignore"} <= {path.name for path in tmp_path.iterdir()}

    tests = TESTS.get(name, ("-m", "pytest", "-q", "-p", "no:cacheprovider"))
    done = subprocess.run(
        [sys.executable, "-W", "error", *tests],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=40,
    )
    assert done.returncode == 0, done.stdout + done.stderr

    daemon = Daemon(tmp_path, "gateway.yaml", "--try")
    try:
        for sample in SAMPLES[name]:
            until(partial(said, daemon, sample), lambda: f"{sample!r} in\n{daemon.text}")  # noqa: B023 -- called here
        daemon.process.terminate()
        assert daemon.wait() == 0
        assert not re.search(r"^(WARNING|ERROR)", daemon.text, re.MULTILINE), daemon.text
        assert re.search(r"-> \w*handlers\.\w+ +\w+ +[\d.]+ ms$", daemon.text, re.MULTILINE), daemon.text
    finally:
        daemon.close()
    assert_answered(tmp_path)


def said(daemon: Daemon, sample: str) -> bool:
    """Whether this was printed. Log lines, which come by another way, may be between any two lines."""
    printed = [line for line in daemon.lines if line.startswith(("try:", " "))]
    return re.search(sample, "\n".join(printed)) is not None


def assert_answered(folder: Path) -> None:
    """The answer to the sample's mail has left, where mail can leave."""
    if "submission" in (folder / "gateway.yaml").read_text():
        (answer,) = (folder / "var" / "outbox" / "new").iterdir()
        assert b"To: ann@example.net" in answer.read_bytes()


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_template_is_as_this_project_is_written(name: str, tmp_path: Path) -> None:
    """Lines are no longer than ours, and every file ends with a line end."""
    for file, text in template.read(name).items():
        assert text.endswith("\n"), file
        assert max(map(len, text.splitlines())) <= 128, file
