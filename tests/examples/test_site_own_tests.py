"""The example's own tests, which show how a Django project tests its gateway."""

import subprocess
import sys

from servers.site import ROOT


def test_the_site_s_own_tests_pass() -> None:
    command = [sys.executable, "-W", "error::ResourceWarning", "examples/site/manage.py", "test", "examples/site"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert "Ran 3 tests" in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
