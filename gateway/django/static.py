"""Serves the static files of all apps while ``DEBUG`` is on, as runserver does."""

from typing import Any

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.exceptions import SuspiciousFileOperation
from django.http import Http404

from gateway.django.piecewise import piecewise


class StaticFiles(ASGIStaticFilesHandler):
    """Answers 404 to a path that leads out of the static folders, where Django's own handler crashes."""

    def serve(self, request: Any) -> Any:
        try:
            return piecewise(super().serve(request))
        except SuspiciousFileOperation as error:
            raise Http404("There is no such static file.") from error
