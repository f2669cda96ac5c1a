from django.contrib import admin
from django.urls import path
from django.views.generic import TemplateView

from helpdesk import views

urlpatterns = [
    path("", TemplateView.as_view(template_name="helpdesk/page.html"), name="page"),
    path("tickets/<int:pk>/", views.ticket, name="ticket"),
    path("attachments/<int:pk>/", views.attachment, name="attachment"),
    path("docs/", views.docs, name="docs"),
    path("docs/<path:path>", views.docs),
    path("admin/", admin.site.urls),
]
