"""Programs from Debian to talk to. Without one a test skips and says so; where CI=true promises it, it fails."""

import os
import shutil

import pytest

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"


def program(name: str) -> str:
    """Its path. To be asked for before a test starts anything that a skip would leave behind."""
    path = shutil.which(name, path=PATH)
    if path is None and os.environ.get("CI") == "true":
        pytest.fail(f"{name} is not installed, and CI=true: .ci/peers installs it")
    if path is None:
        pytest.skip(f"{name} IS NOT INSTALLED: this test has not run")
    return path
