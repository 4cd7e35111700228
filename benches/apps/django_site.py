"""django: a usual view without a database: URL patterns, the common middleware, and a page of two templates."""

from pathlib import Path

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY="for a benchmark only",
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "DIRS": [Path(__file__).parent / "templates" / "django_site"],
        }
    ],
    USE_I18N=False,
)

ORDERS = [{"number": 1000 + at, "customer": f"Customer <{at}>", "total": at * 9.99} for at in range(20)]


def orders(request, customer):
    page = int(request.GET.get("page", 1))
    theme = request.COOKIES.get("theme", "light")
    return render(request, "orders.html", {"customer": customer, "orders": ORDERS, "page": page, "theme": theme})


class CountedResponse(HttpResponse):
    closes = 0

    def close(self):
        super().close()
        CountedResponse.closes += 1


def closed(request):
    return CountedResponse(str(CountedResponse.closes))


urlpatterns = [path("customers/<int:customer>/orders", orders), path("closed", closed)]
application = get_wsgi_application()
