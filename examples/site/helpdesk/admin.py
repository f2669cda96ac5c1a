from typing import Any

import live
from asgiref.sync import async_to_sync
from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest

from gateway import get_channel_layer
from helpdesk.models import Mail, Post, Reading, Text, Ticket


class MailInline(admin.TabularInline):
    model = Mail
    extra = 0
    fields = ("sender", "text", "received_at", "answered")
    readonly_fields = ("sender", "text", "received_at", "answered")
    can_delete = False


@admin.register(Ticket)
class TicketAdmin(admin.ModelAdmin):
    list_display = ("__str__", "sender", "opened_at", "updated_at", "closed")
    list_filter = ("closed",)
    search_fields = ("subject", "sender")
    inlines = (MailInline,)

    def save_model(self, request: HttpRequest, obj: Ticket, form: Any, change: bool) -> None:
        """Save the ticket and update the page. Views run in the gateway's process, so they use the same channel layer
        as handlers."""
        super().save_model(request, obj, form, change)
        tell = async_to_sync(get_channel_layer().group_send)
        transaction.on_commit(lambda: tell(live.GROUP, live.update("ticket", obj.shown())))


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
