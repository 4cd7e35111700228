"""Serves the admin's style sheets and scripts from the installed packages.

A real site leaves that to the server in front (collectstatic); here the admin should work at once.
"""

from django.contrib.staticfiles import finders
from django.http import FileResponse, Http404


class AdminFiles:
    """Answers requests below /static/ that the finders know."""

    def __init__(self, next_layer):
        self.next_layer = next_layer

    def __call__(self, request):
        prefix = "/static/"
        if request.method not in ("GET", "HEAD") or not request.path_info.startswith(prefix):
            return self.next_layer(request)
        path = finders.find(request.path_info[len(prefix) :])
        if path is None:
            raise Http404(request.path_info)
        return FileResponse(open(path, "rb"))
