"""A view of each kind: page, form, upload, stream, file, redirect, cookie, error."""

import hashlib
from pathlib import Path

from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from .forms import EntryForm, UploadForm
from .models import Entry


def index(request):
    context = {"entries": Entry.objects.all()[:20], "entry_form": EntryForm(), "upload_form": UploadForm()}
    return render(request, "guestbook/index.html", context)


@require_POST
def sign(request):
    form = EntryForm(request.POST)
    if not form.is_valid():
        return JsonResponse(form.errors, status=422)
    form.save()
    return redirect("index")


@require_POST
def upload(request):
    form = UploadForm(request.POST, request.FILES)
    if not form.is_valid():
        return JsonResponse(form.errors, status=422)
    file = form.cleaned_data["file"]
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    return JsonResponse({"name": file.name, "size": file.size, "sha256": digest.hexdigest()})


def stream(request):
    return StreamingHttpResponse((f"line {number}\n" for number in range(1000)), content_type="text/plain")


def source(request):
    return FileResponse(open(Path(__file__), "rb"), content_type="text/x-python")


def old(request):
    return redirect("index", permanent=True)


def visits(request):
    try:
        count = int(request.COOKIES.get("visits", "0")) + 1
    except ValueError:
        count = 1
    response = HttpResponse(f"visit {count}", content_type="text/plain")
    response.set_cookie("visits", str(count), httponly=True, samesite="Lax")
    return response


def about_request(request):
    return JsonResponse(
        {
            "secure": request.is_secure(),
            "url": request.build_absolute_uri(),
            "remote_port": request.META.get("REMOTE_PORT"),
            "remote_address": request.META.get("REMOTE_ADDR"),
        }
    )


def broken(request):
    raise LookupError("this view is broken on purpose")
