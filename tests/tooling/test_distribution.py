"""What people install: a wheel made from the source distribution, and containers."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from servers.installation import ROOT, build


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("dist"))


def test_the_wheel_has_the_package_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {"gateway", "protocols", wheel.name.replace(*SUFFIXES)}
    assert {"gateway/py.typed", "protocols/py.typed"} <= set(names)
    assert not [name for name in names if "__pycache__" in name or "/tests/" in name]


SUFFIXES = ("-py3-none-any.whl", ".dist-info")


def test_the_wheel_has_every_file_of_the_sources(wheel: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "gateway", "protocols"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(listed.stdout.split()) <= set(zipfile.ZipFile(wheel).namelist())


def lint(*command: str) -> None:
    done = subprocess.run([Path(sys.executable).parent / command[0], *command[1:]], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dockerfile() -> None:
    lint("hadolint", "--failure-threshold", "info", str(ROOT / "config" / "Dockerfile"))


def test_the_compose_file() -> None:
    lint("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(ROOT / "config" / "compose.yaml"))


def test_an_image_gets_what_its_wheel_needs() -> None:
    """What ``COPY . .`` copies is enough to build the package."""
    kept = (ROOT / "config" / "Dockerfile.dockerignore").read_text().splitlines()
    needed = ["pyproject.toml", "README.md", "LICENSE", "gateway", "protocols", "config/constraints.txt"]
    assert [f"!{name}" for name in needed if f"!{name}" not in kept] == []
