"""The application `gateway.django`, for INSTALLED_APPS: it brings `manage.py rungateway`."""

from django.apps import AppConfig


class GatewayConfig(AppConfig):
    name = "gateway.django"
    label = "gateway"
    verbose_name = "Gateway"
