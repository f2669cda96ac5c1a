"""The package as its users install it: from a wheel, into an environment that has nothing else."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def build(folder: Path) -> Path:
    """Build the source distribution, and from that the wheel. Return the path of the wheel."""
    _run(sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT))
    (wheel,) = folder.glob("*.whl")
    return wheel


def build_wheel(folder: Path) -> Path:
    """Build the wheel from the sources as they are, in half the time. Return its path."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    _run(*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(folder: Path, *packages: str) -> Path:
    """Make an environment in ``folder``, and install ``packages`` there. Return the folder of its programs.

    Our own pip does it, and compiles nothing: that halves the time. Python compiles what a program imports."""
    _run(sys.executable, "-m", "venv", "--without-pip", str(folder))
    python, constraints = str(folder / "bin" / "python"), str(ROOT / "config" / "constraints.txt")
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "--quiet"]
    _run(*pip, "install", "--no-compile", "-c", constraints, *packages)
    return folder / "bin"


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
