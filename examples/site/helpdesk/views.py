"""The page of one ticket, for the team, and the documentation."""

import answers
from django.conf import settings
from django.contrib.admin.views.decorators import staff_member_required
from django.contrib.auth.decorators import permission_required
from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.static import serve

from helpdesk.models import Attachment, Ticket
from protocols import LocalProtocolError


@staff_member_required
@permission_required("helpdesk.change_ticket", raise_exception=True)
def ticket(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a ticket. A POST with ``text`` answers it, one with ``close`` closes it."""
    found = get_object_or_404(Ticket.objects.prefetch_related("mails__attachments"), pk=pk)
    if request.method != "POST":
        return render(request, "helpdesk/ticket.html", {"ticket": found})
    if text := request.POST.get("text", "").strip():
        try:
            answers.answer(found, text)
        except LocalProtocolError as error:  # the sender of a mail can be anything
            return render(request, "helpdesk/ticket.html", {"ticket": found, "text": text, "error": error}, status=400)
    found.closed = "close" in request.POST
    found.save()
    answers.tell(found)
    return redirect(found)


@staff_member_required
@permission_required("helpdesk.change_ticket", raise_exception=True)
def attachment(request: HttpRequest, pk: int) -> FileResponse:
    """Download a file. It is never shown inside a page of ours: a stranger has sent it."""
    found = get_object_or_404(Attachment, pk=pk)
    response = FileResponse(found.file.open(), as_attachment=True, filename=found.name)
    response["Content-Type"] = "application/octet-stream"
    return response


def docs(request: HttpRequest, path: str = "") -> HttpResponseBase:
    """Show the documentation: the site if ``make docs`` has built it, otherwise its sources."""
    site = settings.ROOT / "build" / "docs" / "site"
    if site.is_dir():
        return serve(request, path or "index.html", document_root=str(site))
    response = serve(request, path or "index.md", document_root=str(settings.ROOT / "docs"))
    if response["Content-Type"].startswith(("text/", "application/octet-stream")):  # Markdown, as a browser shows it
        response["Content-Type"] = "text/plain; charset=utf-8"
    return response
