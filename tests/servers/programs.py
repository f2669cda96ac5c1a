"""Programs from Debian to talk to. Without one a test skips and says so; where CI=true promises it, it fails."""

import os
import shutil
import subprocess
from glob import glob
from typing import NoReturn

import pytest

_MORE = ["/usr/sbin", "/usr/local/sbin", *sorted(glob("/usr/lib/postgresql/*/bin"), reverse=True)]
PATH = ":".join([os.environ.get("PATH", ""), *_MORE])


def program(name: str) -> str:
    """Its path. To be asked for before a test starts anything that a skip would leave behind."""
    path = shutil.which(name, path=PATH)
    if path is None:
        _lacking(f"{name} is not installed", ".ci/peers installs it")
    return path


def namespaces() -> None:
    """Ask for namespaces of a test's own. They take the rights of root, and more than many containers give."""
    command = [program("unshare"), "--mount", "--net", "--pid", "--fork", "--mount-proc", "true"]
    tried = subprocess.run(command, capture_output=True, text=True, timeout=20)
    if tried.returncode:
        _lacking(tried.stderr.strip(), "the tests are to run as root, and not in a container")


def _lacking(what: str, remedy: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}, and CI=true: {remedy}")
    pytest.skip(f"{what.upper()}: this test has not run")
