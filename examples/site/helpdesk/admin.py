from django.contrib import admin

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
