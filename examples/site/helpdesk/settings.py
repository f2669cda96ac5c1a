"""Django's settings, for a laptop: DEBUG, SQLite, no account anywhere. ``SITE_*`` variables change them for a server:
see docs/django.md."""

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
ROOT = BASE_DIR.parents[1]
"""The checkout, where the documentation is."""
VAR_DIR = Path(os.environ.get("SITE_VAR", BASE_DIR / "var"))
"""Where the database lives. Not in git."""
VAR_DIR.mkdir(0o700, parents=True, exist_ok=True)

DEBUG = os.environ.get("SITE_DEBUG", "1") == "1"
ALLOWED_HOSTS = os.environ.get("SITE_HOSTS", "localhost 127.0.0.1 [::1]").split()
SECRET_KEY = os.environ.get("SITE_SECRET_KEY", "for development only")
if not (DEBUG or os.environ.get("SITE_SECRET_KEY")):
    raise ImproperlyConfigured("SITE_SECRET_KEY must be set if SITE_DEBUG is 0")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
CSRF_TRUSTED_ORIGINS = [] if DEBUG else [f"https://{host}" for host in ALLOWED_HOSTS]  # TLS may end before us

INSTALLED_APPS = [
    "helpdesk",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "helpdesk.urls"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": VAR_DIR / "site.sqlite3",
        "OPTIONS": {
            # Handlers write from several threads. In WAL mode readers do not wait for the writer, and a transaction
            # that takes its lock at the start waits for its turn; one that asks for it half way fails at once.
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL",
        },
    },
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
EMAIL_BACKEND = "gateway.django.EmailBackend"  # mail of views and the admin leaves by the gateway's outbox
DEFAULT_FROM_EMAIL = "Helpdesk <help@support.example.org>"
ALARM_LIMIT = float(os.environ.get("SITE_ALARM_LIMIT", "30"))
"""Degrees Celsius; alarms.py tells the team if a sensor reports more."""
ALARM_MAIL, ALARM_TEXT = "ops@example.org", "+447700900999"
MEDIA_ROOT = VAR_DIR / "media"
"""Where attachments are. No address leads there: a view hands them to the team."""
STORAGES = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"allow_overwrite": True},  # a mail that comes again writes its files to the same places
    },
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
LOGGING_CONFIG = None  # the gateway has set logging up
