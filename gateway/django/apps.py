"""The application `gateway.django`, for INSTALLED_APPS: it brings `manage.py rungateway`."""

import contextlib
from importlib import import_module

from django.apps import AppConfig


class GatewayConfig(AppConfig):
    name = "gateway.django"
    label = "gateway"
    verbose_name = "Gateway"

    def ready(self) -> None:
        """Register the check of TASKS. Django 6.0 has it, and does not import it."""
        with contextlib.suppress(ModuleNotFoundError):  # before Django 6.0
            import_module("django.tasks.checks")
