"""Programs from Debian to talk to. Without one a test skips and says so; where CI=true promises it, it fails."""

import os
import shutil
from typing import NoReturn

import pytest

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"


def program(name: str) -> str:
    """Its path. To be asked for before a test starts anything that a skip would leave behind."""
    path = shutil.which(name, path=PATH)
    if path is None:
        _lacking(f"{name} is not installed", ".ci/peers installs it")
    return path


def root() -> None:
    """Ask for the rights of root, as for a program."""
    if os.geteuid() != 0:
        _lacking("root's rights are not given", "the tests are to run as root")


def _lacking(what: str, remedy: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}, and CI=true: {remedy}")
    pytest.skip(f"{what.upper()}: this test has not run")
