"""`manage.py rungateway`: the gateway with the settings that manage.py has, started anew when you save a file."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.edited import Edited
from servers.site import ROOT

SETTINGS = """
SECRET_KEY = "tests"
DEBUG = True
ROOT_URLCONF = "running_urls"
INSTALLED_APPS = ["gateway.django", "running_shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.sqlite3"}}
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "DIRS": ["pages"]}]
GREETING = "hello"
"""
FILES = {
    "manage.py": """
import os, sys
from django.core.management import execute_from_command_line
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "running_settings")
execute_from_command_line(sys.argv)
""",
    "running_settings.py": SETTINGS,
    "running_dev.py": 'from running_settings import *\nGREETING = "hello from dev"\n',
    "running_urls.py": """
from django.conf import settings
from django.shortcuts import render
from django.urls import path
from running_shop.models import Order

urlpatterns = [path("", lambda request: render(request, "page", {"said": settings.GREETING, "of": Order.label()}))]
""",
    "running_shop/__init__.py": "",
    "running_shop/models.py": """
from django.db import models

class Order(models.Model):
    @classmethod
    def label(cls):
        return "orders"
""",
    "pages/page": "{{ said }} {{ of }}",
    "gateway.yaml": """
servers: {web: {protocol: http, bind: "127.0.0.1:PORT"}}
django: {settings: running_settings}
routes: {http: django}
""",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edited]:
    command = [sys.executable, "manage.py", "rungateway", "--settings", "running_dev"]
    project = Edited(tmp_path_factory.mktemp("project"), FILES, command)
    yield project
    project.close()


def test_it_has_the_settings_that_manage_py_has(project: Edited) -> None:
    project.answers("hello from dev orders")


def test_a_template_that_django_keeps_in_memory_counts(project: Edited) -> None:
    project.write("pages/page", "{{ said }}, {{ of }}")
    project.answers("hello from dev, orders")
    project.write("pages/page", FILES["pages/page"])


def test_models_and_settings_count(project: Edited) -> None:
    project.write("running_shop/models.py", FILES["running_shop/models.py"].replace('"orders"', '"all orders"'))
    project.answers("hello from dev all orders")
    project.write("running_settings.py", SETTINGS + "raise ValueError('no such value')\n")
    project.says("the version before keeps running")
    assert "no such value" in project.said()
    assert project.answer() == "hello from dev all orders"


def test_it_says_what_makes_a_file_where_there_is_none(tmp_path: Path) -> None:
    for name in ("manage.py", "running_settings.py"):
        (tmp_path / name).write_text(FILES[name].replace(', "running_shop"', ""))
    command = [sys.executable, "manage.py", "rungateway"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: there is no gateway.yaml; looked at in this order: ")
    assert done.stderr.endswith("; `gateway init --django manage.py` makes one\n")
