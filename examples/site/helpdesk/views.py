"""The page of one ticket, for the team."""

import answers
from django.contrib.admin.views.decorators import staff_member_required
from django.contrib.auth.decorators import permission_required
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

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
