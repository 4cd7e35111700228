"""The forms of the site."""

from django import forms

from .models import Entry


class EntryForm(forms.ModelForm):
    """Signs the guest book."""

    class Meta:
        model = Entry
        fields = ["name", "message"]


class UploadForm(forms.Form):
    """Sends a file."""

    file = forms.FileField()
