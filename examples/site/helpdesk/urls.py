from django.contrib import admin
from django.urls import path
from django.views.generic import TemplateView

urlpatterns = [
    path("", TemplateView.as_view(template_name="helpdesk/page.html"), name="page"),
    path("admin/", admin.site.urls),
]
