"""The only package that imports Django: it sets Django up, runs its views and its tasks as applications, and takes its
mail."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gateway.django.views import Views, import_urls
from protocols.asgi import Application
from protocols.lazy_names import imported

if TYPE_CHECKING:
    from gateway.django.mail import EmailBackend
    from gateway.django.tasks.backend import TaskBackend

__all__ = ["EmailBackend", "TaskBackend", "application", "import_urls", "setup", "template_folders", "views"]

_BACKENDS = {"EmailBackend": "gateway.django.mail", "TaskBackend": "gateway.django.tasks.backend"}


def __getattr__(name: str) -> Any:
    """Import a backend when Django asks for it: this package can be imported without Django."""
    if name not in _BACKENDS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return imported(f"{_BACKENDS[name]}:{name}")


def setup(settings_module: str) -> None:
    """Set Django up with ``settings_module`` (a dotted name). Call this before anything of the project is imported.

    Raises ImportError if there is no such module, and Django's ImproperlyConfigured if the settings are wrong.
    """
    import django
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured

    if settings.configured and settings.SETTINGS_MODULE not in (None, settings_module):
        raise ImproperlyConfigured(f"this process has set it up with {settings.SETTINGS_MODULE!r}")
    os.environ["DJANGO_SETTINGS_MODULE"] = settings_module
    django.setup()


def application() -> Application:
    """Django's views as an ASGI application. It serves the static files of all apps while ``DEBUG`` is on, as runserver
    does."""
    import django
    from django.conf import settings

    from gateway.django.piecewise import Handler

    django.setup(set_prefix=False)  # as get_asgi_application() does
    views: Any = Handler()
    if settings.DEBUG and "django.contrib.staticfiles" in settings.INSTALLED_APPS:
        from gateway.django.static import StaticFiles

        views = StaticFiles(views)
    return Views(cast("Application", views))


def views() -> Application:
    """Return :func:`application`, once the project's URLs and the views that they name are imported."""
    import_urls()
    return application()


def template_folders() -> set[Path]:
    """Return the folders in which Django looks for templates; none if its set-up has failed."""
    from django.apps import apps
    from django.core.exceptions import ImproperlyConfigured

    if not apps.ready:
        return set()
    from django.template.autoreload import get_template_directories

    try:
        return {Path(os.path.realpath(folder)) for folder in get_template_directories()}
    except ImproperlyConfigured:
        return set()
