"""What the guest book keeps."""

from django.db import models


class Entry(models.Model):
    """One visitor's words."""

    name = models.CharField(max_length=100)
    message = models.TextField()
    written_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-written_at"]
        verbose_name_plural = "entries"

    def __str__(self):
        return f"{self.name}: {self.message[:40]}"
