"""The static files of all apps while ``DEBUG``, as runserver serves them."""

from typing import Any

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.exceptions import SuspiciousFileOperation
from django.http import Http404


class StaticFiles(ASGIStaticFilesHandler):
    """A path that leads out of the static folders is no file of theirs: 404, where Django's handler crashes."""

    def serve(self, request: Any) -> Any:
        try:
            return super().serve(request)
        except SuspiciousFileOperation as error:
            raise Http404("There is no such static file.") from error
