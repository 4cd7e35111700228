"""Makes the user "admin" without asking: `python manage.py make_admin [--password …]`."""

import secrets

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = 'Makes the user "admin", or gives it a new password.'

    def add_arguments(self, parser):
        parser.add_argument("--password", help="made up and printed if not given")

    def handle(self, *, password, **options):
        password = password or secrets.token_urlsafe(9)
        user, made = get_user_model().objects.get_or_create(username="admin")
        user.is_staff = user.is_superuser = True
        user.set_password(password)
        user.save()
        self.stdout.write(f"user admin, password {password}")
