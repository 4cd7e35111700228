"""All routes of the site."""

from django.contrib import admin
from django.urls import path

from guestbook import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", views.index, name="index"),
    path("sign/", views.sign, name="sign"),
    path("upload/", views.upload, name="upload"),
    path("stream/", views.stream, name="stream"),
    path("source/", views.source, name="source"),
    path("old/", views.old, name="old"),
    path("visits/", views.visits, name="visits"),
    path("request/", views.about_request, name="request"),
    path("broken/", views.broken, name="broken"),
]
