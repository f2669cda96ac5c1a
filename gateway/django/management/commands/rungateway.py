"""``manage.py rungateway``: the gateway with the settings of this project, started anew when you save a file."""

import os
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.config_file import config_file, looked_at

SETTINGS = "GATEWAY_DJANGO_SETTINGS"
"""Tells the gateway which settings module to take: see :mod:`gateway.runtime.prepare_imports`."""


class Command(BaseCommand):
    help = "Run the gateway with this project's settings. It starts anew when you save a file."
    requires_system_checks: list[str] = []  # the gateway sets the project up again, with its own checks

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "-c",
            "--config",
            metavar="FILE",
            help="Default: $GATEWAY_CONFIG, or GATEWAY_CONFIG of the settings, or ./gateway.yaml.",
        )
        parser.add_argument("--noreload", action="store_false", dest="reload", help="Do not watch files.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Become the gateway: nothing of what Django has imported here stays."""
        file = config_file(options["config"])
        if not Path(file).exists():
            raise CommandError(
                f"there is no {file}; looked at in this order: -c FILE, {looked_at()}; "
                "`gateway init --django manage.py` makes one"
            )
        os.environ[SETTINGS] = settings.SETTINGS_MODULE
        arguments = ["-m", "gateway", "run", "-c", file, *(["--reload"] if options["reload"] else [])]
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 -- no shell is wanted
