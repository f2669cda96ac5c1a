"""Which file is meant: in one order, for the command, for `manage.py rungateway` and for code that sends."""

import subprocess
import sys
from pathlib import Path

import pytest
from servers.site import ROOT

FORMS = ["argument", "environment", "setting", "folder"]
"""In the order in which they count."""
NAMES = {form: f"{form}.yaml" for form in FORMS} | {"folder": "gateway.yaml"}
"""No such file exists, so that each user says which one it means."""
USERS = {
    "command": ("-m", "gateway", "check"),
    "manage.py": ("-m", "django", "rungateway"),
    "sending": ("-c", "import django, gateway; django.setup(); gateway.publish('a', 'b')"),
}
LACKS = {"command": ["setting"], "manage.py": [], "sending": ["argument"]}
"""The command reads its file before Django is set up; code that sends takes no file."""
CASES = [(user, form) for user in USERS for form in FORMS if form not in LACKS[user]]


@pytest.mark.parametrize(("user", "first"), CASES)
def test_the_first_that_names_a_file_counts_and_all_are_shown(tmp_path: Path, user: str, first: str) -> None:
    given = FORMS[FORMS.index(first) :]
    said, _, places = said_without_a_file(tmp_path, user, given).partition("looked at in this order: ")
    assert NAMES[first] in said
    environment, setting = (NAMES[form] if form in given else "not set" for form in ("environment", "setting"))
    setting = "Django is not set up here" if user == "command" else setting
    shown = f"$GATEWAY_CONFIG ({environment}), GATEWAY_CONFIG of Django's settings ({setting}), ./gateway.yaml"
    assert places.partition(";")[0] == (shown if user == "sending" else f"-c FILE, {shown}")


def said_without_a_file(folder: Path, user: str, given: list[str]) -> str:
    """Return the error message of ``user`` where ``given`` name a file."""
    setting = "GATEWAY_CONFIG = 'setting.yaml'\n" if "setting" in given else ""
    (folder / "chosen_settings.py").write_text(f"INSTALLED_APPS = ['gateway.django']\n{setting}")
    environ = {"PYTHONPATH": f"{ROOT}:{folder}", "DJANGO_SETTINGS_MODULE": "chosen_settings", "COLUMNS": "100"}
    environ |= {"GATEWAY_CONFIG": "environment.yaml"} if "environment" in given else {}
    command = [sys.executable, *USERS[user], *(["-c", "argument.yaml"] if "argument" in given else [])]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode in (1, 2)
    return done.stderr.strip().splitlines()[-2 if user == "command" else -1]
