"""The application `gateway.django`, for INSTALLED_APPS: it brings `manage.py rungateway`."""

import contextlib
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.db import DEFAULT_DB_ALIAS


class GatewayConfig(AppConfig):
    name = "gateway.django"
    label = "gateway"
    verbose_name = "Gateway"

    def ready(self) -> None:
        """Register the checks: of the database, and of TASKS. Django 6.0 has the latter, and does not import it."""
        checks.register(_check_database, checks.Tags.models)
        with contextlib.suppress(ModuleNotFoundError):  # before Django 6.0
            import_module("django.tasks.checks")


def _check_database(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[checks.CheckMessage]:
    """Warn of a router that parts the gateway's tables from those of the project."""
    from gateway.django.database import database

    if (alias := database()) == DEFAULT_DB_ALIAS:
        return []
    return [
        checks.Warning(
            f"A router puts the gateway's tables into the database {alias!r}: with store: django, only what is "
            f"written there is in one transaction with what the gateway sends and handles.",
            hint=f"Put them into {DEFAULT_DB_ALIAS!r}, or write transaction.atomic(using={alias!r}).",
            id="gateway.W001",
        )
    ]
