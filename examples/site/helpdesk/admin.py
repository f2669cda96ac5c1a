from typing import Any

import answers
from django import forms
from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest

from helpdesk.models import Mail, Post, Reading, Text, Ticket


class MailInline(admin.TabularInline):
    model = Mail
    extra = 0
    fields = readonly_fields = ("sender", "kind", "text", "received_at")
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class TicketForm(forms.ModelForm):
    answer = forms.CharField(widget=forms.Textarea, required=False, help_text="Leaves by mail when you save.")


@admin.register(Ticket)
class TicketAdmin(admin.ModelAdmin):
    form = TicketForm
    fields = ("subject", "sender", "address", "related", "closed", "answer")
    raw_id_fields = ("related",)
    list_display = ("__str__", "sender", "opened_at", "updated_at", "closed")
    list_filter = ("closed",)
    search_fields = ("subject", "sender")
    inlines = (MailInline,)

    @transaction.atomic
    def save_model(self, request: HttpRequest, obj: Ticket, form: Any, change: bool) -> None:
        """Save the ticket, send the answer, and update the page."""
        super().save_model(request, obj, form, change)
        if text := form.cleaned_data["answer"].strip():
            answers.answer(obj, text)
        answers.tell(obj)


@admin.register(Post)
class PostAdmin(admin.ModelAdmin):
    list_display = ("author", "text", "posted_at")


@admin.register(Reading)
class ReadingAdmin(admin.ModelAdmin):
    list_display = ("sensor", "celsius", "measured_at")
    list_filter = ("sensor",)


@admin.register(Text)
class TextAdmin(admin.ModelAdmin):
    list_display = ("sender", "text", "answer", "handler", "received_at")
    list_filter = ("handler",)
