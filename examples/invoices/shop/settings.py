"""Django's settings, for a laptop."""

from importlib.util import find_spec
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "for development only"
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "shop.urls"
INSTALLED_APPS = ["gateway.django"]
if find_spec("django.tasks") is None:  # before Django 6.0
    INSTALLED_APPS.append("django_tasks")
TASKS = {"default": {"BACKEND": "gateway.django.TaskBackend", "QUEUES": ["default", "invoices"]}}
GATEWAY_CONFIG = str(BASE_DIR / "gateway.yaml")
INVOICES = BASE_DIR / "var"
USE_TZ = True
LOGGING_CONFIG = None  # the gateway has set logging up
