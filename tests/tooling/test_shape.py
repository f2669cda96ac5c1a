"""`make shape`; what `make check` enforces of it is in test_make_check.py."""

import subprocess
import sys

from servers.site import ROOT


def test_the_figures_are_printed() -> None:
    command = [sys.executable, str(ROOT / ".ci" / "shape.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=True)
    for each in ("Files: ", "Functions: ", "Scope types named outside ", "Ignored in gateway, protocols: "):
        assert f"\n{each}" in f"\n{done.stdout}"
    assert "  gateway/config/yaml_file.py:" in done.stdout, "each ignored check with its place"
