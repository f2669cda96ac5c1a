"""`make` on machines that lack something: a real make and real environments, into which nothing comes from outside."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from servers.site import ROOT

RUNS = ("RUNS=.venv/.runs", ".venv/.runs")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "it's a clone"
    (folder / "config").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "config/constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PYTHON"))}
    command = ["make", "--no-print-directory", "INSTALL=echo installing", *arguments]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=50, check=False)


def python(folder: Path, body: str) -> str:
    """A Python that is not like ours: ``body`` is shell, and what it does not answer goes to ours."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\ncase "$*" in\n{body}\nesac\nexec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    return "PYTHON=./python"


def ours(folder: Path) -> str:
    """The same by a path without a space: a command may have options, so that make cannot tell."""
    return python(folder, "nothing) ;;")


def works(folder: Path) -> bool:
    pip = subprocess.run([".venv/bin/python", "-m", "pip", "--version"], cwd=folder, capture_output=True, check=False)
    return pip.returncode == 0 and (folder / RUNS[1]).exists()


def test_it_says_what_it_can_do(clone: Path) -> None:
    done = make(clone)
    assert done.returncode == 0
    targets = [line.split()[1] for line in done.stdout.splitlines()]
    assert targets[:2] == ["run", "test"]
    phony = next(line for line in (clone / "Makefile").read_text().splitlines() if line.startswith(".PHONY:"))
    assert set(targets) | {"help", "peers", "bench"} == set(phony.split()[1:])


def test_an_interrupted_environment_is_made_again(clone: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", ".venv"], cwd=clone, timeout=50, check=True)
    done = make(clone, ours(clone), *RUNS)
    assert done.returncode == 0, done.stderr
    assert works(clone)


def test_an_environment_that_works_is_kept(clone: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", ".venv"], cwd=clone, timeout=50, check=True)
    (clone / ".venv/mine").touch()
    assert make(clone, ours(clone), *RUNS).returncode == 0
    assert (clone / ".venv/mine").exists()


def test_a_clone_that_was_moved_is_made_anew(clone: Path) -> None:
    """What pip writes into it names the folder."""
    (clone / "moved.mk").write_text("include Makefile\ninstalled: $(RUNS)\n")
    assert make(clone, ours(clone), "-f", "moved.mk", "installed").returncode == 0
    (clone / ".venv/mine").touch()
    assert make(clone, ours(clone), "-f", "moved.mk", "installed").returncode == 0
    assert (clone / ".venv/mine").exists()
    moved = clone.rename(clone.with_name("moved"))
    assert make(moved, ours(moved), "-f", "moved.mk", "installed").returncode == 0
    assert not (moved / ".venv/mine").exists()


def test_debian_without_python3_venv(clone: Path) -> None:
    """The pip of the system brings one into .venv."""
    body = '*ensurepip*) exit 1;;\n"-m pip"*) echo "$@"; exit;;'
    done = make(clone, python(clone, body), *RUNS)
    assert done.returncode == 0, done.stderr
    assert "-m pip --python .venv/bin/python install --quiet pip\ninstalling .[django,imap,mail]\n" in done.stdout
    assert (clone / ".venv/bin/python").exists()


def test_debian_without_python3_venv_and_pip(clone: Path) -> None:
    """One sentence says what is missing, and does so as often as it is tried."""
    lacking = python(clone, '*ensurepip*) exit 1;;\n"-m pip"*) exit 1;;')
    for _ in range(2):
        done = make(clone, lacking, "run")
        assert done.returncode != 0
        assert "apt install python3-venv, then make run again." in done.stdout
        assert "installing" not in done.stdout
    assert make(clone, ours(clone), *RUNS).returncode == 0
    assert works(clone)


def test_an_old_python(clone: Path) -> None:
    done = make(clone, python(clone, "*version_info*) exit 1;;"), "run")
    assert done.returncode != 0
    assert done.stdout == "Python 3.11 or later is needed: make PYTHON=python3.12 run\n"
    assert not (clone / ".venv").exists()
